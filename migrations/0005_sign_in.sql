-- Signing in: what a user is known by, what proves it, and what was granted for it. What is a secret is kept as a
-- hash, except for the secrets of second factors, of which the code of the moment has to be computed.

alter table auth.users
    add column email_confirmed_at timestamptz,
    add column new_email text check (char_length(new_email) between 3 and 320),
    add column app_metadata jsonb not null default '{}' check (jsonb_typeof(app_metadata) = 'object'),
    add column user_metadata jsonb not null default '{}' check (jsonb_typeof(user_metadata) = 'object'),
    add column is_anonymous boolean not null default false,
    add column invited_at timestamptz,
    add column confirmation_sent_at timestamptz,
    add column recovery_sent_at timestamptz,
    add column email_change_sent_at timestamptz,
    add column reauthentication_sent_at timestamptz,
    add column last_sign_in_at timestamptz,
    add column banned_until timestamptz,
    add column deleted_at timestamptz;
comment on column auth.users.email_confirmed_at is 'When it was proven that mail to this address reaches the user. Null: nobody has proven anything.';
comment on column auth.users.new_email is 'The address that the user wants instead and has not proven yet.';
comment on column auth.users.app_metadata is 'What the operator knows of the user; the user cannot change it.';
comment on column auth.users.user_metadata is 'What the user says of himself: never a reason to allow anything.';
comment on column auth.users.is_anonymous is 'Signed in without any identity so far.';
comment on column auth.users.invited_at is 'When the user was invited by mail.';
comment on column auth.users.confirmation_sent_at is 'When the last mail to confirm the address was sent.';
comment on column auth.users.recovery_sent_at is 'When the last mail to recover the account or to sign in was sent.';
comment on column auth.users.email_change_sent_at is 'When the last mail to confirm another address was sent.';
comment on column auth.users.reauthentication_sent_at is 'When the last code to prove presence was sent.';
comment on column auth.users.last_sign_in_at is 'When the user last proved who he is.';
comment on column auth.users.banned_until is 'Until then the user cannot sign in; infinity is for good.';
comment on column auth.users.deleted_at is 'The user is gone and the row stays for what refers to it.';

create table auth.passwords (
    user_id uuid primary key references auth.users (id) on delete cascade,
    hash text not null,
    changed_at timestamptz not null default now()
);
comment on table auth.passwords is 'Passwords of users who have one; apart from the users, so that no stream and no cache ever carries them.';
comment on column auth.passwords.user_id is 'Whose it is.';
comment on column auth.passwords.hash is 'In PHC format: argon2id, or what an import brought along until the next sign-in.';
comment on column auth.passwords.changed_at is 'When it was set.';

create table auth.identities (
    id uuid primary key default basewright.uuid_v7(),
    user_id uuid not null references auth.users (id) on delete cascade,
    provider text not null check (char_length(provider) between 1 and 63),
    provider_id text not null check (char_length(provider_id) between 1 and 255),
    identity_data jsonb not null default '{}' check (jsonb_typeof(identity_data) = 'object'),
    last_sign_in_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (provider, provider_id)
);
create index identities_user_id_idx on auth.identities (user_id);
create trigger identities_updated_at before update on auth.identities
    for each row execute function basewright.touch_updated_at();
comment on table auth.identities is 'By what a user can be recognised: a proven address (`email`), or a subject of a provider.';
comment on column auth.identities.id is 'What the wire calls `identity_id`.';
comment on column auth.identities.user_id is 'Who is recognised.';
comment on column auth.identities.provider is '`email`, or the provider''s name in the project.';
comment on column auth.identities.provider_id is 'The provider''s subject; for `email` the user''s id.';
comment on column auth.identities.identity_data is 'What the provider says of the user.';
comment on column auth.identities.last_sign_in_at is 'When it last let the user in.';
comment on column auth.identities.created_at is 'When it was linked.';
comment on column auth.identities.updated_at is 'When the row last changed; kept by a trigger.';

-- A session lives as long as its row does: to end it is to delete it, and every node hears of that through the WAL.
create table auth.sessions (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    aal smallint not null default 1 check (aal between 1 and 2),
    amr jsonb not null default '[]' check (jsonb_typeof(amr) = 'array'),
    ip inet,
    user_agent text,
    created_at timestamptz not null default now()
);
create index sessions_user_id_idx on auth.sessions (user_id);
create index sessions_created_at_idx on auth.sessions (created_at);
alter table auth.sessions replica identity full;
comment on table auth.sessions is 'Who is signed in. Access tokens name the session, and are refused once it is gone.';
comment on column auth.sessions.id is 'The `session_id` of its access tokens.';
comment on column auth.sessions.user_id is 'Whose it is. A deleted user has none.';
comment on column auth.sessions.aal is 'Authentication assurance level: 2 once a second factor was shown.';
comment on column auth.sessions.amr is 'By what the user proved who he is, newest first: [{"method", "timestamp"}].';
comment on column auth.sessions.ip is 'From where it was opened.';
comment on column auth.sessions.user_agent is 'With what it was opened.';
comment on column auth.sessions.created_at is 'When it was opened.';

-- One row a session. Each refresh makes the next token out of the one that was shown and a fresh nonce, so that
-- whoever shows the same one again can be given the same answer, although only hashes and nonces are kept.
create table auth.refresh_tokens (
    session_id uuid primary key references auth.sessions (id) on delete cascade,
    counter integer not null default 0,
    tag_key bytea not null check (octet_length(tag_key) = 32),
    token_hash bytea not null check (octet_length(token_hash) = 32),
    chain jsonb not null default '[]' check (jsonb_typeof(chain) = 'array'),
    refreshed_at timestamptz not null default now()
);
comment on table auth.refresh_tokens is 'The refresh token in force of each session, as a hash.';
comment on column auth.refresh_tokens.session_id is 'Whose it is.';
comment on column auth.refresh_tokens.counter is 'How many there were before it.';
comment on column auth.refresh_tokens.tag_key is 'By what an old token of this session is told from one that never was.';
comment on column auth.refresh_tokens.token_hash is 'SHA-256 of the token in force.';
comment on column auth.refresh_tokens.chain is 'The last tokens, oldest first: [counter, nonce, when it was made (seconds)].';
comment on column auth.refresh_tokens.refreshed_at is 'When the token in force was made: sessions that are not used end.';

create table auth.one_time_tokens (
    id uuid primary key default basewright.uuid_v7(),
    user_id uuid references auth.users (id) on delete cascade,
    purpose text not null check (purpose in
        ('signup', 'invite', 'recovery', 'magiclink', 'email_change_current', 'email_change_new', 'reauthentication')),
    address text not null check (char_length(address) between 3 and 320),
    token_hash bytea not null unique check (octet_length(token_hash) = 32),
    code_hash bytea not null check (octet_length(code_hash) = 32),
    attempts smallint not null default 0,
    payload jsonb not null default '{}' check (jsonb_typeof(payload) = 'object'),
    code_challenge text,
    code_challenge_method text,
    redirect_to text,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index one_time_tokens_address_idx on auth.one_time_tokens (address, purpose);
create index one_time_tokens_user_id_idx on auth.one_time_tokens (user_id);
create index one_time_tokens_expires_at_idx on auth.one_time_tokens (expires_at);
comment on table auth.one_time_tokens is 'Links and codes that were mailed: each is good once, for one purpose and one address.';
comment on column auth.one_time_tokens.id is 'Sorts by time.';
comment on column auth.one_time_tokens.user_id is 'Whose it is. Null for an address that nobody has: it costs what any other costs, and lets nobody in.';
comment on column auth.one_time_tokens.purpose is 'What it is good for.';
comment on column auth.one_time_tokens.address is 'Where it was sent, in lower case.';
comment on column auth.one_time_tokens.token_hash is 'SHA-256 of what the link carries.';
comment on column auth.one_time_tokens.code_hash is 'A keyed hash of the code that can be typed instead.';
comment on column auth.one_time_tokens.attempts is 'How many wrong codes were tried for it.';
comment on column auth.one_time_tokens.payload is 'What comes true with it: of a sign-up the hash of the password and the user''s metadata. What is `void` does not.';
comment on column auth.one_time_tokens.code_challenge is 'Of whoever asked for it with PKCE: the link then answers with a code for him alone.';
comment on column auth.one_time_tokens.code_challenge_method is '`s256` or `plain`.';
comment on column auth.one_time_tokens.redirect_to is 'Where the link leads; judged when it was asked for.';
comment on column auth.one_time_tokens.created_at is 'When it was made.';
comment on column auth.one_time_tokens.expires_at is 'When it is worth nothing.';

create table auth.flows (
    id uuid primary key default basewright.uuid_v7(),
    state_hash bytea unique check (octet_length(state_hash) = 32),
    code_hash bytea unique check (octet_length(code_hash) = 32),
    provider text,
    nonce text,
    verifier text,
    code_challenge text,
    code_challenge_method text,
    redirect_to text not null,
    link_to uuid references auth.users (id) on delete cascade,
    link_session uuid references auth.sessions (id) on delete cascade,
    user_id uuid references auth.users (id) on delete cascade,
    method text,
    sealed bytea,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index flows_expires_at_idx on auth.flows (expires_at);
create index flows_user_id_idx on auth.flows (user_id);
create index flows_link_to_idx on auth.flows (link_to);
create index flows_link_session_idx on auth.flows (link_session);
comment on table auth.flows is 'Sign-ins that are under way in a browser: at a provider, or back with a code that was not exchanged yet.';
comment on column auth.flows.id is 'Sorts by time.';
comment on column auth.flows.state_hash is 'SHA-256 of the `state` that the provider hands back; null once it has.';
comment on column auth.flows.code_hash is 'SHA-256 of the code that the app exchanges for a session; null before.';
comment on column auth.flows.provider is 'At which provider the user is.';
comment on column auth.flows.nonce is 'What the ID token has to repeat.';
comment on column auth.flows.verifier is 'Our side of PKCE with the provider.';
comment on column auth.flows.code_challenge is 'The app''s side of PKCE with us; null for the implicit flow.';
comment on column auth.flows.code_challenge_method is '`s256` or `plain`.';
comment on column auth.flows.redirect_to is 'Where the browser goes in the end; judged at the start.';
comment on column auth.flows.link_to is 'The signed-in user who links an identity, instead of signing in.';
comment on column auth.flows.link_session is 'In which session he began to: with it the linking ends.';
comment on column auth.flows.user_id is 'Who signed in.';
comment on column auth.flows.method is 'By what, as `amr` says it.';
comment on column auth.flows.sealed is 'The provider''s own tokens and whom it speaks of, encrypted with the code that nobody here keeps.';
comment on column auth.flows.created_at is 'When it began.';
comment on column auth.flows.expires_at is 'When it is given up.';

create table auth.factors (
    id uuid primary key default basewright.uuid_v7(),
    user_id uuid not null references auth.users (id) on delete cascade,
    factor_type text not null default 'totp' check (factor_type in ('totp')),
    friendly_name text check (char_length(friendly_name) between 1 and 100),
    status text not null default 'unverified' check (status in ('unverified', 'verified')),
    secret bytea not null,
    last_step bigint not null default 0,
    last_challenged_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index factors_friendly_name_key on auth.factors (user_id, friendly_name) where friendly_name is not null;
create index factors_user_id_idx on auth.factors (user_id);
create index factors_unverified_idx on auth.factors (created_at) where status = 'unverified';
create trigger factors_updated_at before update on auth.factors
    for each row execute function basewright.touch_updated_at();
comment on table auth.factors is 'Second factors.';
comment on column auth.factors.id is 'Sorts by time.';
comment on column auth.factors.user_id is 'Whose it is.';
comment on column auth.factors.factor_type is 'Time-based one-time passwords (RFC 6238).';
comment on column auth.factors.friendly_name is 'What the user calls it.';
comment on column auth.factors.status is 'Verified once a code of it was shown.';
comment on column auth.factors.secret is 'The shared secret: codes are computed from it, so it is kept as it is.';
comment on column auth.factors.last_step is 'The last time step whose code was taken: no code is good twice.';
comment on column auth.factors.last_challenged_at is 'When a code was last asked for.';
comment on column auth.factors.created_at is 'When it was enrolled.';
comment on column auth.factors.updated_at is 'When the row last changed; kept by a trigger.';

create table auth.challenges (
    id uuid primary key default basewright.uuid_v7(),
    factor_id uuid not null references auth.factors (id) on delete cascade,
    attempts smallint not null default 0,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index challenges_factor_id_idx on auth.challenges (factor_id);
create index challenges_expires_at_idx on auth.challenges (expires_at);
comment on table auth.challenges is 'Codes of second factors that were asked for and not shown yet.';
comment on column auth.challenges.id is 'Sorts by time.';
comment on column auth.challenges.factor_id is 'Of which factor.';
comment on column auth.challenges.attempts is 'How many wrong codes were tried for it.';
comment on column auth.challenges.created_at is 'When it was asked for.';
comment on column auth.challenges.expires_at is 'When it is given up.';

create table auth.recovery_codes (
    user_id uuid not null references auth.users (id) on delete cascade,
    code_hash bytea not null check (octet_length(code_hash) = 32),
    created_at timestamptz not null default now(),
    primary key (user_id, code_hash)
);
comment on table auth.recovery_codes is 'Codes that stand for a lost second factor, each once: a used one is deleted.';
comment on column auth.recovery_codes.user_id is 'Whose it is.';
comment on column auth.recovery_codes.code_hash is 'SHA-256 of the code, which has 80 random bits.';
comment on column auth.recovery_codes.created_at is 'When it was given out.';

-- What happened, in the order in which it did. Rows are added and never changed.
create table auth.audit_log (
    id uuid primary key default basewright.uuid_v7(),
    at timestamptz not null default now(),
    event text not null check (event ~ '^[a-z_]{1,63}$'),
    actor uuid,
    actor_role text not null,
    subject uuid,
    session_id uuid,
    ip inet,
    user_agent text,
    details jsonb not null default '{}' check (jsonb_typeof(details) = 'object')
);
create index audit_log_at_idx on auth.audit_log (at);
create index audit_log_subject_idx on auth.audit_log (subject, at) where subject is not null;
create index audit_log_event_idx on auth.audit_log (event, at);
comment on table auth.audit_log is 'Sign-ins, failures, and changes of users, roles, keys and policies. Append-only.';
comment on column auth.audit_log.id is 'Sorts by time.';
comment on column auth.audit_log.at is 'When it happened.';
comment on column auth.audit_log.event is 'What happened.';
comment on column auth.audit_log.actor is 'Who did it, where that is a user. No reference: the entry outlives him.';
comment on column auth.audit_log.actor_role is '`anon`, `authenticated`, `service_role`, `operator` (the command line) or `server`.';
comment on column auth.audit_log.subject is 'To which user it happened.';
comment on column auth.audit_log.session_id is 'In which session.';
comment on column auth.audit_log.ip is 'From where.';
comment on column auth.audit_log.user_agent is 'With what.';
comment on column auth.audit_log.details is 'The rest. Never a secret.';

create function basewright.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception using errcode = '42501', message = pg_catalog.format('%I.%I is append-only', tg_table_schema, tg_table_name);
end
$$;
comment on function basewright.refuse_change() is 'BEFORE trigger of tables to which rows are only added.';
create trigger audit_log_append_only before update or delete or truncate on auth.audit_log
    for each statement execute function basewright.refuse_change();

-- RFC 3339 in UTC with microseconds: how this service's times are written.
create function basewright.rfc3339(at timestamptz) returns text
language sql stable parallel safe
return case
    when at is null then null
    when pg_catalog.isfinite(at) then pg_catalog.to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    when at > pg_catalog.now() then '9999-12-31T23:59:59.000000Z'
    else '0001-01-01T00:00:00.000000Z'
end;
comment on function basewright.rfc3339(timestamptz) is 'A time as sign-in writes it; infinity is the last second that the form can say.';

revoke all on function basewright.refuse_change(), basewright.rfc3339(timestamptz) from public;
