/** The relations of the shop that hold rows. */
export const tablesSql = `
  select case relkind when 'r' then 'table' else 'materialized view' end as kind, relname::text as name
    from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'm') order by relkind desc, relname`

/** Every other object of the shop: its kind, its name, the table it is a part of, its definition. */
export const objectsSql = `
  select 'column' as kind, c.relname || '.' || a.attname as name, c.relname::text as "table",
         concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
                   'identity ' || nullif(a.attidentity::text, ''), 'generated ' || nullif(a.attgenerated::text, ''),
                   pg_get_expr(d.adbin, d.adrelid)) as definition
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped
  union all
  select case contype when 'f' then 'foreign key' else 'constraint' end, r.conname::text, c.relname::text,
         pg_get_constraintdef(r.oid) || case when r.convalidated then '' else ' not valid' end
    from pg_constraint r join pg_class c on c.oid = r.conrelid where r.connamespace = 'public'::regnamespace
  union all
  select 'index', indexname::text, tablename::text, indexdef from pg_indexes where schemaname = 'public'
  union all
  select 'view', relname::text, null, pg_get_viewdef(oid)
    from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v'
  union all
  select 'definition', relname::text, relname::text, pg_get_viewdef(oid)
    from pg_class where relnamespace = 'public'::regnamespace and relkind = 'm'
  union all
  select 'type', t.typname::text, null, string_agg(e.enumlabel, ', ' order by e.enumsortorder)
    from pg_type t join pg_enum e on e.enumtypid = t.oid where t.typnamespace = 'public'::regnamespace group by t.oid
  union all
  select 'sequence', s.sequencename::text, o.relname::text,
         concat_ws(' ', s.data_type, s.start_value, s.increment_by, s.last_value)
    from pg_sequences s
    left join pg_depend d on d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
          and d.objid = (quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename))::regclass and d.refobjsubid > 0
    left join pg_class o on o.oid = d.refobjid
   where s.schemaname = 'public'
  union all
  select 'comment', c.relname::text, c.relname::text, d.description
    from pg_description d join pg_class c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass and d.objsubid = 0
   where c.relnamespace = 'public'::regnamespace
  order by 1, 2`
