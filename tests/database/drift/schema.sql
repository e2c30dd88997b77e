create table public.ctx0_a (
  id bigint generated always as identity primary key,
  kind varchar(20) not null default 'note' check (kind in ('note', 'fact', 'file')),
  body text collate "C" not null,
  number numeric(10, 2) default 1.5,
  upper text generated always as (upper(body)) stored,
  tags text[] not null default '{}',
  label text default 'not set',
  n int check ((n > 0 or n = -1) and n < 10),
  span tsrange,
  owner uuid,
  is_public boolean, deleted boolean default false,
  at timestamptz not null default now(), ivl interval default '1 day 2 hours', d date default '2026-01-02', by bytea default '\x00ff', ts timestamptz default '2026-01-01 00:00+00',
  exclude using gist (span with &&) where (kind <> 'x')
);
create table public.ctx0_b (a bigint not null references public.ctx0_a on delete cascade, day date not null, unique (a, day)) partition by range (day);
create table public.ctx0_b_2026 partition of public.ctx0_b for values from ('2026-01-01') to ('2027-01-01');
create unique index ctx0_a_kind_idx on public.ctx0_a (lower(kind), (number + 1)) where kind <> 'file' and kind in ('note', 'fact');
create view public.ctx0_v with (security_invoker = true) as select a.id, a.kind, count(b.day) as days from public.ctx0_a a left join public.ctx0_b b on b.a = a.id where a.kind in ('note', 'fact') group by a.id;
create materialized view public.ctx0_m as select id from public.ctx0_a where kind in ('a','b');
create type public.ctx0_mood as enum ('good', 'bad');
create domain public.ctx0_short as varchar(9) default 'a' check (value in ('a', 'b'));
create type public.ctx0_comp as (a int, b text);
create type public.ctx0_range as range (subtype = float8);
create sequence public.ctx0_numbers increment 5;
create function public.ctx0_f(a int, b varchar default 'x') returns text language sql stable set search_path = '' as $f$
  select $1 || $2
$f$;
create function public.ctx0_atomic(a int, b varchar default 'x') returns boolean language sql stable begin atomic select b in ('p', 'q') and (a + 1) * 2 > 3; end;
create function public.ctx0_count(p int) returns bigint language sql stable begin atomic select count(*) from public.ctx0_a t where t.kind in ('p', 'q') and t.n = p; end;
create function public.ctx0_fee(a int, b int, c int) returns int language sql immutable as 'select (a + b) * c';
create function public.ctx0_touch() returns trigger language plpgsql as $$ begin new.at := now(); return new; end $$;
create procedure public.ctx0_p(x int) language sql as 'select 1';
create aggregate public.ctx0_zero(int) (sfunc = int4pl, stype = int, initcond = '0');
create aggregate public.ctx0_sum(int) (sfunc = int4pl, stype = int, initcond = '0');
create trigger ctx0_t before update on public.ctx0_a for each row when (old.kind is distinct from new.kind and new.kind in ('a', 'b')) execute function public.ctx0_touch();
create rule ctx0_r as on delete to public.ctx0_a where old.kind in ('x', 'y') do instead nothing;
create rule ctx0_r2 as on insert to public.ctx0_a do also update public.ctx0_b set day = '2026-02-02' where a = new.id and new.kind in ('x', 'y');
alter table public.ctx0_a enable row level security;
create policy ctx0_read on public.ctx0_a for select to authenticated, anon using ((owner = '00000000-0000-0000-0000-000000000001' or is_public) and not deleted and kind in ('a', 'b'));
create policy ctx0_write on public.ctx0_a for insert to authenticated with check (exists (select from public.ctx0_b b where b.a = ctx0_a.id));
create statistics public.ctx0_s on kind, lower(kind) from public.ctx0_a;
create publication ctx0_pub for table public.ctx0_a (id, kind, n) where (n > 3 and id > 0);
alter publication supabase_realtime add table public.ctx0_a;
create table public.ctx0_share (id int primary key, x int);
create view public.ctx0_share_view as select id from public.ctx0_share where (id > 1 or id = 0) and x > 2;
create table public.ctx0_child (c int) inherits (public.ctx0_share);
alter table public.ctx0_share add column later int;
grant select on public.ctx0_share to authenticated with grant option;
create table public.ctx0_ref (a bigint, day date, foreign key (a, day) references public.ctx0_b (a, day));
create table public.ctx0_x (at timestamptz) partition by range (date_trunc('month', at at time zone 'UTC'));
revoke all on public.ctx0_a from anon;
grant select (id) on public.ctx0_a to anon;
comment on column public.ctx0_a.kind is 'hello';
