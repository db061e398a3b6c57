#!/bin/bash
# The three roles of Basewright and their database: who answers requests, who owns the tables, who reads the log of changes.
# None of them is a superuser. The postgres image runs this once, when its data folder is new; anybody else runs it with
# PGHOST, PGUSER and the passwords in the environment. Running it again puts the passwords right and changes nothing else.
set -euo pipefail
: "${RUNTIME_PASSWORD:?}" "${MIGRATE_PASSWORD:?}" "${REPLICATION_PASSWORD:?}"
database=${BASEWRIGHT_DATABASE:-basewright}

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${PGUSER:-${POSTGRES_USER:-postgres}}" --dbname=postgres \
  --set=database="$database" <<'SQL'
\getenv runtime RUNTIME_PASSWORD
\getenv migrate MIGRATE_PASSWORD
\getenv replication REPLICATION_PASSWORD
select format('create role %I', name)
  from unnest(array['basewright_runtime', 'basewright_migrate', 'basewright_replication']) name
 where not exists (select from pg_roles where rolname = name) \gexec
alter role basewright_runtime     login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password :'runtime';
alter role basewright_migrate     login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password :'migrate';
alter role basewright_replication login nosuperuser nocreatedb nocreaterole replication   nobypassrls password :'replication';
select format('create database %I owner basewright_migrate', :'database')
 where not exists (select from pg_database where datname = :'database') \gexec
revoke all on database :"database" from public;
grant connect on database :"database" to basewright_runtime, basewright_replication;
SQL
