-- What a fresh Supabase database looks like to an application: its roles with
-- their timeouts, its schemas and its generous default privileges.
--
-- Runs once, in database postgres, as the superuser supabase_admin.

-- The API's three roles, and the one that PostgREST logs in as and which may
-- become each of them. service_role has no timeout of its own, so it runs
-- under the authenticator's.
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';

-- The role of the SQL editor and of every migration: it owns the database and
-- schema public, and is no superuser.
create role postgres login createdb createrole replication bypassrls;
grant anon, authenticated, service_role to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
alter database postgres owner to postgres;
alter schema public owner to postgres;

-- What Realtime listens to.
create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;

-- Extensions live beside public. Supabase finds them by the search path of the
-- roles and of PostgREST.
create schema extensions;
grant all on schema extensions to postgres;
grant usage on schema extensions to anon, authenticated, service_role;
create extension pgcrypto schema extensions;
create extension "uuid-ossp" schema extensions;
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, extensions;

-- Whatever anyone creates in public belongs to the whole API. This is the trap
-- that an RPC has to guard against.
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;
