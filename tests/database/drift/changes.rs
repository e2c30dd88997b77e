//! Changes by hand, each with the objects that must be reported for it.

use ctx0_schema::Verification;

use super::{SCHEMA, record, verify};
use ctx0_stack::project::Project;

/// The same schema in other words: each of these is printed differently than what was recorded.
pub(super) const REWORDED: &str = "
alter policy ctx0_read on ctx0_a using ((owner = '00000000-0000-0000-0000-000000000001' or is_public) and not deleted and kind::text = any (array['a'::varchar::text, 'b'::varchar::text]));
create or replace function ctx0_atomic(a int, b varchar default 'x'::varchar) returns boolean language sql stable begin atomic select b::text = any (array['p'::varchar::text, 'q'::varchar::text]) and (a + 1) * 2 > 3; end;
create or replace function ctx0_count(p int) returns bigint language sql stable begin atomic select count(*) from public.ctx0_a t where t.kind::text = any (array['p'::varchar::text, 'q'::varchar::text]) and t.n = p; end;
create or replace view ctx0_v with (security_invoker = true) as select a.id, a.kind, count(b.day) as days from public.ctx0_a a left join public.ctx0_b b on b.a = a.id where a.kind::text = any(array['note'::varchar::text, 'fact'::varchar::text]) group by a.id;
alter table ctx0_a drop constraint ctx0_a_kind_check, add constraint ctx0_a_kind_check check (kind::text = any (array['note'::varchar::text, 'fact'::varchar::text,'file'::varchar::text]));
drop index ctx0_a_kind_idx; create unique index ctx0_a_kind_idx on public.ctx0_a (lower(kind), (number + 1)) where kind <> 'file' and kind::text = any(array['note'::varchar::text, 'fact'::varchar::text]);
drop rule ctx0_r on ctx0_a; create rule ctx0_r as on delete to public.ctx0_a where old.kind::text = any (array['x'::varchar::text, 'y'::varchar::text]) do instead nothing;
drop rule ctx0_r2 on ctx0_a; create rule ctx0_r2 as on insert to public.ctx0_a do also update public.ctx0_b set day = '2026-02-02' where a = new.id and new.kind::text = any (array['x'::varchar::text, 'y'::varchar::text]);
drop trigger ctx0_t on ctx0_a; create trigger ctx0_t before update on public.ctx0_a for each row when (old.kind is distinct from new.kind and new.kind::text = any (array['a'::varchar::text, 'b'::varchar::text])) execute function public.ctx0_touch();
alter domain ctx0_short drop constraint ctx0_short_check; alter domain ctx0_short add constraint ctx0_short_check check (value::text = any (array['a'::varchar::text, 'b'::varchar::text]));
";

/// What the owner can change, and the objects that are reported.
const CHANGED: &[(&str, &str)] = &[
    (
        "alter policy ctx0_read on ctx0_a using (owner = '00000000-0000-0000-0000-000000000001' or (is_public and not deleted and kind in ('a','b')))",
        "table public.ctx0_a",
    ),
    (
        "alter policy ctx0_read on ctx0_a using (true)",
        "table public.ctx0_a",
    ),
    (
        "alter policy ctx0_read on ctx0_a to public",
        "table public.ctx0_a",
    ),
    (
        "alter policy ctx0_read on ctx0_a rename to ctx0_read2",
        "table public.ctx0_a",
    ),
    (
        "alter policy ctx0_write on ctx0_a with check (true)",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter label set default 'notset'",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter label set default 'not  set'",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter label set default 'not set'::varchar",
        "table public.ctx0_a",
    ),
    (
        "create or replace function ctx0_fee(a int, b int, c int) returns int language sql immutable as 'select a + (b * c)'",
        "function public.ctx0_fee(integer,integer,integer)",
    ),
    (
        "create or replace function ctx0_fee(a int, b int, c int) returns int language sql immutable as 'select (a + b)  * c'",
        "function public.ctx0_fee(integer,integer,integer)",
    ),
    (
        "create or replace function ctx0_atomic(a int, b varchar default 'x') returns boolean language sql stable begin atomic select b in ('p', 'q') and a + 1 * 2 > 3; end",
        "function public.ctx0_atomic(integer,character varying)",
    ),
    (
        "create or replace function ctx0_atomic(a int, b varchar default 'y') returns boolean language sql stable begin atomic select b in ('p', 'q') and (a + 1) * 2 > 3; end",
        "function public.ctx0_atomic(integer,character varying)",
    ),
    (
        "create or replace view ctx0_share_view as select id from ctx0_share where id > 1 or (id = 0 and x > 2)",
        "view public.ctx0_share_view",
    ),
    (
        "alter view ctx0_v set (security_invoker = false)",
        "view public.ctx0_v",
    ),
    (
        "alter view ctx0_v reset (security_invoker)",
        "view public.ctx0_v",
    ),
    (
        "create or replace view ctx0_v with (security_invoker = true) as select a.id, a.kind, count(b.day) as days from public.ctx0_a a left join public.ctx0_b b on b.a = a.id where a.kind in ('note', 'facts') group by a.id",
        "view public.ctx0_v",
    ),
    (
        "alter table ctx0_a drop constraint ctx0_a_n_check, add constraint ctx0_a_n_check check (n > 0 or n = -1 and n < 10)",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a drop constraint ctx0_a_n_check",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a drop constraint ctx0_a_n_check, add constraint ctx0_a_n_check check ((n > 0 or n = -1) and n < 10) not valid",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a drop constraint ctx0_a_kind_check, add constraint ctx0_a_kind_check check (kind in ('note','fact','files'))",
        "table public.ctx0_a",
    ),
    (
        "drop index ctx0_a_kind_idx; create unique index ctx0_a_kind_idx on public.ctx0_a (lower(kind), (number + 1)) where kind <> 'file' or kind in ('note', 'fact')",
        "table public.ctx0_a",
    ),
    (
        "drop index ctx0_a_kind_idx; create unique index ctx0_a_kind_idx on public.ctx0_a (lower(kind) desc, (number + 1)) where kind <> 'file' and kind in ('note', 'fact')",
        "table public.ctx0_a",
    ),
    (
        "drop index ctx0_a_kind_idx; create unique index ctx0_a_kind_idx on public.ctx0_a (lower(kind), (number + 2)) where kind <> 'file' and kind in ('note', 'fact')",
        "table public.ctx0_a",
    ),
    (
        "drop index ctx0_a_kind_idx; create index ctx0_a_kind_idx on public.ctx0_a (lower(kind), (number + 1)) where kind <> 'file' and kind in ('note', 'fact')",
        "table public.ctx0_a",
    ),
    (
        "alter index ctx0_a_kind_idx alter column 1 set statistics 300",
        "table public.ctx0_a",
    ),
    (
        "alter index ctx0_a_kind_idx set (fillfactor = 50)",
        "table public.ctx0_a",
    ),
    (
        "alter index ctx0_a_pkey set (fillfactor = 50)",
        "table public.ctx0_a",
    ),
    ("drop rule ctx0_r on ctx0_a", "table public.ctx0_a"),
    (
        "drop rule ctx0_r on ctx0_a; create rule ctx0_r as on delete to public.ctx0_a where old.kind in ('x', 'z') do instead nothing",
        "table public.ctx0_a",
    ),
    (
        "drop rule ctx0_r on ctx0_a; create rule ctx0_r as on delete to public.ctx0_a where old.kind in ('x', 'y') do also nothing",
        "table public.ctx0_a",
    ),
    (
        "drop rule ctx0_r on ctx0_a; create rule ctx0_r as on update to public.ctx0_a where old.kind in ('x', 'y') do instead nothing",
        "table public.ctx0_a",
    ),
    (
        "drop rule ctx0_r2 on ctx0_a; create rule ctx0_r2 as on insert to public.ctx0_a do also update public.ctx0_b set day = '2026-02-03' where a = new.id and new.kind in ('x', 'y')",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a disable rule ctx0_r",
        "table public.ctx0_a",
    ),
    (
        "create rule ctx0_entry_frozen as on update to ctx0_a do instead nothing",
        "table public.ctx0_a",
    ),
    (
        "drop trigger ctx0_t on ctx0_a; create trigger ctx0_t before update on public.ctx0_a for each row when (old.kind is distinct from new.kind or new.kind in ('a', 'b')) execute function public.ctx0_touch()",
        "table public.ctx0_a",
    ),
    (
        "drop trigger ctx0_t on ctx0_a; create trigger ctx0_t before update on public.ctx0_a for each row execute function public.ctx0_touch()",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a disable trigger ctx0_t",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a enable always trigger ctx0_t",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a disable row level security",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a force row level security",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_share force row level security",
        "table public.ctx0_share",
    ),
    (
        "alter publication supabase_realtime drop table ctx0_a",
        "table public.ctx0_a",
    ),
    (
        "alter publication supabase_realtime add table ctx0_share",
        "table public.ctx0_child, table public.ctx0_share",
    ),
    (
        "alter publication ctx0_pub set table ctx0_a (id, kind, n) where (n > 4 and id > 0)",
        "table public.ctx0_a",
    ),
    (
        "alter publication ctx0_pub set table ctx0_a (id, kind, n)",
        "table public.ctx0_a",
    ),
    (
        "alter publication ctx0_pub set table ctx0_a (id, n) where (n > 3 and id > 0)",
        "table public.ctx0_a",
    ),
    (
        "alter publication ctx0_pub set (publish = 'insert')",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a replica identity nothing",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a replica identity full",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_share replica identity using index ctx0_share_pkey",
        "table public.ctx0_share",
    ),
    (
        "alter table ctx0_a alter column body set storage external",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column body set compression pglz",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column body set statistics 500",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column n set (n_distinct = 5)",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column id set increment by 7",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column id set generated by default",
        "table public.ctx0_a",
    ),
    (
        "alter sequence ctx0_a_id_seq as smallint",
        "table public.ctx0_a",
    ),
    (
        "alter sequence ctx0_a_id_seq set unlogged",
        "table public.ctx0_a",
    ),
    (
        "grant all on sequence ctx0_a_id_seq to public",
        "table public.ctx0_a",
    ),
    (
        "revoke all on sequence ctx0_a_id_seq from anon",
        "table public.ctx0_a",
    ),
    ("revoke all on ctx0_a from postgres", "table public.ctx0_a"),
    (
        "revoke all on ctx0_numbers from postgres",
        "sequence public.ctx0_numbers",
    ),
    (
        "revoke execute on function ctx0_touch() from postgres",
        "function public.ctx0_touch()",
    ),
    (
        "revoke usage on type ctx0_mood from postgres",
        "type public.ctx0_mood",
    ),
    (
        "revoke select on ctx0_share from authenticated",
        "table public.ctx0_share",
    ),
    (
        "revoke grant option for select on ctx0_share from authenticated",
        "table public.ctx0_share",
    ),
    (
        "comment on type ctx0_comp is 'changed'",
        "type public.ctx0_comp",
    ),
    (
        "drop aggregate ctx0_zero(int); create aggregate public.ctx0_zero(int) (sfunc = int4pl, stype = int)",
        "aggregate public.ctx0_zero(integer)",
    ),
    (
        "create or replace function ctx0_count(p int) returns bigint language sql stable begin atomic select count(*) from public.ctx0_a t where t.kind in ('p', 'q') and t.n <> p; end",
        "function public.ctx0_count(integer)",
    ),
    (
        "alter table ctx0_a alter column id drop identity",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column id set start with 100",
        "table public.ctx0_a",
    ),
    (
        "create statistics ctx0_more on n, number from ctx0_a",
        "table public.ctx0_a",
    ),
    ("drop statistics ctx0_s", "table public.ctx0_a"),
    (
        "alter statistics ctx0_s set statistics 20",
        "table public.ctx0_a",
    ),
    (
        "comment on table ctx0_a is 'changed'",
        "table public.ctx0_a",
    ),
    (
        "comment on column ctx0_a.kind is null",
        "table public.ctx0_a",
    ),
    (
        "comment on function ctx0_touch() is 'changed'",
        "function public.ctx0_touch()",
    ),
    (
        "alter function ctx0_touch() security definer",
        "function public.ctx0_touch()",
    ),
    (
        "alter function ctx0_touch() set search_path = ''",
        "function public.ctx0_touch()",
    ),
    (
        "alter function ctx0_touch() parallel safe",
        "function public.ctx0_touch()",
    ),
    (
        "alter function ctx0_touch() cost 5",
        "function public.ctx0_touch()",
    ),
    (
        "alter function ctx0_touch() stable",
        "function public.ctx0_touch()",
    ),
    (
        "revoke execute on function ctx0_touch() from public",
        "function public.ctx0_touch()",
    ),
    (
        "revoke execute on function ctx0_touch() from anon",
        "function public.ctx0_touch()",
    ),
    (
        "revoke select (id) on ctx0_a from anon",
        "table public.ctx0_a",
    ),
    ("grant update (id) on ctx0_a to anon", "table public.ctx0_a"),
    ("grant select on ctx0_a to anon", "table public.ctx0_a"),
    ("grant all on ctx0_a to anon", "table public.ctx0_a"),
    (
        "revoke insert on ctx0_a from postgres",
        "table public.ctx0_a",
    ),
    (
        "grant select on ctx0_a to anon with grant option",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a set (fillfactor = 50)",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a set (toast.autovacuum_enabled = false)",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_share set unlogged",
        "table public.ctx0_share",
    ),
    (
        "alter sequence ctx0_numbers owned by ctx0_share.x",
        "sequence public.ctx0_numbers",
    ),
    (
        "alter sequence ctx0_numbers cycle",
        "sequence public.ctx0_numbers",
    ),
    (
        "alter sequence ctx0_numbers cache 10",
        "sequence public.ctx0_numbers",
    ),
    (
        "alter sequence ctx0_numbers maxvalue 100",
        "sequence public.ctx0_numbers",
    ),
    (
        "alter type ctx0_mood add value 'ugly'",
        "type public.ctx0_mood",
    ),
    (
        "alter type ctx0_mood rename value 'bad' to 'worse'",
        "type public.ctx0_mood",
    ),
    (
        "alter domain ctx0_short set default 'b'",
        "type public.ctx0_short",
    ),
    (
        "alter domain ctx0_short set not null",
        "type public.ctx0_short",
    ),
    (
        "alter domain ctx0_short drop constraint ctx0_short_check",
        "type public.ctx0_short",
    ),
    (
        "alter domain ctx0_short drop constraint ctx0_short_check; alter domain ctx0_short add constraint ctx0_short_check check (value in ('a','c'))",
        "type public.ctx0_short",
    ),
    (
        "alter type ctx0_comp add attribute c int",
        "type public.ctx0_comp",
    ),
    (
        "alter type ctx0_comp alter attribute a type bigint",
        "type public.ctx0_comp",
    ),
    ("drop type ctx0_comp", "type public.ctx0_comp"),
    (
        "drop type ctx0_range; create type ctx0_range as range (subtype = float4)",
        "type public.ctx0_range",
    ),
    (
        "revoke usage on type ctx0_mood from public",
        "type public.ctx0_mood",
    ),
    (
        "alter table ctx0_a add column extra int",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a drop column number cascade",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column tags drop not null",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column number set default 2",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter column number type numeric(10,3)",
        "table public.ctx0_a",
    ),
    (
        r#"alter table ctx0_a alter column label type text collate "C""#,
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a rename column label to tag",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a rename to ctx0_aa",
        "function public.ctx0_count(integer), materialized view public.ctx0_m, table public.ctx0_a, table public.ctx0_aa, table public.ctx0_b, table public.ctx0_b_2026, view public.ctx0_v",
    ),
    (
        "alter table ctx0_a alter column ivl set default '1 day 3 hours'",
        "table public.ctx0_a",
    ),
    (
        r#"alter table ctx0_a alter column by set default '\x00fe'"#,
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_b add column x int",
        "table public.ctx0_b, table public.ctx0_b_2026",
    ),
    (
        "alter table ctx0_b_2026 add check (a > 0)",
        "table public.ctx0_b_2026",
    ),
    (
        "alter table ctx0_b detach partition ctx0_b_2026",
        "table public.ctx0_b_2026",
    ),
    (
        "alter table ctx0_child no inherit ctx0_share",
        "table public.ctx0_child",
    ),
    ("create table ctx0_new (id int)", "table public.ctx0_new"),
    (
        "create view ctx0_new as select 1 as x",
        "view public.ctx0_new",
    ),
    (
        "create function ctx0_new() returns int language sql as 'select 1'",
        "function public.ctx0_new()",
    ),
    (
        "create or replace procedure ctx0_p(x int) language sql as 'select 2'",
        "procedure public.ctx0_p(integer)",
    ),
    (
        "drop aggregate ctx0_sum(int); create aggregate public.ctx0_sum(int) (sfunc = int4pl, stype = int, initcond = '1')",
        "aggregate public.ctx0_sum(integer)",
    ),
    (
        "drop materialized view ctx0_m; create materialized view public.ctx0_m as select id from public.ctx0_a where kind in ('a','c')",
        "materialized view public.ctx0_m",
    ),
    (
        "alter table ctx0_x rename to ctx0_y",
        "table public.ctx0_x, table public.ctx0_y",
    ),
    (
        "alter index ctx0_a_kind_idx rename to ctx0_a_kind_idx2",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_share add constraint u unique (x) deferrable",
        "table public.ctx0_share",
    ),
    (
        "alter table ctx0_ref alter constraint ctx0_ref_a_day_fkey deferrable",
        "table public.ctx0_ref",
    ),
    (
        "revoke usage on type ctx0_comp from public",
        "type public.ctx0_comp",
    ),
];

/// What PostgreSQL 18 brought.
const CHANGED_SINCE_18: &[(&str, &str)] = &[
    (
        "alter table ctx0_a alter body drop not null, add constraint n not null body not valid",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_a alter body drop not null, add constraint n not null body no inherit",
        "table public.ctx0_a",
    ),
    (
        "alter publication ctx0_pub set (publish_generated_columns = stored)",
        "table public.ctx0_a",
    ),
    (
        "alter table ctx0_ref alter constraint ctx0_ref_a_day_fkey not enforced",
        "table public.ctx0_ref",
    ),
    (
        "alter table ctx0_share add column twice int generated always as (x * 2) virtual",
        "table public.ctx0_child, table public.ctx0_share",
    ),
];

/// What takes a superuser.
const CHANGED_BY_A_SUPERUSER: &[(&str, &str)] = &[
    (
        "alter table ctx0_a disable trigger all",
        "table public.ctx0_a, table public.ctx0_b",
    ),
    (
        "alter table ctx0_ref disable trigger all",
        "table public.ctx0_ref",
    ),
    (
        "create publication ctx0_everything for all tables",
        "table public.ctx0_a, table public.ctx0_b, table public.ctx0_b_2026, table public.ctx0_child, table public.ctx0_ref, table public.ctx0_share, table public.ctx0_x",
    ),
    (
        "create publication ctx0_sch for tables in schema public",
        "table public.ctx0_a, table public.ctx0_b, table public.ctx0_b_2026, table public.ctx0_child, table public.ctx0_ref, table public.ctx0_share, table public.ctx0_x",
    ),
    (
        "alter table ctx0_a owner to supabase_admin",
        "table public.ctx0_a",
    ),
    (
        "alter function ctx0_touch() owner to supabase_admin",
        "function public.ctx0_touch()",
    ),
    (
        "alter view ctx0_v owner to supabase_admin",
        "view public.ctx0_v",
    ),
    (
        "alter type ctx0_mood owner to supabase_admin",
        "type public.ctx0_mood",
    ),
    (
        "alter sequence ctx0_numbers owner to supabase_admin",
        "sequence public.ctx0_numbers",
    ),
];

/// What is no change of the schema.
const NOT_CHANGED: &[&str] = &[
    "create or replace function ctx0_atomic(a int, b varchar default 'x') returns boolean language sql stable begin atomic select b in ('p', 'q') and (a + 1) * 2 > 3; end",
    "alter table ctx0_a drop constraint ctx0_a_n_check, add constraint ctx0_a_n_check check ((n > 0 or n = -1) and n < 10)",
    "alter publication ctx0_pub set table ctx0_a (n, kind, id) where (((n > 3) and (id > 0)))",
    "create table ctx0_b_2027 partition of ctx0_b for values from ('2027-01-01') to ('2028-01-01')",
    "create table ctx0_b_2027 (a bigint not null, day date not null); alter table ctx0_b attach partition ctx0_b_2027 for values from ('2027-01-01') to ('2028-01-01')",
    "create table ctx0_b_2027 partition of ctx0_b for values from ('2027-01-01') to ('2028-01-01') partition by list (a); create table ctx0_b_2027_1 partition of ctx0_b_2027 for values in (1)",
    "create table ctx0_b_rest partition of ctx0_b default",
    "drop materialized view ctx0_m; create materialized view public.ctx0_m as select id from public.ctx0_a where kind in ('a','b')",
    "alter view ctx0_v set (security_invoker = on)",
    "insert into ctx0_share values (1,2); analyze ctx0_share",
    "create table other (id int)",
    "select nextval('ctx0_numbers')",
];

/// The objects that are reported after a change, which is rolled back.
pub(super) async fn reported(project: &Project, change: &str, as_superuser: bool) -> String {
    let sql = format!(
        "begin; set local search_path = public; {change};
         select 'reported', (select string_agg(o ->> 'name', ', ') from jsonb_array_elements(v -> 'objects') o),
                v -> 'unknown' from public.ctx0_verify_schema() v;
         rollback"
    );
    let rows = if as_superuser {
        project.stack.admin_sql(&sql).await
    } else {
        project.stack.sql(&sql).await
    };
    let rows = rows.unwrap_or_else(|error| panic!("{error}\n{change}"));
    let row = rows
        .into_iter()
        .find(|row| row[0].as_deref() == Some("reported"));
    let row = row.expect("the row of the answer");
    assert_eq!(row[2].as_deref(), Some("[]"), "{change}");
    row[1].clone().unwrap_or_default()
}

#[tokio::test]
async fn every_change_is_reported_with_its_objects() {
    let project = Project::installed().await;
    record(&project, SCHEMA).await;
    let is_18 = "select current_setting('server_version_num')::int >= 180000";
    let since_18 = match project.value(is_18).await.as_str() {
        "t" => CHANGED_SINCE_18,
        _ => &[],
    };
    for (change, objects) in CHANGED.iter().chain(since_18) {
        assert_eq!(
            reported(&project, change, false).await,
            *objects,
            "{change}"
        );
    }
}

#[tokio::test]
async fn every_change_that_a_superuser_makes_is_reported_with_its_objects() {
    let project = Project::installed_on_own_server().await;
    record(&project, SCHEMA).await;
    for (change, objects) in CHANGED_BY_A_SUPERUSER {
        assert_eq!(reported(&project, change, true).await, *objects, "{change}");
    }
}

#[tokio::test]
async fn what_means_the_same_is_no_change() {
    let project = Project::installed().await;
    record(&project, SCHEMA).await;
    let reworded: Vec<_> = REWORDED
        .split_inclusive(";\n")
        .map(str::trim)
        .filter(|change| !change.is_empty())
        .collect();
    for change in NOT_CHANGED.iter().chain(&reworded) {
        assert_eq!(reported(&project, change, false).await, "", "{change}");
    }
    // They do differ as texts.
    let recorded =
        "select objects = ctx0_private.describe_schema() from ctx0_private.ctx0_schema_attempts";
    assert_eq!(project.value(recorded).await, "t");
    project.sql(REWORDED).await;
    assert_eq!(project.value(recorded).await, "f");
    let found = verify(&project).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
}

#[tokio::test]
async fn a_change_is_shown_as_postgresql_prints_it() {
    let project = Project::installed().await;
    record(&project, SCHEMA).await;
    project
        .sql("alter table ctx0_a alter column number set default 2, replica identity nothing;
              alter policy ctx0_write on ctx0_a with check (true); alter publication supabase_realtime drop table ctx0_a;")
        .await;
    let found = verify(&project).await.to_string();
    for line in [
        "-column number numeric(10,2) default 1.5",
        "+column number numeric(10,2) default 2",
        "+option replica identity nothing",
        "-publication supabase_realtime table",
        "+policy ctx0_write for insert to authenticated with check (true)",
    ] {
        assert!(found.lines().any(|shown| shown == line), "{line}\n{found}");
    }
}
