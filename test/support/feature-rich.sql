-- A database that uses as much of PostgreSQL as one script can: what a dump and a restore may get wrong.
-- For psql, as a superuser, into an empty database. Works on PostgreSQL 14 to 18; newer features where the server has them.
set client_encoding = 'UTF8';
set client_min_messages = warning;
select :SERVER_VERSION_NUM >= 150000 as v15, :SERVER_VERSION_NUM >= 160000 as v16, :SERVER_VERSION_NUM >= 170000 as v17,
       :SERVER_VERSION_NUM >= 180000 as v18,
       exists (select from pg_catalog.pg_collation where collprovider = 'i') as icu,
       exists (select from pg_catalog.pg_config where name = 'CONFIGURE' and setting like '%--with-libxml%') as xml,
       not exists (select from pg_catalog.pg_roles where rolname = 'Rôle "owner"') as no_roles \gset

\if :no_roles
create role "Rôle ""owner""" login;
create role "wr'iter";
create role reader;
\endif
select format('grant create on database %I to "Rôle ""owner"""', current_database()) \gexec

-- Schemas, with names that need care.
create schema shop;
create schema "Mixed Case";
create schema "quo""te'd \ $schema$";
create schema "ünïcode ✓";
create schema "new
line; DROP TABLE x; --" authorization "Rôle ""owner""";
create schema empty_one;
comment on schema shop is E'A comment with ''quotes'', a \\ and\n\\.\nCOMMIT;\n-- lines of its own';

-- Extensions, in schemas of their own and in others.
create schema ext;
create extension hstore schema ext;
create extension pg_trgm schema public;
create extension citext schema "Mixed Case";
create extension btree_gist schema ext;
create extension cube schema ext;
create extension earthdistance schema ext;
create extension unaccent;
create extension "uuid-ossp" schema ext;
create extension lo schema ext;
create extension file_fdw;
create extension postgres_fdw;
comment on extension pg_trgm is 'our own words about it';
grant execute on function ext.uuid_nil() to reader;
revoke execute on function ext.uuid_generate_v4() from public;

-- Types.
create type shop.mood as enum ('sad', 'o''k', 'Happy Day', 'ü', '');
alter type shop.mood add value 'between' after 'sad';
create type shop."Über type" as enum ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
create type shop.no_values as enum ();
create type shop.address as (street text, "No." integer, tags text[]);
create type shop.person as (name text collate "C", home shop.address, mood shop.mood);
create domain shop.positive as integer default 1 check (value > 0);
create domain shop."e mail" as text constraint "has @" check (value ~ '@') not null;
create domain shop.moods as shop.mood[] check (cardinality(value) < 5);
create domain shop.short_text as varchar(10) collate "C";
alter domain shop.short_text add constraint later check (value <> 'no') not valid;
comment on constraint "has @" on domain shop."e mail" is 'contains an at';
create function shop.float_diff(double precision, double precision) returns double precision
  language sql immutable strict parallel safe return $1 - $2;
create type shop.float_span as range (subtype = double precision, subtype_diff = shop.float_diff, multirange_type_name = shop."many spans");
create type shop.word_span as range (subtype = text, collation = "C");
create type shop.tiny;
create function shop.tiny_in(cstring) returns shop.tiny language internal immutable strict as 'int4in';
create function shop.tiny_out(shop.tiny) returns cstring language internal immutable strict as 'int4out';
create type shop.tiny (input = shop.tiny_in, output = shop.tiny_out, like = integer, category = 'N', preferred = false, default = '7', delimiter = ';');
create type shop.just_a_shell;
comment on type shop.tiny is 'a base type';

-- Collations, conversions, text search.
create collation "Mixed Case"."like C" (provider = libc, locale = 'C');
\if :icu
create collation shop.case_blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create collation shop.german (provider = icu, locale = 'de-u-co-phonebk');
\else
create collation shop.case_blind from "C";
create collation shop.german from "C";
\endif
\if :v17
create collation shop.builtin_c (provider = builtin, locale = 'C.UTF-8');
\endif
create conversion shop.our_latin for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create text search dictionary shop.plain_words (template = simple, stopwords = english, accept = false);
create text search configuration shop.english_plain (copy = pg_catalog.english);
alter text search configuration shop.english_plain alter mapping for asciiword with shop.plain_words, english_stem;
create text search parser shop.our_parser (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype, headline = prsd_headline);
create text search template shop.our_template (init = dsimple_init, lexize = dsimple_lexize);
comment on text search configuration shop.english_plain is 'ours';

-- Sequences.
create sequence shop.never_called;
create sequence shop.called_once;
select nextval('shop.called_once') \g /dev/null
create sequence shop.downwards increment by -3 minvalue -100 maxvalue 10 start 10 cycle;
select nextval('shop.downwards'), nextval('shop.downwards') \g /dev/null
create sequence shop.wrapped minvalue 1 maxvalue 2 cycle;
select nextval('shop.wrapped'), nextval('shop.wrapped'), nextval('shop.wrapped') \g /dev/null
create sequence shop.huge as bigint start 9223372036854775000 cache 20;
select setval('shop.huge', 9223372036854775807) \g /dev/null
create sequence shop.negative as bigint minvalue -9223372036854775807 start -9223372036854775807;
create sequence shop.small as smallint;
select setval('shop.small', 32767, false) \g /dev/null
create sequence "quo""te'd \ $schema$"."Odd ""sequence"" '1'";
select setval($$"quo""te'd \ $schema$"."Odd ""sequence"" '1'"$$, 42) \g /dev/null
\if :v15
create unlogged sequence shop.not_logged;
select nextval('shop.not_logged') \g /dev/null
\endif
comment on sequence shop.huge is 'near the end';

-- Functions, procedures, aggregates, operators.
create function shop.next_code(prefix text default 'A', n bigint default nextval('shop.called_once')) returns text
  language sql as $$ select prefix || n $$;
create function shop.atomic_sum(a integer, b integer default 2) returns integer
  language sql immutable begin atomic select a + b; select a + b + 0; end;
create function shop.guarded(who text, inout counter integer, out greeting text)
  language plpgsql security definer set search_path = shop, pg_temp set work_mem = '8MB' cost 17 leakproof as $body$
begin
  greeting := $x$hello $x$ || who;
  counter := counter + 1;
end
$body$;
create procedure shop.in_steps(steps integer) language plpgsql as $do$
begin
  for i in 1..steps loop
    perform 1;
    COMMIT;
  end loop;
  execute 'select 1;
COMMIT;
';
end
$do$;
create function shop."looks like the end"() returns text language sql as $_$ select $t$
COMMIT;
\.
BEGIN;
ROLLBACK;
-- PostgreSQL database dump complete
$t$::text $_$;
create procedure shop.atomic_procedure(a integer) begin atomic
  select a;
end;
create function shop.variadic_concat(variadic parts text[]) returns text language sql immutable as $$ select array_to_string(parts, '-') $$;
create function shop.moods_of(anyelement, anyarray default null) returns setof shop.mood rows 3 language sql as $$ select unnest(enum_range(null::shop.mood)) $$;
create function shop.as_table(limit_ integer) returns table (id integer, "Full name" text) language sql stable as $$ select g, g::text from generate_series(1, limit_) g $$;
create function shop.our_row_number() returns bigint language internal window immutable as 'window_row_number';
create function shop.clean(text) returns text language sql immutable strict parallel safe as $$ select pg_catalog.lower($1) $$;
comment on function shop.clean(text) is '';
create function shop.tiny_eq(shop.tiny, shop.tiny) returns boolean language internal immutable strict as 'int4eq';
create function shop.tiny_ne(shop.tiny, shop.tiny) returns boolean language internal immutable strict as 'int4ne';
create function shop.tiny_lt(shop.tiny, shop.tiny) returns boolean language internal immutable strict as 'int4lt';
create function shop.tiny_le(shop.tiny, shop.tiny) returns boolean language internal immutable strict as 'int4le';
create function shop.tiny_gt(shop.tiny, shop.tiny) returns boolean language internal immutable strict as 'int4gt';
create function shop.tiny_ge(shop.tiny, shop.tiny) returns boolean language internal immutable strict as 'int4ge';
create function shop.tiny_cmp(shop.tiny, shop.tiny) returns integer language internal immutable strict as 'btint4cmp';
create operator shop.= (function = shop.tiny_eq, leftarg = shop.tiny, rightarg = shop.tiny, commutator = operator(shop.=), negator = operator(shop.<>), restrict = eqsel, join = eqjoinsel, hashes, merges);
create operator shop.<> (function = shop.tiny_ne, leftarg = shop.tiny, rightarg = shop.tiny, commutator = operator(shop.<>), negator = operator(shop.=));
create operator shop.< (function = shop.tiny_lt, leftarg = shop.tiny, rightarg = shop.tiny, commutator = operator(shop.>), negator = operator(shop.>=));
create operator shop.<= (function = shop.tiny_le, leftarg = shop.tiny, rightarg = shop.tiny);
create operator shop.> (function = shop.tiny_gt, leftarg = shop.tiny, rightarg = shop.tiny, commutator = operator(shop.<), negator = operator(shop.<=));
create operator shop.>= (function = shop.tiny_ge, leftarg = shop.tiny, rightarg = shop.tiny);
create operator family shop.tiny_family using btree;
create operator class shop.tiny_ops default for type shop.tiny using btree family shop.tiny_family as
  operator 1 shop.<, operator 2 shop.<=, operator 3 shop.=, operator 4 shop.>, operator 5 shop.>=, function 1 shop.tiny_cmp(shop.tiny, shop.tiny);
create operator family shop.loose using btree;
alter operator family shop.loose using btree add operator 1 < (integer, bigint), operator 3 = (integer, bigint), function 1 (integer, bigint) btint48cmp(integer, bigint);
create operator shop.!!! (function = shop.clean, rightarg = text);
comment on operator shop.!!! (none, text) is 'a prefix operator';
create aggregate shop.total(integer) (sfunc = int4_sum, stype = bigint, combinefunc = int8pl, initcond = '0', parallel = safe);
create aggregate shop."Moving"(double precision) (sfunc = float8pl, stype = double precision, msfunc = float8pl, minvfunc = float8mi, mstype = double precision, minitcond = '0');
create aggregate shop.middle(double precision order by anyelement) (sfunc = ordered_set_transition, stype = internal, finalfunc = percentile_disc_final, finalfunc_extra);
comment on aggregate shop.total(integer) is 'adds up';
create function shop.to_address(integer) returns shop.address language sql immutable as $$ select row(null, $1, null)::shop.address $$;
create cast (integer as shop.address) with function shop.to_address(integer) as assignment;
create cast (shop.tiny as integer) without function as implicit;
create cast (shop.address as text) with inout;
create function shop.our_handler() returns language_handler language c as '$libdir/plpgsql', 'plpgsql_call_handler';
create function shop.our_inline(internal) returns void language c strict as '$libdir/plpgsql', 'plpgsql_inline_handler';
create function shop.our_validator(oid) returns void language c strict as '$libdir/plpgsql', 'plpgsql_validator';
create trusted language "pl ""other""" handler shop.our_handler inline shop.our_inline validator shop.our_validator;
create function shop.in_other_language() returns integer language "pl ""other""" as 'begin return 1; end';
create transform for integer language sql (from sql with function prsd_lextype(internal), to sql with function int4recv(internal));
create access method heap_again type table handler heap_tableam_handler;

-- Tables.
create table shop.users (
  id bigint generated always as identity (start 100 increment 5 cache 3) primary key,
  name text not null,
  email shop."e mail" default 'nobody@example.org',
  lower_name text generated always as (shop.clean(name)) stored,
  mood shop.mood default 'o''k',
  born date check (born > date '1900-01-01') no inherit,
  constraint "name is ""clean""" check (name !~ '[[:cntrl:]]' or name like E'%\n%'),
  constraint unique_mail unique (email, name) include (born) deferrable initially deferred
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.03, toast.autovacuum_enabled = false);
alter table shop.users alter column name set statistics 321, alter column name set storage external, alter column mood set (n_distinct = -0.5);
insert into shop.users (name, mood, born) select 'User ' || g, case when g % 3 = 0 then 'sad'::shop.mood end, date '1970-01-01' + g from generate_series(1, 200) g;
update shop.users set name = name || ' changed' where id % 7 = 0;

create table shop.orders (
  id integer generated by default as identity,
  user_id bigint not null references shop.users on delete cascade deferrable initially deferred,
  placed_at timestamptz not null,
  total numeric(12, 3) default 0,
  details jsonb,
  code text default shop.next_code(),
  "select" integer,
  dropped_one text,
  primary key (id)
);
insert into shop.orders (user_id, placed_at, total, details, "select", dropped_one)
  select 100 + 5 * (g % 200), timestamptz '2024-01-01 00:00Z' + g * interval '1 hour', g / 7.0, jsonb_build_object('n', g, 'ü', E'a\n\t"\\b'), g, 'gone' from generate_series(1, 3000) g;
delete from shop.orders where id % 11 = 0;
alter table shop.orders drop column dropped_one;
alter table shop.orders add column added_later text default 'there', add constraint positive_total check (total >= 0) not valid,
  add constraint not_yet foreign key ("select") references shop.orders not valid;
create index orders_by_user on shop.orders (user_id desc nulls last, placed_at) where total > 1;
create index "orders ""by"" expression" on shop.orders ((details ->> 'n'), (total * 2)) with (fillfactor = 50);
alter index shop."orders ""by"" expression" alter column 2 set statistics 77;
create index orders_details on shop.orders using gin (details jsonb_path_ops) with (fastupdate = off);
create index orders_brin on shop.orders using brin (placed_at timestamptz_minmax_multi_ops (values_per_range = 16)) with (pages_per_range = 4);
create index orders_hash on shop.orders using hash (code);
create index orders_similar on shop.orders using gist (code public.gist_trgm_ops (siglen = 32));
create index users_clean on shop.users (shop.clean(name) collate "C" text_pattern_ops);
create unique index one_sad_each_day on shop.users (born) where mood = 'sad';
create index orders_total on shop.orders (total);
alter table shop.orders cluster on orders_total;
create statistics shop.order_facts (ndistinct, dependencies, mcv) on user_id, placed_at from shop.orders;
create statistics shop."on expressions" on (total * 2), (details ->> 'n') from shop.orders;
alter statistics shop.order_facts set statistics 50;
comment on column shop.orders."select" is 'a reserved word';
comment on constraint positive_total on shop.orders is 'not valid';
comment on index shop.orders_hash is E'line one\nline two';

create table shop.a_then_b (id integer primary key, b integer);
create table shop.b_then_a (id integer primary key, a integer references shop.a_then_b deferrable);
alter table shop.a_then_b add foreign key (b) references shop.b_then_a deferrable initially deferred;
begin;
insert into shop.a_then_b values (1, 1);
insert into shop.b_then_a values (1, 1);
commit;
create table shop.tree (id integer primary key, parent integer references shop.tree (id) match full on update cascade on delete set default);
insert into shop.tree select g, nullif(g / 2, 0) from generate_series(1, 63) g;
create table shop.bookings (room integer, during tstzrange, exclude using gist (room ext.gist_int4_ops with =, during with &&) where (room > 0), constraint apart exclude using gist (during with &&) deferrable);
insert into shop.bookings values (1, '[2024-01-01, 2024-01-02)'), (1, '(2024-01-02, 2024-01-03]'), (null, 'empty');
\if :v15
create table shop.nulls_once (a integer, b integer, unique nulls not distinct (a));
insert into shop.nulls_once values (null, 1);
create table shop.sets_null (id integer, other integer, foreign key (id) references shop.tree on delete set null (id));
\endif

-- Values that are easy to lose.
create table shop."Values" (
  id integer primary key, t text, v varchar(30) collate "Mixed Case"."like C", c char(10), n name, q "char", b bytea, f4 real, f8 double precision,
  num numeric, small smallint, big bigint, yes boolean, d date, ts timestamp, tz timestamptz(3), tm time, ttz timetz, iv interval, m money,
  bits bit(5), vbits varbit, i inet, ci cidr, mac macaddr, mac8 macaddr8, p point, li line, ls lseg, bx box, pa path, po polygon, round circle,
  tsv tsvector, tsq tsquery, u uuid, j json, jb jsonb, jp jsonpath, arr integer[], arr2 text[][], addr shop.address, people shop.person[],
  mood shop.mood, moods shop.moods, span shop.float_span, spans shop."many spans", words shop.word_span, r4 int4range, mr int8multirange, tiny shop.tiny, tinies shop.tiny[],
  reg regclass, typ regtype, lsn pg_lsn, h ext.hstore, ct "Mixed Case".citext, cu ext.cube, blind text collate shop.case_blind, pos shop.positive);
insert into shop."Values" (id) values (0);
insert into shop."Values" (id, t, v, c, n, b, h, ct, arr, jb, j) values (1, '', '', '', '', '', '', '', '{}', '""', ' { "a" : 1 , "a":2 } ');
insert into shop."Values" values (2, E'tab\there\r\nCRLF\rCR\nLF\\backslash\\N \\. \b\f\v \u00a0\u200b\U0001F600', '  blanks  ', 'abc', 'Na"me', 'x', '\x00ff0a5c27', 'NaN', 'Infinity',
  'NaN', -32768, -9223372036854775808, true, 'infinity', '-infinity', '2024-02-29 12:34:56.7891+05:30', '24:00', '23:59:59.999999-15:59', '-1 year 2 mons -3 days 04:05:06.789', '-12.34',
  '10101', '', '::1/128', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(-0,1e308)', '{1,-1,0}', '((0,0),(1,1))', '((2,2),(1,1))', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '<(0,0),1>',
  $$'it''s' 'a\\b':3A,4$$, $$'x' & !'y':*$$, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[1,  2.50, "\u00e9\\"]', '{"big": 123456789012345678901234567890.000, "n": null}', '$."a b"[*] ? (@ > 1)',
  '[0:1]={NULL,-1}', '{{"a,b","{}"},{NULL,"NULL"}}', row('a "quoted", street', null, '{x,"y z",NULL}'), array[row('Zoë', row(null, 3, '{}'), 'sad')::shop.person, null],
  'Happy Day', '{sad,o''k,""}', '(-Infinity,1.5]', '{[1,2),(3,]}', '[a,"b c"]', 'empty', '{(,-5),[7,9)}', '-1', '{1;2;-3}',
  'shop.users', 'shop.person', 'FFFFFFFF/FFFFFFFF', '"a b"=>"c\"d", e=>NULL', 'MiXeD', '(1,2),(3,4)', 'StraSSe', 5);
insert into shop."Values" (id, f4, f8, num, ts, tz, d, iv, tm) values
  (3, '-Infinity', '-Infinity', '1e-1000', 'infinity', '-infinity', '4713-11-24 BC', '178000000 years', '00:00'),
  (4, 1.17549435e-38, 2.2250738585072014e-308, repeat('9', 500)::numeric + 0.5, '294276-12-31 23:59:59.999999', '0044-03-15 12:00Z BC', '5874897-12-31', '0', '23:59:59.999999'),
  (5, -0.0, 0.1, '-0.000', '2024-03-31 02:30', '2024-03-31 02:30Z', '-infinity', '1.5 days', '12:00');
insert into shop."Values" (id, num, f8) values (6, 'Infinity', 5e-324), (7, '-Infinity', '-0');
\if :v17
insert into shop."Values" (id, iv) values (8, 'infinity'), (9, '-infinity');
\endif
insert into shop."Values" (id, t, b) select 10, repeat('0123456789abcdef', 131072), decode(string_agg(md5(g::text), ''), 'hex') from generate_series(1, 131072) g;
alter table shop."Values" alter column t set compression pglz;
\if :xml
create table shop.xml_values (x xml);
insert into shop.xml_values values ('<a b="c">&amp;ü</a>'), (xmlparse(content 'text <b/> only')), (null);
create view shop.xml_view as select xmlelement(name a, xmlattributes(1 as "B"), xmlforest('x' as y)) as x;
\endif
create table shop."Odd columns" ("a ""b""" integer, "tab	here" text, "$1" text, "\x" text, "ünï" text, "new
line" text, "a.b" text, "%s" text, "'" text, " " text default E'\n', "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" text);
insert into shop."Odd columns" values (1, '2', '3', '4', '5', '6', '7', '8', '9', default, '11');
create table "quo""te'd \ $schema$"."ta""ble '; -- \" ("col""umn" serial primary key, check ("col""umn" > 0));
insert into "quo""te'd \ $schema$"."ta""ble '; -- \" select from generate_series(1, 3);
create table "ünïcode ✓"."таблица" ("имя" text);
insert into "ünïcode ✓"."таблица" values ('значение'), ('价值'), ('🐘');
create table "new
line; DROP TABLE x; --"."table
with newline; DROP TABLE shop.users; --" (a integer);
insert into "new
line; DROP TABLE x; --"."table
with newline; DROP TABLE shop.users; --" values (1);
create table shop.no_columns ();
insert into shop.no_columns select from generate_series(1, 3);
create table shop.only_generated (g integer generated always as (1) stored);
insert into shop.only_generated select from generate_series(1, 2);
create table shop.no_rows (a integer, b text);
create unlogged table shop.not_kept (id serial, t text);
insert into shop.not_kept (t) values ('in a dump all the same');
create table shop.typed of shop.address (street with options default 'x', constraint typed_key primary key (street));
insert into shop.typed values ('s', 1, null);
create table shop.other_method (a integer) using heap_again;
insert into shop.other_method values (1);
create table shop.identity_full (a integer, b integer not null unique);
alter table shop.identity_full replica identity using index identity_full_b_key;
alter table shop.tree replica identity full;
alter table shop.no_rows replica identity nothing;
\if :v15
set allow_in_place_tablespaces = on;
select not exists (select from pg_catalog.pg_tablespace where spcname = 'other "disk"') as no_tablespace \gset
\if :no_tablespace
create tablespace "other ""disk""" location '';
\endif
create table shop.elsewhere (a integer primary key) tablespace "other ""disk""";
insert into shop.elsewhere values (1);
\endif
\if :v18
create table shop.computed (a integer, twice integer generated always as (a * 2) virtual, constraint named_not_null not null a);
insert into shop.computed values (21);
alter table shop.computed add column b integer, add constraint not_yet not null b not valid;
create table shop.in_time (id int4range, valid daterange, primary key (id, valid without overlaps));
insert into shop.in_time values ('[1,2)', '[2024-01-01,2024-02-01)');
create table shop.of_time (id int4range, valid daterange, foreign key (id, period valid) references shop.in_time (id, period valid));
alter table shop.tree add constraint unenforced check (id > 1000) not enforced;
\endif

-- Partitions: by range with a default, by list, by hash of an enum (whose rows change partitions), nested, attached with other columns.
create table shop.events (id bigint, at date not null, kind text not null, note text, primary key (id, at, kind)) partition by range (at);
create table shop.events_2023 partition of shop.events for values from (minvalue) to ('2024-01-01');
create table shop.events_2024 partition of shop.events for values from ('2024-01-01') to ('2025-01-01') partition by list (kind);
create table shop.events_2024_a partition of shop.events_2024 (note default 'a') for values in ('a', 'A');
create table shop.events_2024_rest partition of shop.events_2024 default with (fillfactor = 60);
create table "Mixed Case"."Events 2025" (note text, gone integer, kind text not null, at date not null, id bigint not null, check (at >= '2025-01-01'));
alter table "Mixed Case"."Events 2025" drop column gone;
alter table shop.events attach partition "Mixed Case"."Events 2025" for values from ('2025-01-01') to ('2026-01-01');
create table shop.events_rest partition of shop.events default;
create index events_by_note on shop.events (note);
create index on only shop.events (kind);
insert into shop.events select g, date '2023-06-01' + g, case g % 3 when 0 then 'a' when 1 then 'b' else 'C' end, g::text from generate_series(1, 1500) g;
create table shop.by_mood (id integer, mood shop."Über type") partition by hash (mood);
create table shop.by_mood_0 partition of shop.by_mood for values with (modulus 3, remainder 0);
create table shop.by_mood_1 partition of shop.by_mood for values with (modulus 3, remainder 1) partition by hash (id);
create table shop.by_mood_1_0 partition of shop.by_mood_1 for values with (modulus 2, remainder 0);
create table shop.by_mood_1_1 partition of shop.by_mood_1 for values with (modulus 2, remainder 1);
create table shop.by_mood_2 partition of shop.by_mood for values with (modulus 3, remainder 2);
insert into shop.by_mood select g, (enum_range(null::shop."Über type"))[1 + g % 8] from generate_series(1, 400) g;
create table shop.by_two (a integer, b text) partition by range (a, b collate "C");
create table shop.by_two_low partition of shop.by_two for values from (minvalue, minvalue) to (10, 'm');
create table shop.by_two_high partition of shop.by_two for values from (10, 'm') to (maxvalue, maxvalue);
insert into shop.by_two values (1, 'z'), (10, 'a'), (10, 'z'), (11, '');
create table shop.by_expression (d timestamptz) partition by list ((extract(month from d at time zone 'UTC')));
create table shop.by_expression_1 partition of shop.by_expression for values in (1, 2, null);
insert into shop.by_expression values ('2024-01-15Z'), (null);
create table shop.no_partitions (a integer) partition by list (a);
create table shop.refers (id bigint, at date, kind text, foreign key (id, at, kind) references shop.events);
insert into shop.refers select id, at, kind from shop.events where id < 20;

-- Inheritance.
create table shop.parent (id serial, common text not null default 'p', check (common <> ''));
create table shop.second_parent (extra integer default 3);
create table shop.child (own text default 'o', common text default 'c') inherits (shop.parent, shop.second_parent);
create table shop.grandchild (constraint more check (id > 0)) inherits (shop.child);
insert into shop.parent values (default, 'in parent');
insert into shop.child (own) values ('in child'), (null);
insert into shop.grandchild (extra) values (null);

-- Views, rules, triggers.
create view shop.happy with (security_barrier) as select id, name, mood from shop.users where mood = 'Happy Day' or mood is null with cascaded check option;
alter view shop.happy alter column mood set default 'Happy Day';
create view shop.by_key as select id, name, count(*) as n from shop.users group by id;
create recursive view shop.numbers (n) as values (1) union all select n + 1 from numbers where n < 5;
create view "Mixed Case"."Über view" ("A ""b""", "select") as select u.name, o."select" from shop.users u left join lateral (select * from shop.orders o where o.user_id = u.id limit 1) o on true;
create view shop.windowed as select id, rank() over w as r, sum(total) filter (where total > 1) over (w rows between 1 preceding and current row) as s from shop.orders window w as (partition by user_id order by id);
create view shop.functions as select * from shop.as_table(3) with ordinality t (a, b, n), rows from (generate_series(1, 2), unnest('{1,2}'::integer[])) r;
\if :v15
create view shop.invoker with (security_invoker = true) as select 1 as one;
\endif
create function shop.one_of(shop.by_key) returns text language sql as $$ select $1.name $$;
create materialized view shop.filled as select mood, count(*) as n from shop.users group by mood;
create unique index on shop.filled (mood);
create materialized view shop.on_filled as select sum(n) as n from shop.filled;
create view shop.between_views as select * from shop.on_filled;
create materialized view "Mixed Case"."on view" as select * from shop.between_views;
create materialized view shop.never_filled as select 1 as one with no data;
create materialized view shop.no_rows_filled as select 1 as a where false;
create materialized view shop.base_emptied as select 1 as one;
create view shop.over_emptied as select * from shop.base_emptied;
create materialized view shop.on_emptied as select * from shop.over_emptied;
refresh materialized view shop.base_emptied with no data;
comment on materialized view shop.filled is 'filled';
create rule divert as on insert to shop.by_key do instead insert into shop.users (name) values (new.name);
create rule "al so" as on update to shop.tree where old.id <> new.id do also (insert into shop.no_rows values (old.id); delete from shop.refers where id = old.id);
create rule nothing as on delete to shop.happy do instead nothing;
alter table shop.tree disable rule "al so";
create function shop.touched() returns trigger language plpgsql as $$ begin if tg_op = 'DELETE' then return old; end if; return new; end $$;
create trigger before_row before insert or update of name, mood on shop.users for each row when (new.name is distinct from 'x') execute function shop.touched('arg''s', 'two', '');
create trigger "After ""stmt""" after update on shop.users referencing old table as before_change new table as after_change for each statement execute function shop.touched();
create constraint trigger checked after insert on shop.orders deferrable initially deferred for each row execute function shop.touched();
create trigger instead_of instead of update on shop.between_views for each row execute function shop.touched();
create trigger on_partitions after insert on shop.events for each row execute function shop.touched();
alter table shop.events_2023 disable trigger on_partitions;
alter table shop.users disable trigger "After ""stmt""";
alter table shop.users enable always trigger before_row;
alter table shop.orders enable replica trigger checked;
comment on trigger before_row on shop.users is 'first';

-- Foreign data.
create foreign data wrapper "dummy wrapper" options (debug 'true', "odd option" 'it''s');
create server "far ""away""" type 'none' version '1' foreign data wrapper "dummy wrapper" options (host 'nowhere');
create user mapping for public server "far ""away""" options (password 'not a ''secret''');
create user mapping for "Rôle ""owner""" server "far ""away""";
create foreign table shop.abroad (id integer options (name 'x') not null, t text collate "C" default 'd', check (id > 0)) server "far ""away""" options (path '/dev/null');
create server files foreign data wrapper file_fdw;
create foreign table shop.from_file (line text) server files options (filename '/nonexistent', format 'csv');
create server other_postgres foreign data wrapper postgres_fdw options (host '127.0.0.1', port '1', dbname 'none');
create table shop.partly_abroad (id integer, t text) partition by list (id);
create table shop.partly_here partition of shop.partly_abroad for values in (1, 2);
create foreign table shop.partly_there partition of shop.partly_abroad for values in (3) server "far ""away""";
insert into shop.partly_abroad values (1, 'here'), (2, 'too');

-- Large objects: with owner, comment and grants; one sparse, one empty.
select lo_create(4711), lo_create(4712), lo_from_bytea(4713, '\x00010203fffe5c27'), lo_from_bytea(4714, decode(repeat('ab', 700000), 'hex')) \g /dev/null
begin;
select lo_open(4712, 131072) as fd \gset
select lo_lseek64(:fd, 100000, 0), lowrite(:fd, 'end') \g /dev/null
commit;
comment on large object 4713 is 'a comment';
alter large object 4713 owner to "Rôle ""owner""";
grant select, update on large object 4714 to reader;
grant select on large object 4713 to public;
create table shop.pictures (name text, raster ext.lo);
insert into shop.pictures values ('one', 4713);

-- Row security, publications, event triggers.
alter table shop.orders enable row level security;
alter table shop.tree enable row level security;
alter table shop.tree force row level security;
create policy own_orders on shop.orders for select to reader, "Rôle ""owner""" using (user_id in (select id from shop.users where name = current_user));
create policy "no big ""ones""" on shop.orders as restrictive for update to public using (true) with check (total < 1000);
create policy everything on shop.tree;
comment on policy own_orders on shop.orders is 'own';
create publication everything for all tables with (publish = 'insert, update');
create publication "some ""tables""" for table shop.tree, only shop.parent with (publish_via_partition_root = true);
\if :v15
create publication filtered for table shop.users (id, name) where (id > 100);
create publication of_schema for tables in schema "Mixed Case", table shop.tree where (id > 1);
\endif
comment on publication everything is 'all of it';
create function shop.on_command() returns event_trigger language plpgsql as $$ begin perform tg_tag; end $$;
create event trigger "watch ""all""" on ddl_command_end when tag in ('CREATE TABLE', 'DROP TABLE') execute function shop.on_command();
create event trigger watch_drops on sql_drop execute function shop.on_command();
alter event trigger watch_drops enable always;
create event trigger sleeping on table_rewrite execute function shop.on_command();
alter event trigger sleeping disable;
comment on event trigger sleeping is 'asleep';

-- Owners, grants, default privileges.
alter schema shop owner to "Rôle ""owner""";
alter table shop.users owner to "Rôle ""owner""";
alter function shop.clean(text) owner to "wr'iter";
alter type shop.mood owner to "Rôle ""owner""";
alter domain shop.positive owner to reader;
alter view shop.happy owner to reader;
alter sequence shop.huge owner to reader;
alter server files owner to "Rôle ""owner""";
alter operator shop.!!! (none, text) owner to "Rôle ""owner""";
alter aggregate shop.total(integer) owner to reader;
alter collation "Mixed Case"."like C" owner to reader;
alter text search configuration shop.english_plain owner to "Rôle ""owner""";
alter statistics shop.order_facts owner to reader;
alter procedure shop.in_steps(integer) owner to reader;
grant usage on schema shop to public;
grant all on schema "Mixed Case" to reader with grant option;
revoke usage on schema public from public;
grant create on schema public to "wr'iter";
grant select, insert (name), update (name, mood) on shop.users to reader;
grant select on shop.users to "wr'iter" with grant option;
set session authorization "wr'iter";
grant select on shop.users to public;
reset session authorization;
grant references ("select"), select (id) on shop.orders to reader with grant option;
revoke all on shop.no_rows from current_user;
revoke execute on function shop.guarded(text, integer) from public;
grant execute on function shop.guarded(text, integer) to reader;
grant execute on procedure shop.atomic_procedure(integer) to reader with grant option;
revoke usage on type shop.address from public;
grant usage on type shop.person to reader;
revoke usage on language "pl ""other""" from public;
grant usage on foreign server files to reader;
grant usage on foreign data wrapper "dummy wrapper" to reader;
grant usage, select on sequence shop.never_called to reader;
grant select on shop.filled to public;
\if :v17
grant maintain on shop.tree to reader;
\endif
grant execute on function pg_catalog.pg_ls_waldir() to reader;
revoke execute on function pg_catalog.pg_sleep(double precision) from public;
grant select (rolname) on pg_catalog.pg_authid to reader;
alter default privileges grant select on tables to reader;
alter default privileges revoke execute on functions from public;
alter default privileges for role "Rôle ""owner""" revoke usage on types from public;
alter default privileges for role "Rôle ""owner""" in schema shop grant all on tables to "wr'iter" with grant option;
alter default privileges for role "Rôle ""owner""" in schema "quo""te'd \ $schema$" grant usage on sequences to public;
alter default privileges for role reader revoke all on tables from reader;
alter default privileges for role reader grant create on schemas to "wr'iter";
comment on schema public is 'not the standard comment';
