//! What an update would change, the consent to it, rollbacks and drift.

use ctx0_stack::project::GATE;
use serde_json::json;

use crate::{
    chromium::Browser,
    daemon::{Start, TOKEN},
    project::{self, Folder},
};

const NOTES: &str = "create table public.ctx0_notes (id int primary key, label text);
    alter table public.ctx0_notes enable row level security;
    insert into public.ctx0_notes values (1, 'one');";

const WITHOUT_LABEL: &str = "alter table public.ctx0_notes drop column label;";

/// Collects the methods that the page asks for in `sent`.
const COUNT_REQUESTS: &str = "
  window.sent = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    sent.push(JSON.parse(text).method);
    return send.call(this, text);
  };";

#[tokio::test]
async fn view_changes_sends_nothing_and_only_a_click_tests() {
    let project = project::installed().await;
    let folder = Folder::of(&[("Notes", NOTES), ("Notes without labels", WITHOUT_LABEL)]);
    let daemon = Start::on(&project)
        .migrations(&folder)
        .token(TOKEN)
        .start()
        .await;
    let browser = Browser::start().await;
    let window = browser.window().await;
    window.before_each_page(COUNT_REQUESTS).await;
    window.go(&daemon.address).await;
    window.until_state("available").await;
    window.js("sent.length = 0;", &[]).await;
    window.click("View Changes").await;
    // Every version at once, and what a test does before it is pressed.
    assert_eq!(
        window.text().await,
        "● ctx0 schema update available (v0 → v2) v1: Notes v2: Notes without labels \
         Testing runs this update on your database and undoes it. Meanwhile, ctx0 may have to wait for up to \
         5 seconds. Hide Changes Test on My Data Apply Update ×"
    );
    window.click("Hide Changes").await;
    window.click("View Changes").await;
    window.command("check").await;
    window.until_said(2, "is available").await;
    assert_eq!(
        window.js("return sent;", &[]).await,
        json!(["schema:checkUpdates"])
    );

    window.click("Test on My Data").await;
    window.until("button('Test Again')").await;
    let counts = "return sent.filter((method) => method === 'schema:preview').length;";
    assert_eq!(window.js(counts, &[]).await, json!(1));
    // The same pending set keeps what is known of it.
    window.command("check").await;
    window.until_said(3, "is available").await;
    window.until("button('Test Again')").await;
    // A dismissal does not.
    window.click("Dismiss").await;
    window.command("check").await;
    window.until_state("available").await;
    assert_eq!(
        window.buttons().await,
        json!(["View Changes", "Apply Update", "Dismiss"])
    );
    window.click("View Changes").await;
    window.until("button('Test on My Data')").await;
    assert_eq!(window.js(counts, &[]).await, json!(1));
    assert_eq!(project.ledger().await, [0; 0]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn what_is_lost_is_said_above_the_buttons_and_consent_is_to_what_was_seen() {
    let project = project::installed().await;
    let two = Folder::of(&[("Notes", NOTES), ("Notes without labels", WITHOUT_LABEL)]);
    let folder = Folder::of(&[
        ("Notes", NOTES),
        ("Notes without labels", WITHOUT_LABEL),
        ("More notes", "insert into public.ctx0_notes values (2);"),
    ]);
    project::apply_first(&project, &folder).await;
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    window.until("button('Test Again')").await;
    let summary = "return parts('.summary')[0].textContent;";
    let said = window.js(summary, &[]).await;
    assert!(said.as_str().expect("a text").contains("label"), "{said}");
    // Definitions are for those who open them.
    let removed = "return parts('.removed').map((part) => part.textContent);";
    assert_eq!(window.js(removed, &[]).await, json!([]));
    window.js("parts('.raw')[0].open = true;", &[]).await;
    assert_eq!(
        window.js(removed, &[]).await,
        json!(["-column label text\n"])
    );
    window.picture("diff").await;
    // Hidden changes leave the line in view.
    window.click("Hide Changes").await;
    assert_eq!(window.js(summary, &[]).await, said);
    // The manifest asks for no backup; what was seen does.
    assert!(
        window
            .text()
            .await
            .contains("Back up your database first (recommended)")
    );
    window.js("parts('input')[0].click();", &[]).await;

    // Meanwhile another daemon has applied one of them.
    project::apply_all(&project, &two).await;
    window.click("Apply Update").await;
    window.until_state("outdated").await;
    window.picture("outdated").await;
    window.click("Review Again").await;
    window.until_state("available").await;
    assert_eq!(project.ledger().await, [1, 2]);
    // The tick was for the other update.
    assert_eq!(
        window
            .js(
                "return [parts('input').length, parts('.summary')[0]?.textContent ?? ''];",
                &[]
            )
            .await,
        json!([0, ""])
    );
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    window
        .until(
            "text().includes('ctx0_notes: 1 row added') && text().includes('Nothing is deleted.')",
        )
        .await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2, 3]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn applying_during_a_test_asks_first() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Waits", GATE)]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    // A test that lasts as long as this one needs.
    let endless = "banner.schema.preview = () => new Promise(() => {});";
    window.js(endless, &[]).await;
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    window
        .until("text().includes('Testing on your database')")
        .await;
    window
        .until("parseInt(parts('.clock')[0]?.textContent) > 0")
        .await;
    window.picture("testing").await;
    window.click("Apply Update").await;
    assert!(
        window
            .text()
            .await
            .contains("The test is still running. Apply the update without it?")
    );
    window.picture("asking").await;
    assert_eq!(project.ledger().await, [0; 0]);
    window.click("Keep Testing").await;
    window.click("Apply Update").await;
    window.click("Apply Without Testing").await;
    window.until_state("applying").await;
    project.open_gate().await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_failure_that_the_test_saw_is_said_first_and_applying_is_no_longer_the_default() {
    let project = project::installed().await;
    let folder = Folder::of(&[
        ("Notes", NOTES),
        ("Notes without labels", WITHOUT_LABEL),
        (
            "Divides",
            "select 1 / (select count(*) from public.ctx0_schema_versions where version > 9);",
        ),
    ]);
    project::apply_first(&project, &folder).await;
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    let is_default = "return button('Apply Update').classList.contains('default');";
    assert_eq!(window.js(is_default, &[]).await, json!(true));
    window.click("Test on My Data").await;
    window.until("button('Test Again')").await;
    let said = window
        .js("return parts('.summary')[0].textContent;", &[])
        .await;
    let said = said.as_str().expect("a text");
    assert!(
        said.starts_with(
            "This update will fail at v3 (division by zero). v2 would still be applied."
        ),
        "{said}"
    );
    assert!(said.contains("label"), "warnings are shown as well: {said}");
    assert_eq!(window.js(is_default, &[]).await, json!(false));
    window.picture("would-fail").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_test_that_is_too_slow_says_so_and_the_update_can_still_be_applied() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Notes", NOTES), ("Waits", GATE), ("Last", "select 1;")]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    window.until("button('Test Again')").await;
    let text = window.text().await;
    for said in [
        "Too slow to test fully: more than 5 s. It may still succeed when applied.",
        "v2: Waits Too slow to test fully; it may still succeed when applied v3:",
        "v3: Last Not tested.",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    assert!(!text.contains("fail"), "{text}");
    window.picture("too-slow").await;
    project.open_gate().await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2, 3]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_version_that_needs_what_another_commits_is_tested_later_and_not_called_a_failure() {
    let project = project::installed().await;
    let folder = Folder::of(&[
        (
            "Letters",
            "create type public.ctx0_status as enum ('draft', 'sent');
             create table public.ctx0_letter (id int primary key, status public.ctx0_status not null);
             alter table public.ctx0_letter enable row level security;
             insert into public.ctx0_letter values (1, 'draft'), (2, 'sent');",
        ),
        (
            "A status for the archive",
            "alter type public.ctx0_status add value if not exists 'archived';",
        ),
        (
            "Archives what was sent",
            "update public.ctx0_letter set status = 'archived' where status = 'sent';",
        ),
    ]);
    project::apply_first(&project, &folder).await;
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    window.until("button('Test Again')").await;
    let text = window.text().await;
    for said in [
        "v3 can only be tested once v2 is applied.",
        "v3: Archives what was sent Can only be tested once v2 is applied.",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    assert!(!text.to_lowercase().contains("fail"), "{text}");
    window.picture("after").await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2, 3]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_test_that_failed_can_be_tried_again() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    project.stack.stop_rest().await.expect("it stops");
    window.click("Test on My Data").await;
    window
        .until(
            "text().includes('Couldn’t test') || text().includes('Couldn\\'t test the changes:')",
        )
        .await;
    window.picture("not-tested").await;
    project.stack.start_rest().await.expect("it starts");
    window.until("button('Try Again')").await;
    window.click("Try Again").await;
    window.until("text().includes('Nothing is deleted.')").await;
}

#[tokio::test]
async fn windows_share_one_test_and_a_run_ends_it() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Waits", GATE)]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let (left, right) = (
        browser.open(&daemon.address).await,
        browser.open(&daemon.address).await,
    );
    for window in [&left, &right] {
        window.click("View Changes").await;
        window.click("Test on My Data").await;
        window
            .until("text().includes('Testing on your database')")
            .await;
    }
    project.open_gate().await;
    for window in [&left, &right] {
        window.until("button('Test Again')").await;
    }
    right.click("Apply Update").await;
    for window in [&left, &right] {
        window.until_state("applied").await;
        window.assert_clean_console().await;
    }
}

#[tokio::test]
async fn a_required_backup_is_asked_for_and_who_said_so_is_recorded() {
    let project = project::installed().await;
    let folder = Folder::of(&[("Notes", NOTES)]).requiring_a_backup();
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    assert!(
        window
            .text()
            .await
            .contains("Back up your database before applying")
    );
    window.picture("backup").await;
    let state = "return [button('Apply Update').ariaDisabled, banner.shadowRoot.activeElement?.type ?? ''];";
    assert_eq!(window.js(state, &[]).await, json!(["true", ""]));
    window.click("Apply Update").await;
    assert_eq!(window.js(state, &[]).await, json!(["true", "checkbox"]));
    assert_eq!(project.ledger().await, [0; 0]);
    // The keyboard is enough.
    window.press(" ").await;
    window
        .until("button('Apply Update').ariaDisabled === 'false'")
        .await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    let rows = project
        .sql("select backup_by from ctx0_private.ctx0_schema_attempts")
        .await;
    assert_eq!(rows[0][0].as_deref(), Some("the user, in the banner"));
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_rollback_asks_shows_what_is_lost_and_needs_its_test() {
    let project = project::up_to_date().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.command("rollback 0").await;
    window.until_state("rollback").await;
    let text = window.text().await;
    assert!(
        text.contains("Roll back the ctx0 schema to v0?") && text.contains("undoes it"),
        "{text}"
    );
    assert_eq!(
        window.buttons().await,
        json!(["Test on My Data", "Dismiss"])
    );
    window.picture("rollback").await;
    window.click("Test on My Data").await;
    window.until("button('Roll Back')").await;
    window.picture("rollback-tested").await;
    window.click("View Changes").await;
    assert!(window.text().await.contains("ctx0_entries"));
    window.click("Dismiss").await;
    window.until_state("").await;
    assert_eq!(project.ledger().await, [1, 2]);

    window.command("rollback 1").await;
    window.click("Test on My Data").await;
    window.click("Roll Back").await;
    window.until_state("rolledBack").await;
    assert_eq!(window.text().await, "● ctx0 schema rolled back to v1 ×");
    window.picture("rolled-back").await;
    assert_eq!(project.ledger().await, [1]);
    window.good_news_ends().await;
    window.until_state("available").await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);

    window.command("rollback 2").await;
    window.click("Test on My Data").await;
    window
        .until("text() === '● The database is already at v2 ×'")
        .await;
    window.command("preview 2").await;
    window
        .until("log().includes('The database is already at v2: there is nothing to roll back.')")
        .await;

    window.command("rollback 7").await;
    window.click("Test on My Data").await;
    window
        .until("text().includes('Couldn\\'t test the rollback:')")
        .await;
    assert_eq!(window.buttons().await, json!(["Dismiss"]));
    assert!(
        window
            .text()
            .await
            .contains("the database isn't above that version, so there is nothing to roll back.")
    );
    window.click("Dismiss").await;
    window.until_state("").await;
    // Only a test was asked for.
    window.command("preview 7").await;
    window
        .until("log().includes('so there is nothing to roll back.')")
        .await;
    // No database has such a version.
    window.command("rollback 99999999999").await;
    window
        .until("log().includes('Name the version to roll back to')")
        .await;
    window.command("preview 99999999999").await;
    window
        .until("log().includes('Name the version of a rollback to test')")
        .await;
    window.until_state("").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_refusal_is_seen_by_the_window_that_asked_and_by_no_other() {
    let project = project::up_to_date().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let (asks, other) = (
        browser.open(&daemon.address).await,
        browser.open(&daemon.address).await,
    );
    for window in [&asks, &other] {
        window.until_state("").await;
        window
            .until("document.querySelector('#connection').textContent === 'connected'")
            .await;
    }
    asks.command("rollback 7").await;
    asks.click("Test on My Data").await;
    asks.until("text().includes('Couldn\\'t test the rollback:')")
        .await;
    let refused = "return banner.schema.rollback({ version: 0, token: '0'.repeat(64) }).catch((error) => error.code);";
    assert_eq!(asks.js(refused, &[]).await, json!("previewOutdated"));
    let blank =
        "return banner.schema.applyUpdates({ backupBy: ' ' }).catch((error) => error.message);";
    let blank = asks.js(blank, &[]).await;
    assert!(
        blank.as_str().expect("a text").contains("is blank"),
        "{blank}"
    );
    // The other one has heard of the check after that, and of nothing else.
    let check = "return banner.schema.checkUpdates().then(() => true);";
    assert_eq!(other.js(check, &[]).await, json!(true));
    assert_eq!(other.text().await, "");
    assert_eq!(project.ledger().await, [1, 2]);
}

#[tokio::test]
async fn a_schema_that_someone_else_changed_is_shown_with_its_diff() {
    let project = project::up_to_date().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.command("check").await;
    window.until("log().includes('up to date')").await;
    // While the window is open.
    project.sql("drop index public.ctx0_entries_tags_idx").await;
    window.command("check").await;
    window.until_state("drifted").await;
    assert!(
        window
            .text()
            .await
            .contains("Someone changed the ctx0 tables outside this app Changed: ctx0_entries.")
    );
    window.click("View Changes").await;
    window.js("parts('.raw')[0].open = true;", &[]).await;
    let removed = "return parts('.removed').map((part) => part.textContent);";
    assert_eq!(
        window.js(removed, &[]).await,
        json!(["-index ctx0_entries_tags_idx USING gin (tags)\n"])
    );
    window.picture("drifted").await;
    window.click("Dismiss").await;
    window.until_state("").await;
    // Until the next check.
    window.command("check").await;
    window.until_state("drifted").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn tables_that_were_made_by_hand_are_recognised_and_recorded() {
    let project = project::empty().await;
    let labels = "alter table public.ctx0_notes add column colour text;";
    let folder = Folder::of(&[
        ("Notes", NOTES),
        ("Colours", labels),
        (
            "More notes",
            "create table public.ctx0_more (id int); alter table public.ctx0_more enable row level security;",
        ),
    ]);
    project.sql(NOTES).await;
    project.sql(labels).await;
    project.install().await;
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until("button('Find Their Version')").await;
    window.picture("adopt").await;
    window.click("Find Their Version").await;
    window.until("button('Record as v2')").await;
    assert_eq!(
        window.buttons().await,
        json!(["View Changes", "Record as v2", "Dismiss"])
    );
    assert!(
        window
            .text()
            .await
            .contains("This database already has the tables of version 2. Record it as version 2")
    );
    window.picture("adopt-recognised").await;
    // Someone changes them before the user agrees.
    project
        .sql("alter table public.ctx0_notes add column mine text")
        .await;
    window.click("Record as v2").await;
    window
        .until("text().includes('Your tables have changed since they were compared')")
        .await;
    assert_eq!(project.ledger().await, [0; 0]);
    window.click("Try Again").await;
    window
        .until("text().includes('closest is v1 (1 object differs)')")
        .await;
    window.click("View Changes").await;
    window.picture("adopt-different").await;

    project
        .sql("alter table public.ctx0_notes drop column mine")
        .await;
    window.click("Compare Again").await;
    window.click("Record as v2").await;
    window
        .until("text().includes('ctx0 schema update available (v2 → v3)')")
        .await;
    assert_eq!(project.ledger().await, [1, 2]);
    let why = "select distinct reason from ctx0_private.ctx0_schema_attempts";
    assert_eq!(
        project.value(why).await,
        "the user recorded in the banner what was recognised"
    );
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2, 3]);
    window.assert_clean_console().await;
}
