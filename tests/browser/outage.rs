//! The database or the daemon is away for a while.

use ctx0_stack::{Port, project::GATE};
use serde_json::json;

use crate::{
    chromium::Browser,
    daemon::{Start, TOKEN},
    project::{self, Folder},
};

#[tokio::test]
async fn a_database_that_is_away_is_said_to_be_and_found_again() {
    let project = project::at_version_1().await;
    project.stack.stop_rest().await.expect("it stops");
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("unavailable").await;
    assert!(
        window
            .text()
            .await
            .starts_with("● Can't reach the ctx0 database")
    );
    assert_eq!(
        window.buttons().await,
        json!(["Find the Cause", "Check Again", "Dismiss"])
    );
    window.picture("unavailable").await;
    window.click("Find the Cause").await;
    window.until("text().includes('Found one problem.')").await;
    let text = window.text().await;
    assert!(text.contains("Connection: "), "{text}");
    window.picture("cause").await;
    window.click("Check Again").await;
    window.until("button('Checking…')").await;
    project.stack.start_rest().await.expect("it starts");
    window.until_state("available").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_restarted_daemon_finds_its_open_windows_again() {
    let project = project::at_version_1().await;
    let port = Port::reserve().expect("a port");
    let start = || Start::on(&project).port(&port).token(TOKEN).start();
    let mut daemon = start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    daemon.kill().await;
    window.until_state("reconnecting").await;
    window.picture("reconnecting").await;
    let _daemon = start().await;
    window.until_state("available").await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);
}

#[tokio::test]
async fn a_daemon_with_a_new_key_sends_its_old_windows_to_the_new_address() {
    let port = Port::reserve().expect("a port");
    let start = |token: &str| Start::nowhere().port(&port).token(token).start();
    let mut daemon = start(TOKEN).await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window
        .until("document.querySelector('#connection').textContent === 'connected'")
        .await;
    daemon.kill().await;
    let _daemon = start(&"f".repeat(32)).await;
    window
        .until("log().includes('Open the address it printed.')")
        .await;
    window.until_state("").await;
}

#[tokio::test]
async fn a_daemon_killed_during_a_run_reports_how_it_ended_after_its_restart() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Waits", GATE)]);
    let port = Port::reserve().expect("a port");
    let start = || {
        let start = Start::on(&project).port(&port).token(TOKEN);
        start.migrations(&folder).start()
    };
    let mut daemon = start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("Apply Update").await;
    window.until("text().includes('Applying v1')").await;
    daemon.kill().await;
    window.until_state("reconnecting").await;
    // The database goes on without the daemon.
    project.open_gate().await;
    project
        .until("exists (select from ctx0_schema_versions)")
        .await;
    let _daemon = start().await;
    window.until_state("current").await;
    assert_eq!(window.text().await, "● ctx0 schema is up to date (v1) ×");
}
