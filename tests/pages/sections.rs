//! The headings of `docs/project.md`, each with words and an example.

/// One heading and its keys.
pub(super) struct Section {
    /// How deep: `##` or `###`.
    pub(super) depth: usize,
    pub(super) title: &'static str,
    pub(super) says: &'static str,
    /// Where its keys stand in the schema; where there are several, a key says in which it is.
    pub(super) at: &'static [&'static str],
    /// A part of the project that all examples together are.
    pub(super) example: &'static str,
}

pub(super) const SECTIONS: &[Section] = &[
    Section {
        depth: 2,
        title: "The file",
        says: "The sections of a file, all of them optional. A project may have as many files as it likes: what they say is put together, \
               and a name is declared once.",
        at: &[""],
        example: "",
    },
    Section {
        depth: 2,
        title: "Collections",
        says: "Under `collections`, by name: one table each. `id` (a uuid), `created_at` and `updated_at` are there unless the collection says \
               otherwise.",
        at: &["/$defs/collection"],
        example: "\
collections:
  people:
    renamed_from: persons
    fields:
      id:   { type: uuid, references: auth.users, on_delete: cascade, default: auth.id }
      name: { type: text, required: true }
  stock:
    primary_key: [shop, item]
    timestamps: false
    realtime: false
    fields:
      shop:  text
      item:  text
      code:  text
      count: { type: integer, required: true, default: 0 }
    unique:  [[shop, code]]
    indexes: [[shop, -count]]
    checks:  [count >= 0]
  recipes:
    fields: { title: text, words: text }
    search: { fields: [title, words], language: english }
",
    },
    Section {
        depth: 2,
        title: "Fields",
        says: "A field is a kind alone (`title: text`), or a mapping. Which keys a kind takes: `values` belongs to `enum`; `to`, `inverse` and \
               `on_delete` to `relation`; `references` to `uuid`; `schema` to `json`; `match` to text; `min` and `max` to what has a size or an order.",
        at: &["/$defs/options"],
        example: "\
collections:
  notes:
    fields:
      title:  { type: text, required: true, min: 1, max: 200, match: '^[^<>]*$' }
      slug:   { type: text, unique: true, renamed_from: permalink }
      status: { type: enum, values: [draft, live], default: draft }
      author: { type: relation, to: people, inverse: written, on_delete: cascade }
      owner:  { type: uuid, references: auth.users }
      meta:   { type: json, schema: { type: object, required: [color] } }
      tags:   'text[]'
",
    },
    Section {
        depth: 2,
        title: "Indexes",
        says: "An entry of `indexes` is a list of fields, or a mapping.",
        at: &["/$defs/index/anyOf/1"],
        example: "\
collections:
  albums:
    fields: { title: text, tags: 'text[]' }
    indexes: [[title], { fields: [tags], using: gin }]
",
    },
    Section {
        depth: 2,
        title: "Search",
        says: "`search` of a collection: a column that Postgres keeps, with an index of its own. It answers the filters `fts`, `plfts`, `phfts` \
               and `wfts`, is no member of a record, and is there for whoever may read all of its fields.",
        at: &["/$defs/search"],
        example: "\
collections:
  pages:
    fields: { title: text, words: text }
    search: { fields: [title, words], language: english }
",
    },
    Section {
        depth: 2,
        title: "Roles",
        says: "Under `roles`, by name, besides `anon` (everybody), `authenticated` (whoever is signed in; inherits `anon`) and `service_role` (the \
               secret key). A role has the rules of those that it inherits.",
        at: &["/$defs/role"],
        example: "\
roles:
  editor: { inherits: [authenticated] }
  chief:  { inherits: [editor] }
",
    },
    Section {
        depth: 2,
        title: "Conditions",
        says: "Under `conditions`, by name: what rules use in more than one place. The language is that of \
               [policies](policies.md).",
        at: &[],
        example: "\
conditions:
  mine:  author == auth.id
  live:  status == 'live'
",
    },
    Section {
        depth: 2,
        title: "Policies",
        says: "Under `policies`, by collection and action: lists of rules. Nothing is allowed unless one of them allows it.",
        at: &["/$defs/actions"],
        example: "\
policies:
  notes:
    read:   [{ role: anon, when: live }, { role: authenticated, when: mine }]
    create: [{ role: authenticated, fields: [title, slug], set: { author: auth.id } }]
    update: [{ role: authenticated, when: mine, fields: { except: [author, owner] }, check: old.status == status }]
    delete: [{ role: editor }]
",
    },
    Section {
        depth: 3,
        title: "A rule",
        says: "Who, and under which conditions. A write needs one rule that admits all of it.",
        at: &["/$defs/rule.read", "/$defs/rule.create", "/$defs/rule.update", "/$defs/rule.delete"],
        example: "\
policies:
  albums:
    read:   [{ role: anon, when: title != null, fields: [title] }]
    create: [{ role: authenticated, check: title != null, set: { tags: [] }, fields: { except: [tags] } }]
",
    },
    Section {
        depth: 2,
        title: "Buckets",
        says: "Under `buckets`, by name: places for files.",
        at: &["/$defs/bucket"],
        example: "\
buckets:
  avatars: { public: true, max_size: 2MB, accept: ['image/*'], quota: 10GB }
  exports:
    policies:
      read: [{ role: authenticated, when: owner == auth.id }]
",
    },
    Section {
        depth: 3,
        title: "Policies of a bucket",
        says: "Lists of rules by action, as for collections. Conditions speak of an object's `name`, `bucket`, `owner`, `size`, `mime`, `metadata`, \
               `created_at` and `updated_at`.",
        at: &["/$defs/bucket/properties/policies"],
        example: "\
buckets:
  papers:
    policies:
      read:   [{ role: editor }]
      create: [{ role: editor, check: size < 5000000 }]
      update: [{ role: editor, when: owner == auth.id }]
      delete: [{ role: chief }]
",
    },
    Section {
        depth: 3,
        title: "A rule of a bucket",
        says: "Who, and under which conditions.",
        at: &[
            "/$defs/rule.bucket.read",
            "/$defs/rule.bucket.create",
            "/$defs/rule.bucket.update",
            "/$defs/rule.bucket.delete",
        ],
        example: "\
buckets:
  letters:
    policies:
      read:   [{ role: authenticated, when: \"name.startsWith(auth.id + '/')\" }]
      create: [{ role: authenticated, check: \"name.startsWith(auth.id + '/')\" }]
",
    },
    Section {
        depth: 2,
        title: "Channels",
        says: "Under `channels`, by topic: who hears and speaks on it. `{room}` is one part of the topic, which conditions know by its name. A topic \
               that is declared is always private.",
        at: &["/$defs/channel"],
        example: "\
channels:
  'room:{room}':
    read:  [{ role: authenticated, when: room != 'attic' }]
    write: [{ role: editor }]
",
    },
    Section {
        depth: 3,
        title: "A rule of a channel",
        says: "Who, and under which condition.",
        at: &["/$defs/rule.channel"],
        example: "\
channels:
  'desk:{person}':
    read: [{ role: authenticated, when: person == auth.id }]
",
    },
    Section {
        depth: 2,
        title: "Realtime",
        says: "Under `realtime`: what holds for every channel.",
        at: &["/properties/realtime"],
        example: "realtime: { public_channels: false }\n",
    },
    Section {
        depth: 2,
        title: "Limits",
        says: "Under `limits`: what bounds a request.",
        at: &["/properties/limits"],
        example: "\
limits:
  rows: 500
  body: 1MB
  upload: 100MiB
  statement_timeout: 5s
  embed_depth: 3
  filter_terms: 100
  in_values: 100
  bulk_rows: 1000
  json_depth: 16
",
    },
    Section {
        depth: 2,
        title: "Sign-in",
        says: "Under `auth`. Nothing has to be written; what is not, has a default that is safe.",
        at: &["/properties/auth"],
        example: "\
auth:
  site_url: https://app.example.com
  redirect_urls: ['http://localhost:5173/**']
  manual_linking: true
  signup: { anonymous: true }
  email: { expiry: 10m }
  password: { min_length: 12 }
  sessions: { inactivity: 7d }
  mfa: { issuer: Acme }
  rate_limits: { sign_in: 10/1m }
  oauth:
    github: { client_id: env(GITHUB_ID), client_secret: env(GITHUB_SECRET) }
  issuers:
    partner: { issuer: 'https://id.partner.test', audience: acme }
",
    },
    Section {
        depth: 3,
        title: "auth.signup",
        says: "",
        at: &["/properties/auth/properties/signup"],
        example: "signup: { enabled: true, confirm_email: true, anonymous: false }\n",
    },
    Section {
        depth: 3,
        title: "auth.password",
        says: "",
        at: &["/properties/auth/properties/password"],
        example: "password: { min_length: 12 }\n",
    },
    Section {
        depth: 3,
        title: "auth.email",
        says: "",
        at: &["/properties/auth/properties/email"],
        example: "email: { enabled: true, code_length: 8, expiry: 10m, invite_expiry: 7d, confirm_both: true, reauthenticate: true }\n",
    },
    Section {
        depth: 3,
        title: "auth.sessions",
        says: "",
        at: &["/properties/auth/properties/sessions"],
        example: "sessions: { access_token: 5m, reuse_interval: 10s, inactivity: 7d, time_box: 30d, single: true }\n",
    },
    Section {
        depth: 3,
        title: "auth.mfa",
        says: "",
        at: &["/properties/auth/properties/mfa"],
        example: "mfa: { totp: true, max_factors: 3, issuer: Acme }\n",
    },
    Section {
        depth: 3,
        title: "auth.rate_limits",
        says: "Each server counts for itself.",
        at: &["/properties/auth/properties/rate_limits"],
        example: "\
rate_limits:
  sign_in: 10/1m
  sign_up: 30/1h
  anonymous: 30/1h
  mail: 30/1h
  mail_to: 1/1m
  verify: 30/5m
  refresh: 150/5m
  rest_anonymous: false
",
    },
    Section {
        depth: 3,
        title: "auth.oauth",
        says: "By name: `github`, which takes `client_id`, `client_secret` and `scopes`, or any other, which is a provider of OpenID Connect and needs `issuer` and \
               `client_id`.",
        at: &["/properties/auth/properties/oauth/additionalProperties"],
        example: "\
oauth:
  acme: { issuer: 'https://id.acme.test', client_id: web, client_secret: env(ACME_SECRET), scopes: [groups], audiences: [ios] }
",
    },
    Section {
        depth: 3,
        title: "auth.issuers",
        says: "By name.",
        at: &["/properties/auth/properties/issuers/additionalProperties"],
        example: "\
issuers:
  branch: { issuer: 'https://id.branch.test', audience: acme, roles_claim: groups, roles: [editor] }
",
    },
    Section {
        depth: 2,
        title: "Mail",
        says: "Under `mail`.",
        at: &["/properties/mail"],
        example: "mail: { smtp: env(SMTP_URL), from: 'Acme <hello@acme.test>' }\n",
    },
    Section {
        depth: 2,
        title: "Tests",
        says: "Under `tests`: `basewright policy test` asks them, in memory and of a scratch database.",
        at: &["/properties/tests"],
        example: "\
tests:
  given:
    users: [ada, bob]
    people: [{ id: ada, name: Ada }]
    notes: [{ id: n1, title: Hello, status: draft, author: ada }]
  cases:
    - { as: anon, read: notes/n1, is: denied }
",
    },
    Section {
        depth: 3,
        title: "A case",
        says: "Asks for one thing: `read`, `create`, `update`, `delete` or `subscribe`.",
        at: &["/$defs/case"],
        example: "\
tests:
  given:
    users: [cy]
    people: [{ id: cy, name: Cy }]
    notes: [{ id: n2, title: Hi, status: live, author: cy }]
  cases:
    - { as: 'user:cy', read: notes, sees: [n2] }
    - { as: 'user:cy', create: notes, with: { title: One }, is: allowed }
    - { as: 'user:bo', update: notes/n2, with: { title: Two }, is: denied, because: mine }
    - { as: 'user:bo+editor', delete: notes/n2, is: allowed }
    - { as: anon, read: albums, is: allowed, hidden: [tags] }
    - { as: anon, subscribe: notes, when_created: { n3: { title: New, status: live } }, sees: insert }
    - { as: anon, subscribe: notes, when_updated: { n2: { status: draft } }, sees: delete }
    - { as: anon, subscribe: notes, when_deleted: n2, sees: delete }
",
    },
];
