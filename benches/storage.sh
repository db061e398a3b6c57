#!/usr/bin/env bash
# Stored objects against the raw limit of the same disk and loopback: downloads beside nginx with the same bytes, uploads
# beside cp and fsync, and the memory that sixteen large uploads at once take. See README.md beside this file.
#
# usage: benches/storage.sh [BINARY]      (default: target/release/basewright)
# env:   ROUNDS(7) UPLOADS(16) PORT(4195) FOLDER: where everything lies (default: TMPDIR or /tmp)
#        RUN_WITH: a prefix for everything that is measured, such as 'chrt -r 10' on a busy machine
set -euo pipefail
binary=$(realpath "${1:-$(dirname "$0")/../target/release/basewright}")
cd "$(dirname "$0")"
rounds=${ROUNDS:-7} uploads=${UPLOADS:-16} port=${PORT:-4195} run_with=${RUN_WITH:-}
user=00000000-0000-4000-8000-000000000001
if ! command -v nginx >/dev/null; then
  [ "$(id -u)" = 0 ] || { echo "storage.sh needs nginx" >&2; exit 2; }
  apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends nginx-light >/dev/null
fi
command -v curl >/dev/null || { echo "storage.sh needs curl" >&2; exit 2; }

# A real disk: what is measured is what lasts.
folder=$(mktemp -d "${FOLDER:-${TMPDIR:-/tmp}}/basewright-storage-XXXXXX"); chmod 755 "$folder"
server= nginx=
finish() {
  for process in $server $nginx; do kill -INT "$process" 2>/dev/null && wait "$process" 2>/dev/null; done || true
  rm -rf "$folder"
}
trap finish EXIT

$run_with "$binary" dev storage --port "$port" --data "$folder/data" >"$folder/log" 2>&1 &
server=$!
for _ in $(seq 600); do
  grep -qs '^ready' "$folder/log" && break
  kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
  sleep 0.1
done
key=$(awk '/^publishable/ { print $2 }' "$folder/log")
token=$("$binary" token storage --data "$folder/data" --sub "$user" 2>/dev/null | tail -1)
headers=(-H "apikey: $key" -H "authorization: Bearer $token")
at="http://127.0.0.1:$port/storage/v1/object/files"

mkdir -p "$folder/www"
head -c 1048576 /dev/urandom >"$folder/www/1m"
head -c 104857600 /dev/urandom >"$folder/www/100m"
cat >"$folder/nginx.conf" <<NGINX
worker_processes $(nproc); daemon off; pid $folder/nginx.pid; error_log $folder/nginx.log; user root;
events { worker_connections 256; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path $folder/body; proxy_temp_path $folder/proxy; fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi; scgi_temp_path $folder/scgi;
  server { listen 127.0.0.1:$((port + 1)); root $folder/www; default_type application/octet-stream; }
}
NGINX
$run_with nginx -c "$folder/nginx.conf" -p "$folder" 2>/dev/null &
nginx=$!

for size in 1m 100m; do
  curl -sf -o /dev/null "${headers[@]}" -H 'content-type: application/octet-stream' -T "$folder/www/$size" -X POST "$at/$size"
  cmp <(curl -sf "${headers[@]}" "$at/$size") "$folder/www/$size"
done
[ "$(curl -s -o /dev/null -w '%{http_code}' -H "apikey: $key" "$at/1m")" != 200 ] || { echo "anybody may read this" >&2; exit 1; }

median() { sort -g | awk '{ v[NR] = $1 } END { printf "%.6f", v[int((NR + 1) / 2)] }'; }
elapsed() { # COMMAND...: seconds
  local begun=$EPOCHREALTIME done
  "$@" >/dev/null
  done=$EPOCHREALTIME
  awk -v us=$(( ${done/./} - ${begun/./} )) 'BEGIN { printf "%.6f\n", us / 1000000 }'
}
# One connection asks again and again, so that what is measured is not the making of connections.
get() { # COUNT URL [HEADER...]
  local count=$1 url=$2; shift 2
  $run_with curl -sf "$@" "$url?[1-$count]" -o /dev/null
}

printf '%-10s %6s %12s %12s %7s\n' what size raw_mb_s ours_mb_s ratio
line() { # WHAT SIZE MEGABYTES RAW_SECONDS OUR_SECONDS
  awk -v w="$1" -v s="$2" -v m="$3" -v r="$4" -v o="$5" \
    'BEGIN { printf "%-10s %6s %12.0f %12.0f %7.2f\n", w, s, m / r, m / o, r / o }'
}

for size in 1m 100m; do
  [ $size = 1m ] && count=100 || count=5
  megabytes=$(( $(stat -c %s "$folder/www/$size") * count / 1000000 ))
  raw=() ours=()
  for _ in $(seq "$rounds"); do
    raw+=("$(elapsed get $count "http://127.0.0.1:$((port + 1))/$size")")
    ours+=("$(elapsed get $count "$at/$size" "${headers[@]}")")
  done
  line download $size $megabytes "$(printf '%s\n' "${raw[@]}" | median)" "$(printf '%s\n' "${ours[@]}" | median)"
done

# As a careful program stores a file: written, made durable, put in its place, and that made durable too.
# What it replaces stays for a while, as it does with us: neither side writes into memory that it has just given back.
copies=0
copy() { # COUNT SOURCE
  for n in $(seq "$1"); do
    cp "$2" "$folder/copies/.$n"; sync -d "$folder/copies/.$n"
    mv "$folder/copies/.$n" "$folder/copies/$copies.$n"; sync "$folder/copies"
  done
}
put() { # COUNT SOURCE
  local files=() n
  for n in $(seq "$1"); do files+=(-T "$2" "$at/up/$n"); done
  $run_with curl -sf "${headers[@]}" -H 'x-upsert: true' -H 'content-type: application/octet-stream' -H 'expect:' "${files[@]}" -o /dev/null
}
mkdir "$folder/copies"
for size in 1m 100m; do
  [ $size = 1m ] && count=20 || count=3
  megabytes=$(( $(stat -c %s "$folder/www/$size") * count / 1000000 ))
  raw=() ours=()
  for _ in $(seq "$rounds"); do
    copies=$((copies + 1))
    raw+=("$(elapsed copy $count "$folder/www/$size")")
    ours+=("$(elapsed put $count "$folder/www/$size")")
  done
  line upload $size $megabytes "$(printf '%s\n' "${raw[@]}" | median)" "$(printf '%s\n' "${ours[@]}" | median)"
done

resident() { awk '/^VmRSS/ { print $2 }' "/proc/$server/status"; }
idle=$(resident) most=$idle running=()
for n in $(seq "$uploads"); do
  curl -sf -o /dev/null "${headers[@]}" -H 'expect:' -H 'content-type: application/octet-stream' --limit-rate 40M \
    -T "$folder/www/100m" -X POST "$at/many/$n" &
  running+=($!)
done
while jobs -pr | grep -qxF "$(printf '%s\n' "${running[@]}")"; do
  now=$(resident); [ "$now" -le "$most" ] || most=$now
  sleep 0.05
done
for process in "${running[@]}"; do wait "$process"; done
awk -v n="$uploads" -v i="$idle" -v m="$most" \
  'BEGIN { printf "memory: %d uploads of 100 MiB at once take %.1f MB beyond %.1f MB of before\n", n, (m - i) / 1024, i / 1024 }'
