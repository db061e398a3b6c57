#!/usr/bin/env bash
# The request path against the raw limit of the same Postgres: pgbench runs the statement, wrk asks for the same
# over HTTP with a token and a row policy, and the ratio of the two is printed. See README.md beside this file.
#
# usage: benches/requests.sh [BINARY]      (default: target/release/basewright)
# env:   SECONDS_EACH(3) ROUNDS(5) PAUSE(0) CONNECTIONS(64) CLIENTS("8 32") PORT(4180) LOG(info)
#        ROWS: which of "point list20 insert update nested bulk" to measure; VERBOSE=1 prints what each way by hand reached
#        RUN_WITH: a prefix for everything that is measured, such as 'chrt -r 10' on a busy machine
set -euo pipefail
cd "$(dirname "$0")"
binary=$(realpath "${1:-../target/release/basewright}")
seconds=${SECONDS_EACH:-3} rounds=${ROUNDS:-5} pause=${PAUSE:-0} connections=${CONNECTIONS:-64}
clients=${CLIENTS:-8 32} port=${PORT:-4180} log=${LOG:-info} run_with=${RUN_WITH:-}
rows=${ROWS:-point list20 insert update nested bulk} user=00000000-0000-4000-8000-000000000001
for tool in wrk pgbench psql; do command -v "$tool" >/dev/null || { echo "requests.sh needs $tool" >&2; exit 2; }; done

# In memory where there is some: a commit then costs its CPU time and not the disk's.
memory=/dev/shm; [ -w "$memory" ] || memory=${TMPDIR:-/tmp}
folder=$(mktemp -d "$memory/basewright-bench-XXXXXX"); chmod 755 "$folder"
server=
finish() { [ -z "$server" ] || { kill -INT "$server" 2>/dev/null; wait "$server" 2>/dev/null; } || true; rm -rf "$folder"; }
trap finish EXIT

$run_with "$binary" dev project --port "$port" --data "$folder/data" --log "$log" >"$folder/log" 2>&1 &
server=$!
for _ in $(seq 300); do
  grep -q '^ready' "$folder/log" && break
  kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
  sleep 0.1
done
export PGHOST="$folder/data/run" PGUSER=basewright_admin PGDATABASE=basewright
postgres=$(head -1 "$folder/data/postgres/postmaster.pid")
psql -q -v ON_ERROR_STOP=1 -v folder="$folder" -v user="$user" -f sql/fill.sql -f sql/fill-blog.sql -f sql/readings.sql
export IDS="$folder/ids"
psql -qAt -c 'select id from item order by random()' >"$IDS"
# What one row leaves behind is not to be cleared away while the next one is measured.
psql -qAt -c 'alter system set autovacuum = off' -c 'select pg_reload_conf()' >/dev/null
psql -q -c 'create database raw' && PGDATABASE=raw psql -q -v ON_ERROR_STOP=1 -f sql/raw.sql
KEY=$(awk '/^publishable/ { print $2 }' "$folder/log")
TOKEN=$("$binary" token project --data "$folder/data" --sub "$user" 2>/dev/null | tail -1)
export KEY TOKEN

median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ticks() { awk '{ sub(/^.*\) /, ""); s += $12 + $13 } END { print s + 0 }' $(printf '/proc/%s/stat ' "$@") 2>/dev/null || echo 0; }

limit() { # the best median over the client counts, and over the ways to write the statement
  local best=0 c file found
  for file in sql/"$1".sql sql/"$1"-*.sql "$folder/$1"-*.sql; do
    [ -e "$file" ] || continue
    for c in $clients; do
      found=()
      for _ in $(seq "$rounds"); do
        $before_each; sleep "$pause"
        found+=("$(PGDATABASE=$tables $run_with pgbench -n -M "$mode" -D user="$user" -c "$c" -j 2 -T "$seconds" -f "$file" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p')")
      done
      found=$(median "${found[@]}")
      [ -z "${VERBOSE:-}" ] || echo "$file with $c clients: $found/s" >&2
      best=$(printf '%s\n%s\n' "$best" "$found" | sort -g | tail -1)
    done
  done
  echo "$best"
}

row() { # NAME METHOD PATH [BODY]
  [[ " $rows " == *" $1 "* ]] || return 0
  export METHOD=$2 REQUEST=$3; if [ $# -gt 3 ]; then export BODY=$4; else unset BODY; fi
  local raw rate=() p50=() p90=() cpu=() pg=() failed=0 before pgbefore answer n r a b f
  raw=$(limit "$1")
  wrk -t2 -c"$connections" -d1s -s requests.lua "http://127.0.0.1:$port" >/dev/null
  for _ in $(seq "$rounds"); do
    $before_each; sleep "$pause"; before=$(ticks "$server"); pgbefore=$(ticks $(pgrep -P "$postgres"))
    answer=$($run_with wrk -t2 -c"$connections" -d"${seconds}s" --timeout 10s -s requests.lua "http://127.0.0.1:$port" | grep '^RESULT')
    read -r _ r a b f <<<"$answer"
    n=$(awk "BEGIN { print $r * $seconds }")
    rate+=("$r") p50+=("$a") p90+=("$b"); failed=$((failed + f))
    cpu+=("$(awk "BEGIN { print ($(ticks "$server") - $before) * 10000 / $n }")")
    pg+=("$(awk "BEGIN { print ($(ticks $(pgrep -P "$postgres")) - $pgbefore) * 10000 / $n }")")
  done
  r=$(median "${rate[@]}")
  printf '%-8s %10.0f %10.0f %6.2f %8.2f %8.2f %9.1f %9.1f %6d\n' "$1" "$raw" "$r" "$(awk "BEGIN { print $r / $raw }")" \
    "$(median "${p50[@]}")" "$(median "${p90[@]}")" "$(median "${cpu[@]}")" "$(median "${pg[@]}")" "$failed"
}

emptied() { psql -q -c 'truncate reading' -c checkpoint; }

# Where the statement runs that is the limit, and how pgbench sends it.
tables=raw mode=prepared before_each=true
printf '%-8s %10s %10s %6s %8s %8s %9s %9s %6s\n' what raw_a_s http_a_s ratio p50_ms p90_ms server_us pg_us failed
row point GET '/rest/v1/item?id=eq.{id}'
row list20 GET '/rest/v1/item?owner=eq.{owner}&order=created_at.desc&limit=20'
row insert POST /rest/v1/item '{"owner":{stranger},"title":"a new item from the load","body":"lorem ipsum lorem ipsum lorem ipsum lorem ipsum lorem ipsum","meta":{"tags":["a","b"],"n":1}}'
row update PATCH '/rest/v1/item?id=eq.{id}' '{"title":"changed by the load"}'

# The others on the very tables that the server has: what is compared is the statement and the way to it.
tables=basewright
row nested GET '/rest/v1/post?select=id,title,body,created_at,author(id,name),tags:tag(id,name),comments:comment(id,body,created_at)&category=eq.{category}&order=created_at.desc&limit=20&comments.order=created_at.desc&comments.limit=3'
# A thousand rows travel with each statement, as they do with each request: not prepared once and for all.
mode=simple before_each=emptied
row bulk POST /rest/v1/reading "@$folder/readings.json"
