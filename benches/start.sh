#!/usr/bin/env bash
# How long a server takes from its first instruction to being ready, beside a running Postgres whose database
# has the project's tables already, and how much memory it holds while nobody asks. See README.md beside this file.
#
# usage: benches/start.sh [BINARY]      (default: target/release/basewright)
# env:   STARTS(20) COLLECTIONS(20) PORT(4190)
#        RUN_WITH: a prefix for everything that is measured, such as 'chrt -r 10' on a busy machine
set -euo pipefail
cd "$(dirname "$0")"
binary=$(realpath "${1:-../target/release/basewright}")
starts=${STARTS:-20} collections=${COLLECTIONS:-20} port=${PORT:-4190} run_with=${RUN_WITH:-}

folder=$(mktemp -d "${TMPDIR:-/tmp}/basewright-start-XXXXXX"); chmod 755 "$folder"
owner= server=
finish() {
  for process in $server $owner; do kill -INT "$process" 2>/dev/null && wait "$process" 2>/dev/null; done || true
  rm -rf "$folder"
}
trap finish EXIT

mkdir "$folder/project"
{
  echo 'collections:'
  for n in $(seq "$collections"); do
    echo "  thing_$n:"
    echo "    fields:"
    echo "      title: { type: text, required: true, max: 200 }"
    echo "      count: { type: integer, required: true, default: 0, min: 0 }"
    echo "      state: { type: enum, values: [new, open, done], default: new }"
    echo "      owner: { type: uuid, required: true, default: auth.id }"
    echo "      meta:  { type: json, default: {} }"
    [ "$n" -eq 1 ] || echo "      parent: { type: relation, to: thing_$((n - 1)) }"
    echo "    indexes: [[owner, -created_at]]"
  done
  echo 'policies:'
  for n in $(seq "$collections"); do
    echo "  thing_$n:"
    echo "    read:   [{ role: anon, when: state == 'done' }, { role: authenticated, when: owner == auth.id }]"
    echo "    create: [{ role: authenticated, check: owner == auth.id }]"
    echo "    update: [{ role: authenticated, when: owner == auth.id, check: owner == auth.id }]"
    echo "    delete: [{ role: authenticated, when: owner == auth.id }]"
  done
} >"$folder/project/basewright.yaml"

# A server of its own makes the tables and keeps Postgres running; what is measured stands beside it.
$run_with "$binary" dev "$folder/project" --port "$port" --data "$folder/data" >"$folder/log" 2>&1 &
owner=$!
for _ in $(seq 300); do
  grep -qs '^ready' "$folder/log" && break
  kill -0 "$owner" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
  sleep 0.1
done
at="dbname=basewright host=$folder/data/run"
export DATABASE_URL="$at user=basewright_runtime" BASEWRIGHT_MIGRATE_URL="$at user=basewright_migrate"
export BASEWRIGHT_SECRET=a-secret-of-at-least-thirty-two-bytes

# The line says that a request would be answered: it is printed after the readiness door opens.
start() { # sets `server`, and `took` in microseconds
  local begun=$EPOCHREALTIME line
  exec {out}< <(exec $run_with "$binary" serve "$folder/project" --port $((port + 1)) --data "$folder/serve" 2>"$folder/serve.log")
  server=$!
  until read -r -t 20 line <&"$out" && [[ $line == ready* ]]; do
    kill -0 "$server" 2>/dev/null || { cat "$folder/serve.log" >&2; exit 1; }
  done
  local done=$EPOCHREALTIME
  took=$(( ${done/./} - ${begun/./} ))
  exec {out}<&-
}

times=()
for _ in $(seq "$starts"); do
  start
  times+=("$took")
  kill -INT "$server"; while kill -0 "$server" 2>/dev/null; do sleep 0.02; done; server=
done
start
sleep 2
idle=$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")
threads=$(awk '/^Threads/ { print $2 }' "/proc/$server/status")
printf '%s\n' "${times[@]}" | sort -n | awk -v n="$starts" -v c="$collections" -v idle="$idle" -v threads="$threads" '
  { v[NR] = $1 / 1000 }
  END { printf "start to ready, %d tables: median %.1f ms (of %d; %.1f to %.1f)\nidle: %.1f MB resident, %d threads\n", c, v[int((n + 1) / 2)], n, v[1], v[n], idle / 1024, threads }'
