-- Objects: what is known of stored files. Their content lies elsewhere, under keys that say nothing; the row is the truth:
-- content without a row is no object, and is swept away.

create schema storage;
comment on schema storage is 'Buckets and the rows of stored objects.';

create table storage.buckets (
    id text primary key check (char_length(id) between 1 and 100),
    owner uuid,
    public boolean not null default false,
    file_size_limit bigint check (file_size_limit >= 0),
    allowed_mime_types text[] not null default '{}',
    quota bigint check (quota >= 0),
    used bigint not null default 0,
    declared boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create trigger buckets_updated_at before update of public, file_size_limit, allowed_mime_types, quota, declared on storage.buckets
    for each row execute function basewright.touch_updated_at();
comment on table storage.buckets is 'Places for objects: those that the project declares, and those made by the admin API.';
comment on column storage.buckets.id is 'Its name, which stands in URLs.';
comment on column storage.buckets.owner is 'Who made it, where that was a user.';
comment on column storage.buckets.public is 'Whoever knows an object''s key may read it.';
comment on column storage.buckets.file_size_limit is 'Bytes that one object may have. Null: the server''s own limit.';
comment on column storage.buckets.allowed_mime_types is 'Media types that objects may have, `image/*` among them. Empty: all.';
comment on column storage.buckets.quota is 'Bytes that all objects together may have. Null: as many as there is room for.';
comment on column storage.buckets.used is 'Bytes that all objects together have. Kept only where there is a quota.';
comment on column storage.buckets.declared is 'The project declares it, and alone changes it.';
comment on column storage.buckets.created_at is 'When it was made.';
comment on column storage.buckets.updated_at is 'When it was last changed.';

create table storage.objects (
    id uuid primary key default basewright.uuid_v7(),
    bucket text not null references storage.buckets (id) on update cascade,
    -- Compared byte by byte: the order of lists is that of the keys themselves, in every installation.
    name text collate "C" not null check (octet_length(name) between 1 and 1024),
    owner uuid,
    size bigint not null check (size >= 0),
    mime text not null,
    etag text not null,
    cache_control text not null default 'no-cache',
    metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    version uuid not null unique,
    inline boolean not null default false,
    constraint objects_bucket_name_key unique (bucket, name)
);
-- Streams of changes carry whole rows, old and new.
alter table storage.objects replica identity full;
comment on table storage.objects is 'Stored objects. Policies of buckets judge these rows.';
comment on column storage.objects.id is 'Stays the same for as long as the object exists, whatever it is called and holds.';
comment on column storage.objects.bucket is 'Where it is.';
comment on column storage.objects.name is 'What it is called there: parts between slashes. Normal form C.';
comment on column storage.objects.owner is 'Who stored it. Null: the secret key. No reference: the object outlives him.';
comment on column storage.objects.size is 'Bytes of its content.';
comment on column storage.objects.mime is 'Media type without parameters, in lower case.';
comment on column storage.objects.etag is 'SHA-256 of the content in hexadecimal; of content that came in parts, that of the parts'' digests, `-` and their number.';
comment on column storage.objects.cache_control is 'The header of that name.';
comment on column storage.objects.metadata is 'What whoever stored it says of it.';
comment on column storage.objects.created_at is 'When it was first stored.';
comment on column storage.objects.updated_at is 'When its content, its name or what is said of it last changed.';
comment on column storage.objects.version is 'Under which key its content lies.';
comment on column storage.objects.inline is 'A browser may show it in place: what it says it is was found in its first bytes, and is harmless.';

create table storage.uploads (
    id uuid primary key default basewright.uuid_v7(),
    kind text not null check (kind in ('signed', 'resumable')),
    -- No reference: the row outlives its bucket until the sweeper has removed what was gathered.
    bucket text not null,
    name text collate "C" not null,
    principal jsonb not null check (jsonb_typeof(principal) = 'object'),
    upsert boolean not null default false,
    mime text,
    cache_control text not null default 'no-cache',
    metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
    size bigint check (size >= 0),
    version uuid not null,
    progress jsonb,
    told text,
    granted_by uuid references storage.uploads (id) on delete set null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index uploads_expires_at_idx on storage.uploads (expires_at);
create index uploads_principal_idx on storage.uploads using hash (principal);
create index uploads_granted_by_idx on storage.uploads (granted_by) where granted_by is not null;
create index uploads_version_idx on storage.uploads (version);
comment on table storage.uploads is 'Uploads that were granted and are not finished. None of them is visible as an object.';
comment on column storage.uploads.id is 'What its URL or token names.';
comment on column storage.uploads.kind is '`signed`: whoever has the token may store one object. `resumable`: comes in pieces.';
comment on column storage.uploads.bucket is 'Where the object will be.';
comment on column storage.uploads.name is 'What it will be called.';
comment on column storage.uploads.principal is 'Whose rights count when it is finished.';
comment on column storage.uploads.upsert is 'Whether it may replace an object.';
comment on column storage.uploads.mime is 'The media type that was declared.';
comment on column storage.uploads.cache_control is 'As in objects.';
comment on column storage.uploads.metadata is 'As in objects.';
comment on column storage.uploads.size is 'How many bytes there will be, once that is known.';
comment on column storage.uploads.version is 'Under which key the content is gathered.';
comment on column storage.uploads.progress is 'How far it has come, and where the pieces lie.';
comment on column storage.uploads.told is 'What its sender said of it, as he wrote it.';
comment on column storage.uploads.granted_by is 'The signed upload that it goes on with. Null once that is over: then nobody but whoever granted it goes on.';
comment on column storage.uploads.created_at is 'When it was granted.';
comment on column storage.uploads.expires_at is 'Until when it can be gone on with.';

create table storage.trash (
    version uuid primary key,
    at timestamptz not null default now()
);
create index trash_at_idx on storage.trash (at);
comment on table storage.trash is 'Content that no object has any more, to be removed.';
comment on column storage.trash.version is 'Under which key it lies.';
comment on column storage.trash.at is 'Since when.';

create function basewright.discard_version() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    insert into storage.trash (version) values (old.version) on conflict do nothing;
    return null;
end
$$;
comment on function basewright.discard_version() is 'AFTER trigger of objects: however a version loses its row, its content is removed.';
create trigger objects_discard_deleted after delete on storage.objects
    for each row execute function basewright.discard_version();
create trigger objects_discard_replaced after update on storage.objects
    for each row when (old.version is distinct from new.version) execute function basewright.discard_version();

-- One row a bucket is a place where all its uploads would wait for each other: it is written only where a quota asks for it.
create function basewright.count_used() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
    full_bucket text;
begin
    if tg_op <> 'INSERT' then
        update storage.buckets set used = used - old.size where id = old.bucket and quota is not null;
    end if;
    if tg_op <> 'DELETE' then
        update storage.buckets set used = used + new.size where id = new.bucket and quota is not null;
        if tg_op = 'INSERT' or new.size > old.size or new.bucket <> old.bucket then
            select id into full_bucket from storage.buckets where id = new.bucket and used > quota;
            if found then
                raise exception using errcode = '53100', message = 'the bucket is full', constraint = 'buckets_quota';
            end if;
        end if;
    end if;
    return null;
end
$$;
comment on function basewright.count_used() is 'AFTER trigger of objects: keeps what a bucket with a quota holds, and refuses more than that.';
create trigger objects_count_new after insert or delete on storage.objects
    for each row execute function basewright.count_used();
create trigger objects_count_changed after update of size, bucket on storage.objects
    for each row when (old.size <> new.size or old.bucket <> new.bucket) execute function basewright.count_used();

create function basewright.begin_count() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    -- What is being stored meanwhile was not counted: it is waited for, and what comes later finds the quota.
    lock table storage.objects in share row exclusive mode;
    select coalesce(sum(size), 0) into new.used from storage.objects where bucket = new.id;
    return new;
end
$$;
comment on function basewright.begin_count() is 'BEFORE trigger of buckets: counts what is there when a quota is set.';
create trigger buckets_begin_count before update of quota on storage.buckets
    for each row when (old.quota is null and new.quota is not null) execute function basewright.begin_count();

revoke all on function basewright.discard_version(), basewright.count_used(), basewright.begin_count() from public;
