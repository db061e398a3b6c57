#!/usr/bin/env bash
# Lists of a thousand objects out of a million beside the plain statement that reads the same rows: policies on, through
# the whole server, in one run. Prints the medians and their ratio.
#
# usage: benches/lists.sh [BINARY]      (default: target/release/basewright)
# env:   ROWS(1000000) ROUNDS(31) PORT(4196) FOLDER: where everything lies (default: TMPDIR or /tmp)
set -euo pipefail
binary=$(realpath "${1:-$(dirname "$0")/../target/release/basewright}")
cd "$(dirname "$0")"
rows=${ROWS:-1000000} rounds=${ROUNDS:-31} port=${PORT:-4196}
user=00000000-0000-4000-8000-000000000001
for tool in curl psql; do command -v $tool >/dev/null || { echo "lists.sh needs $tool" >&2; exit 2; }; done

folder=$(mktemp -d "${FOLDER:-${TMPDIR:-/tmp}}/basewright-lists-XXXXXX"); chmod 755 "$folder"
server=
finish() {
  if [ -n "$server" ]; then kill -INT "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT
"$binary" dev storage --port "$port" --data "$folder/data" >"$folder/log" 2>&1 &
server=$!
for _ in $(seq 600); do
  grep -qs '^ready' "$folder/log" && break
  kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
  sleep 0.1
done
key=$(awk '/^publishable/ { print $2 }' "$folder/log")
token=$("$binary" token storage --data "$folder/data" --sub "$user" 2>/dev/null | tail -1)
sql() { psql -X -q -h "$folder/data/run" -U basewright_admin -d basewright "$@"; }

# Half of them lie side by side, half in folders of 250.
sql -v ON_ERROR_STOP=1 >/dev/null <<SQL
set synchronous_commit = off;
insert into storage.objects (bucket, name, owner, size, mime, etag, version)
select 'files', case when n % 2 = 0 then 'flat/' || lpad(n::text, 8, '0')
                     else 'deep/' || lpad((n / 500)::text, 5, '0') || '/' || lpad(n::text, 8, '0') end,
       '$user', 10, 'text/plain', md5(n::text), basewright.uuid_v7()
from generate_series(1, $rows) as n;
analyze storage.objects;
SQL

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
ours() { # body
  local config="$folder/requests"
  : >"$config"
  for _ in $(seq "$rounds"); do
    printf 'next\nurl = "http://127.0.0.1:%s/storage/v1/object/list/files"\noutput = "/dev/null"\nwrite-out = "%%{http_code} %%{time_total}\\n"\nheader = "apikey: %s"\nheader = "authorization: Bearer %s"\nheader = "content-type: application/json"\ndata = "%s"\n' \
      "$port" "$key" "$token" "${1//\"/\\\"}" >>"$config"
  done
  # One connection for all of them, as a client has it.
  curl -s -K <(tail -n +2 "$config") | awk '$1 != 200 { print "status " $1 > "/dev/stderr"; exit 1 } { print $2 * 1000 }' | median
}
raw() { # statement
  { echo '\timing on'; echo '\o /dev/null'; for _ in $(seq "$rounds"); do echo "$1;"; done; } | sql | awk '/^Time:/ { print $2 }' | median
}
row="id::text, bucket, name, owner::text, size, mime, etag, cache_control, metadata::text, created_at, updated_at"
page() { echo "select $row from storage.objects where bucket = 'files' and name >= '$1/' and name < '${1}0' order by name limit 1000"; }
tell() { awk -v what="$1" -v ours="$2" -v raw="$3" 'BEGIN { printf "%-34s %8.2f ms   plain SQL %8.2f ms   ratio %.2f\n", what, ours, raw, ours / raw }'; }

tell "1,000 objects of $rows" "$(ours '{"prefix":"flat","limit":1000}')" "$(raw "$(page flat)")"
folders="select split_part(substr(name, 6), '/', 1) from storage.objects where bucket = 'files' and name >= 'deep/' and name < 'deep0' group by 1 order by 1 limit 1000"
tell "1,000 folders of $rows" "$(ours '{"prefix":"deep","limit":1000}')" "$(raw "$folders")"
