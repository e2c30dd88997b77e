//! A user who clicks twice, holds keys down, has two windows, and reloads at the wrong moment.

use ctx0_stack::project::GATE;
use serde_json::json;

use crate::{
    chromium::Browser,
    daemon::{Start, TOKEN},
    project::{self, Folder},
};

#[tokio::test]
async fn a_double_click_counts_once() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Waits", GATE)]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.js("banner.schema.preview = () => new Promise(() => {}); banner.schema.cancelPreview = () => { window.cancelled = true; return Promise.resolve(); };", &[]).await;
    window.click("View Changes").await;
    // Where it was, "Cancel Test" is then.
    window.double_click("Test on My Data").await;
    window.until("button('Cancel Test')").await;
    assert_eq!(
        window
            .js("return window.cancelled === undefined;", &[])
            .await,
        json!(true)
    );
    // And here an answer to the question.
    window.double_click("Apply Update").await;
    window.until("button('Keep Testing')").await;
    assert_eq!(
        window.js("return banner.getAttribute('state');", &[]).await,
        json!("available")
    );
}

#[tokio::test]
async fn a_key_that_is_held_down_decides_once() {
    let project = project::up_to_date().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window
        .until("document.querySelector('#connection').textContent === 'connected'")
        .await;
    window
        .js("document.querySelector('#command').focus();", &[])
        .await;
    // The command brings a button that has the focus, and after its test another one.
    window.press("rollback 0").await;
    window.hold_enter(30).await;
    window.until_state("rollback").await;
    assert_eq!(
        window.buttons().await,
        json!(["Test on My Data", "Dismiss"])
    );
    window.hold_enter(30).await;
    window.until("button('Roll Back')").await;
    assert_eq!(project.ledger().await, [1, 2]);
    assert_eq!(
        window.js("return banner.getAttribute('state');", &[]).await,
        json!("rollback")
    );
    window.assert_clean_console().await;
}

#[tokio::test]
async fn two_windows_that_apply_at_the_same_time_share_one_run() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Waits", GATE)]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let (left, right) = (
        browser.open(&daemon.address).await,
        browser.open(&daemon.address).await,
    );
    left.until_state("available").await;
    right.until_state("available").await;
    left.click("Apply Update").await;
    right.click_primary().await;
    left.until("text().includes('Applying v1')").await;
    right.until("text().includes('Applying v1')").await;
    // One of them is loaded again in the middle, and a rollback is asked for.
    right.go(&daemon.address).await;
    right.until("text().includes('Applying v1')").await;
    right.command("rollback 0").await;
    right
        .until("text().includes('An update is in progress.')")
        .await;
    assert_eq!(
        right.buttons().await,
        json!(["View Changes", "Stop", "Applying…", "Dismiss"])
    );
    right.picture("no-rollback-meanwhile").await;
    project.open_gate().await;
    left.until_state("applied").await;
    right.until_state("applied").await;
    assert_eq!(project.ledger().await, [1]);
    let attempts = project
        .sql("select count(*)::text from ctx0_private.ctx0_schema_attempts")
        .await;
    assert_eq!(attempts[0][0].as_deref(), Some("1"));
    left.assert_clean_console().await;
}

#[tokio::test]
async fn a_window_that_is_loaded_again_during_its_test_ends_it_and_starts_none() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Waits", GATE)]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    project.until(project::RUNNING).await;
    window.go(&daemon.address).await;
    window.until_state("available").await;
    project.until("ctx0_private.running() is null").await;
    assert_eq!(
        window.buttons().await,
        json!(["View Changes", "Apply Update", "Dismiss"])
    );
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_daemon_that_is_restarted_during_a_test_or_an_offer_starts_nothing_by_itself() {
    let project = project::up_to_date().await;
    let port = ctx0_stack::Port::reserve().expect("a port");
    let start = || Start::on(&project).port(&port).token(TOKEN).start();
    let mut daemon = start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window
        .until("document.querySelector('#connection').textContent === 'connected'")
        .await;
    window.command("rollback 0").await;
    window.click("Test on My Data").await;
    window.until("button('Roll Back')").await;
    daemon.kill().await;
    window.until_state("reconnecting").await;
    let _daemon = start().await;
    // What was reviewed before is not on offer any more.
    window
        .until("document.querySelector('#connection').textContent === 'connected'")
        .await;
    window.command("check").await;
    window.until("log().includes('up to date')").await;
    window.until("!button('Roll Back')").await;
    assert_eq!(project.ledger().await, [1, 2]);
}
