//! A fault at every request: the answer is lost, or the request, or it comes twice.

use std::time::Duration;

use ctx0_schema::WaitReason;
use ctx0_stack::fault::{Fault, Page, Record};
use ctx0_stack::project::GATE;

use crate::support::{Network, Running, numbers, steps};

#[tokio::test]
async fn a_delayed_request_is_waited_for() {
    survives_each(Fault::Delay(Duration::from_millis(50))).await;
}

#[tokio::test]
async fn a_refused_connection_is_made_again() {
    survives_first(Fault::Refuse).await;
}

#[tokio::test]
async fn a_connection_cut_before_the_request_is_sent_reports_applied() {
    survives_first(Fault::ResetBeforeSending).await;
}

#[tokio::test]
async fn a_connection_cut_while_the_migration_runs_reports_applied() {
    survives_first(Fault::ResetAfterRequest).await;
    is_followed_to_its_end(Fault::ResetAfterRequest).await;
}

#[tokio::test]
async fn a_connection_cut_after_the_commit_reports_applied() {
    survives_first(Fault::ResetAfterAnswer).await;
}

#[tokio::test]
async fn a_connection_cut_in_mid_answer_reports_applied() {
    survives_first(Fault::ResetInAnswer).await;
}

#[tokio::test]
async fn a_gateway_that_answers_by_itself_reports_applied() {
    for (status, page) in GATEWAYS {
        survives_first(Fault::Status(status, page)).await;
    }
}

#[tokio::test]
async fn a_gateway_that_answers_while_the_migration_runs_reports_applied() {
    for (status, page) in GATEWAYS {
        survives_first(Fault::StatusAfterRequest(status, page)).await;
    }
    is_followed_to_its_end(Fault::StatusAfterRequest(504, Page::Html)).await;
}

#[tokio::test]
async fn a_truncated_answer_reports_applied() {
    survives_first(Fault::Truncated).await;
}

#[tokio::test]
async fn an_oversized_answer_reports_applied() {
    survives_first(Fault::Oversized((16 << 20) + 1)).await;
}

#[tokio::test]
async fn an_answer_that_never_ends_reports_applied() {
    survives_first(Fault::Endless).await;
}

#[tokio::test]
async fn a_request_that_is_delivered_twice_at_once_is_applied_once() {
    let faults = vec![Fault::Duplicate; 20];
    for batch in [false, true] {
        let records = survives(faults.clone(), batch).await;
        assert!(records.iter().all(|record| record.delivered == 2));
    }
}

#[tokio::test]
async fn a_request_that_is_delivered_again_later_is_applied_once() {
    let time = Duration::from_millis(20);
    for batch in [false, true] {
        let requests = requests(batch);
        let records = survives(vec![Fault::LateDuplicate(time); requests], batch).await;
        // More where a request met the late copy of the one before at work, and was made again.
        let (delivered_again, made_again) = records.split_at(requests);
        assert!(
            delivered_again
                .iter()
                .all(|record| record.upstream == [200, 200])
                && made_again.iter().all(|record| record.upstream == [200]),
            "{records:#?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_comes_slowly_is_waited_for() {
    let every = Duration::from_millis(5);
    survives_each(Fault::SlowBytes { chunk: 32, every }).await;
}

const GATEWAYS: [(u16, Page); 3] = [(502, Page::Html), (503, Page::Text), (504, Page::Empty)];

/// Every request meets the fault, and is answered in spite of it.
async fn survives_each(fault: Fault) {
    for batch in [false, true] {
        let records = survives(vec![fault.clone(); 3], batch).await;
        assert_eq!(records.len(), requests(batch), "{records:?}");
    }
}

/// Every request meets the fault, and has to be made once more; or more often where it may find
/// its first copy still running.
async fn survives_first(fault: Fault) {
    let may_run = matches!(
        fault,
        Fault::ResetAfterRequest | Fault::StatusAfterRequest(..)
    );
    for batch in [false, true] {
        let faults = vec![[fault.clone(), Fault::Pass]; 3];
        let records = survives(faults.concat(), batch).await;
        // A client on a busy machine may open another connection, just in case, and not need it.
        let last = records.iter().rposition(|record| !record.path.is_empty());
        let (made, least) = (last.map_or(0, |last| last + 1), 2 * requests(batch));
        assert!(made == least || may_run && made > least, "{records:?}");
    }
}

/// One to read; then one a version, or one for both.
fn requests(batch: bool) -> usize {
    if batch { 2 } else { 3 }
}

/// Two versions are applied once, and reported, under these faults.
async fn survives(faults: Vec<Fault>, batch: bool) -> Vec<Record> {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", ""]));
    network.proxy.script(faults);
    let run = manager.apply_all_pending().batch(batch);
    let report = run.await.expect("it is applied");
    assert_eq!(numbers(&report.applied), [1, 2]);
    assert_eq!(report.current_version.get(), 2);

    network.proxy.settle().await;
    let truth = network.truth().await;
    for version in [1, 2] {
        assert_eq!(truth.outcomes(version), ["applied"]);
        assert_eq!(truth.executions(version), 1);
    }
    assert_eq!(truth.versions(), [1, 2]);
    network.proxy.records()
}

/// The fault comes while the migration runs, which goes on, is waited for, and is reported.
async fn is_followed_to_its_end(fault: Fault) {
    let network = Network::start().await;
    network.proxy.script([Fault::Pass, fault]);
    let manager = network.manager(&steps(&[GATE]));
    let mut run = Running::start(manager.apply_all_pending());
    run.until_waiting_for(WaitReason::NoResponse).await;
    run.until_waiting_for(WaitReason::Running).await;
    assert_eq!(network.ledger().await, [0; 0]);
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1], 1));

    network.proxy.settle().await;
    let truth = network.truth().await;
    assert_eq!(
        (truth.outcomes(1), truth.executions(1)),
        (vec!["applied"], 1)
    );
}
