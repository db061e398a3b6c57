#!/usr/bin/env bash
# Installs what the tests need and the machine lacks. Changes nothing where everything is there.
#   Rust 1.95 or newer and a C compiler must be there already (https://rustup.rs).
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
have() { command -v "$1" >/dev/null 2>&1; }
have cargo || { echo "Rust is missing: install it from https://rustup.rs" >&2; exit 1; }
compgen -G '/usr/lib/postgresql/1[5-8]/bin/postgres' >/dev/null || have postgres || missing+=(postgresql)
have cc || missing+=(gcc libc6-dev)
have git || missing+=(git)
have curl || missing+=(curl)
have strace || missing+=(strace)
# The pages of the examples are tried in a browser, which draws no text without a font.
{ [ -n "${CHROMIUM:-}" ] || have chromium; } || missing+=(chromium fonts-dejavu-core)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
  if [ "$(id -u)" = 0 ] && have apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -y -q --no-install-recommends "${missing[@]}"
  else
    echo "Please install: ${missing[*]}" >&2
    exit 1
  fi
fi
# The published client libraries that the tests drive the server with, and what our own is built with.
have npm || { echo "Node.js 20 or newer with npm is missing: the tests drive the server with published JavaScript clients" >&2; exit 1; }
for package in tests/clients sdk-ts; do
  [ "$package/node_modules/.package-lock.json" -nt "$package/package-lock.json" ] ||
    npm ci --prefix "$package" --no-audit --no-fund
done
# A store that speaks S3 and is not ours.
moto=5.2.5
if ! [ -e "target/moto/$moto" ]; then
  rm -rf target/moto
  mkdir -p target
  python3 -m venv target/moto
  target/moto/bin/pip install --quiet --disable-pip-version-check "moto[s3]==$moto" 'flask==3.*' 'flask-cors==6.*'
  touch "target/moto/$moto"
fi
