#!/usr/bin/env bash
# Runs every test: sets the machine up, builds once, runs the pure tests, the integration tests and those of the client.
#   BASEWRIGHT_LONG=1 runs the campaigns in their long form (about half an hour).
#   Arguments go to the test binaries: `bash tests/run.sh matrix` runs what has `matrix` in its name;
#   `bash tests/run.sh sdk` runs the tests of the TypeScript client alone, in Node.js and in a browser.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/setup.sh
if [ "${1-}" = sdk ]; then
  cargo build --locked
else
  cargo test --locked --lib --bins --tests -- "$@"
  # Who asked for some of them by name has had them.
  [ $# = 0 ] || [ "$*" = --show-output ] || exit 0
fi
export BASEWRIGHT_BIN="${CARGO_TARGET_DIR:-$PWD/target}/debug/basewright"
cd sdk-ts
# What the server serves at /sdk/ is what the sources make.
npm run bundle:check
npm test
npm run test:browser
