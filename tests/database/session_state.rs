//! What a migration leaves on the connection that PostgREST gives to the next request: nothing.
//!
//! Always on a PostgreSQL of their own, whose REST layer has but one connection.

use std::collections::BTreeMap;

use ctx0_stack::Options;
use ctx0_stack::project::{Project, migrations};
use serde_json::json;

use crate::rest::{Answer, Rest, arguments, call_text};

/// Each of these outlives its transaction unless it is undone.
const LASTING: [&str; 16] = [
    "set statement_timeout = '1min'",
    "select set_config('lock_timeout', '1min', false)",
    "set row_security = off",
    "set default_transaction_isolation = 'serializable'",
    "set session characteristics as transaction read only",
    "select set_config('ctx0.left_over', 'yes', false)",
    "create temp table left_over_table as select 1 as a",
    "create temp view left_over_view as select 1 as a",
    "create temp sequence left_over_sequence",
    "create function pg_temp.left_over_function() returns int language sql as 'select 1'",
    "prepare left_over_statement as select 1",
    "listen left_over_channel",
    "declare left_over_cursor cursor with hold for select 1 as a",
    "select pg_advisory_lock(7)",
    "select pg_advisory_lock_shared(8)",
    // The lock that ctx0_apply_migration takes, which would keep everyone out.
    "select pg_advisory_lock(1668577328, 1)",
];

/// Each of these ends with its transaction, or takes something away.
const PASSING: [&str; 15] = [
    "set local statement_timeout = '1min'",
    "select set_config('ctx0.left_over', 'yes', true)",
    "set constraints all deferred",
    "select pg_advisory_xact_lock(7)",
    "lock table public.ctx0_schema_versions in access exclusive mode",
    "create temp table left_over_table (a int) on commit drop",
    "declare left_over_cursor cursor for select 1 as a",
    // Open to the end, as PostgreSQL allows, on a table that is to go.
    "create temp table left_over_table as select 1 as a;
     declare left_over_cursor cursor for select a from left_over_table",
    "create temp table left_over_table as select 1 as a;
     do $$ declare c refcursor; begin open c for select a from left_over_table; end $$",
    "notify left_over_channel",
    "unlisten *",
    "discard plans",
    "discard sequences",
    "discard temp",
    "reset all",
];

#[tokio::test]
async fn a_migration_leaves_nothing_on_its_connection_whether_it_succeeds_or_fails() {
    let project = one_connection().await;
    let rest = Rest::of(&project);
    let before = session(&rest).await;
    for (version, text) in (1..).zip(LASTING.into_iter().chain(PASSING)) {
        let failed = apply(&rest, version, &[text, "select 1 / 0"]).await;
        assert_eq!(
            (&failed.body["sqlstate"], &failed.body["statement"]),
            (&json!("22012"), &json!(2)),
            "{text}: {failed:?}"
        );
        assert_eq!(
            difference(&before, &session(&rest).await),
            NONE,
            "failed: {text}"
        );

        let applied = apply(&rest, version, &[text]).await;
        assert_eq!(applied.body["outcome"], "applied", "{text}: {applied:?}");
        assert_eq!(
            difference(&before, &session(&rest).await),
            NONE,
            "applied: {text}"
        );
    }
}

/// Shows that the test above looks at the right things.
#[tokio::test]
async fn a_function_that_only_executes_would_leave_all_of_it() {
    let project = one_connection().await;
    project
        .sql(
            "create function public.user_execute(p_sql text) returns void language plpgsql security definer as
             'begin execute p_sql; end'",
        )
        .await;
    project.stack.reload_schema().await.unwrap();
    let rest = Rest::of(&project);
    let before = session(&rest).await;
    for text in LASTING {
        for (text, changes) in [
            (text, true),
            (
                "select ctx0_private.clean_session('{\"settings\": {}, \"prepared\": 0}')",
                false,
            ),
        ] {
            let answer = rest
                .call("service_role", "user_execute", &json!({"p_sql": text}))
                .await;
            assert!(answer.status < 300, "{text}: {answer:?}");
            let difference = difference(&before, &session(&rest).await);
            assert_eq!(!difference.is_empty(), changes, "{text}: {difference:?}");
        }
    }
}

/// In SQL, because PostgREST sets a path for each request and so would hide this one.
#[tokio::test]
async fn a_search_path_ends_with_its_migration() {
    let project = one_connection().await;
    for (version, text) in (1..).zip([
        "set search_path = pg_temp",
        "select set_config('search_path', '', false)",
    ]) {
        let call = call_text(version, &[text]);
        let path = "select current_setting('search_path')";
        let rows = project
            .sql(&format!(
                "{path}; begin; select {call} ->> 'outcome'; commit; {path};"
            ))
            .await;
        assert_eq!(rows[1], [Some("applied".to_owned())], "{text}");
        assert_eq!(rows[2], rows[0], "{text}");
    }
}

/// Of two versions in one request the second one sees what the first one has left.
#[tokio::test]
async fn the_statements_that_postgrest_has_prepared_stay() {
    let project = one_connection().await;
    let kept =
        "create table public.ctx0_kept as select name, from_sql from pg_prepared_statements;";
    let seen = kept.replace("ctx0_kept", "ctx0_seen");
    let first = format!("prepare left_over as select 1; {seen}");
    let files = [
        ("001_a".to_owned(), first),
        ("002_a".to_owned(), kept.to_owned()),
    ];
    let run = project.manager(migrations(&files)).apply_all_pending();
    run.batch(true).await.expect("both are applied");
    let prepared = "select string_agg(name, ' ' order by name) from public";
    let seen = format!("{prepared}.ctx0_seen where not from_sql");
    let seen = project.value(&seen).await;
    assert_ne!(seen, "");
    assert_eq!(project.value(&format!("{prepared}.ctx0_kept")).await, seen);
}

#[tokio::test]
async fn a_migration_cannot_change_its_role() {
    let project = one_connection().await;
    let rest = Rest::of(&project);
    let before = session(&rest).await;
    for text in [
        "set role anon",
        "set role none",
        "set local role service_role",
        "reset role",
        "do $$ begin execute 'set role anon'; end $$",
        "select set_config('role', 'anon', false)",
        "set session authorization postgres",
        "reset session authorization",
        "select set_config('session_authorization', 'postgres', false)",
    ] {
        let answer = apply(&rest, 1, &[text]).await;
        assert_eq!(
            (answer.status, &answer.body["sqlstate"]),
            (200, &json!("42501")),
            "{text}: {answer:?}"
        );
        assert_eq!(difference(&before, &session(&rest).await), NONE, "{text}");
    }
    assert_eq!(project.ledger().await, Vec::<u32>::new());
}

#[tokio::test]
async fn a_migration_cannot_touch_its_transaction() {
    let project = one_connection().await;
    let rest = Rest::of(&project);
    let before = session(&rest).await;
    for (text, sqlstate) in [
        ("commit", "0A000"),
        ("rollback", "0A000"),
        ("savepoint s", "0A000"),
        ("do $$ begin commit; end $$", "2D000"),
        ("discard all", "25001"),
        ("set transaction isolation level serializable", "25001"),
        ("set transaction read only", "25006"),
        ("set local transaction_read_only = on", "25006"),
    ] {
        let answer = apply(&rest, 1, &[text]).await;
        assert_eq!(
            (answer.status, &answer.body["sqlstate"]),
            (200, &json!(sqlstate)),
            "{text}: {answer:?}"
        );
        assert_eq!(difference(&before, &session(&rest).await), NONE, "{text}");
    }
    assert_eq!(project.ledger().await, Vec::<u32>::new());
}

#[tokio::test]
async fn the_next_migration_is_not_influenced() {
    let project = one_connection().await;
    // A migration that writes down what it finds, and uses the names that the one before has used.
    let names: Vec<_> = LASTING
        .iter()
        .filter(|text| text.contains("left_over_"))
        .copied()
        .collect();
    let look = |table: &str| {
        format!(
            "create table public.{table} as {SESSION};\n{};",
            names.join(";\n")
        )
    };
    let (first, last) = (look("user_first"), look("user_last"));
    let everything = LASTING.join(";\n");
    let manager = project.manager(migrations(&[
        ("001_first", first.as_str()),
        ("002_everything", everything.as_str()),
        ("003_last", last.as_str()),
    ]));
    manager.apply_all_pending().await.unwrap();
    let difference = project
        // The name of the session says which version runs.
        .sql(
            "delete from public.user_first where name = 'setting application_name';
             delete from public.user_last where name = 'setting application_name';
             (table public.user_first except table public.user_last) union all (table public.user_last except table public.user_first)",
        )
        .await;
    assert_eq!(difference, Vec::<Vec<_>>::new());
    assert!(
        project
            .value("select count(*) from public.user_last")
            .await
            .parse::<u32>()
            .unwrap()
            > 300
    );
}

/// A project whose requests all come to the same connection.
async fn one_connection() -> Project {
    let options = Options {
        pool: 1,
        ..Options::default()
    };
    let project = Project::installed_with(options).await;
    // In PL/pgSQL, whose own settings are there once a session has used it.
    project
        .sql(&format!(
            "create function public.user_session() returns jsonb language plpgsql as
             $$ begin return (select jsonb_object_agg(name, value) from ({SESSION}) found); end $$"
        ))
        .await;
    project
        .stack
        .reload_schema()
        .await
        .expect("the schema is read again");
    project
}

async fn apply(rest: &Rest<'_>, version: u32, statements: &[&str]) -> Answer {
    rest.call(
        "service_role",
        "ctx0_apply_migration",
        &arguments(version, statements),
    )
    .await
}

/// All that a request finds on its connection.
async fn session(rest: &Rest<'_>) -> BTreeMap<String, String> {
    let answer = rest.call("service_role", "user_session", &json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_value(answer.body).expect("names and values")
}

fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)));
    names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            format!(
                "{name}: {:?} and then {:?}",
                before.get(name),
                after.get(name)
            )
        })
        .collect()
}

const NONE: Vec<String> = Vec::new();

const SESSION: &str = "
  select 'setting ' || name as name, setting as value from pg_settings
  union all select 'connection', pg_backend_pid()::text
  union all select 'user', current_user::text
  union all select 'role', current_setting('role')
  union all select 'ctx0.left_over', coalesce(current_setting('ctx0.left_over', true), '')
  union all select 'temporary relation ' || relname, '' from pg_class where relnamespace = pg_my_temp_schema()
  union all select 'temporary function ' || proname, '' from pg_proc where pronamespace = pg_my_temp_schema()
  union all select 'temporary type ' || typname, '' from pg_type where typnamespace = pg_my_temp_schema()
  union all select 'statement ' || name, statement from pg_prepared_statements where from_sql
  union all select 'cursor ' || name, statement from pg_cursors where is_holdable
  union all select 'channel ' || name, '' from pg_listening_channels() name
  -- Counted, because one of them is named after the attempt.
  union all select 'advisory locks: ' || mode, count(*)::text from pg_locks
             where pid = pg_backend_pid() and locktype = 'advisory' group by mode";
