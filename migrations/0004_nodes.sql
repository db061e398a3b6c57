-- The servers that share this database. Each reads the WAL from a slot of its own, and a slot that nobody reads
-- holds WAL back: a node that has not been seen for long loses its slot to any other that looks.

create table basewright.nodes (
    name text primary key check (name ~ '^[a-z0-9_]{1,32}$'),
    system text,
    publication text,
    floor text,
    seen_at timestamptz not null default now()
);
comment on table basewright.nodes is 'The servers that read, or have lately read, changes from this database.';
comment on column basewright.nodes.name is 'The server''s BASEWRIGHT_NODE; its slot is named after the database''s oid and this.';
comment on column basewright.nodes.system is 'The system identifier and timeline that it last read from.';
comment on column basewright.nodes.publication is 'The publication as it last saw it: what was altered while it was away may have kept changes from it.';
comment on column basewright.nodes.floor is 'Where its replay window began: no change was published between that and where its slot stands.';
comment on column basewright.nodes.seen_at is 'When it was last there.';
