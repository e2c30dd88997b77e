//! Installing and removing the functions over a network that fails.

use std::time::Duration;

use ctx0_schema::{InstallOutcome, Migrations};
use ctx0_stack::{fault::Fault, project::Project};

use crate::support::{Network, faults_of_one_request};

/// How often the status is asked for before it counts as missing: PostgREST may be reloading.
const LOOKS: usize = 4;

#[tokio::test]
async fn a_fault_at_the_script_is_survived_and_leaves_the_same_installation() {
    let expected = Project::installed().await.catalog().await;
    for fault in faults_of_one_request() {
        let network = Network::without_the_functions().await;
        let manager = network.manager(&Migrations::bundled().unwrap());
        let mut script = vec![Fault::Pass; LOOKS];
        script.extend([fault.clone(), Fault::Pass, Fault::ResetAfterAnswer]);
        network.proxy.script(script);
        let report = manager.install().await;
        let report = report.unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert_eq!(report.outcome, InstallOutcome::Installed, "{fault}");
        network.proxy.settle().await;
        assert_eq!(network.catalog().await, expected, "{fault}");
        manager.apply_all_pending().await.unwrap();
    }
}

#[tokio::test]
async fn a_late_copy_of_a_removal_does_nothing_to_the_next_installation() {
    let network = Network::without_the_functions().await;
    let manager = network.manager(&Migrations::bundled().unwrap());
    manager.install().await.unwrap();
    manager.apply_all_pending().await.unwrap();
    // It asks which installation there is, then removes that one.
    network
        .proxy
        .script([Fault::Pass, Fault::LateDuplicate(Duration::MAX)]);
    let report = manager.uninstall().forget_history().await.unwrap();
    assert!(report.was_installed);

    manager.install().await.unwrap();
    let before = network.catalog().await;
    network.proxy.deliver_now();
    network.proxy.settle().await;
    let refused = network
        .proxy
        .records()
        .iter()
        .filter(|record| record.upstream == [200, 400])
        .count();
    assert_eq!(refused, 1);
    assert_eq!(network.catalog().await, before);
}

#[tokio::test]
async fn a_removal_whose_response_is_lost_is_a_removal() {
    for fault in [
        Fault::ResetAfterAnswer,
        Fault::ResetAfterRequest,
        Fault::Duplicate,
    ] {
        let network = Network::without_the_functions().await;
        let manager = network.manager(&Migrations::bundled().unwrap());
        manager.install().await.unwrap();
        network.proxy.script([Fault::Pass, fault.clone()]);
        let report = manager.uninstall().await;
        let report = report.unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert!(report.was_installed && report.history_kept, "{fault}");
        network.proxy.settle().await;
        let schema = "select (to_regnamespace('ctx0_private') is null)::text";
        assert_eq!(network.value(schema).await, "true", "{fault}");
    }
}
