#!/usr/bin/env bash
# What realtime costs, beside what the same machine does without it. See README.md beside this file.
#
# usage: benches/realtime.sh [NAME...]      (of delay fan filters idle slow capture; default: all)
# env:   SOCKETS(5000) ROUNDS SECONDS_EACH(4)
#        RUN_WITH: a prefix for everything that is measured, such as 'chrt -r 10' on a busy machine
set -euo pipefail
cd "$(dirname "$0")/.."
ulimit -n "$(ulimit -Hn)"
program=$(cargo bench --no-run --bench realtime --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\/realtime-[^"]*\)".*/\1/p' | tail -1)
exec ${RUN_WITH:-} "$program" "$@"
