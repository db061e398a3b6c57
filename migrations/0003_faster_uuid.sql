-- The same identifiers as before, from one SQL expression, which Postgres puts in the place of the call: an insert
-- of one record spent a tenth of its time in the function. The number is the time in units of a 4096th of a millisecond:
-- forty-eight bits of milliseconds and twelve of their fraction, between which the version's digit goes.
create or replace function basewright.uuid_v7() returns uuid
language sql volatile parallel safe
return (
    overlay(
        pg_catalog.lpad(
            pg_catalog.to_hex(
                (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) operator(pg_catalog.*) 4096000)::bigint
            ),
            15, '0'
        )
        placing '7' from 13 for 0
    ) operator(pg_catalog.||) pg_catalog.substr(pg_catalog.gen_random_uuid()::text, 20)
)::uuid;
