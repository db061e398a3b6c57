-- A thousand records as the body of a request, and the three ways to insert them by hand, each with its answer for a
-- request that asks for nothing. Written into the folder that psql's variable `folder` names; `user` is their owner.
create temporary table given as
select 1 + i % 50 as sensor, 'label of reading ' || i as label, i * 0.5 as value, i % 3 = 0 as good,
       '2026-01-01T00:00:00Z'::timestamptz + i * interval '1 second' as taken_at, jsonb_build_object('n', i, 'unit', 'C') as meta
from generate_series(1, 1000) i;
\pset tuples_only on
\pset format unaligned
\set columns 'insert into reading (owner, sensor, label, value, good, taken_at, meta) '
\o :folder/readings.json
select json_agg(given) from given;
\o :folder/bulk-values.sql
select :'columns' || 'values ' || string_agg(format('(%L, %s, %L, %s, %L, %L, %L)',
  :'user', sensor, label, value, good, taken_at, meta), ', ') || ';' from given;
\o :folder/bulk-json.sql
select :'columns' || format('select %L, * from json_to_recordset(%L) as r(sensor int, label text, value float8, good boolean, taken_at timestamptz, meta jsonb);',
  :'user', json_agg(given)) from given;
\o :folder/bulk-unnest.sql
select :'columns' || format('select %L, * from unnest(%L::int[], %L::text[], %L::float8[], %L::boolean[], %L::timestamptz[], %L::jsonb[]);',
  :'user', array_agg(sensor), array_agg(label), array_agg(value), array_agg(good), array_agg(taken_at), array_agg(meta)) from given;
\o
