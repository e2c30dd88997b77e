//! Versions that run outside a transaction: what the user reads and agrees to, and how an index grows.

use std::sync::Arc;

use ctx0_stack::project::Project;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    chromium::{Browser, Window},
    daemon::{Daemon, Start},
    project::{self, Folder},
};

/// An index on the function takes 15 ms a row, and stops at two rows while those are locked.
const NOTES: &str = "
create function public.ctx0_slowly(id integer) returns integer language plpgsql immutable as $$
begin
  perform pg_sleep(0.015) where id <= 100;
  while id in (331, 771) and not pg_try_advisory_lock_shared(id) loop
    perform pg_sleep(0.01);
  end loop;
  return id;
end $$;
create table public.ctx0_notes as select id, repeat('x', 700) as filler from generate_series(1, 1000) id;
alter table public.ctx0_notes enable row level security;";
const INDEX: &str =
    "create index concurrently ctx0_notes_idx on public.ctx0_notes (public.ctx0_slowly(id));";

/// Keeps what the page asks for in `sent`.
const SENT: &str = "
  window.sent = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    sent.push(JSON.parse(text));
    return send.call(this, text);
  };";

/// The parameters of the last request to apply.
const APPLIED_WITH: &str =
    "return sent.filter(({ method }) => method === 'schema:applyUpdates').at(-1)?.params ?? null;";

/// A version that runs outside a transaction is on offer.
async fn offered(project: &Project, more: serde_json::Value) -> (Browser, Daemon, Window) {
    let mut fields = json!({"transaction": false});
    fields
        .as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    let folder = Folder::of(&[("Notes", NOTES), ("Finds notes faster", INDEX)]).declaring(fields);
    project::apply_first(project, &folder).await;
    let daemon = Start::on(project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.window().await;
    window.before_each_page(SENT).await;
    window.go(&daemon.address).await;
    window.until_state("available").await;
    (browser, daemon, window)
}

/// Makes pictures in both themes and in a narrow window.
async fn pictures(window: &Window, name: &str) {
    for theme in ["light", "dark"] {
        window.media(&[("prefers-color-scheme", theme)]).await;
        window.size(320, 640).await;
        window.picture(&format!("{name}-narrow-{theme}")).await;
        window.size(800, 420).await;
        window.picture(&format!("{name}-{theme}")).await;
    }
}

/// Holds the row of this number until it is ended.
async fn hold(project: &Arc<Project>, row: u32) -> JoinHandle<()> {
    let session = Arc::clone(project);
    let held = tokio::spawn(async move {
        let hold = format!(
            "set application_name = 'row {row}'; select pg_advisory_lock({row}); select pg_sleep(3600)"
        );
        // It ends with an error, because its session is terminated.
        let _ = session.stack.sql(&hold).await;
    });
    let is_held = format!(
        "exists (select from pg_locks where locktype = 'advisory' and objid = {row} and granted)"
    );
    project.until(&is_held).await;
    held
}

async fn let_go(project: &Project, row: u32, held: JoinHandle<()>) {
    let end = format!(
        "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = 'row {row}'"
    );
    project.sql(&end).await;
    held.await.expect("no panic");
}

#[tokio::test]
async fn an_index_grows_beside_the_app_and_moves_the_bar() {
    let project = Arc::new(project::installed().await);
    project.stack.serve_sql("postgres").await.unwrap();
    let (first, second) = (hold(&project, 331).await, hold(&project, 771).await);
    let (_browser, _daemon, window) = offered(&project, json!({})).await;
    window.click("View Changes").await;
    let text = window.text().await;
    assert!(
        text.contains("Runs beside the app: reading and writing go on."),
        "{text}"
    );
    window.picture("outside-offered").await;
    window.click("Apply Update").await;

    // Where it is, by what PostgreSQL counts.
    let bar = |from: f64, to: f64| {
        format!(
            "(() => {{ const {{ value, max }} = parts('progress')[0]; return max === 1 && value >= {from} && value <= {to}; }})()"
        )
    };
    window
        .until("/Step 1 of 1: building index: scanning table .\\d+ %./.test(text())")
        .await;
    window.until(&bar(0.25, 0.4)).await;
    pictures(&window, "outside-building").await;
    // The app goes on meanwhile.
    project
        .sql("insert into public.ctx0_notes values (1001, 'written meanwhile')")
        .await;
    let_go(&project, 331, first).await;
    window.until(&bar(0.7, 0.85)).await;
    window.picture("outside-building-on").await;
    window.picture_for_readme("building").await;
    let_go(&project, 771, second).await;
    window.until_state("applied").await;
    assert_eq!(window.js(APPLIED_WITH, &[]).await, json!({}));
    assert_eq!(project.ledger().await, [1, 2]);
    let valid = "select indisvalid::text from pg_index where indexrelid = 'public.ctx0_notes_idx'::regclass";
    assert_eq!(project.value(valid).await, "true");
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_lock_is_agreed_to_by_its_own_button_after_the_test() {
    let project = project::installed().await;
    let (_browser, _daemon, window) = offered(&project, json!({})).await;
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    window.until("button('Test Again')").await;
    let text = window.text().await;
    assert!(
        text.contains("v2 can't run beside the app here (/pg/query responds with status 404)."),
        "{text}"
    );
    let label = window
        .js("return parts('button').map((part) => part.textContent).find((label) => label.startsWith('Apply'));", &[])
        .await;
    let label = label.as_str().expect("a label").to_owned();
    assert!(
        label.starts_with("Apply Now; writing to ctx0_notes waits about "),
        "{label}"
    );
    let main = "return parts('.primary').length;";
    assert_eq!(window.js(main, &[]).await, json!(0));
    pictures(&window, "outside-lock").await;
    // Enter, where the focus is after the test, does not agree to it.
    assert_eq!(project.ledger().await, [1]);
    window.click(&label).await;
    window.until_state("applied").await;
    let sent = window.js(APPLIED_WITH, &[]).await;
    assert_eq!(sent["mayLock"], json!(true), "{sent}");
    assert_eq!(project.ledger().await, [1, 2]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn without_a_test_nothing_is_locked_before_the_user_agrees() {
    let project = Arc::new(project::installed().await);
    let (_browser, _daemon, window) = offered(&project, json!({})).await;
    window.click("Apply Update").await;
    window.until_state("failed").await;
    assert_eq!(window.js(APPLIED_WITH, &[]).await, json!({}));
    pictures(&window, "outside-needs-lock").await;
    // Trying again is no consent.
    window.click("Try Again").await;
    window.until("sent.filter(({ method }) => method === 'schema:applyUpdates').length === 2 && banner.getAttribute('state') === 'failed'").await;
    assert_eq!(project.ledger().await, [1]);

    let held = hold(&project, 331).await;
    window.click("Apply Now; writing waits").await;
    window
        .until("text().includes('v2 can\\'t run beside the app here')")
        .await;
    pictures(&window, "outside-locking").await;
    let_go(&project, 331, held).await;
    window.until_state("applied").await;
    assert_eq!(window.js(APPLIED_WITH, &[]).await, json!({"mayLock": true}));
    assert_eq!(project.ledger().await, [1, 2]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn where_the_manifest_forbids_the_lock_it_is_not_offered() {
    let project = project::installed().await;
    let (_browser, _daemon, window) = offered(&project, json!({"lockInstead": "never"})).await;
    window.click("Apply Update").await;
    window.until_state("failed").await;
    assert_eq!(
        window.buttons().await,
        json!(["View Changes", "Try Again", "Dismiss"])
    );
    window.click("View Changes").await;
    window.click("Test on My Data").await;
    window.until("button('Test Again')").await;
    let text = window.text().await;
    assert!(text.contains("v2 can't run here"), "{text}");
    window.picture("outside-closed").await;
    assert_eq!(project.ledger().await, [1]);
    window.assert_clean_console().await;
}
