//! The results, to the letter of the specification, and the states that are no updates.

use ctx0_schema::{Error, LedgerError, SchemaVersionManager};
use serde::Serialize;
use serde_json::{Value, json};

use crate::support::{Supabase, apply_all, ledger_to, manager, migrations};

#[test]
fn a_manager_can_be_shared_by_threads_and_tasks() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<SchemaVersionManager>();
}

#[tokio::test]
async fn a_check_that_finds_updates() {
    let supabase = Supabase::at_version(1).await;
    let check = manager(&supabase.uri()).check_for_updates().await.unwrap();
    assert!(!check.is_up_to_date());
    assert_eq!(
        text(&check),
        concat!(
            r#"{"hasUpdates":true,"currentVersion":1,"latestVersion":3,"pendingMigrations":["#,
            r#"{"version":2,"migration_name":"002_tags","description":"Adds tags"},"#,
            r#"{"version":3,"migration_name":"003_index","description":"Finds them"}]}"#
        )
    );
}

#[tokio::test]
async fn a_check_that_finds_none() {
    let supabase = Supabase::at_version(3).await;
    let check = manager(&supabase.uri()).check_for_updates().await.unwrap();
    assert!(check.is_up_to_date());
    assert_eq!(
        text(&check),
        r#"{"hasUpdates":false,"currentVersion":3,"latestVersion":3,"pendingMigrations":[]}"#
    );
}

#[tokio::test]
async fn a_run_that_applied_everything_or_had_nothing_to_do() {
    let supabase = Supabase::at_version(1).await;
    supabase
        .on_apply([json!({"outcome": "applied", "execution_ms": 1})])
        .await;
    let report = manager(&supabase.uri()).apply_all_pending().await.unwrap();
    assert_eq!(report.current_version.get(), 3);
    assert_eq!(text(&report), r#"{"success":true,"applied":[2,3]}"#);

    let supabase = Supabase::at_version(3).await;
    let report = manager(&supabase.uri()).apply_all_pending().await.unwrap();
    assert_eq!(report.current_version.get(), 3);
    assert_eq!(text(&report), r#"{"success":true,"applied":[]}"#);
}

#[tokio::test]
async fn a_run_that_failed_says_what_it_applied_and_why_it_ended() {
    let supabase = Supabase::at_version(0).await;
    let failed = json!({"outcome": "failed", "statement": 1, "sqlstate": "42P07", "message": "relation \"tags\" already exists", "retryable": false});
    supabase
        .on_apply([json!({"outcome": "applied", "execution_ms": 1}), failed])
        .await;
    let error = manager(&supabase.uri())
        .apply_all_pending()
        .batch(false)
        .await
        .unwrap_err();
    let json: Value = serde_json::from_str(&text(&error)).unwrap();
    assert_eq!(
        json,
        json!({"success": false, "applied": [1], "error": error.to_string()})
    );
    assert!(text(&error).starts_with(r#"{"success":false,"applied":[1],"error":"version 2 "#));
    assert_eq!(
        supabase.applies().await.len(),
        2,
        "what follows a failure is not tried"
    );
}

#[tokio::test]
async fn the_change_log_and_the_history() {
    let supabase = Supabase::with_ledger(json!([
        {"id": 7, "version": 1, "migration_name": "001_notes", "description": null, "applied_at": "2026-07-01T10:00:00+00:00", "applied_by": "me"},
    ]))
    .await;
    let manager = manager(&supabase.uri());
    assert_eq!(
        text(&manager.change_log()[..1].to_vec()),
        r#"[{"version":1,"migration_name":"001_notes","description":"Adds notes"}]"#
    );
    assert_eq!(
        text(&manager.history().await.unwrap()),
        concat!(
            r#"[{"version":1,"migration_name":"001_notes","description":null,"#,
            r#""applied_at":"2026-07-01T10:00:00Z","applied_by":"me","checksum":null,"execution_ms":null}]"#
        )
    );
}

#[tokio::test]
async fn a_database_ahead_of_this_build_is_neither_up_to_date_nor_touched() {
    let mut ledger = ledger_to(3);
    let newer = json!({"version": 4, "migration_name": "004_new", "description": null, "applied_at": null, "applied_by": null});
    ledger.as_array_mut().unwrap().push(newer);
    let problem = json!({"kind": "databaseAhead", "current": 4, "latest": 3});
    assert!(matches!(
        untouched(ledger, 4, problem).await,
        LedgerError::DatabaseAhead { .. }
    ));
}

#[tokio::test]
async fn a_gap_is_neither_up_to_date_nor_filled() {
    let mut ledger = ledger_to(3);
    ledger.as_array_mut().unwrap().remove(1);
    let problem = json!({"kind": "gap", "current": 3, "missing": [2]});
    assert!(matches!(
        untouched(ledger, 3, problem).await,
        LedgerError::Gap { .. }
    ));
}

#[tokio::test]
async fn another_text_or_name_under_a_version_is_neither_up_to_date_nor_built_upon() {
    let mut other_text = ledger_to(2);
    other_text[1]["checksum"] = json!("0".repeat(64));
    let mut other_name = ledger_to(2);
    other_name[1]["migration_name"] = json!("002_labels");
    let mut by_hand = ledger_to(2);
    by_hand[1]["migration_name"] = json!("002_labels");
    by_hand[1]["checksum"] = Value::Null;
    for ledger in [other_text, other_name, by_hand] {
        let problem = json!({"kind": "differs", "version": 2});
        assert!(matches!(
            untouched(ledger, 2, problem).await,
            LedgerError::Differs { version, .. } if version.get() == 2
        ));
    }
}

/// Checks a database that does not fit this build, tries all ways to apply, and makes sure
/// that nothing was sent. `problem` is what the JSON of the check says of it, at least.
async fn untouched(ledger: Value, current: u32, problem: Value) -> LedgerError {
    let supabase = Supabase::with_ledger(ledger).await;
    let manager = manager(&supabase.uri());
    let check = manager.check_for_updates().await.unwrap();
    assert!(!check.is_up_to_date());
    let mut json = serde_json::to_value(&check).unwrap();
    for (name, value) in problem.as_object().unwrap() {
        assert_eq!(&json["problem"][name], value, "{name}");
    }
    json.as_object_mut().unwrap().remove("problem");
    let rest = json!({"hasUpdates": false, "currentVersion": current, "latestVersion": 3, "pendingMigrations": []});
    assert_eq!(json, rest);

    let (result, reported) = apply_all(&manager).await;
    let error = result.unwrap_err();
    assert_eq!((error.applied.len(), reported), (0, vec![]));
    let Error::Ledger(found) = error.error else {
        panic!("{error:?}")
    };
    assert_eq!(Some(&found), check.problem.as_ref());
    for migration in &migrations() {
        let error = manager
            .apply_migration(migration.version())
            .await
            .unwrap_err();
        assert!(matches!(error.error, Error::Ledger(_)));
    }
    let requests = supabase.requests().await;
    assert!(requests.iter().all(|request| request.method == "GET"));
    found
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
