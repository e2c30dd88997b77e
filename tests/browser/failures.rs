//! What goes wrong, and what the user sees then.

use ctx0_schema::install_sql;
use serde_json::json;

use crate::{
    chromium::Browser,
    daemon::Start,
    project::{self, Folder},
};

#[tokio::test]
async fn a_failure_in_the_middle_says_what_was_applied_and_retry_goes_on_from_there() {
    let project = project::installed().await;
    let folder = Folder::of(&[
        ("First", "select 1;"),
        ("Second", "select 2;"),
        (
            "Needs a table",
            "select 3;\ninsert into public.ctx0_missing values (1);",
        ),
        ("Last", "select 4;"),
    ]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    window.click("Apply Update").await;
    window.until_state("failed").await;
    let text = window.text().await;
    for said in [
        "ctx0 schema update failed",
        "003_step.sql, statement 2, line 2",
        "relation \"public.ctx0_missing\" does not exist (SQLSTATE 42P01)",
        "v1 and v2 were applied and stay in place.",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    assert_eq!(
        window.buttons().await,
        json!(["View Changes", "Try Again", "Dismiss"])
    );
    window.picture("failed").await;
    window.click("View Changes").await;
    assert!(window.text().await.contains("v3: Needs a table failed"));
    assert_eq!(project.ledger().await, [1, 2]);

    // The check that follows a run does not wipe the reason away.
    window.until("log().includes('v4 is available')").await;
    assert_eq!(
        window.js("return banner.getAttribute('state');", &[]).await,
        json!("failed")
    );
    project
        .sql("create table public.ctx0_missing (n int)")
        .await;
    window.click("Try Again").await;
    window.until_state("applied").await;
    assert_eq!(window.text().await, "● ctx0 schema updated to v4 ×");
    assert_eq!(project.ledger().await, [1, 2, 3, 4]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn missing_functions_are_explained_with_the_text_to_paste() {
    let project = project::empty().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    let origin = format!("http://{}", daemon.host());
    let granted =
        json!({"origin": origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    window.devtools("Browser.grantPermissions", granted).await;
    // Found before an update is offered.
    window.until_state("setup").await;
    assert_eq!(window.buttons().await, json!(["Install", "Dismiss"]));
    // Nothing runs SQL behind this gateway.
    window.click("Install").await;
    window.until("text().includes('Continue')").await;
    assert!(window.text().await.contains(&format!(
        "run all of it in the SQL editor at {}/project/default/sql/new",
        project.stack.url()
    )));
    assert_eq!(
        window.buttons().await,
        json!(["Copy Script", "Continue", "Dismiss"])
    );
    window.click("Copy Script").await;
    window.until("text().includes('Copied.')").await;
    window.picture("install").await;
    let copied = window
        .js("return navigator.clipboard.readText();", &[])
        .await;
    assert_eq!(copied, json!(install_sql()));

    project.install().await;
    window.click("Continue").await;
    window.until_state("available").await;
    assert!(window.text().await.contains("(v0 → v2)"));
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn the_functions_are_installed_by_one_click_without_a_sql_editor() {
    let project = project::empty().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("setup").await;
    let text = window.text().await;
    assert!(text.contains("changes none of your data"), "{text}");
    project.stack.serve_sql("supabase_admin").await.unwrap();
    window.picture("setup").await;
    window.click("Install").await;
    window.until_state("available").await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn text_that_cannot_be_copied_is_selected_instead() {
    let project = project::empty().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("setup").await;
    window.click("Install").await;
    window.until("text().includes('Continue')").await;
    window
        .js(
            "navigator.clipboard.writeText = () => Promise.reject(new Error('no'));",
            &[],
        )
        .await;
    window.click("Copy Script").await;
    window
        .until("text().includes('The script is selected')")
        .await;
    let selected = window
        .js("return getSelection().toString().length;", &[])
        .await;
    assert!(selected.as_u64() > Some(10_000), "{selected}");
}

#[tokio::test]
async fn a_database_of_a_newer_app_is_left_alone() {
    let project = project::at_version_1().await;
    project
        .bundled()
        .apply_all_pending()
        .await
        .expect("it is applied");
    project.sql("insert into public.ctx0_schema_versions (version, migration_name) values (3, '003_later')").await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("ahead").await;
    let text = window.text().await;
    assert!(
        text.contains("The ctx0 database is newer than this app")
            && text.contains("update the app"),
        "{text}"
    );
    assert_eq!(window.buttons().await, json!(["Dismiss"]));
    window.picture("ahead").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_ledger_that_does_not_match_is_never_called_up_to_date() {
    let project = project::at_version_1().await;
    project
        .sql(
            "update public.ctx0_schema_versions set migration_name = '001_other' where version = 1",
        )
        .await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("problem").await;
    assert!(window.text().await.contains("001_other"));
    window.picture("differs").await;

    project.sql("delete from public.ctx0_schema_versions").await;
    project.sql("insert into public.ctx0_schema_versions (version, migration_name) values (2, '002_schema_versioning')").await;
    window.click("Check Again").await;
    window.until("/version 2 but not 1/.test(text())").await;
    window.until("button('Check Again')").await;
    window.picture("gap").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_hostile_description_is_shown_and_does_nothing() {
    let hostile = "<img src=x onerror=\"window.hurt = 1\"><script>window.hurt = 1</script>${window.hurt = 1}\u{202e}desrever";
    let fails = "do $$ begin raise exception '<b onmouseover=alert(1)>%</b>', repeat('<img src=x onerror=hurt=1>', 40); end $$;";
    let project = project::installed().await;
    let folder = Folder::of(&[(hostile, fails)]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    assert!(
        window
            .text()
            .await
            .contains("v1: <img src=x onerror=\"window.hurt = 1\"><script>")
    );
    window.picture("hostile").await;
    window.click("Apply Update").await;
    window.until_state("failed").await;
    assert!(
        window
            .text()
            .await
            .contains("<b onmouseover=alert(1)><img src=x onerror=hurt=1>")
    );
    window.command("changes").await;
    window.until("log().includes('<script>')").await;
    let made = "return [...parts('*'), ...document.querySelectorAll('#log *')].filter((part) => ['IMG', 'SCRIPT', 'B'].includes(part.tagName)).length;";
    assert_eq!(window.js(made, &[]).await, json!(0));
    assert_eq!(
        window.js("return window.hurt === undefined;", &[]).await,
        json!(true)
    );
    window.assert_clean_console().await;
}
