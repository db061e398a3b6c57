-- The schema `auth`: who may sign in, and what each of them is. Passwords, sessions, factors and
-- identities of providers join these tables in later migrations.

create schema auth;
revoke all on schema auth from public;
comment on schema auth is 'Users, their roles, and credentials that were revoked.';

create table auth.users (
    id uuid primary key default basewright.uuid_v7(),
    email text check (char_length(email) between 3 and 320),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index users_email_key on auth.users (lower(email)) where email is not null;
create trigger users_updated_at before update on auth.users
    for each row execute function basewright.touch_updated_at();
-- Caches follow these tables in the WAL and need the old row whole.
alter table auth.users replica identity full;
comment on table auth.users is 'Everybody who can sign in. Relations to users reference this table.';
comment on column auth.users.id is 'What tokens carry as `sub` and conditions read as `auth.id`.';
comment on column auth.users.email is 'As the user wrote it; unique without regard to case. Null for users without one.';
comment on column auth.users.created_at is 'When the user was created.';
comment on column auth.users.updated_at is 'When the row last changed; kept by a trigger.';

create table auth.user_roles (
    user_id uuid not null references auth.users (id) on delete cascade,
    role text not null check (char_length(role) between 1 and 63),
    granted_at timestamptz not null default now(),
    primary key (user_id, role)
);
alter table auth.user_roles replica identity full;
comment on table auth.user_roles is 'The project''s own roles of each user: the only source of roles for users'' tokens.';
comment on column auth.user_roles.user_id is 'Who has the role. A deleted user loses all of them.';
comment on column auth.user_roles.role is 'A role that the project declares; an unknown one grants nothing.';
comment on column auth.user_roles.granted_at is 'When it was granted.';

create table auth.revoked_keys (
    jti text primary key check (char_length(jti) between 1 and 255),
    revoked_at timestamptz not null default now()
);
alter table auth.revoked_keys replica identity full;
comment on table auth.revoked_keys is 'API keys and operator tokens that are refused although their signature holds.';
comment on column auth.revoked_keys.jti is 'The `jti` claim of the refused token.';
comment on column auth.revoked_keys.revoked_at is 'When it was revoked.';
