//! A preview on a database that others use: it harms nobody, and tells only its own changes.

use std::{
    cell::Cell,
    fmt::Write,
    time::{Duration, Instant},
};

use ctx0_schema::{
    Cancellation, ConflictReason, Error, Preview, PreviewState, Unfinished, WarningKind,
    install_sql,
};
use ctx0_stack::Options;
use ctx0_stack::project::{LONGEST, Project, migrations, version};
use serde_json::json;

use crate::rest::Rest;

async fn one_connection() -> Project {
    let options = Options {
        pool: 1,
        ..Options::default()
    };
    Project::installed_with(options).await
}

async fn preview(project: &Project, sql: &str) -> Preview {
    let manager = project.manager(migrations(&[("001_test", sql)]));
    manager.preview().budget(LONGEST).await.expect("a preview")
}

fn said(preview: &Preview) -> Vec<(WarningKind, &str)> {
    preview
        .warnings()
        .map(|warning| (warning.kind, warning.message.as_str()))
        .collect()
}

#[tokio::test]
async fn a_sequence_that_no_statement_names_is_set_back() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create table public.orders (id smallint generated always as identity primary key);
             insert into public.orders select from generate_series(1, 5);
             create function public.refill() returns void language plpgsql as
               $$ begin perform setval('public.ord' || 'ers_id_seq', 30000); end $$;",
        )
        .await;
    let stands = "select concat(last_value, is_called) from public.orders_id_seq";
    let before = project.value(stands).await;
    for sql in [
        "select public.refill()",
        "do $$ begin perform setval('public.ord' || 'ers_id_seq', 1); end $$",
        "do $$ declare s regclass; begin for s in select seqrelid from pg_sequence loop perform setval(s, 7); end loop; end $$",
        "do $$ begin execute 'insert into public.or' || 'ders select from generate_series(1, 30000)'; end $$",
    ] {
        let preview = preview(&project, sql).await;
        assert!(preview.succeeds(), "{sql}: {preview}");
        assert_eq!(preview.sequences, [], "{sql}");
        assert_eq!(project.value(stands).await, before, "{sql}");
    }
}

#[tokio::test]
async fn a_warning_says_that_a_sequence_may_repeat_numbers_exactly_where_it_may() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create table public.orders (id int generated always as identity primary key);
             insert into public.orders select from generate_series(1, 5);
             create table public.spare (id serial);
             insert into public.spare select from generate_series(1, 5); delete from public.spare where id > 3;
             create sequence public.down increment -1; select nextval('public.down') from generate_series(1, 5);
             create sequence public.up; select nextval('public.up') from generate_series(1, 5);",
        )
        .await;
    for (sql, reported) in [
        ("select setval('public.orders_id_seq', 1)", true),
        (
            "do $$ begin perform setval('public.ord' || 'ers_id_seq', 1); end $$",
            true,
        ),
        ("alter sequence orders_id_seq restart", true),
        ("alter table orders alter column id restart with 5", true),
        ("alter table orders alter column id restart with 6", false),
        ("alter table orders alter column id restart with 100", false),
        ("select setval('orders_id_seq', 4, true)", true),
        ("select setval('orders_id_seq', 5, true)", false),
        ("select setval('orders_id_seq', 6, false)", false),
        (
            "select setval('orders_id_seq', (select max(id) from orders))",
            false,
        ),
        (
            "alter table orders alter id drop identity; alter table orders alter id add generated always as identity",
            true,
        ),
        (
            "alter table orders alter id drop identity; alter table orders alter id add generated always as identity (start 6)",
            false,
        ),
        (
            "alter table orders add n int generated always as identity",
            false,
        ),
        ("create sequence fresh", false),
        ("truncate orders", false),
        ("truncate orders restart identity", false),
        (
            "truncate orders restart identity; insert into orders overriding system value values (1)",
            true,
        ),
        (
            "select setval('spare_id_seq', (select max(id) from spare))",
            false,
        ),
        ("select setval('spare_id_seq', 2)", true),
        ("alter sequence down restart", true),
        ("alter sequence down restart with -100", false),
        ("alter sequence up restart with 3", true),
        ("alter sequence up restart with 6", false),
        ("alter sequence up increment 10 restart 500", false),
        ("drop sequence up", false),
    ] {
        let seen = preview(&project, sql).await;
        let kinds: Vec<_> = said(&seen).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(
            kinds.contains(&WarningKind::SequenceReset),
            reported,
            "{sql}: {seen}"
        );
        assert_eq!(seen.sequences, [], "{sql}");
    }
}

/// The values of a sequence are never rolled back, so they must be set back also where the preview
/// ends while it looks at what was changed.
#[tokio::test]
async fn a_sequence_is_set_back_when_a_preview_is_cancelled_while_it_looks() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create table public.orders (id int generated always as identity primary key);
             insert into public.orders select from generate_series(1, 5);
             create type public.ctx0_slow as (a int);
             create function public.ctx0_slow_text(public.ctx0_slow) returns text language plpgsql as
               $$ begin perform pg_sleep(60); return ''; end $$;
             create cast (public.ctx0_slow as text) with function public.ctx0_slow_text(public.ctx0_slow);
             create table public.ctx0_slow_values as select 1 as a;",
        )
        .await;
    let stands = "select concat(last_value, is_called) from public.orders_id_seq";
    let before = project.value(stands).await;
    let sql = "do $$ begin perform setval('public.ord' || 'ers_id_seq', 30000); end $$;
               alter table ctx0_slow_values alter column a type ctx0_slow using row(a)::ctx0_slow;";
    let manager = project.manager(migrations(&[("001_test", sql)]));
    let request = manager.preview().budget(LONGEST);
    let canceller = request.canceller();
    let cancel = async {
        project.until_asleep().await;
        assert_ne!(project.value(stands).await, before);
        canceller.cancel().await.unwrap()
    };
    let (preview, cancelled) = tokio::join!(request, cancel);
    let preview = preview.unwrap();
    assert_eq!(cancelled, Cancellation::Cancelled);
    assert_eq!(
        preview.versions[0].state,
        PreviewState::NotFinished {
            reason: Unfinished::Cancelled
        }
    );
    assert_eq!(preview.sequences, []);
    assert_eq!(project.value(stands).await, before);
}

#[tokio::test]
async fn a_sequence_with_a_cache_is_set_back_and_one_that_cannot_be_read_is_named() {
    let project = one_connection().await;
    project
        .sql("create sequence public.ctx0_cached cache 10; select nextval('public.ctx0_cached')")
        .await;
    let stands = "select concat(last_value, is_called) from public.ctx0_cached";
    let before = project.value(stands).await;
    let draws = "do $$ begin for i in 1 .. 25 loop perform nextval('public.ctx0_' || 'cached'); end loop; end $$";
    let drawn = preview(&project, draws).await;
    assert!(drawn.succeeds(), "{drawn}");
    assert_eq!(drawn.sequences, []);
    assert_eq!(project.value(stands).await, before);

    project
        .stack
        .admin_sql(
            "revoke pg_read_all_data from postgres;
             create schema vault; grant usage on schema vault to postgres;
             create sequence vault.numbers; revoke all on sequence vault.numbers from postgres;
             grant update on sequence vault.numbers to postgres",
        )
        .await
        .unwrap();
    let moved = preview(&project, "select setval('vault.numbers', 700)").await;
    let [sequence] = &moved.sequences[..] else {
        panic!("{moved}")
    };
    assert_eq!(
        (sequence.relation.as_str(), sequence.from, sequence.to),
        ("vault.numbers", None, None)
    );
}

/// It keeps log files until it is dropped.
#[tokio::test]
async fn a_replication_slot_that_a_preview_leaves_is_named() {
    let project = Project::installed_on_own_server().await;
    let preview = preview(
        &project,
        "select pg_create_physical_replication_slot('ctx0_left', true)",
    )
    .await;
    let slots = "select count(*) from pg_replication_slots where slot_name = 'ctx0_left'";
    assert_eq!(project.value(slots).await, "1");
    project
        .sql("select pg_drop_replication_slot('ctx0_left')")
        .await;
    let said = said(&preview);
    assert!(
        matches!(said[..], [(WarningKind::LeftBehind, message)] if message.contains("ctx0_left")),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_lock_is_blamed_on_those_who_hold_what_the_statement_means() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create schema app;
             create table public.notes (id int); create table app.notes (id int); create table app.tags (id int);
             create table public.events (id int) partition by range (id);
             create table app.events_1 partition of public.events for values from (1) to (10);
             create index notes_by_id on app.notes (id);",
        )
        .await;
    let holds = project.stack.sql(
        "begin; lock table only app.notes, app.tags, app.events_1 in row exclusive mode; select pg_sleep(60)",
    );
    let asks = async {
        let holder =
            "select pid from pg_locks where relation = 'app.events_1'::regclass and granted";
        let pid = project.until_some(holder).await;
        for (statement, path, expected) in [
            ("alter table notes add a int", "public", ""),
            ("alter table notes add a int", "app, public", "app.notes"),
            ("alter table public.notes add a int", "app, public", ""),
            ("ALTER TABLE App.Notes add a int", "public", "app.notes"),
            (r#"alter table "app" . "notes" add a int"#, "", "app.notes"),
            (r#"alter table app."Notes" add a int"#, "public", ""),
            ("drop index app.notes_by_id", "public", "app.notes"),
            ("alter table events add a int", "public", "app.events_1"),
            ("drop table notes -- app.notes", "public", ""),
            ("drop /* app.notes */ table notes /**/", "public", ""),
            (
                "drop table app.notes, app.tags",
                "public",
                "app.notes,app.tags",
            ),
            (
                "do $$ begin execute 'drop table app.tags'; end $$",
                "public",
                "app.tags",
            ),
        ] {
            let reported = format!(
                "select coalesce(string_agg(h ->> 'relation', ',' order by h ->> 'relation'), '')
                   from jsonb_array_elements(ctx0_private.lock_holders(p_statement => $sql${statement}$sql$, p_path => '{path}')) h"
            );
            assert_eq!(
                project.value(&reported).await,
                expected,
                "{statement} in {path}"
            );
        }
        project
            .sql(&format!("select pg_cancel_backend({pid})"))
            .await;
    };
    let (held, ()) = tokio::join!(holds, asks);
    held.expect_err("it was cancelled");
}

#[tokio::test]
async fn concurrent_ddl_neither_breaks_a_preview_nor_appears_in_it() {
    let project = Project::installed_on_own_server().await;
    project
        .sql("create table public.ctx0_mine (id int primary key, note text); insert into public.ctx0_mine values (1, 'a'); create table public.theirs (a int, b int);")
        .await;
    let manager = project.manager(migrations(&[(
        "001_mine",
        "alter table public.ctx0_mine add column more int",
    )]));
    let done = Cell::new(false);
    let others = async {
        let mut round = 0;
        while !done.get() {
            round += 1;
            for sql in [
                "create table public.job (id serial primary key, a text default 'x')",
                "create function public.job_f() returns int language sql as 'select 1'",
                "alter table public.theirs add column c int",
                "vacuum full public.theirs",
                "drop table public.job",
                "drop function public.job_f()",
                "alter table public.theirs drop column c",
            ] {
                project.sql(sql).await;
            }
        }
        round
    };
    let previews = async {
        for _ in 0..60 {
            let preview = manager.preview().budget(LONGEST).await.expect("a preview");
            assert!(preview.succeeds(), "{preview}");
            let changed: Vec<_> = preview.versions[0]
                .changes
                .iter()
                .map(|change| change.name.as_str())
                .collect();
            assert_eq!(changed, ["public.ctx0_mine"], "{preview}");
            assert!(preview.versions[0].rewrites.is_empty(), "{preview}");
            assert_eq!(said(&preview), [], "{preview}");
        }
        done.set(true);
    };
    let (rounds, ()) = tokio::join!(others, previews);
    assert!(rounds > 5, "{rounds} rounds");
}

#[tokio::test]
async fn the_lock_timeout_holds_whatever_a_dump_header_says() {
    let project = Project::installed_on_own_server().await;
    project
        .sql("create table public.ctx0_busy (id int primary key)")
        .await;
    let sql = "SET statement_timeout = 0;\nSET lock_timeout = 0;\n\
               SELECT pg_catalog.set_config('search_path', '', false);\n\
               ALTER TABLE public.ctx0_busy ADD CONSTRAINT ctx0_busy_id CHECK (id > 0);";
    let holds = project
        .stack
        .sql("begin; lock table public.ctx0_busy in access share mode; select pg_sleep(60)");
    let looks = async {
        project.until("exists (select from pg_locks where relation = 'public.ctx0_busy'::regclass and granted)").await;
        preview(&project, sql).await
    };
    let preview = tokio::select! {
        preview = looks => preview,
        held = holds => panic!("it waited for the table: {held:?}"),
    };
    assert_eq!(
        preview.failure().expect("it waits too long").sqlstate,
        "55P03"
    );
}

#[tokio::test]
async fn a_value_that_an_earlier_version_adds_can_be_tested_later() {
    let project = Project::installed_on_own_server().await;
    let first = "create type ctx0_status as enum ('draft', 'sent');
                 create table ctx0_letter (id int primary key, status ctx0_status not null default 'draft');
                 insert into ctx0_letter values (1, 'draft'), (2, 'sent');";
    let add = "alter type ctx0_status add value if not exists 'archived';";
    let uses = "update ctx0_letter set status = 'archived' where status = 'sent';
                alter table ctx0_letter alter column status set default 'archived';";
    let manager = project.manager(migrations(&[
        ("001_status", first),
        ("002_add", add),
        ("003_use", uses),
    ]));
    manager.apply_migration(version(1)).await.unwrap();
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    let states: Vec<_> = preview.versions.iter().map(|seen| seen.state).collect();
    assert_eq!(
        states,
        [
            PreviewState::Tested,
            PreviewState::After {
                version: version(2)
            }
        ]
    );
    assert!(preview.failure().is_none());
    manager.apply_all_pending().await.unwrap();

    // Within one version it fails, and that is said.
    let both = "alter type ctx0_status add value 'lost'; update ctx0_letter set status = 'lost';";
    let manager = project.manager(migrations(&[
        ("001_status", first),
        ("002_add", add),
        ("003_use", uses),
        ("004_both", both),
    ]));
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    assert_eq!(preview.failure().expect("it fails").sqlstate, "55P04");
}

#[tokio::test]
async fn a_warning_says_which_values_are_rounded_cut_or_emptied() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create table public.ctx0_price (id int, amount numeric(12,4), at timestamptz, fine numeric(12,2), label text, big bigint);
             insert into public.ctx0_price select i, 10.1234, '2026-01-01 10:00:00.123456+00', 1.5, 'a', i from generate_series(1, 3) i;",
        )
        .await;
    let lossy = [
        (
            "alter table ctx0_price alter column amount type numeric(12,2)",
            "amount",
        ),
        (
            "alter table ctx0_price alter column at type timestamptz(0)",
            "at",
        ),
        (
            "alter table ctx0_price alter column label type int using null",
            "label",
        ),
        (
            "alter table ctx0_price alter column big type bigint using null",
            "",
        ),
    ];
    for (sql, column) in &lossy[..3] {
        let preview = preview(&project, sql).await;
        let lost: Vec<_> = said(&preview)
            .into_iter()
            .filter(|(kind, _)| *kind == WarningKind::DataLost)
            .collect();
        assert_eq!(lost.len(), 1, "{sql}: {preview}");
        assert!(
            lost[0].1.contains(&format!("column {column} ")),
            "{sql}: {preview}"
        );
    }
    for sql in [
        "alter table ctx0_price alter column fine type numeric(12,4)",
        "alter table ctx0_price alter column big type int",
        "alter table ctx0_price alter column id type bigint",
        "alter table ctx0_price alter column label type varchar(20)",
    ] {
        let preview = preview(&project, sql).await;
        assert!(
            said(&preview)
                .iter()
                .all(|(kind, _)| *kind != WarningKind::DataLost),
            "{sql}: {preview}"
        );
    }
}

#[tokio::test]
async fn a_warning_says_that_data_is_lost_exactly_where_it_is() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create table public.ctx0_t (id int primary key, empty text, rare text, twice int generated always as (id * 2) stored);
             insert into public.ctx0_t (id) select generate_series(1, 20000);
             update public.ctx0_t set rare = 'x' where id = 20000;
             create table public.ctx0_part (id int, at int) partition by list (at);
             create table public.ctx0_part_1 partition of public.ctx0_part for values in (1);
             create table public.ctx0_part_2 partition of public.ctx0_part for values in (2);
             insert into public.ctx0_part values (1, 1), (2, 1);",
        )
        .await;
    for (sql, lost) in [
        ("truncate ctx0_t; insert into ctx0_t (id) values (1)", true),
        ("alter table ctx0_t drop column rare", true),
        ("alter table ctx0_t drop column empty", false),
        ("alter table ctx0_t drop column twice", false),
        ("delete from ctx0_t where id = 1", true),
        (
            "do $$ begin delete from ctx0_t; raise exception 'no'; exception when others then null; end $$",
            false,
        ),
        ("update ctx0_part set at = 2 where id = 1", false),
    ] {
        let preview = preview(&project, sql).await;
        assert!(preview.succeeds(), "{sql}: {preview}");
        let said_so = said(&preview)
            .iter()
            .any(|(kind, _)| *kind == WarningKind::DataLost);
        assert_eq!(said_so, lost, "{sql}: {preview}");
    }
}

#[tokio::test]
async fn a_warning_says_what_opens_data_however_it_is_written() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create schema hidden; create table hidden.notes (id int, body text); grant select on hidden.notes to anon;
             create table public.ctx0_diary (id int primary key, owner uuid, body text);
             alter table public.ctx0_diary enable row level security;
             create policy own on public.ctx0_diary for select to authenticated using (owner is not null);
             create policy short on public.ctx0_diary as restrictive to authenticated using (length(body) < 9);
             create policy nobody on public.ctx0_diary as restrictive to anon using (false);
             create table public.ctx0_closed (id int, body text);
             revoke all on public.ctx0_closed from anon, authenticated;
             create table public.ctx0_shared (id int, body text);
             alter table public.ctx0_shared enable row level security;
             create policy all_rows on public.ctx0_shared to anon using (true);
             revoke all on public.ctx0_shared from anon;",
        )
        .await;
    for (sql, opened) in [
        (
            "create policy everybody on ctx0_diary for all to anon, authenticated using (true) with check (true)",
            true,
        ),
        ("alter policy own on ctx0_diary using (true)", true),
        ("alter policy own on ctx0_diary rename to mine", false),
        (
            "drop policy own on ctx0_diary; create policy own on ctx0_diary for select to authenticated using (owner is not null)",
            false,
        ),
        ("drop policy short on ctx0_diary", true),
        ("alter policy short on ctx0_diary using (true)", true),
        ("alter policy short on ctx0_diary to anon", true),
        ("alter policy short on ctx0_diary rename to brief", false),
        ("drop policy nobody on ctx0_diary", false),
        (
            "create policy narrow on ctx0_diary as restrictive for select to anon using (true)",
            false,
        ),
        ("grant select (body) on ctx0_closed to anon", true),
        ("grant select on ctx0_shared to anon", true),
        ("grant select (body) on ctx0_shared to anon", true),
        ("grant select on ctx0_shared to service_role", false),
        (
            "create policy more on ctx0_shared for select to anon using (id > 0)",
            false,
        ),
        ("grant usage on schema hidden to anon", true),
        ("alter table hidden.notes set schema public", true),
        (
            "alter default privileges in schema hidden grant select on tables to anon",
            true,
        ),
        (
            "create view ctx0_off with (security_invoker = off) as select id from ctx0_diary",
            true,
        ),
        (
            "create view ctx0_yes with (security_invoker = yes) as select id from ctx0_diary",
            false,
        ),
        (
            "create view ctx0_one with (security_invoker = 1) as select id from ctx0_diary",
            false,
        ),
        (
            "create view ctx0_bare with (security_invoker) as select id from ctx0_diary",
            false,
        ),
        (
            "create view ctx0_on with (security_barrier, security_invoker = ON) as select id from ctx0_diary",
            false,
        ),
        (
            "create view ctx0_quoted with (security_invoker = 'TRUE') as select id from ctx0_diary",
            false,
        ),
        (
            "create function ctx0_f(a text default ' AS ') returns int security definer language sql as 'select 1'",
            true,
        ),
        (
            "create function ctx0_f(a text default ' SECURITY DEFINER ') returns int language sql as 'select 1'",
            false,
        ),
    ] {
        let preview = preview(&project, sql).await;
        assert!(preview.succeeds(), "{sql}: {preview}");
        let said_so = said(&preview)
            .iter()
            .any(|(kind, _)| *kind == WarningKind::Opened);
        assert_eq!(said_so, opened, "{sql}: {preview}");
    }
    // As a superuser's installation would allow it.
    let preview = preview(&project, "grant service_role to anon").await;
    if preview.succeeds() {
        assert!(
            said(&preview)
                .iter()
                .any(|(kind, _)| *kind == WarningKind::Opened),
            "{preview}"
        );
    }
}

#[tokio::test]
async fn a_rollback_says_what_it_does_not_bring_back() {
    let project = Project::installed_on_own_server().await;
    let first = "create table ctx0_place (id int primary key, lat numeric(9,6), city text);
                 insert into ctx0_place values (1, 52.520008, 'Berlin'), (2, 48.137154, null);";
    let manifest = json!({"currentVersion": 2, "migrations": [
        {"version": 1, "name": "001_n", "description": "n", "file": "001_n.sql"},
        {"version": 2, "name": "002_lossy", "description": "lossy", "file": "002_lossy.sql", "down": "002_lossy.down.sql"}]})
    .to_string();
    let migrations = ctx0_schema::Migrations::embedded(&[
        ("manifest.json", manifest.as_str()),
        ("001_n.sql", first),
        ("002_lossy.sql", "alter table ctx0_place alter column lat type numeric(4,1); alter table ctx0_place drop column city;"),
        ("002_lossy.down.sql", "alter table ctx0_place add column city text; alter table ctx0_place alter column lat type numeric(9,6);"),
    ])
    .unwrap();
    let manager = project.manager(migrations);
    manager.apply_all_pending().await.unwrap();
    let preview = manager
        .preview_rollback(version(1))
        .budget(LONGEST)
        .await
        .unwrap();
    let not_restored: Vec<_> = said(&preview)
        .into_iter()
        .filter(|(kind, _)| *kind == WarningKind::NotRestored)
        .map(|(_, message)| message)
        .collect();
    assert_eq!(not_restored.len(), 2, "{preview}");
    assert!(
        not_restored
            .iter()
            .any(|message| message.contains("column city")),
        "{preview}"
    );
    assert!(
        not_restored
            .iter()
            .any(|message| message.contains("column lat")),
        "{preview}"
    );
    manager.rollback_to(version(1)).await.unwrap();
}

#[tokio::test]
async fn a_preview_is_cancelled_from_outside_and_leaves_nothing() {
    let project = Project::installed_on_own_server().await;
    project.sql("create table public.ctx0_slow (id int)").await;
    let sql = "insert into ctx0_slow values (1); select pg_sleep(60);";
    let manager = project.manager(migrations(&[("001_slow", sql)]));
    let request = manager.preview().budget(Duration::from_secs(25));
    let canceller = request.canceller();
    let cancel = async {
        project.until_asleep().await;
        canceller.cancel().await.unwrap()
    };
    let (preview, cancelled) = tokio::join!(request, cancel);
    assert_eq!(cancelled, Cancellation::Cancelled);
    let preview = preview.unwrap();
    assert_eq!(
        preview.versions[0].state,
        PreviewState::NotFinished {
            reason: Unfinished::Cancelled
        }
    );
    assert!(preview.failure().is_none());
    assert_eq!(project.value("select count(*) from ctx0_slow").await, "0");
    let again = manager.preview().canceller().cancel().await.unwrap();
    assert_eq!(again, Cancellation::NotRunning);
}

/// A statement that catches the cancellation, once and again, and one that may not be cancelled.
#[tokio::test]
async fn a_preview_that_resists_is_cancelled_again_or_ends_before_its_next_statement() {
    let catches = "do $$ begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(61); end $$";
    let goes_on = "do $$ begin
                     for i in 1 .. 2 loop
                       begin perform pg_sleep(20); exception when query_canceled then perform pg_sleep(1.2); end;
                     end loop;
                   end $$";
    let never_ends = "do $$ begin
                        loop
                          begin perform pg_sleep(20); exception when query_canceled then null; end;
                        end loop;
                      end $$";
    let forbid = "revoke authenticator, pg_signal_backend from postgres";
    for (first, forbid) in [
        (catches, ""),
        (goes_on, ""),
        (never_ends, ""),
        ("select pg_sleep(1)", forbid),
        ("select pg_sleep(8)", forbid),
    ] {
        let project = Project::installed_on_own_server().await;
        project.stack.admin_sql(forbid).await.unwrap();
        project.sql("create table public.ctx0_slow (id int)").await;
        let sql = format!("insert into ctx0_slow values (1);\n{first};\nselect pg_sleep(60);");
        let manager = project.manager(migrations(&[("001_slow", &sql)]));
        let request = manager.preview().budget(Duration::from_secs(25));
        let canceller = request.canceller();
        let cancel = async {
            project.until_asleep().await;
            canceller.cancel().await.unwrap()
        };
        let (preview, cancelled) = tokio::join!(request, cancel);
        assert_eq!(cancelled, Cancellation::Cancelled, "{sql}");
        assert_eq!(
            preview.unwrap().versions[0].state,
            PreviewState::NotFinished {
                reason: Unfinished::Cancelled
            },
            "{sql}"
        );
        assert_eq!(project.value("select count(*) from ctx0_slow").await, "0");
    }
}

/// Its connection is closed, and it is not started again.
#[tokio::test]
async fn a_preview_that_catches_every_cancellation_ends_soon_after_its_budget() {
    let project = Project::installed_on_own_server().await;
    project.sql("create table public.ctx0_slow (id int)").await;
    let sql = "insert into public.ctx0_slow values (1);
               do $$ begin
                 loop
                   begin perform pg_sleep(20); exception when query_canceled then null; end;
                 end loop;
               end $$;";
    let manager = project.manager(migrations(&[("001_slow", sql)]));
    let started = Instant::now();
    let preview = manager.preview().budget(Duration::from_secs(1)).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(
        preview.unwrap().versions[0].state,
        PreviewState::NotFinished {
            reason: Unfinished::BudgetUsed
        }
    );
    let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    assert_eq!(project.value(sleeps).await, "0");
    assert_eq!(project.value("select count(*) from ctx0_slow").await, "0");
}

/// Whether it must stop is asked before each statement.
#[tokio::test]
async fn a_preview_of_many_statements_under_many_locks_fits_into_its_budget() {
    let project = Project::installed_on_own_server().await;
    let mut sql = "do $$ begin for i in 1 .. 1500 loop execute format('create table public.ctx0_%s ()', i); end loop; end $$;\n\
         create table public.ctx0_numbers (number int);\n"
        .to_owned();
    for number in 0..12_000 {
        writeln!(sql, "insert into public.ctx0_numbers values ({number});").unwrap();
    }
    let manager = project.manager(migrations(&[("001_test", &sql)]));
    let request = manager.preview().budget(Duration::from_secs(25));
    let preview = request.await.expect("a preview");
    assert_eq!(preview.versions[0].state, PreviewState::Tested, "{preview}");
}

/// The client cuts the text as the server reads it with `standard_conforming_strings = on`.
#[tokio::test]
async fn strings_are_read_as_they_were_cut_whatever_a_setting_says() {
    let project = one_connection().await;
    let text = r"insert into public.ctx0_texts values ('a\'); select ';';";
    let hidden = format!(
        "do $$ begin perform set_config('standard_conforming' || '_strings', 'off', false); end $$;\n{text}"
    );
    project.sql("create table public.ctx0_texts (a text)").await;
    let manager = project.manager(migrations(&[("001_hidden", &hidden)]));
    assert!(manager.preview().budget(LONGEST).await.unwrap().succeeds());
    manager.apply_all_pending().await.unwrap();
    for owner in ["database postgres", "role authenticator"] {
        let off = format!("alter {owner} set standard_conforming_strings = off");
        project.stack.admin_sql(&off).await.unwrap();
    }
    project.stack.stop_rest().await.unwrap();
    project.stack.start_rest().await.unwrap();
    let manager = project.manager(migrations(&[
        ("001_hidden", hidden.as_str()),
        ("002_set", text),
    ]));
    manager.apply_all_pending().await.unwrap();
    assert_eq!(
        project.sql("select a from public.ctx0_texts").await,
        [[Some(r"a\".to_owned())], [Some(r"a\".to_owned())]]
    );
}

#[tokio::test]
async fn a_trigger_of_somebody_else_on_the_ledger_stops_everything_by_its_name() {
    let project = Project::installed_on_own_server().await;
    project
        .sql(
            "create function public.spy() returns trigger language plpgsql as 'begin return new; end';
             create trigger spy before insert on public.ctx0_schema_versions for each row execute function public.spy();",
        )
        .await;
    let manager = project.manager(migrations(&[("001_test", "select 1")]));
    for error in [
        manager.preview().budget(LONGEST).await.unwrap_err(),
        manager.apply_all_pending().await.unwrap_err().error,
    ] {
        let Error::Conflict {
            reason, message, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(*reason, ConflictReason::UnsafeTable);
        assert!(
            message.contains("drop trigger spy on public.ctx0_schema_versions"),
            "{message}"
        );
    }
    let refused = project.stack.sql(install_sql()).await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("55000"), "{refused:?}");
    project
        .sql("drop trigger spy on public.ctx0_schema_versions")
        .await;
    manager.apply_all_pending().await.unwrap();
}

#[tokio::test]
async fn a_migration_that_touches_the_record_or_the_functions_fails_and_says_so() {
    let project = Project::installed_on_own_server().await;
    let function =
        "create function ctx0_f() returns trigger language plpgsql as 'begin return new; end'";
    let trigger = format!(
        "{function}; create trigger t after insert on ctx0_schema_versions for each row execute function ctx0_f()"
    );
    let other = format!(
        "{function}; create trigger t after insert on ctx0_private.ctx0_schema_attempts for each row execute function ctx0_f()"
    );
    for sql in [
        "insert into ctx0_schema_versions (version, migration_name) values (3, 'x')",
        "update ctx0_schema_versions set checksum = 'x' where version = 2",
        "update ctx0_schema_versions set checksum = 'x' where version = 1",
        "update ctx0_schema_versions set migration_name = 'x' where version = 1",
        "delete from ctx0_schema_versions where version = 1",
        // As `run_migration` ends a version that was cancelled.
        "do $$ begin raise sqlstate 'CTX02'; end $$",
        trigger.as_str(),
        other.as_str(),
        "create rule r as on insert to ctx0_schema_versions do also notify ctx0",
        "alter table ctx0_schema_versions owner to anon",
        "drop table ctx0_private.ctx0_schema_attempts",
        "delete from ctx0_private.ctx0_schema_attempts",
        "truncate ctx0_private.ctx0_schema_attempts",
        "update ctx0_private.ctx0_schema_attempts set down_sql = null",
        "drop function ctx0_private.answer(jsonb)",
        "drop function public.ctx0_verify_schema()",
        "create or replace function ctx0_private.lock_key() returns int language sql as 'select 1'",
    ] {
        let manager = project.manager(migrations(&[("001_base", "select 1"), ("002_test", sql)]));
        let preview = manager.preview().budget(LONGEST).await.unwrap();
        assert!(!preview.succeeds(), "{sql}: {preview}");
        let error = manager.apply_all_pending().await.unwrap_err().error;
        assert!(
            matches!(&error, Error::MigrationFailed(_)),
            "{sql}: {error}"
        );
        assert_eq!(manager.current_version().await.unwrap().get(), 1, "{sql}");
    }
}

#[tokio::test]
async fn what_the_connection_itself_has_set_is_kept() {
    let project = one_connection().await;
    project
        .sql(
            "create function public.user_set() returns text language plpgsql as $$ begin
               perform set_config('client_min_messages', 'error', false);
               perform set_config('work_mem', '5MB', false);
               return current_setting('client_min_messages'); end $$;
             create function public.user_see() returns text language sql as
               $$ select concat_ws(' ', current_setting('client_min_messages'), current_setting('work_mem'), current_setting('app.mine', true)) $$;",
        )
        .await;
    project.stack.reload_schema().await.unwrap();
    let rest = Rest::of(&project);
    rest.call("service_role", "user_set", &json!({})).await;
    let preview = preview(
        &project,
        "set client_min_messages = debug1; set work_mem = '1GB'; set app.mine = 'left'; select 1;",
    )
    .await;
    assert!(preview.succeeds(), "{preview}");
    let seen = rest.call("service_role", "user_see", &json!({})).await;
    assert_eq!(
        seen.body.as_str().map(str::trim),
        Some("error 5MB"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn prepared_statements_that_a_block_drops_break_no_later_request() {
    let project = one_connection().await;
    let sql = "do $$ begin execute 'deallocate all'; end $$";
    let manager = project.manager(migrations(&[("001_test", sql)]));
    manager.preview().budget(LONGEST).await.expect("a preview");
    for _ in 0..3 {
        manager
            .status()
            .await
            .expect("the connection works or is a new one");
    }
    manager.apply_all_pending().await.unwrap();
    manager.verify().await.unwrap();
}
