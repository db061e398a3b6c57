-- 1,000 people, 20,000 posts in 100 categories, 100 tags of which each post has three, 10 comments a post.
create function pg_temp.key(kind int, n bigint) returns uuid language sql immutable as
  $$ select ('0000000' || kind || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
insert into person (id, name, email, active)
select pg_temp.key(1, i), 'Person ' || i, 'person' || i || '@example.test', i % 50 <> 0 from generate_series(1, 1000) i;
insert into tag (id, name, retired) select pg_temp.key(2, i), 'tag ' || i, i % 25 = 0 from generate_series(1, 100) i;
insert into post (id, author, category, title, body, live, created_at)
select pg_temp.key(3, i), pg_temp.key(1, 1 + i * 7 % 1000), 1 + i % 100, 'title of post ' || i, repeat('lorem ipsum ', 20),
       i % 10 <> 0, now() - i * interval '1 minute'
from generate_series(1, 20000) i;
insert into post_tag (post, tag, hidden)
select pg_temp.key(3, i), pg_temp.key(2, 1 + (i + j * 31) % 100), (i + j) % 20 = 0
from generate_series(1, 20000) i, generate_series(1, 3) j;
insert into comment (post, author, body, hidden, created_at)
select pg_temp.key(3, i), pg_temp.key(1, 1 + (i * 13 + j) % 1000), 'comment ' || j || ' says ' || repeat('dolor sit ', 6),
       (i + j) % 10 = 0, now() - (i * 10 + j) * interval '1 second'
from generate_series(1, 20000) i, generate_series(1, 10) j;
vacuum analyze;
checkpoint;
