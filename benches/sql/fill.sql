-- 100,000 rows, 1,000 owners with 100 rows each, about 300 bytes of JSON a row.
insert into item (owner, title, body, done, score, meta, created_at)
select 1 + i % 1000, 'title of item ' || i, repeat('lorem ipsum ', 10), i % 2 = 0, i * 0.25,
       jsonb_build_object('tags', jsonb_build_array('a', 'b'), 'n', i), now() - i * interval '1 second'
from generate_series(1, 100000) i;
vacuum analyze item;
checkpoint;
