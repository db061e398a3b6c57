\set c random(1, 100)
select p.id, p.title, p.body, p.created_at,
  (select row_to_json(a) from (select a.id, a.name from person a where a.id = p.author and (a.active or a.id = :user)) a) as author,
  (select coalesce(json_agg(t), '[]') from (select t.id, t.name from post_tag j join tag t on t.id = j.tag where j.post = p.id and not j.hidden and not t.retired) t) as tags,
  (select coalesce(json_agg(c), '[]') from (select id, body, created_at from comment where post = p.id and (not hidden or author = :user) order by created_at desc limit 3) c) as comments
from post p where category = :c and (live or author = :user) order by created_at desc limit 20;
