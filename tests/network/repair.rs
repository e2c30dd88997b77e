//! Repairing the ledger over a network that fails.

use std::time::Duration;

use ctx0_schema::Repair;
use ctx0_stack::{fault::Fault, project::version};

use crate::support::{Network, faults_of_one_request, steps};

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
