#!/usr/bin/env bash
# Builds the image and proves what is promised of it: it runs as nobody in particular on a read-only file system, turns
# healthy, answers, keeps its data, and stops when it is told.
#   bash docker/check.sh                                  with docker, or else podman
#   CONTAINER_CHECK=container-check.sh bash docker/check.sh   with a script whose `build CONTEXT TAG ARG...` builds and whose
#                                                         `podman ARG...` runs, where no registry can be reached
#   BINARY=target/release/basewright bash docker/check.sh     puts that binary in the image instead of compiling one
# The database is a cluster of its own of the machine's PostgreSQL, in a folder that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=basewright:check name=basewright-check-$$
home=$(mktemp -d /var/tmp/basewright-check.XXXXXX)
chmod 755 "$home"

arguments=() made=
if [ -n "${BINARY:-}" ]; then
  [ ! -e docker/binary ] || { echo "docker/binary is there already: it would be replaced" >&2; exit 1; }
  made=docker/binary
  install -D -m 0755 "$BINARY" "$made/basewright"
  arguments=(--target given)
fi
if [ -n "${CONTAINER_CHECK:-}" ]; then
  box() { bash "$CONTAINER_CHECK" podman "$@"; }
  build() { bash "$CONTAINER_CHECK" build . "$tag" "${arguments[@]}"; }
else
  tool=$(command -v docker || command -v podman) || { echo "docker or podman is needed" >&2; exit 1; }
  box() { "$tool" "$@"; }
  build() { box build -f docker/Dockerfile -t "$tag" "${arguments[@]}" .; }
fi

postgres=
end() {
  local code=$?
  [ "$code" = 0 ] || box logs "$name" 2>&1 | tail -n 20 >&2 || true
  box rm -f "$name" >/dev/null 2>&1 || true
  box volume rm "$name" >/dev/null 2>&1 || true
  [ -z "$postgres" ] || { kill -INT "$postgres" && wait "$postgres"; } 2>/dev/null || true
  rm -rf "$home" ${made:+"$made"}
  exit "$code"
}
trap end EXIT
say() { printf '%s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
now() { date +%s%N; }
since() { echo "$((($(now) - $1) / 1000000)) ms"; }
within() { # within TIMES COMMAND...: asks until it holds, at least a tenth of a second apart
  local left=$1; shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep 0.1
  done
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

cp docker/secrets.sh "$home"
(umask 022 && sh "$home/secrets.sh")
[ "$(stat -c %a "$home/.env")" = 600 ] || fail "others can read the secrets"
[ "$(grep -cE '^[A-Z_]+=[0-9a-f]{64}$' "$home/.env")" = 5 ] || fail "the secrets are incomplete"
kept=$(cat "$home/.env")
! sh "$home/secrets.sh" 2>/dev/null || fail "the secrets were made twice"
[ "$kept" = "$(cat "$home/.env")" ] || fail "the secrets that were there are gone"

started=$(now)
build
say "built in $(since "$started")"
size() { box image inspect "$1" --format '{{.Size}}'; }
base=$(size debian:bookworm-slim 2>/dev/null || size localhost/debian:bookworm-slim)
say "the image adds $((($(size "$tag") - base) / 1000000)) MB to its base of $((base / 1000000)) MB"

# A cluster as compose.yaml has it, with the roles that the same script makes.
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[ -x "$bin/initdb" ] || fail "PostgreSQL's server programs are needed"
as=()
if [ "$(id -u)" = 0 ]; then
  as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
  chown nobody "$home"
fi
echo check >"$home/password"
dbport=$(free_port) port=$(free_port)
"${as[@]}" "$bin/initdb" -D "$home/db" -U postgres --auth=scram-sha-256 --auth-local=trust --pwfile="$home/password" >"$home/initdb.log"
"${as[@]}" "$bin/postgres" -D "$home/db" -p "$dbport" -k "$home" -c listen_addresses=127.0.0.1 \
  -c wal_level=logical -c max_slot_wal_keep_size=2GB -c fsync=off >"$home/db.log" 2>&1 &
postgres=$!
within 100 "$bin/pg_isready" -q -h "$home" -p "$dbport" || fail "the cluster does not start"
export PGHOST=$home PGPORT=$dbport RUNTIME_PASSWORD=r-check MIGRATE_PASSWORD=m-check REPLICATION_PASSWORD=w-check
PATH="$bin:$PATH" bash docker/roles.sh
PATH="$bin:$PATH" bash docker/roles.sh   # again: nothing changes
at=@127.0.0.1:$dbport/basewright

start() {
  started=$(now)
  # What compose.yaml says of the server.
  box run -d --name "$name" --network host --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
    -v "$PWD/examples/chat:/project:ro" -v "$name:/data" \
    -e BASEWRIGHT_PORT="$port" -e BASEWRIGHT_MIGRATE=1 -e BASEWRIGHT_SECRET=0123456789abcdefghijklmnopqrstuvwxyz-check \
    -e DATABASE_URL="postgresql://basewright_runtime:$RUNTIME_PASSWORD$at" \
    -e BASEWRIGHT_MIGRATE_URL="postgresql://basewright_migrate:$MIGRATE_PASSWORD$at" \
    -e BASEWRIGHT_REPLICATION_URL="postgresql://basewright_replication:$REPLICATION_PASSWORD$at" "$tag" >/dev/null
  within 300 box exec "$name" basewright health || fail "it does not turn healthy"
  say "healthy $(since "$started") after \`run\`"
}
start
# podman has no daemon: it checks when it is told to.
box healthcheck run "$name" >/dev/null 2>&1 || true
health() { box inspect "$name" --format '{{.State.Health.Status}}'; }
is_healthy() { [ "$(health)" = healthy ]; }
within 300 is_healthy || fail "the image's own health check says $(health)"

[ "$(box exec "$name" id -u)" = 10001 ] || fail "it runs as $(box exec "$name" id)"
for path in / /usr/local/bin /project /etc; do
  ! box exec "$name" touch "$path/x" 2>/dev/null || fail "it can write to $path"
done
box exec "$name" touch /data/kept /tmp/x || fail "it cannot write where it has to"
[ "$(box exec "$name" grep CapEff /proc/1/status | tr -d '\t' | cut -d: -f2)" = 0000000000000000 ] || fail "it has capabilities"

url=http://127.0.0.1:$port
ask() { curl -sS -o "$home/answer" -w '%{http_code}' "$@"; }
key=$(box exec "$name" basewright keys /project --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["publishable"])')
[ "$(ask "$url/health/ready")" = 200 ] || fail "/health/ready"
{ [ "$(ask "$url/")" = 200 ] && grep -qi '<html' "$home/answer"; } || fail "the page"
[ "$(ask "$url/sdk/index.js")" = 200 ] || fail "the client"
{ [ "$(ask "$url/sdk/here.js")" = 200 ] && grep -qF "$key" "$home/answer"; } || fail "the key of the page"
[ "$(ask "$url/rest/v1/" -H "apikey: $key")" = 200 ] || fail "the API"
[ "$(ask "$url/rest/v1/")" = 401 ] || fail "the API without a key"
rss=$(box exec "$name" grep VmRSS /proc/1/status | tr -s '\t ' ' ' | cut -d' ' -f2)
say "answers; $((rss / 1024)) MB resident"

stopping=$(now)
box stop -t 20 "$name" >/dev/null
took=$((($(now) - stopping) / 1000000))
code=$(box inspect "$name" --format '{{.State.ExitCode}}')
[ "$code" = 0 ] || fail "SIGTERM ended it with $code"
[ "$took" -lt 10000 ] || fail "SIGTERM took $took ms"
say "SIGTERM: ended with 0 after $took ms"

box rm "$name" >/dev/null
start
box exec "$name" test -e /data/kept || fail "the volume did not keep its content"
say "all of it holds"
