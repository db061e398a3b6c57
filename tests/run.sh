#!/usr/bin/env bash
# Runs every test: sets the machine up, builds once, runs the pure tests and the integration tests.
#   BASEWRIGHT_LONG=1 runs the campaigns in their long form (about half an hour).
#   Arguments go to the test binaries: `bash tests/run.sh matrix` runs what has `matrix` in its name.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/setup.sh
exec cargo test --locked --lib --bins --tests -- "$@"
