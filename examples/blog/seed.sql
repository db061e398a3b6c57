-- Rows to play with. `basewright dev` runs this file once, in the transaction that makes the tables of a new
-- database, as the role that owns them: policies do not apply here, constraints do. It is plain Postgres, and it
-- gives the same rows every time.

-- Ids that sort by time like those that the server makes (version 7), but the same on every machine.
create function pg_temp.id(made timestamptz, name text) returns uuid language sql immutable as $$
    select (lpad(to_hex((extract(epoch from made) * 1000)::bigint), 12, '0')
        || '7' || left(md5(name), 3) || '8' || right(md5(name), 15))::uuid
$$;

-- One of several texts, by number.
create function pg_temp.pick(number bigint, variadic choices text[]) returns text language sql immutable as $$
    select choices[1 + number % cardinality(choices)]
$$;

-- People: three with a name, who stand in the examples, and fifty-seven others.
insert into auth.users (id, email, email_confirmed_at) values
    ('00000000-0000-4000-8000-000000000ada', 'ada@example.test', now()),   -- writes
    ('00000000-0000-4000-8000-000000000b0b', 'bob@example.test', now()),   -- writes, and is an editor
    ('00000000-0000-4000-8000-000000000eee', 'eve@example.test', now());   -- reads and comments

-- All three sign in with the password "analytical engine". A hash of another make (this is bcrypt) is as good: it is
-- replaced when its user first signs in.
insert into auth.passwords (user_id, hash)
select id, '$2b$10$mL8de.1CcWDEnNFhiTYuzuk3hpwUhYHqfbaH956LHTwpsOBY5WNgC' from auth.users;
insert into auth.identities (user_id, provider, provider_id, identity_data)
select id, 'email', id::text, jsonb_build_object('sub', id, 'email', email, 'email_verified', true) from auth.users;

insert into auth.users (id, email)
select pg_temp.id('2026-01-02 08:00+00', 'user ' || n), 'user' || n || '@example.test'
from generate_series(4, 60) n;

-- What a user is beyond being signed in stands here and nowhere else.
insert into auth.user_roles (user_id, role) values ('00000000-0000-4000-8000-000000000b0b', 'editor');

insert into profiles (id, handle, name, bio, email, created_at, updated_at) values
    ('00000000-0000-4000-8000-000000000ada', 'ada', 'Ada', 'Writes about engines.', 'ada@example.test',
     '2026-01-01 08:00+00', '2026-01-01 08:00+00'),
    ('00000000-0000-4000-8000-000000000b0b', 'bob', 'Bob', 'Edits, and cooks on Sundays.', 'bob@example.test',
     '2026-01-01 09:00+00', '2026-01-01 09:00+00'),
    ('00000000-0000-4000-8000-000000000eee', 'eve', 'Eve', null, 'eve@example.test',
     '2026-01-01 10:00+00', '2026-01-01 10:00+00');

insert into profiles (id, handle, name, bio, email, created_at, updated_at)
select
    pg_temp.id('2026-01-02 08:00+00', 'user ' || n),
    'user' || n,
    pg_temp.pick(n, 'Alma', 'Benno', 'Carla', 'Dario', 'Edda', 'Femi', 'Greta', 'Hugo', 'Ines', 'Jonas', 'Kaito')
        || ' ' || pg_temp.pick(n / 5, 'Abe', 'Brandt', 'Castro', 'Diallo', 'Eriksen', 'Farkas', 'Garcia'),
    case when n % 3 = 0 then 'One of those who write here.' end,
    'user' || n || '@example.test',
    made, made
from generate_series(4, 60) n, lateral (select '2026-01-02 08:00+00'::timestamptz + n * interval '1 hour') t (made);

insert into tags (id, name, color, created_at, updated_at)
select pg_temp.id(made, name), name, color, made, made
from (values ('engines', 'blue'), ('cooking', 'red'), ('gardens', 'green'), ('travel', 'blue'), ('books', 'gray'),
             ('music', 'red'), ('history', 'gray'), ('tools', 'green'), ('weather', 'blue'), ('letters', 'gray')
     ) t (name, color),
     lateral (select '2026-01-01 08:00+00'::timestamptz) m (made);

-- Posts that the examples speak of. They are the newest.
insert into posts (id, title, slug, body, status, author, published_at, meta, notes, created_at, updated_at)
select pg_temp.id(made, slug), title, slug, body, status, author::uuid,
       case status when 'published' then made + interval '1 day' end, meta::jsonb, notes, made, made
from (values
    ('Notes on the engine', 'notes-on-the-engine', 'It weaves algebraic patterns.', 'published',
     '00000000-0000-4000-8000-000000000ada', '2026-03-01 08:00+00'::timestamptz,
     '{"description": "What it can do.", "reading_minutes": 7}', 'Check the third figure.'),
    ('Soup for a long week', 'soup-for-a-long-week', 'Begin with onions.', 'published',
     '00000000-0000-4000-8000-000000000b0b', '2026-02-27 08:00+00',
     '{"reading_minutes": 2, "sources": ["grandmother"]}', null),
    ('On punched cards', 'on-punched-cards', null, 'draft',
     '00000000-0000-4000-8000-000000000ada', '2026-03-02 08:00+00', '{}', null),
    ('Bread without a clock', 'bread-without-a-clock', 'It is ready when it is ready.', 'review',
     '00000000-0000-4000-8000-000000000b0b', '2026-03-03 08:00+00', '{}', 'Needs a picture.')
) t (title, slug, body, status, author, made, meta, notes);

-- A thousand others: seven in ten are published, two are drafts, one waits for review.
insert into posts (id, title, slug, body, status, author, published_at, meta, notes, created_at, updated_at)
select
    pg_temp.id(made, 'post ' || n),
    pg_temp.pick(n, 'A day with', 'Notes on', 'Against', 'In praise of', 'The trouble with', 'Ten years of', 'Learning')
        || ' ' || pg_temp.pick(n / 7, 'gardens', 'old maps', 'small engines', 'soup', 'the sea', 'letters', 'rain',
                               'bicycles', 'silence', 'markets', 'trains'),
    'post-' || n,
    'This is post number ' || n || '. ' || repeat('It goes on for a while. ', (n % 12)::integer),
    status,
    author.id,
    case status when 'published' then made + interval '1 day' end,
    jsonb_build_object('reading_minutes', 1 + n % 15),
    case when n % 25 = 0 then 'Ask the author about the ending.' end,
    made, made
from generate_series(1, 1000) n,
     lateral (select '2026-01-03 08:00+00'::timestamptz + n * interval '70 minutes',
                     case when n % 10 < 7 then 'published' when n % 10 < 9 then 'draft' else 'review' end) t (made, status)
     join (select id, row_number() over (order by created_at, id) as number from profiles) author on true
where author.number = 1 + (n * 7) % 60;

-- One to three tags on each.
insert into post_tags (post, tag)
select distinct post.id, tag.id
from (select id, row_number() over (order by created_at, id) as number from posts) post
     cross join generate_series(0, 2) k
     join (select id, row_number() over (order by name) as number from tags) tag
       on tag.number = 1 + (post.number * (k + 3) + k) % 10
where k <= post.number % 3;

-- Comments stand under what is published; one in forty is held back.
insert into comments (id, post, author, body, hidden, created_at, updated_at)
select
    pg_temp.id(made, 'comment ' || post.number || ' ' || k),
    post.id,
    author.id,
    pg_temp.pick(post.number + k, 'I had not thought of it that way.', 'Thank you for this.', 'And the second part?',
                 'My neighbour says the opposite.', 'Well put.', 'Where can one read more?', 'I disagree, politely.'),
    (post.number * 5 + k) % 40 = 0,
    made, made
from (select id, published_at, row_number() over (order by created_at, id) as number
      from posts where status = 'published') post
     cross join generate_series(1, 8) k
     join (select id, row_number() over (order by created_at, id) as number from profiles) author
       on author.number = 1 + (post.number * 11 + k * 17) % 60,
     lateral (select post.published_at + k * interval '3 hours') t (made)
where k <= 1 + post.number % 8;


