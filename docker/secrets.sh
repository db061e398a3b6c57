#!/bin/sh
# Makes a fresh set of secrets for compose.yaml, in .env beside it: bash docker/secrets.sh
# Keep that file: whoever has it is the operator, and without BASEWRIGHT_SECRET every key and session ends.
set -eu
cd "$(dirname "$0")"
[ ! -e .env ] || { echo "docker/.env is there already: its secrets are in use, and nothing is changed" >&2; exit 1; }
secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
made=$(for name in BASEWRIGHT_SECRET POSTGRES_PASSWORD RUNTIME_PASSWORD MIGRATE_PASSWORD REPLICATION_PASSWORD; do
  printf '%s=%s\n' "$name" "$(secret)"
done)
# For the owner's eyes, and only where nothing is (noclobber).
umask 077
set -C
printf '%s\n' "$made" >.env
