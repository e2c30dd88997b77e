//! The manager's operations, as the daemon calls them.

use ctx0_schema::{Error, LedgerError, Progress};
use ctx0_stack::project::{Project, followed, migrations, version};
use serde_json::{json, to_value};

const TABLE: (&str, &str) = (
    "001_table",
    "create table public.ctx0_test_a (id int primary key);",
);
const COLUMN: (&str, &str) = (
    "002_column",
    "alter table public.ctx0_test_a add column note text;",
);
const BROKEN: (&str, &str) = (
    "003_broken",
    "create table public.ctx0_test_b (id int);\n\n-- the next one fails\ninsert into public.ctx0_test_a (id, nope)\n  values (1, 2);\n",
);

#[tokio::test]
async fn from_nothing_to_up_to_date() {
    let project = Project::installed().await;
    let manager = project.bundled();

    assert_eq!(manager.current_version().await.unwrap().get(), 0);
    assert_eq!(manager.latest_version().get(), 2);
    assert_eq!(
        to_value(manager.check_for_updates().await.unwrap()).unwrap(),
        json!({
            "hasUpdates": true, "currentVersion": 0, "latestVersion": 2,
            "pendingMigrations": [
                {"version": 1, "migration_name": "001_ctx0_schema",
                 "description": "Initial ctx0 schema with entries, sessions, queries"},
                {"version": 2, "migration_name": "002_schema_versioning",
                 "description": "Added schema version tracking table"},
            ],
        })
    );

    let report = manager.apply_all_pending().await.unwrap();
    assert_eq!(
        to_value(&report).unwrap(),
        json!({"success": true, "applied": [1, 2]})
    );
    assert_eq!(report.current_version.get(), 2);
    assert_eq!(
        to_value(manager.check_for_updates().await.unwrap()).unwrap(),
        json!({"hasUpdates": false, "currentVersion": 2, "latestVersion": 2, "pendingMigrations": []})
    );

    let history = manager.history().await.unwrap();
    assert_eq!(
        history
            .iter()
            .map(|row| row.version.get())
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(history.iter().all(|row| row.checksum.is_some()
        && row.execution_ms.is_some()
        && row.applied_at.is_some()));
    assert!(
        history
            .iter()
            .all(|row| row.applied_by.as_deref() == Some("bot0-daemon"))
    );

    let again = manager.apply_all_pending().await.unwrap();
    assert_eq!(
        to_value(&again).unwrap(),
        json!({"success": true, "applied": []})
    );
}

#[tokio::test]
async fn without_a_ledger_the_version_is_0_and_applying_says_how_to_install() {
    let project = Project::empty().await;
    let manager = project.bundled();
    assert_eq!(manager.current_version().await.unwrap().get(), 0);
    let error = manager.apply_all_pending().await.unwrap_err();
    assert!(
        matches!(error.error, Error::RpcNotInstalled { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("setup script"), "{error}");
}

#[tokio::test]
async fn progress_is_reported_in_order() {
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[TABLE, COLUMN]));
    let (result, reported) = followed(manager.apply_all_pending()).await;
    result.unwrap();
    let [started_1, applied_1, started_2, applied_2] = &reported[..] else {
        panic!("{reported:?}")
    };
    for (progress, number) in [(started_1, 1), (started_2, 2)] {
        assert!(
            matches!(progress, Progress::Started { version: v, position, total: 2, .. }
            if v.get() == number && *position == number as usize)
        );
    }
    for (progress, number) in [(applied_1, 1), (applied_2, 2)] {
        assert!(
            matches!(progress, Progress::Applied { version: v, execution_ms: Some(_), .. } if v.get() == number)
        );
    }
}

#[tokio::test]
async fn a_failure_names_the_statement_and_leaves_nothing_of_its_version() {
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[TABLE, COLUMN, BROKEN]));
    let error = manager.apply_all_pending().await.unwrap_err();

    assert_eq!(error.applied, [version(1), version(2)]);
    let Error::MigrationFailed(failure) = &error.error else {
        panic!("{error}")
    };
    assert_eq!(
        (failure.file.as_deref(), failure.statement, failure.line),
        (Some("003_broken.sql"), Some(2), Some(4))
    );
    assert_eq!(failure.sqlstate, "42703");
    assert!(failure.message.contains("nope"), "{failure}");
    assert!(!error.error.is_retryable());
    let text = error.error.to_string();
    assert_eq!(
        to_value(&error).unwrap(),
        json!({"success": false, "applied": [1, 2], "error": text})
    );

    assert_eq!(project.ledger().await, [1, 2]);
    assert_eq!(
        project
            .value("select to_regclass('public.ctx0_test_b')::text")
            .await,
        ""
    );
    let recorded = project
        .sql("select version::text, sqlstate, outcome from ctx0_private.ctx0_schema_attempts order by finished_at desc limit 1")
        .await;
    assert_eq!(
        recorded[0],
        [
            Some("3".to_owned()),
            Some("42703".to_owned()),
            Some("failed".to_owned())
        ]
    );

    // The corrected file of the next release goes on from there.
    let corrected = ("003_broken", "create table public.ctx0_test_b (id int);");
    let report = project
        .manager(migrations(&[TABLE, COLUMN, corrected]))
        .apply_all_pending()
        .await
        .unwrap();
    assert_eq!(report.applied, [version(3)]);
}

#[tokio::test]
async fn a_deferred_constraint_fails_its_own_version() {
    let project = Project::installed().await;
    let deferred = (
        "001_deferred",
        "create table public.ctx0_test_a (id int primary key);
         create table public.ctx0_test_b (a int references public.ctx0_test_a deferrable initially deferred);
         insert into public.ctx0_test_b values (1);",
    );
    let error = project
        .manager(migrations(&[deferred]))
        .apply_all_pending()
        .await
        .unwrap_err();
    let Error::MigrationFailed(failure) = &error.error else {
        panic!("{error}")
    };
    assert_eq!(
        (failure.sqlstate.as_str(), failure.statement),
        ("23503", None)
    );
    assert_eq!(project.ledger().await, Vec::<u32>::new());
}

#[tokio::test]
async fn one_version_is_applied_when_it_is_the_next() {
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[TABLE, COLUMN]));
    let error = manager.apply_migration(version(2)).await.unwrap_err();
    assert!(matches!(error.error, Error::NotNext { .. }), "{error}");
    assert_eq!(
        manager.apply_migration(version(1)).await.unwrap().applied,
        [version(1)]
    );
    assert_eq!(
        manager.apply_migration(version(1)).await.unwrap().applied,
        []
    );
    assert_eq!(
        manager.apply_migration(version(2)).await.unwrap().applied,
        [version(2)]
    );
    assert_eq!(project.ledger().await, [1, 2]);
}

#[tokio::test]
async fn a_database_ahead_a_gap_and_a_difference_are_never_called_up_to_date() {
    let project = Project::installed().await;
    project
        .manager(migrations(&[TABLE, COLUMN]))
        .apply_all_pending()
        .await
        .unwrap();

    let older = project.manager(migrations(&[TABLE]));
    let check = older.check_for_updates().await.unwrap();
    assert!(
        matches!(check.problem, Some(LedgerError::DatabaseAhead { .. })),
        "{check:?}"
    );
    assert!(!check.is_up_to_date());
    let error = older.apply_all_pending().await.unwrap_err();
    assert!(
        matches!(
            error.error,
            Error::Ledger(LedgerError::DatabaseAhead { .. })
        ),
        "{error}"
    );

    let other_text = project.manager(migrations(&[TABLE, ("002_column", "select 1;")]));
    let check = other_text.check_for_updates().await.unwrap();
    assert!(
        matches!(check.problem, Some(LedgerError::Differs { .. })),
        "{check:?}"
    );

    project
        .sql("delete from public.ctx0_schema_versions where version = 1")
        .await;
    let manager = project.manager(migrations(&[TABLE, COLUMN]));
    let check = manager.check_for_updates().await.unwrap();
    assert!(
        matches!(check.problem, Some(LedgerError::Gap { .. })),
        "{check:?}"
    );
    assert!(manager.apply_all_pending().await.is_err());
}

#[tokio::test]
async fn a_ledger_of_several_pages_is_read_whole() {
    let project = Project::installed().await;
    let names: Vec<_> = (1..=2500).map(|number| format!("{number:04}_m")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "select 1;"))
        .collect();
    project
        .sql(
            "insert into public.ctx0_schema_versions (version, migration_name)
             select n, to_char(n, 'FM0000') || '_m' from generate_series(1, 2400) n",
        )
        .await;
    let check = project
        .manager(migrations(&files))
        .check_for_updates()
        .await
        .unwrap();
    assert_eq!(
        (
            check.current_version.get(),
            check.pending_migrations.len(),
            check.problem
        ),
        (2400, 100, None)
    );
}

#[tokio::test]
async fn texts_arrive_as_they_are() {
    let project = Project::installed().await;
    let sql = "create table public.ctx0_test_a (t text);\n\
               insert into public.ctx0_test_a values ('O''Brien; \"ü\" 🦀 $1 \\ {}');\n\
               do $x$ begin insert into public.ctx0_test_a values ($$;$$); end $x$;\n\
               update public.ctx0_test_a set t = t || '!';";
    project
        .manager(migrations(&[("001_texts", sql)]))
        .apply_all_pending()
        .await
        .unwrap();
    let rows = project
        .sql("select t from public.ctx0_test_a order by t collate \"C\"")
        .await;
    assert_eq!(
        rows,
        [
            [Some(";!".to_owned())],
            [Some("O'Brien; \"ü\" 🦀 $1 \\ {}!".to_owned())]
        ]
    );
}
