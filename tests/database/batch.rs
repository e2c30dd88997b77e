//! Several versions in one request: a savepoint each, and what differs from one request a version.

use ctx0_schema::{Error, Verification};
use ctx0_stack::project::{Project, migrations, version};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rest::{Answer, Rest, sha256};

/// The arguments of `ctx0_apply_migrations` for versions from 1.
fn several(texts: &[&str]) -> Value {
    let steps: Vec<_> = (1..)
        .zip(texts)
        .map(|(version, text)| {
            json!({
                "version": version,
                "name": format!("{version:03}_test"),
                "description": "A test",
                "sql": [text],
                "checksum": sha256(text),
                "expected_version": version - 1,
                "attempt": Uuid::new_v4(),
            })
        })
        .collect();
    json!({ "p_steps": steps })
}

async fn apply(rest: &Rest<'_>, arguments: &Value) -> Vec<Value> {
    let answer = rest
        .call("service_role", "ctx0_apply_migrations", arguments)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["results"].as_array().unwrap().clone()
}

fn outcomes(results: &[Value]) -> Vec<&str> {
    let outcomes = results.iter().map(|result| result["outcome"].as_str());
    outcomes
        .map(|outcome| outcome.expect("an outcome"))
        .collect()
}

async fn attempts(project: &Project) -> String {
    project
        .value(
            "select string_agg(concat(version, ' ', outcome, case when objects is not null then ' described' end),
                               ', ' order by finished_at)
               from ctx0_private.ctx0_schema_attempts",
        )
        .await
}

#[tokio::test]
async fn a_failure_keeps_the_versions_before_it_and_is_told_with_its_place() {
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[
        ("001_a", "create table public.ctx0_a (id int);"),
        ("002_b", "create table public.ctx0_b (id int);"),
        (
            "003_c",
            "create table public.ctx0_c (id int);\n\nselect 1 / 0;",
        ),
        ("004_d", "create table public.ctx0_d (id int);"),
    ]));
    let error = manager.apply_all_pending().await.unwrap_err();
    assert_eq!(error.applied, [version(1), version(2)]);
    let Error::MigrationFailed(failure) = &error.error else {
        panic!("{error}")
    };
    assert_eq!(
        (failure.version, failure.statement, failure.line),
        (version(3), Some(2), Some(3))
    );
    assert_eq!(failure.file.as_deref(), Some("003_c.sql"));
    assert_eq!(project.ledger().await, [1, 2]);
    assert_eq!(
        attempts(&project).await,
        "1 applied, 2 applied described, 3 failed",
        "the schema is described where the run ends"
    );
    let verified = manager.verify().await.unwrap();
    assert_eq!(verified.to_string(), "the schema is as version 2 left it");
}

#[tokio::test]
async fn a_version_that_works_only_after_a_commit_is_tried_alone() {
    let project = Project::installed().await;
    project
        .sql("create type public.ctx0_mood as enum ('good')")
        .await;
    let manager = project.manager(migrations(&[
        ("001_value", "alter type public.ctx0_mood add value 'bad';"),
        (
            "002_use",
            "create table public.ctx0_moods (mood public.ctx0_mood default 'bad');",
        ),
        ("003_more", "select 1;"),
    ]));
    let report = manager.apply_all_pending().await.unwrap();
    assert_eq!(report.applied.len(), 3);
    assert_eq!(
        attempts(&project).await,
        "1 applied, 2 applied, 3 applied described"
    );
}

#[tokio::test]
async fn each_version_finds_constraints_and_settings_as_in_a_request_of_its_own() {
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[
        (
            "001_tables",
            "create table public.ctx0_a (id int primary key);
             create table public.ctx0_b (a int references public.ctx0_a deferrable initially deferred);
             set lock_timeout = 0;
             set search_path = pg_temp;",
        ),
        (
            "002_rows",
            "insert into ctx0_b values (1);
             insert into ctx0_a values (1);",
        ),
        ("003_rows", "insert into ctx0_b values (2);\ninsert into ctx0_a values (2);"),
    ]));
    manager.apply_all_pending().await.unwrap();
    assert_eq!(project.value("select count(*) from ctx0_b").await, "2");
    let times = "select count(distinct applied_at) from public.ctx0_schema_versions";
    assert_eq!(project.value(times).await, "3");
}

#[tokio::test]
async fn no_version_is_begun_once_the_budget_is_used_and_a_copy_begins_none_either() {
    let project = Project::installed().await;
    let rest = Rest::of(&project);
    let mut arguments = several(&["select 1", "select 2", "select 3"]);
    arguments["p_budget_ms"] = json!(0);
    let first = apply(&rest, &arguments).await;
    assert_eq!(outcomes(&first), ["applied"]);

    arguments["p_budget_ms"] = json!(20000);
    let copy = apply(&rest, &arguments).await;
    assert_eq!(outcomes(&copy), ["applied"]);
    assert_eq!(copy[0]["replayed"], true);
    assert_eq!(project.ledger().await, [1]);

    // What goes on is another request.
    arguments["p_steps"].as_array_mut().unwrap().remove(0);
    let rest_of_it = apply(&rest, &arguments).await;
    assert_eq!(outcomes(&rest_of_it), ["applied", "applied"]);
    let copy = apply(&rest, &arguments).await;
    assert_eq!(copy.len(), 2);
    assert_eq!(copy[1]["replayed"], true);
    assert_eq!(project.ledger().await, [1, 2, 3]);
}

#[tokio::test]
async fn no_version_is_begun_once_many_relations_are_locked() {
    let project = Project::installed().await;
    let most = "select current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int / 4";
    let most: u32 = project.value(most).await.parse().unwrap();
    let many = format!(
        "do $$ begin for i in 1 .. {most} loop execute format('create table public.ctx0_%s ()', i); end loop; end $$"
    );
    let results = apply(
        &Rest::of(&project),
        &several(&["select 1", &many, "select 3"]),
    )
    .await;
    assert_eq!(outcomes(&results), ["applied", "applied"]);
}

#[tokio::test]
async fn what_is_there_already_is_passed_over_and_what_differs_ends_the_request_before_it() {
    let project = Project::installed().await;
    let rest = Rest::of(&project);
    apply(&rest, &several(&["select 1", "select 2"])).await;
    let results = apply(&rest, &several(&["select 1", "select 2", "select 3"])).await;
    assert_eq!(
        outcomes(&results),
        ["already_applied", "already_applied", "applied"]
    );

    let other = several(&["select 1", "select 'other'"]);
    assert_eq!(outcomes(&apply(&rest, &other).await), ["already_applied"]);
    let mut alone = other.clone();
    alone["p_steps"].as_array_mut().unwrap().remove(0);
    let conflict = apply(&rest, &alone).await;
    assert_eq!(outcomes(&conflict), ["conflict"]);
    assert_eq!(conflict[0]["reason"], "different_migration");
}

#[tokio::test]
async fn a_request_that_lacks_something_or_was_damaged_does_nothing() {
    let project = Project::installed().await;
    let rest = Rest::of(&project);
    let mut damaged = several(&["select 1", "select 2"]);
    damaged["p_steps"][1]["sql"] = json!(["select 3"]);
    let results = apply(&rest, &damaged).await;
    assert_eq!(outcomes(&results), ["conflict"]);
    assert_eq!(results[0]["reason"], "damaged");

    let mut incomplete = several(&["select 1", "select 2"]);
    incomplete["p_steps"][1]["attempt"] = Value::Null;
    for arguments in [
        incomplete,
        json!({"p_steps": []}),
        json!({"p_steps": null}),
        json!({"p_steps": {}}),
    ] {
        let answer: Answer = rest
            .call("service_role", "ctx0_apply_migrations", &arguments)
            .await;
        assert_eq!(answer.code(), "22023", "{arguments}: {answer:?}");
    }
    assert_eq!(project.ledger().await, Vec::<u32>::new());
    assert_eq!(attempts(&project).await, "");
}

#[tokio::test]
async fn a_run_that_was_interrupted_leaves_nothing_to_compare_with_until_the_next_one() {
    let project = Project::installed().await;
    let rest = Rest::of(&project);
    let mut arguments = several(&["select 1"]);
    arguments["p_continues"] = json!(true);
    apply(&rest, &arguments).await;
    let manager = project.manager(migrations(&[
        ("001_test", "select 1"),
        ("002_test", "select 2;"),
    ]));
    assert!(matches!(
        manager.verify().await.unwrap(),
        Verification::CannotSay { .. }
    ));
    // Whatever comes next, a copy of the last request included.
    arguments["p_continues"] = json!(false);
    apply(&rest, &arguments).await;
    assert_eq!(attempts(&project).await, "1 applied described");
    manager.apply_all_pending().await.unwrap();
    let verified = manager.verify().await.unwrap();
    assert_eq!(verified.to_string(), "the schema is as version 2 left it");
}

/// The outcomes of two harmless versions and this one in one request, and that of this one alone afterwards.
async fn after_two_others(text: &str) -> (Vec<String>, Value) {
    let project = Project::installed().await;
    let rest = Rest::of(&project);
    let mut arguments = several(&["select 1", "select 2", text]);
    let results = apply(&rest, &arguments).await;
    let outcomes = outcomes(&results).into_iter().map(str::to_owned).collect();
    arguments["p_steps"].as_array_mut().unwrap().drain(..2);
    let mut alone = apply(&rest, &arguments).await;
    (outcomes, alone.remove(0))
}

#[tokio::test]
async fn a_version_after_others_may_not_write_to_their_rows_or_to_the_functions() {
    let replaced =
        "create or replace function ctx0_private.lock_key() returns integer language sql immutable
                    set search_path = pg_catalog, pg_temp as 'select 1668577328'";
    for text in [
        "insert into public.ctx0_schema_versions (version, migration_name) values (7, '007_a')",
        "delete from public.ctx0_schema_versions where version = 1",
        "update public.ctx0_schema_versions set version = 9 where version = 1",
        // As many rows are written as without it.
        "create temp table kept as select * from public.ctx0_schema_versions where version = 3;
         truncate public.ctx0_schema_versions;
         insert into public.ctx0_schema_versions select * from kept",
        "update public.ctx0_schema_versions set checksum = 'x' where version = 3",
        "update public.ctx0_schema_versions set migration_name = 'x' where version = 1",
        // No version could begin after it.
        "create function public.ctx0_look() returns trigger language plpgsql as 'begin return new; end';
         create trigger look after insert on public.ctx0_schema_versions execute function public.ctx0_look()",
        "create rule look as on insert to public.ctx0_schema_versions do also notify ctx0",
        replaced,
        "drop function ctx0_private.words(text)",
        "create function ctx0_private.mine() returns integer language sql as 'select 1'",
    ] {
        let (outcomes, alone) = after_two_others(text).await;
        assert_eq!(outcomes, ["applied", "applied"], "{text}");
        assert_eq!(alone["outcome"], "failed", "{text}");
        assert_eq!(alone["sqlstate"], "55000", "{text}: {alone}");
    }
}

#[tokio::test]
async fn a_version_after_others_may_describe_their_rows_and_make_functions() {
    for text in [
        "update public.ctx0_schema_versions set description = 'more' where version = 1",
        "create function public.ctx0_mine() returns integer language sql as 'select 1'",
    ] {
        let (outcomes, alone) = after_two_others(text).await;
        assert_eq!(outcomes, ["applied"; 3], "{text}");
        assert_eq!(alone["outcome"], "applied", "{text}");
    }
}

#[tokio::test]
async fn a_version_reads_no_more_rows_the_more_went_before_it() {
    const VERSIONS: usize = 60;
    let project = Project::installed().await;
    // Statistics of short tables make PostgreSQL read all of a table where it is asked for one row.
    project
        .sql(
            "insert into public.ctx0_schema_versions (version, migration_name) values (1, '001_a');
             delete from public.ctx0_schema_versions",
        )
        .await;
    for table in [
        "public.ctx0_schema_versions",
        "ctx0_private.ctx0_schema_attempts",
    ] {
        project.sql(&format!("vacuum analyze {table}")).await;
    }
    let mut texts = vec!["select 1"; VERSIONS];
    texts.push(
        "create table public.ctx0_read as
           select sum(seq_tup_read)::bigint as rows from pg_stat_xact_all_tables where relname ~ '^ctx0_schema_'",
    );
    let results = apply(&Rest::of(&project), &several(&texts)).await;
    assert_eq!(outcomes(&results), ["applied"; VERSIONS + 1]);
    let read = project.value("select rows from public.ctx0_read").await;
    let read: usize = read.parse().expect("a number");
    assert!(read < VERSIONS, "{read} rows");
}
