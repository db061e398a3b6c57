-- Everything that a diff compares, as one JSON value in one round trip.
with ours as (
  select c.oid, c.relname, c.relreplident, d.description as mark
  from pg_class c
  join pg_description d on d.objoid = c.oid and d.classoid = 'pg_class'::regclass and d.objsubid = 0
  where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
    and (d.description = 'basewright' or d.description like 'basewright {%')
)
select json_build_object(
  'postgres', current_setting('server_version_num')::int / 10000,
  -- whatever else holds a name: relations of every sort share one space of names
  'foreign', (
    select coalesce(json_agg(c.relname), '[]')
    from pg_class c
    left join pg_index i on i.indexrelid = c.oid
    where c.relnamespace = 'public'::regnamespace
      and c.oid not in (select oid from ours)
      and (i.indrelid is null or i.indrelid not in (select oid from ours))
  ),
  'tables', (
    select coalesce(json_agg(json_build_object(
      'name', t.relname,
      'mark', t.mark,
      'full_identity', t.relreplident = 'f',
      'columns', (
        select coalesce(json_agg(json_build_object(
          'name', a.attname,
          'type', format_type(a.atttypid, a.atttypmod),
          'oid', a.atttypid::int8,
          'plain', a.attgenerated = '' and a.attidentity = '' and a.atttypmod = -1
                   and a.attcollation = (select y.typcollation from pg_type y where y.oid = a.atttypid),
          'not_null', a.attnotnull,
          -- the generated full-text column, and whether it is one that we would make
          'search', case when a.attname = 'search' and a.attgenerated <> '' and a.atttypid = 'tsvector'::regtype
                         then a.attgenerated = 's' and not a.attnotnull end,
          'default', pg_get_expr(e.adbin, e.adrelid)
        ) order by a.attnum), '[]')
        from pg_attribute a
        left join pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
        where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      ),
      -- not-null constraints have rows of their own from release 18 on: the columns say it already
      'constraints', (
        select coalesce(json_agg(json_build_object(
          'name', n.conname,
          'type', n.contype,
          'plain', n.convalidated and not n.condeferrable
                   and (n.contype not in ('p', 'u') or (x.indisvalid and x.indnatts = x.indnkeyatts
                        and not x.indnullsnotdistinct))
                   and (n.contype <> 'f' or (n.confupdtype = 'a' and n.confmatchtype = 's'
                        and n.confdelsetcols is null)),
          'columns', (
            select json_agg(a.attname order by k.place)
            from unnest(n.conkey) with ordinality k(number, place)
            join pg_attribute a on a.attrelid = n.conrelid and a.attnum = k.number
          ),
          'schema', fn.nspname,
          'table', f.relname,
          'target', (
            select json_agg(a.attname order by k.place)
            from unnest(n.confkey) with ordinality k(number, place)
            join pg_attribute a on a.attrelid = n.confrelid and a.attnum = k.number
          ),
          'on_delete', n.confdeltype,
          'printed', case when n.contype in ('p', 'u', 'f') then '' when n.contype = 'c'
                          then pg_get_expr(n.conbin, n.conrelid) else pg_get_constraintdef(n.oid) end
        ) order by n.conname), '[]')
        from pg_constraint n
        left join pg_class f on f.oid = n.confrelid
        left join pg_namespace fn on fn.oid = f.relnamespace
        left join pg_index x on x.indexrelid = n.conindid and n.contype in ('p', 'u')
        where n.conrelid = t.oid and n.contype in ('p', 'u', 'f', 'c', 'x')
      ),
      'indexes', (
        select coalesce(json_agg(json_build_object(
          'name', ic.relname,
          'method', am.amname,
          'plain', i.indisvalid and not i.indisunique and i.indexprs is null and i.indpred is null
                   and i.indnatts = i.indnkeyatts
                   and not exists (
                     select from unnest(i.indclass) o(id)
                     where not (select oc.opcdefault from pg_opclass oc where oc.oid = o.id)
                   )
                   -- ascending with nulls last (0) or descending with nulls first (3): what is not said otherwise
                   and not exists (select from unnest(i.indoption) o(bits) where o.bits not in (0, 3)),
          'columns', (
            select coalesce(json_agg(a.attname order by k.place), '[]')
            from unnest(i.indkey) with ordinality k(number, place)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
          ),
          'descending', (
            select coalesce(json_agg(o.bits & 1 = 1 order by o.place), '[]')
            from unnest(i.indoption) with ordinality o(bits, place)
          )
        ) order by ic.relname), '[]')
        from pg_index i
        join pg_class ic on ic.oid = i.indexrelid
        join pg_am am on am.oid = ic.relam
        where i.indrelid = t.oid
          and not exists (
            select from pg_constraint n where n.conindid = i.indexrelid and n.contype in ('p', 'u', 'x')
          )
      ),
      -- 19: a row trigger (1) before (2) updates (16)
      'touch', (
        select g.tgenabled = 'O' and g.tgtype = 19 and g.tgqual is null and g.tgattr = ''
               and p.proname = 'touch_updated_at' and pn.nspname = 'basewright'
        from pg_trigger g
        join pg_proc p on p.oid = g.tgfoid
        join pg_namespace pn on pn.oid = p.pronamespace
        where g.tgrelid = t.oid and g.tgname = 'basewright_touch' and not g.tgisinternal
      )
    )), '[]')
    from ours t
  ),
  'publication', (
    select json_build_object(
      'all_tables', b.puballtables or exists (
        select from pg_publication_namespace s where s.pnpubid = b.oid
      ),
      'members', (
        select coalesce(json_agg(json_build_object(
          'schema', n.nspname,
          'table', c.relname,
          'whole', r.prqual is null and r.prattrs is null
        )), '[]')
        from pg_publication_rel r
        join pg_class c on c.oid = r.prrelid
        join pg_namespace n on n.oid = c.relnamespace
        where r.prpubid = b.oid
      )
    )
    from pg_publication b
    where b.pubname = 'basewright'
  )
)::text
