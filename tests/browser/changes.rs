//! What an update would change, the backup before it, and what is taken back or has drifted.

use serde_json::json;

use crate::{
    chromium::Browser,
    daemon::Start,
    project::{Folder, Project},
};

const NOTES: &str = "create table public.ctx0_notes (id int primary key, label text);
    alter table public.ctx0_notes enable row level security;
    insert into public.ctx0_notes values (1, 'one');";

const WITHOUT_LABEL: &str = "alter table public.ctx0_notes drop column label;";

#[tokio::test]
async fn view_changes_shows_the_diff_and_what_it_means_and_consent_is_to_that() {
    let project = Project::installed().await;
    let two = Folder::of(&[("Notes", NOTES), ("Notes without labels", WITHOUT_LABEL)]);
    let folder = Folder::of(&[
        ("Notes", NOTES),
        ("Notes without labels", WITHOUT_LABEL),
        ("More notes", "insert into public.ctx0_notes values (2);"),
    ]);
    project.apply_first(&folder).await;
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.click("View Changes").await;
    window.until("parts('.diff').length > 0").await;
    let shown = "return [parts('.warning').map((part) => part.textContent), parts('.removed').map((part) => part.textContent)];";
    assert_eq!(
        window.js(shown, &[]).await,
        json!([
            ["drops column label of ctx0_notes: its data is lost"],
            ["-column label text\n"]
        ])
    );
    // Nothing asked for a backup; what was seen does.
    assert!(
        window
            .text()
            .await
            .contains("A backup is recommended first.")
    );
    assert!(window.text().await.contains("pg_dump"));
    window.picture("diff").await;

    // Meanwhile another daemon has applied one of them.
    project.apply_all(&two).await;
    window.click("Apply Update").await;
    window.until_state("outdated").await;
    window.picture("outdated").await;
    window.click("Check Again").await;
    window.until_state("available").await;
    assert_eq!(project.versions().await, ["1", "2"]);
    window
        .until("text().includes('ctx0_notes: 1 row inserted')")
        .await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.versions().await, ["1", "2", "3"]);
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_required_backup_is_asked_for_and_who_said_so_is_recorded() {
    let project = Project::installed().await;
    let folder = Folder::of(&[("Notes", NOTES)]).requiring_a_backup();
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    assert!(window.text().await.contains("A backup is required first."));
    window.picture("backup").await;
    let state = "return [button('Apply Update').ariaDisabled, banner.shadowRoot.activeElement?.type ?? ''];";
    assert_eq!(window.js(state, &[]).await, json!(["true", ""]));
    window.click("Apply Update").await;
    assert_eq!(window.js(state, &[]).await, json!(["true", "checkbox"]));
    assert_eq!(project.versions().await, [""; 0]);
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
async fn what_was_taken_back_is_told_and_then_offered_again() {
    let project = Project::up_to_date().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.command("preview 0").await;
    window
        .until("log().includes('drops table ctx0_entries')")
        .await;
    window.command("rollback 1").await;
    window.until_state("rolledBack").await;
    assert_eq!(window.text().await, "● ctx0 schema taken back to v1 ×");
    window.picture("rolled-back").await;
    assert_eq!(project.versions().await, ["1"]);
    window.good_news_ends().await;
    window.until_state("available").await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.versions().await, ["1", "2"]);

    window.command("rollback 7").await;
    window.until_state("rollbackFailed").await;
    assert!(window.text().await.contains("cannot be rolled back"));
    window.click("Dismiss").await;
    window.until_state("").await;
    window.assert_clean_console().await;
}

#[tokio::test]
async fn a_schema_that_somebody_else_changed_is_told_with_the_difference() {
    let project = Project::up_to_date().await;
    project.sql("drop index public.ctx0_entries_tags_idx").await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    window.until_state("drifted").await;
    assert!(
        window
            .text()
            .await
            .contains("Not as this app left it: ctx0_entries.")
    );
    window.click("View Changes").await;
    let removed = "return parts('.removed').map((part) => part.textContent);";
    assert_eq!(
        window.js(removed, &[]).await,
        json!(["-index ctx0_entries_tags_idx USING gin (tags)\n"])
    );
    window.picture("drifted").await;
    window.click("Dismiss").await;
    // It was told; the next check does not tell it again.
    window.command("check").await;
    window.until("log().includes('up to date')").await;
    window.until_state("").await;
    window.assert_clean_console().await;
}
