#!/bin/sh
# Prints a fresh set of secrets for compose.yaml: bash docker/secrets.sh >docker/.env
# Keep that file: whoever has it is the operator, and without BASEWRIGHT_SECRET every key and session ends.
set -eu
umask 077
secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
for name in BASEWRIGHT_SECRET POSTGRES_PASSWORD RUNTIME_PASSWORD MIGRATE_PASSWORD REPLICATION_PASSWORD; do
  printf '%s=%s\n' "$name" "$(secret)"
done
