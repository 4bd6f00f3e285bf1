-- Makes a copy of some database something else: loses and changes what it holds, and adds what no backup of it knows.
-- For psql, as a superuser.
set client_encoding = 'UTF8';
set client_min_messages = error;
select :SERVER_VERSION_NUM >= 150000 as v15 \gset

-- Lost and changed.
set session_replication_role = replica;
do $$
declare
  one record;
  n integer := 0;
begin
  for one in
    select c.oid::regclass as name, c.relkind, c.relispartition from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'S') and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by c.oid
  loop
    n := n + 1;
    if one.relkind = 'S' then
      perform setval(one.name, greatest(min_value, least(max_value, 77))) from pg_sequences where format('%I.%I', schemaname, sequencename)::regclass = one.name;
    elsif n % 3 = 0 then
      execute format('delete from %s where ctid in (select ctid from %1$s limit 5)', one.name);
    elsif n % 7 = 0 and not one.relispartition then
      execute format('drop table if exists %s cascade', one.name);
    elsif n % 5 = 0 and not one.relispartition then
      execute format('alter table %s add column "not in the backup" text default %L', one.name, 'new');
    end if;
  end loop;
end
$$;
reset session_replication_role;

-- Added: in schemas of its own, in public, and outside of schemas.
create schema stranger;
create schema "stranger ""quoted"" '; --";
create table stranger.things (id serial primary key, t text default 'x');
insert into stranger.things (t) select g::text from generate_series(1, 100) g;
create table "stranger ""quoted"" '; --"."ta""ble" (a integer);
create table public."stranger ""in"" public" (id integer generated always as identity primary key, other integer references stranger.things);
create table public.stranger_parts (a integer) partition by list (a);
create table stranger.part partition of public.stranger_parts for values in (1);
create table public.stranger_child () inherits (stranger.things);
create type public.stranger_mood as enum ('a');
create type public.stranger_pair as (a integer, b public.stranger_mood[]);
create type public.stranger_span as range (subtype = integer);
create domain public."stranger domain" as public.stranger_mood;
create type public.stranger_base;
create function public.stranger_in(cstring) returns public.stranger_base language internal immutable strict as 'int4in';
create function public.stranger_out(public.stranger_base) returns cstring language internal immutable strict as 'int4out';
create type public.stranger_base (input = public.stranger_in, output = public.stranger_out, like = integer);
create type public.stranger_shell;
create sequence public."stranger sequence";
create function public.stranger(a public.stranger_pair, variadic text[] default '{}') returns integer language sql as 'select 1';
create procedure public.stranger() language plpgsql as 'begin commit; end';
create aggregate public.stranger_sum(integer) (sfunc = int4pl, stype = integer);
create function public.stranger_eq(public.stranger_base, public.stranger_base) returns boolean language internal immutable strict as 'int4eq';
create operator public.=== (function = public.stranger_eq, leftarg = public.stranger_base, rightarg = public.stranger_base);
create operator family public.stranger_family using hash;
create operator class public.stranger_ops for type public.stranger_base using hash as operator 1 public.===(public.stranger_base, public.stranger_base);
create cast (public.stranger_base as integer) without function;
create collation public.stranger_c from "C";
create conversion public.stranger_conversion for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create text search configuration public.stranger_words (copy = pg_catalog.simple);
create text search dictionary public.stranger_dictionary (template = simple);
create text search parser public.stranger_parser (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
create text search template public.stranger_template (lexize = dsimple_lexize);
create statistics public.stranger_statistics on id, t from stranger.things;
create view public.stranger_view as select t.*, public.stranger(null) from stranger.things t;
create materialized view public.stranger_facts as select count(*) from public.stranger_view;
create rule stranger_rule as on insert to public.stranger_view do instead nothing;
create foreign data wrapper stranger_wrapper;
create server "stranger server" foreign data wrapper stranger_wrapper;
create user mapping for public server "stranger server" options (a 'b');
create foreign table public.stranger_abroad (a integer) server "stranger server";
create function public.stranger_handler() returns language_handler language c as '$libdir/plpgsql', 'plpgsql_call_handler';
create language stranger_language handler public.stranger_handler;
create access method stranger_method type table handler heap_tableam_handler;
create table public.stranger_stored (a integer) using stranger_method;
create transform for bigint language sql (from sql with function prsd_lextype(internal), to sql with function int8recv(internal));
create extension if not exists intarray schema public;
create extension if not exists ltree schema stranger;
create table public.stranger_paths (p stranger.ltree);
create index on public.stranger_paths using gist (p);
select lo_from_bytea(99001, 'stranger'), lo_create(99002) \g /dev/null
select lo_put(oid, 0, 'changed') from pg_largeobject_metadata where oid < 99000 limit 1 \g /dev/null
create publication stranger_everything for all tables;
\if :v15
create publication stranger_schema for tables in schema stranger;
\endif
create function public.no_drops() returns event_trigger language plpgsql as $$ begin raise exception 'nothing is dropped here'; end $$;
create event trigger stranger_no_drops on sql_drop execute function public.no_drops();
create event trigger stranger_no_commands on ddl_command_start when tag in ('CREATE SCHEMA', 'DROP SCHEMA', 'DROP TABLE', 'CREATE TABLE') execute function public.no_drops();

-- Grants, owners, comments, defaults that the backup does not know.
select exists (select from pg_roles where rolname = 'stranger') as have_stranger \gset
\if :have_stranger
\else
create role stranger;
\endif
grant usage on schema public to public;
grant all on schema public to stranger with grant option;
set session authorization stranger;
grant create on schema public to public;
reset session authorization;
alter schema public owner to stranger;
comment on schema public is 'a stranger''s words';
alter default privileges grant all on tables to stranger;
alter default privileges grant execute on functions to stranger;
alter default privileges revoke all on types from public;
alter default privileges for role stranger revoke all on functions from public, stranger;
alter default privileges for role stranger in schema public grant all on tables to public;
alter default privileges for role stranger in schema stranger grant all on sequences to stranger;
alter default privileges for role stranger grant usage on schemas to public;
grant execute on function pg_catalog.pg_read_file(text) to stranger;
grant update on pg_catalog.pg_authid to stranger;
grant select (rolpassword) on pg_catalog.pg_authid to public;
revoke execute on function pg_catalog.now() from public;
revoke usage on language sql from public;
revoke usage on schema information_schema from public;
revoke usage on type pg_catalog.int8 from public;
