use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::transport::fake::{Fake, Scripted, refusal, response};
use crate::{install::RPC_VERSION, repair::Repair, report::WaitReason};

const RETRY: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(20 * 60);

fn empty_ledger() -> Scripted {
    response(200, json!([]))
}

fn applied(ms: u64) -> Scripted {
    response(200, json!({"outcome": "applied", "execution_ms": ms}))
}

fn locked() -> Scripted {
    locked_by("attempt")
}

fn locked_by(what: &str) -> Scripted {
    response(200, json!({"outcome": "locked", "held_by": what}))
}

fn failed(sqlstate: &str) -> Scripted {
    let retryable = sqlstate == "55P03";
    let body = json!({"outcome": "failed", "statement": 2, "sqlstate": sqlstate, "message": "no", "retryable": retryable});
    response(200, body)
}

/// Applies version 1 over an empty ledger: the result, the requests behind the first,
/// the reasons for waiting, and the paused time that it took.
struct Run {
    result: Result<RunReport, RunError>,
    fake: Fake,
    waited_for: Vec<WaitReason>,
    took: Duration,
}

impl Run {
    async fn of(queue: impl IntoIterator<Item = Scripted>) -> Self {
        let fake = Fake::new(std::iter::once(empty_ledger()).chain(queue));
        let waited_for = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&waited_for);
        let started = Instant::now();
        let apply = SchemaVersionManager::on(&fake)
            .apply_migration(Version::new(1).unwrap())
            .on_progress(move |progress| {
                if let Progress::Waiting { reason, .. } = progress {
                    listener.lock().unwrap().push(reason);
                }
            });
        let result = apply.await;
        let waited_for = waited_for.lock().unwrap().clone();
        Self {
            result,
            fake,
            waited_for,
            took: started.elapsed(),
        }
    }

    fn attempts(&self) -> Vec<Value> {
        self.fake.arguments("p_attempt")
    }

    fn error(self) -> Error {
        self.result.unwrap_err().error
    }
}

fn distinct(values: &[Value]) -> usize {
    let mut texts: Vec<_> = values.iter().map(Value::to_string).collect();
    texts.sort();
    texts.dedup();
    texts.len()
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_with_the_same_attempt() {
    for lost in [
        Scripted::Lost,
        Scripted::Silent,
        refusal(503, "PGRST001", Some(0)),
    ] {
        let run = Run::of([lost, locked(), locked(), applied(9)]).await;
        assert_eq!(run.attempts().len(), 4);
        assert_eq!(distinct(&run.attempts()), 1);
        assert_eq!(
            run.waited_for,
            [
                WaitReason::NoResponse,
                WaitReason::Running,
                WaitReason::Running
            ]
        );
        assert_eq!(run.result.unwrap().applied, [Version::new(1).unwrap()]);
    }
}

#[tokio::test(start_paused = true)]
async fn while_there_is_no_response_it_is_told_where_the_version_is() {
    let position = json!({"action": "apply", "version": 1, "statement": 2, "statements": 2, "version_ms": 4_000,
        "statement_ms": 1_000, "phase": "building index: scanning table", "percent": 43});
    let mut queue = vec![
        empty_ledger(),
        Scripted::Later(Duration::from_secs(10), Box::new(applied(9_000))),
    ];
    queue.reverse();
    let fake = Fake::by(move |_| queue.pop().expect("two requests"))
        .telling(json!({"held_by": "attempt", "position": position}));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&seen);
    let started = Instant::now();
    let run = SchemaVersionManager::on(&fake)
        .apply_migration(Version::new(1).unwrap())
        .on_progress(move |progress| {
            if let Progress::Waiting {
                position: Some(position),
                waited,
                ..
            } = progress
            {
                assert_eq!(waited, started.elapsed());
                listener.lock().unwrap().push((waited, position));
            }
        });
    assert_eq!(run.await.unwrap().current_version.get(), 1);
    let seen = seen.lock().unwrap();
    assert!((4..=8).contains(&seen.len()), "{seen:?}");
    assert_eq!(seen[0].0, Duration::from_secs(1));
    let position = &seen[0].1;
    assert_eq!(
        position.to_string(),
        "statement 2 of 2, line 3: building index: scanning table, 43 %"
    );
    assert_eq!(position.statement_for, Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_its_true_reason() {
    let missing = refusal(404, "PGRST202", None);
    for (scripted, reason) in [
        (locked_by("attempt"), WaitReason::Running),
        (locked_by("change"), WaitReason::OtherChange),
        (locked_by("rehearsal"), WaitReason::Preview),
        (missing, WaitReason::FunctionsMissing),
        (refusal(503, "PGRST001", None), WaitReason::NoResponse),
        (Scripted::Refused, WaitReason::NoResponse),
        (failed("55P03"), WaitReason::TableInUse),
    ] {
        let run = Run::of([scripted, applied(9)]).await;
        assert_eq!(run.waited_for, [reason]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_process_applied_is_not_counted_as_ones_own() {
    let run = Run::of([
        locked(),
        response(200, json!({"outcome": "already_applied"})),
    ])
    .await;
    let report = run.result.unwrap();
    assert_eq!((report.applied, report.current_version.get()), (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_never_ends_is_still_running_at_the_deadline() {
    let run = Run::of([locked()]).await;
    let took = run.took;
    assert!(matches!(run.error(), Error::StillRunning { .. }));
    assert!(
        DEADLINE - Duration::from_secs(10) < took && took <= DEADLINE,
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_never_reached_is_not_waited_for_as_long_as_a_migration() {
    let run = Run::of([Scripted::Refused]).await;
    let took = run.took;
    assert!(matches!(run.error(), Error::Unreachable { .. }));
    assert!(took <= RETRY, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_went_away_with_the_answer_is_waited_for_as_long_as_a_migration() {
    let mut queue = vec![Scripted::Lost];
    queue.extend(vec![Scripted::Refused; 40]);
    queue.push(applied(9));
    assert!(Run::of(queue).await.result.is_ok());

    let run = Run::of([Scripted::Lost, Scripted::Refused]).await;
    let took = run.took;
    let Error::OutcomeUnknown { source, .. } = run.error() else {
        panic!("unknown")
    };
    assert!(matches!(*source, Error::Unreachable { .. }));
    assert!(took > DEADLINE - Duration::from_secs(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unusable_answer_leaves_the_outcome_unknown() {
    for body in [
        json!(null),
        json!({"outcome": "new"}),
        json!({"outcome": "applied"}),
    ] {
        let run = Run::of([response(200, body)]).await;
        assert_eq!(run.attempts().len(), 1);
        assert!(matches!(run.error(), Error::OutcomeUnknown { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_request_is_sent_again_as_the_same_attempt() {
    let damaged = response(
        200,
        json!({"outcome": "conflict", "reason": "damaged", "message": "no"}),
    );
    let run = Run::of([damaged, applied(9)]).await;
    assert_eq!((run.attempts().len(), distinct(&run.attempts())), (2, 1));
    assert!(run.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_table_in_use_is_tried_again_as_a_new_attempt() {
    let run = Run::of([failed("55P03"), failed("55P03"), applied(9)]).await;
    assert_eq!(distinct(&run.attempts()), 3);
    assert_eq!(run.waited_for, [WaitReason::TableInUse; 2]);
    assert!(run.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_table_that_stays_in_use_ends_as_a_retryable_failure() {
    let run = Run::of([failed("55P03")]).await;
    assert_eq!(run.attempts().len(), 1 + NEW_ATTEMPTS);
    let error = run.error();
    assert!(error.is_retryable(), "{error}");
    assert!(matches!(error, Error::MigrationFailed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_after_a_table_was_in_use_has_run_nothing() {
    let run = Run::of([failed("55P03"), Scripted::Refused]).await;
    let took = run.took;
    assert!(matches!(run.error(), Error::Unreachable { .. }));
    assert!(took <= RETRY, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_final_and_names_the_line() {
    for sqlstate in ["42P01", "40001", "40P01", "57014"] {
        let run = Run::of([failed(sqlstate)]).await;
        assert_eq!(run.attempts().len(), 1, "{sqlstate}");
        let Error::MigrationFailed(failure) = run.error() else {
            panic!("failed")
        };
        assert_eq!(
            (failure.statement, failure.line, failure.file.as_deref()),
            (Some(2), Some(3), Some("001_a.sql"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_says_what_it_applied() {
    let fake = Fake::new([empty_ledger(), applied(1), failed("42P01")]);
    let error = SchemaVersionManager::on(&fake)
        .apply_all_pending()
        .await
        .unwrap_err();
    assert_eq!(error.applied, [Version::new(1).unwrap()]);
    assert_eq!(fake.asked().len(), 3, "one to read, one a version");
}

#[tokio::test(start_paused = true)]
async fn the_caller_sets_the_deadline() {
    let fake = Fake::new([empty_ledger(), locked()]);
    let started = Instant::now();
    let error = SchemaVersionManager::on(&fake)
        .apply_all_pending()
        .deadline(Duration::from_secs(60))
        .await
        .unwrap_err();
    assert!(matches!(error.error, Error::StillRunning { .. }));
    assert!(started.elapsed() <= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn versions_are_applied_in_order_only() {
    let fake = Fake::new([empty_ledger()]);
    let version = |number| Version::new(number).unwrap();
    let error = SchemaVersionManager::on(&fake)
        .apply_migration(version(2))
        .await
        .unwrap_err()
        .error;
    assert!(matches!(error, Error::NotNext { .. }));
    let error = SchemaVersionManager::on(&fake)
        .apply_migration(version(3))
        .await
        .unwrap_err()
        .error;
    assert!(matches!(error, Error::UnknownVersion { .. }));
    let error = SchemaVersionManager::on(&fake)
        .apply_migration(Version::ZERO)
        .await
        .unwrap_err()
        .error;
    assert!(matches!(error, Error::UnknownVersion { .. }));
    assert_eq!(fake.asked().len(), 1, "nothing was sent but one read");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_applied_needs_no_request() {
    let row = json!([{"version": 1, "migration_name": "001_a", "description": null, "applied_at": null, "applied_by": null}]);
    let fake = Fake::new([response(200, row)]);
    let report = SchemaVersionManager::on(&fake)
        .apply_migration(Version::new(1).unwrap())
        .await
        .unwrap();
    assert_eq!(
        (
            report.applied,
            report.current_version.get(),
            fake.asked().len()
        ),
        (vec![], 1, 1)
    );
}

/// Nobody would hear what is seen, and a request more is a round trip more.
#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_listens_to_does_not_ask_how_far_it_is() {
    for listens in [false, true] {
        let minute = Duration::from_secs(60);
        let queue = [
            empty_ledger(),
            Scripted::Later(minute, Box::new(applied(60_000))),
        ];
        let fake = Fake::new(queue);
        let mut run = SchemaVersionManager::on(&fake).apply_migration(Version::new(1).unwrap());
        if listens {
            run = run.on_progress(|_| {});
        }
        run.await.unwrap();
        assert_eq!((fake.asked().len(), fake.looks() > 0), (2, listens));
    }
}

/// Applies two versions over an empty ledger, in one request if the database takes both: the result,
/// the requests, and what was reported.
async fn run_both(
    queue: impl IntoIterator<Item = Scripted>,
    batch: Option<bool>,
) -> (Result<RunReport, RunError>, Fake, Vec<String>) {
    let fake = Fake::new(std::iter::once(empty_ledger()).chain(queue));
    let events = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&events);
    let mut run = SchemaVersionManager::on(&fake)
        .apply_all_pending()
        .on_progress(move |progress| {
            listener.lock().unwrap().push(match progress {
                Progress::Started { position, .. } => format!("started {position}"),
                Progress::Applied { version, .. } => format!("applied {version}"),
                Progress::Failed { version, .. } => format!("failed {version}"),
                other => format!("{other:?}"),
            });
        });
    if let Some(batch) = batch {
        run = run.batch(batch);
    }
    let result = run.await;
    let events = events.lock().unwrap().clone();
    (result, fake, events)
}

fn results(results: Value) -> Scripted {
    response(200, json!({ "results": results }))
}

const EVENTS: [&str; 4] = ["started 1", "applied 1", "started 2", "applied 2"];

#[tokio::test(start_paused = true)]
async fn over_an_empty_ledger_all_versions_go_into_one_request() {
    let applied = json!({"outcome": "applied", "execution_ms": 1});
    let (result, fake, events) = run_both([results(json!([applied, applied]))], None).await;
    assert_eq!(result.unwrap().applied.len(), 2);
    assert_eq!(events, EVENTS);
    let sent = fake.arguments("p_steps");
    assert_eq!(sent.len(), 1);
    let steps = sent[0].as_array().unwrap();
    assert_ne!(steps[0]["attempt"], steps[1]["attempt"]);
}

#[tokio::test(start_paused = true)]
async fn where_the_database_ends_early_the_run_goes_on_with_the_rest() {
    let applied_one = json!([{"outcome": "applied", "execution_ms": 1}]);
    let (result, fake, events) = run_both([results(applied_one.clone()), applied(2)], None).await;
    assert_eq!(result.unwrap().applied.len(), 2);
    assert_eq!(events, EVENTS);
    assert_eq!(fake.arguments("p_version"), [json!(null), json!(2)]);
    assert_eq!(fake.arguments("p_continues"), [false, false]);

    let (result, fake, events) = run_both([results(applied_one), failed("55P04")], None).await;
    let error = result.unwrap_err();
    assert_eq!(error.applied, [Version::new(1).unwrap()]);
    assert!(matches!(error.error, Error::MigrationFailed(failure) if failure.version.get() == 2));
    assert_eq!(events, ["started 1", "applied 1", "started 2", "failed 2"]);
    assert_eq!(fake.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_about_several_versions_is_asked_for_again_as_the_same_attempts() {
    let both = json!([{"outcome": "applied", "execution_ms": 1}, {"outcome": "applied", "execution_ms": 1}]);
    let waiting = results(json!([{"outcome": "locked", "held_by": "attempt"}]));
    let (result, fake, _) = run_both([Scripted::Lost, waiting, results(both)], None).await;
    assert_eq!(result.unwrap().applied.len(), 2);
    let sent = fake.arguments("p_steps");
    assert_eq!((sent.len(), distinct(&sent)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn one_request_a_version_says_whether_another_follows() {
    let (result, fake, events) = run_both([applied(1)], Some(false)).await;
    assert_eq!(result.unwrap().applied.len(), 2);
    assert_eq!(events, EVENTS);
    assert_eq!(fake.arguments("p_continues"), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn no_result_at_all_leaves_the_outcome_unknown() {
    let (result, _, _) = run_both([results(json!([]))], None).await;
    assert!(matches!(
        result.unwrap_err().error,
        Error::OutcomeUnknown { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_not_known_says_what_was_to_be_done() {
    let row = json!({"version": 1, "migration_name": "001_a", "description": null, "applied_at": null, "applied_by": null});
    let unusable = || response(200, json!({"outcome": "new"}));
    let status = json!({
        "rpc_version": RPC_VERSION, "server_version": "17.6", "current_version": 1, "locked": false,
        "owner": "postgres", "ledger": [row], "reversible": [1], "last_attempt": null,
    });
    let fake = Fake::new([response(200, status), unusable()]);
    let run = SchemaVersionManager::on(&fake).rollback_to(Version::ZERO);
    let error = run.await.unwrap_err().to_string();
    assert!(
        error.contains("whether version 1 was rolled back"),
        "{error}"
    );

    let fake = Fake::new([response(200, json!([row])), unusable()]);
    let manager = SchemaVersionManager::on(&fake);
    let repair = Repair::MarkNotApplied(Version::new(1).unwrap());
    let plan = manager.plan_repair(repair).await.unwrap();
    let error = manager.repair(plan, "restored").await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("whether the ledger was repaired for version 1"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_completed_says_how_it_ended() {
    for (scripted, expected) in [
        (failed("42P01"), FailedEnd::Failed),
        (
            response(200, json!({"outcome": "cancelled", "cancelled_by": "Ada"})),
            FailedEnd::Cancelled,
        ),
        (locked(), FailedEnd::StillRunning),
        (response(200, json!({"outcome": "new"})), FailedEnd::Unknown),
    ] {
        let fake = Fake::new([empty_ledger(), scripted]);
        let told = Arc::new(Mutex::new(None));
        let listener = Arc::clone(&told);
        let run = SchemaVersionManager::on(&fake)
            .apply_migration(Version::new(1).unwrap())
            .on_progress(move |progress| {
                if let Progress::Failed { end, .. } = progress {
                    *listener.lock().unwrap() = Some(end);
                }
            });
        run.await.unwrap_err();
        assert_eq!(*told.lock().unwrap(), Some(expected));
    }
}
