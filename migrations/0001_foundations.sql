-- The schema `basewright`: what the server needs beside the project's own tables, and the functions
-- that statements and triggers call. The runner has created the schema and its table of migrations.

comment on schema basewright is 'The server''s own objects: applied migrations, and functions that statements and triggers call.';

-- Identifiers that sort by time of creation: RFC 9562 version 7, with the twelve bits after the
-- version holding the fraction of the millisecond (its method 3), so that ids of one session
-- practically never step back. Sixty-two random bits remain.
create function basewright.uuid_v7() returns uuid
language plpgsql volatile parallel safe as $$
declare
    micros bigint := (extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::bigint;
    head bytea := pg_catalog.substr(pg_catalog.int8send(micros / 1000), 3)
        || pg_catalog.int2send((28672 + (micros % 1000) * 4096 / 1000)::smallint);
begin
    return pg_catalog.encode(
        pg_catalog.overlay(pg_catalog.uuid_send(pg_catalog.gen_random_uuid()), head, 1, 8), 'hex')::uuid;
end
$$;
comment on function basewright.uuid_v7() is 'A version 7 uuid (RFC 9562): sorts by time of creation. The default of `id` columns.';

create function basewright.touch_updated_at() returns trigger
language plpgsql as $$
begin
    new.updated_at := pg_catalog.now();
    return new;
end
$$;
comment on function basewright.touch_updated_at() is 'BEFORE UPDATE trigger of collections with timestamps: the caller cannot set updated_at.';

-- Stands in the RETURNING list of a statement that writes: a row that a policy does not admit undoes
-- the whole statement. Volatile and parallel unsafe, so that the planner neither drops nor moves a call.
create function basewright.require(admitted boolean, message text default 'permission denied') returns boolean
language plpgsql volatile parallel unsafe as $$
begin
    if admitted is true then
        return true;
    end if;
    raise exception using errcode = '42501', message = message;
end
$$;
comment on function basewright.require(boolean, text) is 'TRUE, or error 42501 unless the condition is TRUE: NULL admits nothing.';

create function basewright.at_most(rows_met bigint, allowed bigint) returns boolean
language plpgsql volatile parallel unsafe as $$
begin
    if rows_met <= allowed then
        return true;
    end if;
    raise exception using errcode = 'BW116', message = pg_catalog.format('%s rows, at most %s allowed', rows_met, allowed);
end
$$;
comment on function basewright.at_most(bigint, bigint) is 'TRUE, or error BW116 when a statement met more rows than the request allows.';

-- An upsert looks at the stored record before it writes. Where another transaction put that record there in
-- between, there was nothing to look at, and only starting over can tell.
create function basewright.settled(admitted boolean) returns boolean
language plpgsql volatile parallel unsafe as $$
begin
    if admitted is null then
        raise exception using errcode = '40001', message = 'a record came between the look at it and the write';
    end if;
    return admitted;
end
$$;
comment on function basewright.settled(boolean) is 'Its argument, or error 40001 (to be tried again) where it is NULL: the record was not there to be judged.';

-- Records nested below many records multiply. Each array that is put together there spends its size from a
-- budget that lasts for the transaction, so that one request cannot make a server of its answer's memory.
create function basewright.spend(bytes bigint) returns boolean
language plpgsql volatile parallel unsafe as $$
declare
    budget constant bigint := 67108864;
    spent bigint := coalesce(nullif(pg_catalog.current_setting('basewright.spent', true), ''), '0')::bigint + bytes;
begin
    if spent > budget then
        raise exception using errcode = 'BW413', message = 'the nested records of the answer are larger than 64 MiB';
    end if;
    perform pg_catalog.set_config('basewright.spent', spent::text, true);
    return true;
end
$$;
comment on function basewright.spend(bigint) is 'TRUE, or error BW413 once the nested records of a statement are too large together.';

revoke all on all functions in schema basewright from public;
