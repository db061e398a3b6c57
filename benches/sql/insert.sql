\set o random(100001, 101000)
insert into item (owner, title, body, meta) values (:o, 'a new item from the load', 'lorem ipsum lorem ipsum lorem ipsum lorem ipsum lorem ipsum', '{"tags":["a","b"],"n":1}'::jsonb) returning row_to_json(item);
