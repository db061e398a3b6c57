#!/usr/bin/env bash
# What the client weighs and saves beside others: prints two tables. Takes the server from BASEWRIGHT_BIN, or the debug build.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund 2>&1 | grep -v "^npm warn" || true
(cd ../../sdk-ts && [ -d node_modules ] || npm ci --silent; npx tsc && npx tsc -p test)
node --experimental-websocket --no-warnings run.mjs
