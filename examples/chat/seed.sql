-- Rows to play with. `basewright dev` runs this file once, in the transaction that makes the tables of a new database.

insert into auth.users (id, email, email_confirmed_at) values
    ('00000000-0000-4000-8000-000000000ada', 'ada@example.test', now()),
    ('00000000-0000-4000-8000-000000000b0b', 'bob@example.test', now()),
    ('00000000-0000-4000-8000-000000000eee', 'eve@example.test', now()),
    ('00000000-0000-4000-8000-000000000aaa', 'mae@example.test', now());    -- in no room: a stranger

-- All of them sign in with the password "analytical engine".
insert into auth.passwords (user_id, hash)
select id, '$2b$10$mL8de.1CcWDEnNFhiTYuzuk3hpwUhYHqfbaH956LHTwpsOBY5WNgC' from auth.users;
insert into auth.identities (user_id, provider, provider_id, identity_data)
select id, 'email', id::text, jsonb_build_object('sub', id, 'email', email, 'email_verified', true) from auth.users;

insert into profiles (id, handle, name)
select id, split_part(email, '@', 1), initcap(split_part(email, '@', 1)) from auth.users;

insert into rooms (id, name, owner) values
    ('00000000-0000-4000-8000-000000000001', 'Engine room', '00000000-0000-4000-8000-000000000ada'),
    ('00000000-0000-4000-8000-000000000002', 'Kitchen',     '00000000-0000-4000-8000-000000000b0b');

insert into members (room, "user")
select rooms.id, profiles.id from rooms, profiles
where (rooms.name, handle) in (('Engine room', 'ada'), ('Engine room', 'bob'),
                               ('Kitchen', 'ada'), ('Kitchen', 'bob'), ('Kitchen', 'eve'));

insert into messages (room, author, body, created_at, updated_at)
select rooms.id, profiles.id, said, made, made
from (values
    ('Engine room', 'ada', 'The second mill is running since this morning.', 95),
    ('Engine room', 'bob', 'And the cards?', 93),
    ('Engine room', 'ada', 'Cut and checked, all sixty.', 92),
    ('Engine room', 'ada', 'It can weave patterns, you know. Not only numbers.', 91),
    ('Engine room', 'bob', 'Then let it weave us a table of dinners.', 40),
    ('Engine room', 'ada', 'Thursday is yours. I bring bread.', 38),
    ('Kitchen', 'bob', 'Soup on Thursday. Who eats with us?', 70),
    ('Kitchen', 'eve', 'Me! Shall I bring anything?', 66),
    ('Kitchen', 'bob', 'Onions. One can never have enough onions.', 64),
    ('Kitchen', 'ada', 'Bread is in the oven.', 20)
) t (room, handle, said, ago)
join rooms on rooms.name = room
join profiles using (handle),
lateral (select now() - ago * interval '1 minute') m (made);
