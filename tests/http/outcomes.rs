//! Every answer of `ctx0_apply_migration`, and what becomes of it.

use std::time::Duration;

use ctx0_schema::{ConflictReason, Error, MigrationError, Progress, Version, WaitReason};
use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::ResponseTemplate;

use crate::support::{
    APPLY, Supabase, apply_all, build, config, hasty, json_answer, manager, refusal,
};

/// More than any answer of these tests takes.
const ENOUGH: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_was_applied_is_reported_as_it_happens() {
    let supabase = Supabase::at_version(1).await;
    supabase.on_apply([applied(12), applied(340)]).await;
    let (result, reported) = apply_all(&manager(&supabase.uri())).await;
    assert_eq!(result.unwrap().applied, [version(2), version(3)]);
    let events: Value = serde_json::to_value(&reported).unwrap();
    assert_eq!(
        events,
        json!([
            {"event": "started", "action": "apply", "version": 2, "migration_name": "002_tags", "position": 1, "total": 2},
            {"event": "applied", "version": 2, "executionMs": 12},
            {"event": "started", "action": "apply", "version": 3, "migration_name": "003_index", "position": 2, "total": 2},
            {"event": "applied", "version": 3, "executionMs": 340},
        ])
    );
}

#[tokio::test]
async fn what_another_process_applied_is_not_this_runs_own() {
    let supabase = Supabase::at_version(1).await;
    supabase.on_apply([already_applied(), applied(7)]).await;
    let (result, reported) = apply_all(&manager(&supabase.uri())).await;
    let report = result.unwrap();
    assert_eq!(
        (report.applied, report.current_version.get()),
        (vec![version(3)], 3)
    );
    let foreign = json!({"event": "applied", "version": 2, "executionMs": null});
    assert_eq!(json!(reported[1]), foreign);
}

#[tokio::test]
async fn a_running_migration_is_waited_for_with_the_very_same_request() {
    let supabase = Supabase::at_version(2).await;
    supabase.on_apply([locked(), locked(), applied(9)]).await;
    let (result, reported) = apply_all(&manager(&supabase.uri())).await;
    assert_eq!(result.unwrap().applied, [version(3)]);
    assert_eq!(waits(&reported), [WaitReason::Running, WaitReason::Running]);
    let bodies = bodies(&supabase).await;
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[tokio::test]
async fn a_replayed_answer_counts_as_the_first() {
    let supabase = Supabase::at_version(2).await;
    let replayed =
        json!({"outcome": "applied", "execution_ms": 9, "replayed": true, "later": "fields"});
    supabase.on_apply([replayed]).await;
    let (result, reported) = apply_all(&manager(&supabase.uri())).await;
    assert_eq!(result.unwrap().applied, [version(3)]);
    let ours = json!({"event": "applied", "version": 3, "executionMs": 9});
    assert_eq!(json!(reported[1]), ours);
}

#[tokio::test]
async fn a_conflict_has_its_own_error_and_is_not_retried() {
    for (word, reason, retryable) in [
        ("attempt_reused", ConflictReason::AttemptReused, false),
        (
            "different_migration",
            ConflictReason::DifferentMigration,
            false,
        ),
        (
            "unexpected_version",
            ConflictReason::UnexpectedVersion,
            true,
        ),
        ("gap", ConflictReason::Gap, false),
    ] {
        let supabase = Supabase::at_version(1).await;
        supabase.on_apply([conflict(word)]).await;
        let (result, reported) = apply_all(&manager(&supabase.uri())).await;
        let error = result.unwrap_err();
        assert!(error.applied.is_empty());
        let Error::Conflict {
            version,
            reason: found,
            message,
            ..
        } = &error.error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            (version.get(), *found, message.as_str()),
            (2, reason, "as the database says")
        );
        assert_eq!(error.error.is_retryable(), retryable, "{word}");
        assert!(error.to_string().contains("as the database says"));
        assert_eq!(failed_event(&reported), error.to_string());
        assert_eq!(supabase.applies().await.len(), 1);
    }
}

#[tokio::test]
async fn a_request_that_came_damaged_is_sent_again_as_it_was() {
    let supabase = Supabase::at_version(2).await;
    supabase.on_apply([conflict("damaged"), applied(9)]).await;
    let (result, reported) = apply_all(&manager(&supabase.uri())).await;
    assert_eq!(result.unwrap().applied, [version(3)]);
    assert_eq!(waits(&reported), [WaitReason::NoResponse]);
    let bodies = bodies(&supabase).await;
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_request_that_always_comes_damaged_is_a_conflict_in_the_end() {
    let supabase = Supabase::at_version(2).await;
    supabase.on_apply([conflict("damaged")]).await;
    let error = hasty(&supabase.uri())
        .apply_all_pending()
        .await
        .unwrap_err()
        .error;
    assert!(
        matches!(
            error,
            Error::Conflict {
                reason: ConflictReason::Damaged,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_failed_statement_is_named_by_file_number_and_line() {
    let supabase = Supabase::at_version(1).await;
    supabase
        .on_apply([
            applied(1),
            json!({
                "outcome": "failed", "version": 3, "statement": 2, "sqlstate": "42703",
                "message": "column \"nam\" does not exist", "detail": "the detail",
                "hint": "Perhaps you meant name", "context": "PL/pgSQL function", "retryable": false,
                "holders": null,
            }),
        ])
        .await;
    let (result, reported) = apply_all(&manager(&supabase.uri())).await;
    let error = result.unwrap_err();
    assert_eq!(error.applied, [version(2)]);
    let failure = failure(&error.error);
    assert_eq!(
        (
            failure.version,
            failure.file.as_deref().unwrap(),
            failure.statement,
            failure.line
        ),
        (version(3), "003_index.sql", Some(2), Some(4))
    );
    assert_eq!(failure.sqlstate, "42703");
    assert_eq!(failure.detail.as_deref(), Some("the detail"));
    assert_eq!(failure.hint.as_deref(), Some("Perhaps you meant name"));
    assert_eq!(failure.context.as_deref(), Some("PL/pgSQL function"));
    assert!(!error.error.is_retryable());
    let text = error.to_string();
    for part in [
        "version 3",
        "003_index.sql, statement 2, line 4",
        "column \"nam\" does not exist",
        "42703",
        "the detail",
        "Perhaps you meant name",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let names: Vec<_> = reported.iter().map(event).collect();
    assert_eq!(names, ["started", "applied", "started", "failed"]);
    assert_eq!(failed_event(&reported), text);
}

#[tokio::test]
async fn a_failure_at_the_end_names_no_statement() {
    for statement in [0, 99] {
        let supabase = Supabase::at_version(2).await;
        let deferred = json!({"outcome": "failed", "statement": statement, "sqlstate": "23503", "message": "a deferred foreign key", "retryable": false});
        supabase.on_apply([deferred]).await;
        let error = manager(&supabase.uri())
            .apply_all_pending()
            .await
            .unwrap_err();
        let failure = failure(&error.error);
        assert_eq!((failure.statement, failure.line), (None, None));
        assert!(
            error.to_string().contains("003_index.sql, at its end"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_failure_that_a_deadlock_brought_is_final_but_worth_another_call() {
    let supabase = Supabase::at_version(2).await;
    let deadlock = json!({"outcome": "failed", "statement": 1, "sqlstate": "40P01", "message": "deadlock detected", "retryable": true});
    supabase.on_apply([deadlock]).await;
    let error = manager(&supabase.uri())
        .apply_all_pending()
        .await
        .unwrap_err()
        .error;
    assert!(error.is_retryable());
    assert_eq!(supabase.applies().await.len(), 1);
}

#[tokio::test]
async fn a_table_in_use_is_tried_again_under_a_new_attempt() {
    let supabase = Supabase::at_version(2).await;
    supabase.on_apply([in_use(), in_use(), applied(3)]).await;
    let (result, reported) = apply_all(&manager(&supabase.uri())).await;
    assert_eq!(result.unwrap().applied, [version(3)]);
    assert_eq!(
        waits(&reported),
        [WaitReason::TableInUse, WaitReason::TableInUse]
    );
    let sent = supabase.applies().await;
    assert_eq!(attempts(&sent), 3);
    let without_attempt = |arguments: &Value| {
        let mut arguments = arguments.clone();
        arguments["p_attempt"].take();
        arguments
    };
    assert!(
        sent.iter()
            .all(|one| without_attempt(one) == without_attempt(&sent[0]))
    );
}

#[tokio::test]
async fn a_table_that_stays_in_use_ends_in_an_error_that_names_who_holds_it() {
    let supabase = Supabase::at_version(2).await;
    supabase.on_apply([in_use()]).await;
    let error = manager(&supabase.uri())
        .apply_all_pending()
        .await
        .unwrap_err()
        .error;
    assert_eq!(attempts(&supabase.applies().await), 4);
    assert!(error.is_retryable());
    assert_eq!(failure(&error).holders.len(), 1);
    let text = error.to_string();
    for part in ["55P03", "tags", "4711", "ctx0_app", "idle in transaction"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn an_answer_lost_in_the_gateway_is_asked_for_again() {
    let html = "<html>Bad Gateway</html>";
    is_asked_for_again(ResponseTemplate::new(502).set_body_string(html), ENOUGH).await;
}

#[tokio::test]
async fn an_answer_that_the_gateway_did_not_wait_for_is_asked_for_again() {
    let text = "upstream request timeout";
    is_asked_for_again(ResponseTemplate::new(504).set_body_string(text), ENOUGH).await;
}

#[tokio::test]
async fn a_response_lost_behind_a_gateway_with_its_own_codes_is_requested_again() {
    let text = "the upstream did not answer";
    is_asked_for_again(refusal(504, "UPSTREAM_TIMEOUT", text), ENOUGH).await;
}

#[tokio::test]
async fn an_answer_lost_with_the_database_is_asked_for_again() {
    let text = "Database client error. Retrying the connection.";
    is_asked_for_again(refusal(503, "PGRST001", text), ENOUGH).await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_asked_for_again() {
    let late = json_answer(&applied(9)).set_delay(ENOUGH);
    is_asked_for_again(late, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn an_answer_cut_short_is_asked_for_again() {
    let cut = ResponseTemplate::new(200).set_body_string(r#"{"outcome": "app"#);
    is_asked_for_again(cut, ENOUGH).await;
}

#[tokio::test]
async fn an_answer_that_stays_lost_leaves_the_outcome_unknown_and_a_later_call_finds_out() {
    let supabase = Supabase::at_version(2).await;
    let answers = [ResponseTemplate::new(504), json_answer(&already_applied())];
    supabase.on("POST", APPLY, answers).await;
    let manager = hasty(&supabase.uri());
    let error = manager.apply_all_pending().await.unwrap_err();
    assert!(error.applied.is_empty());
    let Error::OutcomeUnknown {
        version, source, ..
    } = &error.error
    else {
        panic!("{error:?}")
    };
    assert_eq!(version.get(), 3);
    assert!(matches!(**source, Error::Gateway { status: 504, .. }));
    assert!(error.error.is_retryable());

    let report = manager.apply_all_pending().await.unwrap();
    assert_eq!((report.applied, report.current_version.get()), (vec![], 3));
    assert_eq!(
        attempts(&supabase.applies().await),
        2,
        "a new call is a new attempt"
    );
}

#[tokio::test]
async fn an_outcome_that_this_build_does_not_know_is_unknown() {
    let release = ctx0_schema::RPC_VERSION + 1;
    for (outcome, is_ours) in [
        (json!({"outcome": "exploded", "rpc_version": release}), true),
        (json!({"outcome": "applied", "rpc_version": release}), true),
        (
            json!({"outcome": "applied", "execution_ms": -1, "rpc_version": release}),
            true,
        ),
        (
            json!({"outcome": "conflict", "reason": "mood", "message": "m", "rpc_version": release}),
            true,
        ),
        (json!({"outcome": "failed", "rpc_version": release}), true),
        (json!({}), false),
        (json!([]), false),
        (json!(null), false),
        (json!(1e300), false),
    ] {
        let supabase = Supabase::at_version(2).await;
        supabase.on_apply([outcome.clone()]).await;
        let error = manager(&supabase.uri())
            .apply_all_pending()
            .await
            .unwrap_err()
            .error;
        let Error::OutcomeUnknown { source, .. } = error else {
            panic!("{outcome}: {error:?}")
        };
        let expected = if is_ours {
            matches!(*source, Error::UnexpectedResponse { status: 200, .. })
        } else {
            matches!(*source, Error::NotSupabase { status: 200, .. })
        };
        assert!(expected, "{outcome}: {source:?}");
        assert_eq!(supabase.applies().await.len(), 1);
    }
}

#[tokio::test]
async fn a_migration_that_outlives_the_deadline_is_still_running_and_a_later_call_goes_on() {
    let supabase = Supabase::at_version(2).await;
    supabase.on_apply([locked(), applied(9)]).await;
    let manager = manager(&supabase.uri());
    let started = Instant::now();
    let error = manager
        .apply_all_pending()
        .deadline(Duration::ZERO)
        .await
        .unwrap_err()
        .error;
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(
        matches!(error, Error::StillRunning { version, .. } if version.get() == 3),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert_eq!(
        manager.apply_all_pending().await.unwrap().applied,
        [version(3)]
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_next_one_everything_it_needs() {
    let supabase = Supabase::at_version(2).await;
    let never = json_answer(&applied(9)).set_delay(Duration::from_secs(60));
    let answers = [
        never,
        json_answer(&locked()),
        json_answer(&already_applied()),
    ];
    supabase.on("POST", APPLY, answers).await;
    let manager = manager(&supabase.uri());
    let dropped = tokio::spawn(manager.apply_all_pending().into_future());
    while supabase.applies().await.is_empty() {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let report = manager.apply_all_pending().await.unwrap();
    assert_eq!((report.applied, report.current_version.get()), (vec![], 3));
}

#[tokio::test]
async fn functions_that_are_not_installed_are_looked_for_a_moment_and_then_named() {
    let missing = || {
        refusal(
            404,
            "PGRST202",
            "Could not find the function in the schema cache",
        )
    };
    let supabase = Supabase::at_version(2).await;
    supabase.on("POST", APPLY, [missing()]).await;
    let error = manager(&supabase.uri())
        .apply_all_pending()
        .await
        .unwrap_err()
        .error;
    assert!(matches!(
        error,
        Error::RpcNotInstalled {
            function: "ctx0_apply_migration",
            ..
        }
    ));
    assert!(error.to_string().contains("setup script"), "{error}");
    assert_eq!(supabase.applies().await.len(), 4);

    // PostgREST reads a new schema a moment after the commit.
    let supabase = Supabase::at_version(2).await;
    supabase
        .on("POST", APPLY, [missing(), json_answer(&applied(9))])
        .await;
    assert!(manager(&supabase.uri()).apply_all_pending().await.is_ok());
}

#[tokio::test]
async fn one_version_is_applied_alone_and_in_order_only() {
    let supabase = Supabase::at_version(1).await;
    supabase.on_apply([applied(9)]).await;
    let manager = manager(&supabase.uri());

    let error = manager.apply_migration(version(3)).await.unwrap_err().error;
    assert!(matches!(error, Error::NotNext { .. }), "{error:?}");
    let error = manager.apply_migration(version(4)).await.unwrap_err().error;
    assert!(matches!(error, Error::UnknownVersion { .. }), "{error:?}");
    assert!(
        manager
            .apply_migration(version(1))
            .await
            .unwrap()
            .applied
            .is_empty()
    );
    assert!(supabase.applies().await.is_empty());

    let report = manager.apply_migration(version(2)).await.unwrap();
    assert_eq!(
        (report.applied, report.current_version.get()),
        (vec![version(2)], 2)
    );
    assert_eq!(supabase.applies().await.len(), 1);
}

/// Loses the first answer in this way, and expects the very same request until it is answered.
async fn is_asked_for_again(lost: ResponseTemplate, limit: Duration) {
    let supabase = Supabase::at_version(2).await;
    let answers = [lost, json_answer(&locked()), json_answer(&applied(9))];
    supabase.on("POST", APPLY, answers).await;
    let manager = build(config(&supabase.uri()).request_timeout(limit));
    let (result, reported) = apply_all(&manager).await;
    assert_eq!(result.unwrap().applied, [version(3)]);
    assert_eq!(
        waits(&reported),
        [WaitReason::NoResponse, WaitReason::Running]
    );
    let bodies = bodies(&supabase).await;
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

fn applied(ms: u64) -> Value {
    json!({"outcome": "applied", "execution_ms": ms, "statements": 1, "rpc_version": 3})
}

fn already_applied() -> Value {
    json!({"outcome": "already_applied", "rpc_version": 3})
}

fn locked() -> Value {
    json!({"outcome": "locked", "held_by": "attempt", "rpc_version": 3})
}

fn conflict(reason: &str) -> Value {
    json!({"outcome": "conflict", "reason": reason, "message": "as the database says"})
}

/// A lock timeout.
fn in_use() -> Value {
    json!({
        "outcome": "failed", "statement": 2, "sqlstate": "55P03", "retryable": true,
        "message": "canceling statement due to lock timeout",
        "holders": [{
            "relation": "tags", "mode": "AccessShareLock", "pid": 4711, "user": "ctx0_app",
            "application": null, "state": "idle in transaction", "since": "2026-07-01T10:00:00Z",
        }],
    })
}

fn version(number: u32) -> Version {
    Version::new(number).unwrap()
}

fn failure(error: &Error) -> &MigrationError {
    match error {
        Error::MigrationFailed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn event(progress: &Progress) -> String {
    let json = serde_json::to_value(progress).unwrap();
    json["event"].as_str().unwrap().to_owned()
}

/// The text of the last event, which must be a failure.
fn failed_event(reported: &[Progress]) -> &str {
    match reported.last() {
        Some(Progress::Failed { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

fn waits(reported: &[Progress]) -> Vec<WaitReason> {
    let waits = reported.iter().filter_map(|progress| match progress {
        Progress::Waiting { reason, .. } => Some(*reason),
        _ => None,
    });
    waits.collect()
}

/// The bodies of all calls, byte by byte.
async fn bodies(supabase: &Supabase) -> Vec<Vec<u8>> {
    let requests = supabase.requests().await.into_iter();
    let applies = requests.filter(|request| request.url.path() == APPLY);
    applies.map(|request| request.body).collect()
}

/// How many different attempts were sent.
fn attempts(sent: &[Value]) -> usize {
    let mut ids: Vec<_> = sent
        .iter()
        .map(|one| one["p_attempt"].to_string())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}
