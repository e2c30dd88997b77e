//! The specification's user flow, and what people do on the way.

use std::{fs, sync::Arc};

use ctx0_stack::project::GATE;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::{
    chromium::Browser,
    daemon::Start,
    project::{self, Folder},
};

#[tokio::test]
async fn the_user_sees_the_banner_reviews_the_changes_applies_them_and_sees_that_it_worked() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;

    window.until_state("available").await;
    assert_eq!(
        window.text().await,
        "● ctx0 schema update available (v1 → v2) View Changes Apply Update ×"
    );
    window.picture("available").await;
    window.picture_for_readme("banner").await;

    window.click("View Changes").await;
    assert_eq!(
        window.text().await,
        "● ctx0 schema update available (v1 → v2) v2: Added schema version tracking table \
         Testing runs this update on your database and undoes it. Meanwhile, ctx0 may have to wait for up to \
         5 seconds. Hide Changes Test on My Data Apply Update ×"
    );
    window.picture("changes").await;
    window.click("Hide Changes").await;
    assert_eq!(
        window.buttons().await,
        json!(["View Changes", "Apply Update", "Dismiss"])
    );

    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(window.text().await, "● ctx0 schema updated to v2 ×");
    window.picture("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);

    window.good_news_goes().await;
    assert_eq!(window.text().await, "");
    window.picture("gone").await;
    window.assert_clean_console().await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_older_app_goes_on_and_says_once_that_it_can_be_updated() {
    let project = project::installed().await;
    let known = ("What this app knows", "select 1;");
    let older = Folder::of(&[known]);
    let newer = [known, ("Added labels to sessions", "select 2;")];
    let compatible =
        Folder::of(&newer).declaring(json!({"breaking": true, "minAppVersion": "1.3"}));
    project::apply_all(&project, &compatible).await;

    let daemon = Start::on(&project).migrations(&older).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("newer").await;
    assert_eq!(
        window.text().await,
        "● A newer app has updated your ctx0 database (v2; this app knows v1) You can go on working here. \
         Update this app when you have time. View Changes ×"
    );
    window.picture("newer").await;
    window.click("View Changes").await;
    assert!(window.text().await.contains("v2: Added labels to sessions"));
    // Said at the start, and then once a check.
    window.command("check").await;
    window.until_said(2, "can work with it").await;
    window.until_state("newer").await;

    window.click("Dismiss").await;
    window.until_state("").await;
    // Neither the next check nor the next start says it again.
    window.command("check").await;
    window.until_said(3, "can work with it").await;
    window.until_state("").await;
    window.go(&daemon.address).await;
    window.until("log().includes('can work with it')").await;
    window.until_state("").await;
    window.assert_clean_console().await;

    let breaking = [newer[0], newer[1], ("Renamed sessions", "select 3;")];
    let breaking =
        Folder::of(&breaking).declaring(json!({"breaking": true, "minAppVersion": "1.4"}));
    let offered = Start::on(&project).migrations(&breaking).start().await;
    let newer_app = browser.open(&offered.address).await;
    newer_app.click("View Changes").await;
    assert!(
        newer_app
            .text()
            .await
            .contains("Apps on other computers must be version 1.4.0 or newer."),
        "{}",
        newer_app.text().await
    );
    newer_app.picture("breaking").await;
    newer_app.click("Apply Update").await;
    newer_app.until_state("applied").await;
    window.command("check").await;
    window.until_state("ahead").await;
    assert_eq!(
        window.text().await,
        "● The ctx0 database is newer than this app The database has schema version 3, but this app only knows \
         versions up to 1: update the app to 1.4.0 or newer. ×"
    );
    window.picture("ahead").await;
}

#[tokio::test]
async fn a_daemon_that_follows_the_hosted_service_offers_only_what_that_has() {
    let project = project::installed().await;
    let names = [
        ("First", "select 1;"),
        ("Second", "select 2;"),
        ("Third", "select 3;"),
    ];
    let folder = Folder::of(&names);
    let hosted = MockServer::start().await;
    let url = format!("{}/manifest.json", hosted.uri());
    let serve = async |folder: &Folder| {
        let manifest = fs::read(folder.path().join("manifest.json")).expect("a manifest");
        hosted.reset().await;
        let response = ResponseTemplate::new(200).set_body_bytes(manifest);
        Mock::given(method("GET"))
            .respond_with(response)
            .mount(&hosted)
            .await;
    };
    serve(&Folder::of(&names[..2])).await;
    let daemon = Start::on(&project)
        .migrations(&folder)
        .follow(&url)
        .start()
        .await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    assert!(
        window.text().await.contains("(v0 → v2)"),
        "{}",
        window.text().await
    );
    window.picture("follow").await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);
    window.command("check").await;
    window
        .until("log().includes('v3 comes when the hosted service has it')")
        .await;
    window.good_news_goes().await;

    serve(&folder).await;
    window.command("check").await;
    window.until_state("available").await;
    assert!(
        window.text().await.contains("(v2 → v3)"),
        "{}",
        window.text().await
    );
    // A hosted service that is gone withholds nothing that it had released, and breaks nothing.
    hosted.reset().await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2, 3]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_hosted_service_that_cannot_be_asked_is_said_to_hold_updates_back() {
    let project = project::installed().await;
    let folder = Folder::of(&[("First", "select 1;")]);
    let hosted = MockServer::start().await;
    let url = format!("{}/manifest.json", hosted.uri());
    let daemon = Start::on(&project)
        .migrations(&folder)
        .follow(&url)
        .start()
        .await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("unavailable").await;
    let text = window.text().await;
    assert!(
        text.starts_with(
            "● ctx0 updates wait for the hosted service Couldn't ask the hosted service ("
        ) && text.contains("); updates wait until it answers."),
        "{text}"
    );
    assert_eq!(window.buttons().await, json!(["Check Again", "Dismiss"]));
    window.picture("hosted-unknown").await;
    window.click("Check Again").await;
    window.until("button('Check Again')").await;
    window.command("preview").await;
    window
        .until("log().includes('There is nothing to test. Couldn\\'t ask the hosted service')")
        .await;
    assert_eq!(
        window
            .js(
                "return log().includes('up to date') || log().includes('nothing was changed');",
                &[]
            )
            .await,
        json!(false)
    );

    let manifest = fs::read(folder.path().join("manifest.json")).expect("a manifest");
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(manifest))
        .mount(&hosted)
        .await;
    window.click("Check Again").await;
    window.until_state("available").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn with_nothing_configured_the_daemon_brings_a_database_that_is_a_version_behind() {
    let daemon = Start::temporary().start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    assert!(window.text().await.contains("(v1 → v2)"));
    window.click("Apply Update").await;
    window.until_state("applied").await;
    window.command("status").await;
    window
        .until("/v1 .*bot0-daemon[^]*v2 .*bot0-daemon/.test(log())")
        .await;
    window.picture("terminal").await;
    window.assert_clean_console().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_dismissed_banner_comes_back_with_the_next_check() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("Dismiss").await;
    window.until_state("").await;
    window.command("check").await;
    window.until_state("available").await;
    // The answer and the event say the same, which is printed once.
    window.until_said(2, "is available").await;
    window.command("help").await;
    window
        .until("log().includes('made outside this app')")
        .await;
    let said = "return log().split('is available').length - 1;";
    assert_eq!(window.js(said, &[]).await, json!(2));
    window.assert_clean_console().await;
}

#[tokio::test]
async fn the_next_check_comes_by_itself() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).interval(3).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("Dismiss").await;
    window.until_states(&["available", "", "available"]).await;
    window.click("Apply Update").await;
    window.until_states(&["applying", "applied"]).await;
    // A daemon of an older app took it back, say.
    project
        .sql("delete from public.ctx0_schema_versions where version = 2")
        .await;
    window.until_state("available").await;
}

#[tokio::test]
async fn a_banner_goes_when_another_daemon_has_applied_the_update() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    project
        .bundled()
        .apply_all_pending()
        .await
        .expect("it is applied");
    window.command("check").await;
    window.until_state("current").await;
    assert_eq!(window.text().await, "● ctx0 schema is up to date (v2) ×");
    window.good_news_goes().await;
}

/// 1,000 rows, and an index on them that is not built beyond the 431st as long as the gate is closed.
/// The index does not see what others commit, but it sees their locks.
const INDEX: &str = "
create function public.ctx0_until_told(id integer) returns integer language plpgsql immutable as $$
begin
  while id = 431 and not pg_try_advisory_lock_shared(42) loop
    perform pg_sleep(0.01);
  end loop;
  return id;
end $$;
create table public.ctx0_large as select id, repeat('x', 700) as filler from generate_series(1, 1000) id;
create index on public.ctx0_large (public.ctx0_until_told(id));";

#[tokio::test]
async fn an_index_that_is_being_built_moves_the_bar() {
    let project = Arc::new(project::installed().await);
    let folder = Folder::of(&[
        ("Initial ctx0 schema", "select 1;"),
        ("An index for search", INDEX),
    ]);
    let session = Arc::clone(&project);
    let gate = tokio::spawn(async move {
        // It ends with an error, because its session is terminated.
        let hold =
            "set application_name = 'gate'; select pg_advisory_lock(42); select pg_sleep(3600)";
        let _ = session.stack.sql(hold).await;
    });
    project
        .until(
            "exists (select from pg_locks where locktype = 'advisory' and objid = 42 and granted)",
        )
        .await;
    project::apply_first(&project, &folder).await;
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("Apply Update").await;
    window
        .until("/Step 3 of 3: building index: scanning table .4\\d %./.test(text())")
        .await;
    let bar = "const bar = parts('progress')[0]; return bar.max === 1 && bar.value > 2.4 / 3 && bar.value < 2.5 / 3;";
    assert_eq!(window.js(bar, &[]).await, json!(true));
    window.picture("index").await;
    let end = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = 'gate'";
    project.sql(end).await;
    gate.await.expect("no panic");
    window.until_state("applied").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn an_update_can_be_stopped_while_it_runs() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Initial ctx0 schema", "select 1;"), ("A long step", GATE)]);
    project::apply_first(&project, &folder).await;
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("Apply Update").await;
    project.until(project::RUNNING).await;
    window.picture("running").await;
    window.click("Stop").await;
    window.until_state("failed").await;
    window.picture("stopped").await;
    assert_eq!(
        window.text().await,
        "● ctx0 schema update stopped The step that was running was undone. Nothing of it was changed. \
         View Changes Try Again ×"
    );
    assert_eq!(project.ledger().await, [1]);
    let who =
        "select cancelled_by from ctx0_private.ctx0_schema_attempts where outcome = 'cancelled'";
    assert_eq!(project.value(who).await, "the user, in the banner");
    project.open_gate().await;
    window.click("Try Again").await;
    window.until_state("applied").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn each_version_of_a_run_is_seen_to_begin_and_to_end() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[
        ("Initial ctx0 schema", "select 1;"),
        ("Titles for sessions", "select 2;"),
        ("Full-text search over entries", GATE),
        ("Tags for sessions", "select 4;"),
    ]);
    // Over an empty ledger all versions would be one request, and be seen when it ends.
    let manager = project.manager(folder.migrations());
    manager
        .apply_migration(ctx0_stack::project::version(1))
        .await
        .expect("it is applied");
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("Apply Update").await;
    window.click("View Changes").await;
    window
        .until("text().includes('Applying v3 (2 of 3)')")
        .await;
    window
        .until("/v2: Titles for sessions applied in \\d+ ms v3: Full-text search over entries in progress… v4: Tags for sessions Hide/.test(text())")
        .await;
    let busy = "const bar = parts('progress')[0]; return [parts('section')[0].ariaBusy ?? '', parts('ul')[0].ariaBusy, bar.value, bar.max];";
    assert_eq!(window.js(busy, &[]).await, json!(["", "true", 1, 3]));
    window.picture("applying").await;

    // Neither a second click nor another command begins a second run.
    window.click("Applying…").await;
    window
        .js("banner.shadowRoot.querySelector('.primary').click();", &[])
        .await;
    project.open_gate().await;
    window.until_state("applied").await;
    assert_eq!(window.text().await, "● ctx0 schema updated to v4 ×");
    let attempts = project
        .sql("select version, outcome from ctx0_private.ctx0_schema_attempts order by started_at")
        .await;
    assert_eq!(attempts.len(), 4, "{attempts:?}");
    window.assert_clean_console().await;
}

#[tokio::test]
async fn two_windows_share_one_run() {
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
    // Both at once, as far as the daemon can tell.
    tokio::join!(left.click_primary(), right.click_primary());
    left.until("text().includes('Applying v1 (1 of 1)')").await;
    right.until("text().includes('Applying v1 (1 of 1)')").await;

    // One that is opened in the middle joins in.
    let late = browser.open(&daemon.address).await;
    late.until_state("applying").await;
    project.open_gate().await;
    for window in [&left, &right, &late] {
        window.until_state("applied").await;
        assert_eq!(window.text().await, "● ctx0 schema updated to v1 ×");
        window.assert_clean_console().await;
    }
    assert_eq!(project.ledger().await, [1]);
    let attempts = project
        .sql("select 1 from ctx0_private.ctx0_schema_attempts")
        .await;
    assert_eq!(attempts.len(), 1);
}

#[tokio::test]
async fn a_run_goes_on_when_the_window_is_closed() {
    let project = project::installed().await;
    project.close_gate().await;
    let folder = Folder::of(&[("Waits", GATE), ("Last", "select 2;")]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("Apply Update").await;
    window.until("text().includes('Applying v1')").await;
    drop(window);
    let window = browser.open(&daemon.address).await;
    window.until_state("applying").await;
    project.open_gate().await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);
}

#[tokio::test]
async fn the_keyboard_is_enough_and_the_focus_is_kept() {
    let (tab, enter, escape) = ("\u{e004}", "\u{e007}", "\u{e00c}");
    let focus = "return banner.shadowRoot.activeElement?.textContent ?? document.activeElement.id;";
    let project = project::installed().await;
    let folder = Folder::of(&[
        ("Fails", "select * from public.ctx0_missing;"),
        ("Last", "select 2;"),
    ]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;

    // The page starts in its command line, after the banner, as soon as it has been painted.
    window
        .until("document.activeElement.id === 'command'")
        .await;
    window
        .js("document.getElementById('notifications').focus();", &[])
        .await;
    window.press(tab).await;
    assert_eq!(window.js(focus, &[]).await, json!("View Changes"));
    window.picture("focus").await;
    window.press(" ").await;
    assert_eq!(window.js(focus, &[]).await, json!("Hide Changes"));
    assert_eq!(
        window
            .js("return button('Hide Changes').ariaExpanded;", &[])
            .await,
        json!("true")
    );
    window.press(tab).await;
    assert_eq!(window.js(focus, &[]).await, json!("Test on My Data"));
    window.press(tab).await;
    assert_eq!(window.js(focus, &[]).await, json!("Apply Update"));
    window.press(enter).await;
    window.until_state("failed").await;
    // The same button, so that whoever waits on it can go on from it.
    assert_eq!(window.js(focus, &[]).await, json!("Try Again"));
    project.sql("create table public.ctx0_missing ()").await;
    window.press(enter).await;
    window.until_state("applied").await;
    assert_eq!(window.js(focus, &[]).await, json!("×"));
    window.press(escape).await;
    window.until_state("").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn the_focus_goes_back_to_where_it_came_from() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.command("help").await;
    window.click("Dismiss").await;
    window.until_state("").await;
    assert_eq!(
        window.js("return document.activeElement.id;", &[]).await,
        json!("command")
    );
}

#[tokio::test]
async fn the_focus_goes_back_after_good_news() {
    let (tab, enter) = ("\u{e004}", "\u{e007}");
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    window
        .js("document.getElementById('notifications').focus();", &[])
        .await;
    window.press(tab).await;
    window.press(tab).await;
    window.press(enter).await;
    window.until_state("applied").await;
    window.good_news_goes().await;
    assert_eq!(
        window.js("return document.activeElement.id;", &[]).await,
        json!("notifications")
    );
}

#[tokio::test]
async fn a_window_in_the_background_notifies_once_a_version() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.window().await;
    let record = "
        window.notified = [];
        document.hasFocus = () => false;
        window.Notification = class extends EventTarget {
          static permission = 'granted';
          constructor(title, options) { super(); notified.push([title, options.tag]); }
        };";
    window.before_each_page(record).await;
    window.go(&daemon.address).await;
    window.until_state("available").await;
    let notified = json!([["ctx0 schema update available (v1 → v2)", "ctx0-schema-v2"]]);
    assert_eq!(window.js("return notified;", &[]).await, notified);
    window.command("check").await;
    window.until_said(2, "is available").await;
    assert_eq!(window.js("return notified;", &[]).await, notified);
    // Nor does the window notify again after it was loaded again.
    window.go(&daemon.address).await;
    window.until_state("available").await;
    assert_eq!(window.js("return notified;", &[]).await, json!([]));
}
