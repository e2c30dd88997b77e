//! Repairing the ledger over a network that fails.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use ctx0_schema::{AttemptAction, AttemptOutcome, CancelReport, Error, Repair, RepairAction};
use ctx0_stack::{fault::Fault, project::version};

use crate::support::{AppTransaction, Network, faults_of_one_request, steps};

#[tokio::test]
async fn a_repair_whose_response_is_lost_is_made_once_and_reported() {
    for fault in faults_of_one_request() {
        let network = Network::start().await;
        let manager = network.manager(&steps(&["", ""]));
        manager.apply_all_pending().await.unwrap();
        let plan = manager
            .plan_repair(Repair::MarkNotApplied(version(2)))
            .await
            .unwrap();
        network.proxy.script([fault.clone()]);
        let report = manager.repair(plan, "restored a backup").await;
        let report = report.unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert_eq!(report.current_version.get(), 1, "{fault}");
        assert!(!report.already_recorded, "{fault}");
        network.proxy.settle().await;
        let recorded = "select count(*) from ctx0_private.ctx0_schema_attempts where action = 'mark_not_applied'";
        assert_eq!(network.value(recorded).await, "1", "{fault}");
        assert_eq!(network.ledger().await, [1], "{fault}");
    }
}

#[tokio::test]
async fn a_late_copy_of_a_repair_does_nothing_to_a_later_one() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", ""]));
    manager.apply_all_pending().await.unwrap();
    let plan = manager
        .plan_repair(Repair::MarkNotApplied(version(2)))
        .await
        .unwrap();
    network.proxy.script([Fault::LateDuplicate(Duration::MAX)]);
    manager.repair(plan, "restored a backup").await.unwrap();
    let plan = manager
        .plan_repair(Repair::MarkApplied(version(2)))
        .await
        .unwrap();
    manager.repair(plan, "it is there").await.unwrap();
    network.proxy.deliver_now();
    network.proxy.settle().await;
    assert_eq!(network.ledger().await, [1, 2]);
}

#[tokio::test]
async fn a_repair_is_stopped_while_it_waits_for_the_ledger() {
    let network = Arc::new(Network::start().await);
    let manager = network.manager(&steps(&["", ""]));
    manager.apply_all_pending().await.unwrap();
    let plan = manager
        .plan_repair(Repair::MarkNotApplied(version(2)))
        .await
        .unwrap();
    for mode in ["exclusive", "access exclusive"] {
        let lock = format!("begin; lock table public.ctx0_schema_versions in {mode} mode");
        let app = AppTransaction::begin(&network, &lock).await;
        let repair = manager.repair(plan.clone(), "restored a backup");
        let repair = tokio::spawn(repair.into_future());
        network
            .until("exists (select from pg_stat_activity where wait_event_type = 'Lock' and wait_event = 'relation')")
            .await;
        let asked = {
            let manager = manager.clone();
            tokio::spawn(async move { manager.cancel_by("Ada").await })
        };
        if mode == "access exclusive" {
            // What it reads of the ledger has to wait as well.
            network
                .until("exists (select from ctx0_private.ctx0_schema_cancellations)")
                .await;
            app.end().await;
            asked.await.unwrap().unwrap();
        } else {
            let report = asked.await.unwrap().unwrap();
            assert!(
                matches!(report, CancelReport::Cancelled { .. }),
                "{report:?}"
            );
            app.end().await;
        }
        let error = repair.await.unwrap().unwrap_err();
        assert!(
            matches!(&error, Error::ChangeCancelled { version, by, .. } if version.get() == 2 && by == "Ada"),
            "{error:?}"
        );
        assert_eq!(network.ledger().await, [1, 2]);
        let last = manager.status().await.unwrap().last_attempt.unwrap();
        assert_eq!(
            (last.action, last.outcome, last.cancelled_by.as_deref()),
            (
                AttemptAction::Repair(RepairAction::MarkNotApplied),
                AttemptOutcome::Cancelled,
                Some("Ada")
            )
        );
        network
            .sql("delete from ctx0_private.ctx0_schema_cancellations")
            .await;
    }
    let report = manager.repair(plan, "restored a backup").await.unwrap();
    assert_eq!(report.current_version.get(), 1);
}
