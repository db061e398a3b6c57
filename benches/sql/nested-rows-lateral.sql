\set c random(1, 100)
select p.id, p.title, p.body, p.created_at, a.author, t.tags, c.comments
from (select * from post where category = :c and (live or author = :user) order by created_at desc limit 20) p
left join lateral (select json_build_object('id', a.id, 'name', a.name) as author from person a where a.id = p.author and (a.active or a.id = :user)) a on true
left join lateral (select coalesce(json_agg(json_build_object('id', t.id, 'name', t.name)), '[]') as tags
  from post_tag j join tag t on t.id = j.tag where j.post = p.id and not j.hidden and not t.retired) t on true
left join lateral (select coalesce(json_agg(json_build_object('id', c.id, 'body', c.body, 'created_at', c.created_at)), '[]') as comments
  from (select id, body, created_at from comment where post = p.id and (not hidden or author = :user) order by created_at desc limit 3) c) c on true
order by p.created_at desc;
