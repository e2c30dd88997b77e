//! Questions, progress and Ctrl-C on a real terminal.

use ctx0_stack::project::{GATE, Project};
use serde_json::json;

use crate::support::Cli;

const NOTES: (&str, &str) = (
    "001_notes",
    "create table public.ctx0_notes (id bigint primary key);",
);
const GATED: (&str, &str) = ("002_gated", GATE);

#[tokio::test]
async fn a_person_is_asked_before_a_change() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);

    let mut terminal = cli.terminal(80, &["apply"]);
    terminal.see("Apply up to v2? [y/N]").await;
    terminal.press("n\n").await;
    assert_eq!(terminal.end().await, 7);
    assert!(
        terminal.text().contains("Nothing was changed"),
        "{}",
        terminal.text()
    );
    assert!(project.ledger().await.is_empty());

    let mut terminal = cli.terminal(80, &["apply"]);
    terminal.see("Apply up to v2? [y/N]").await;
    terminal.press("y\n").await;
    assert_eq!(terminal.end().await, 0);
    assert!(
        terminal.text().contains("The schema is at v2"),
        "{}",
        terminal.text()
    );
    assert_eq!(project.ledger().await, [1, 2]);

    let mut terminal = cli.terminal(80, &["rollback", "0"]);
    terminal
        .see("does not bring back data that v2 changed or deleted")
        .await;
    terminal.see("type \"roll back to v0\":").await;
    terminal.press("y\n").await;
    assert_eq!(terminal.end().await, 7);
    assert_eq!(project.ledger().await, [1, 2]);

    let mut terminal = cli.terminal(80, &["rollback", "v0"]);
    terminal.see("type \"roll back to v0\":").await;
    terminal.press("roll back to v0\n").await;
    assert_eq!(terminal.end().await, 0);
    assert!(project.ledger().await.is_empty());
}

#[tokio::test]
async fn a_person_is_asked_before_the_ledger_is_repaired() {
    let project = Project::empty().await;
    project.sql(NOTES.1).await;
    project
        .sql("alter table public.ctx0_notes add column mine text")
        .await;
    project.install().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES]);
    let mut terminal = cli.terminal(80, &["baseline", "1", folder]);
    terminal.see("+column mine text").await;
    terminal.see("type \"record v1\":").await;
    terminal.press("record v1\n").await;
    terminal.see("Why? It is recorded:").await;
    terminal.press("set up by hand\n").await;
    assert_eq!(terminal.end().await, 0);
    assert_eq!(project.ledger().await, [1]);

    let mut terminal = cli.terminal(80, &["repair", "mark-not-applied", "1", folder]);
    terminal.see("Go on? [y/N]").await;
    terminal.press("n\n").await;
    assert_eq!(terminal.end().await, 7);
    assert_eq!(project.ledger().await, [1]);
    let reason = "select reason from ctx0_private.ctx0_schema_attempts";
    assert_eq!(project.value(reason).await, "set up by hand");
}

#[tokio::test]
async fn from_an_empty_database_to_an_applied_schema_and_back() {
    let project = Project::empty().await;
    project.stack.serve_sql("postgres").await.unwrap();
    let cli = Cli::on(&project);
    for (arguments, question, answer, result) in [
        (
            &["install"][..],
            "of the functions? [y/N]",
            "y\n",
            "Installed release",
        ),
        (
            &["apply"],
            "Apply up to v2? [y/N]",
            "y\n",
            "The schema is at v2",
        ),
        (
            &["rollback", "1"],
            "type \"roll back to v1\":",
            "roll back to v1\n",
            "The schema is at v1",
        ),
        (
            &["uninstall"],
            "type \"uninstall\":",
            "uninstall\n",
            "The functions are removed",
        ),
    ] {
        let mut terminal = cli.terminal(80, arguments);
        terminal.see(question).await;
        terminal.press(answer).await;
        assert_eq!(terminal.end().await, 0, "{}", terminal.text());
        assert!(terminal.text().contains(result), "{}", terminal.text());
    }
}

#[tokio::test]
async fn a_required_backup_is_asked_for_by_name() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES]);
    let manifest = cli.path().join("migrations/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let text = text.replace("\"version\":1", "\"version\":1,\"backup\":\"required\"");
    std::fs::write(&manifest, text).unwrap();

    let mut terminal = cli.terminal(80, &["apply", folder]);
    terminal.see("Who made it?").await;
    terminal.press("Ada\n").await;
    terminal.see("Apply up to v1? [y/N]").await;
    terminal.press("y\n").await;
    assert_eq!(terminal.end().await, 0);
    let recorded = "select backup_by from ctx0_private.ctx0_schema_attempts";
    assert_eq!(project.value(recorded).await, "Ada");
}

#[tokio::test]
async fn ctrl_c_ends_a_question_and_a_preview_and_leaves_nothing() {
    let project = Project::installed().await;
    project.close_gate().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES, GATED]);

    let mut terminal = cli.terminal(80, &["preview", "--budget", "25s", folder]);
    terminal.see("testing the change on the database").await;
    terminal.press("\x03").await;
    assert_eq!(terminal.end().await, 130);
    assert!(
        terminal.text().contains("the test was cancelled"),
        "{}",
        terminal.text()
    );

    let folder = cli.migrations(&[NOTES]);
    let mut terminal = cli.terminal(80, &["apply", folder]);
    terminal.see("[y/N]").await;
    terminal.press("\x03").await;
    assert_eq!(terminal.end().await, 130);
    assert!(
        terminal.text().contains("Interrupted: nothing was changed"),
        "{}",
        terminal.text()
    );
    assert!(project.ledger().await.is_empty());
}

#[tokio::test]
async fn ctrl_c_during_an_apply_says_what_goes_on_and_it_does() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES]);
    cli.expect(0, &["apply", "--yes", folder]).await;
    cli.migrations(&[NOTES, GATED]);
    project.close_gate().await;

    let apply = [
        "apply",
        "--yes",
        "--allow-data-loss",
        "--budget=100ms",
        folder,
    ];
    let mut terminal = cli.terminal(80, &apply);
    terminal.see("applying v2 002_gated").await;
    project.until_asleep().await;
    terminal.press("\x03").await;
    terminal.see("Stop v2 and undo it?").await;
    terminal.press("\x03").await;
    assert_eq!(terminal.end().await, 130);
    let text = terminal.text();
    assert!(text.contains("version 2 was sent"), "{text}");

    // It does go on.
    project.open_gate().await;
    project
        .until("exists (select from ctx0_schema_versions where version = 2)")
        .await;
    cli.expect(0, &["status", folder]).await;
}

#[tokio::test]
async fn ctrl_c_offers_to_stop_an_apply_and_so_does_a_command() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES]);
    cli.expect(0, &["apply", "--yes", folder]).await;
    cli.migrations(&[NOTES, ("002_slow", "select pg_sleep(600);")]);
    let apply = [
        "apply",
        "--yes",
        "--allow-data-loss",
        "--budget",
        "100ms",
        folder,
    ];
    let sleeps = "exists (select from pg_stat_activity where wait_event = 'PgSleep' and application_name ~ '^ctx0 apply v2 1/1')";

    for by_command in [false, true] {
        let mut terminal = cli.terminal(80, &apply);
        terminal.see("v2, statement 1 of 1, line 1").await;
        project.until(sleeps).await;
        let status = cli.expect(8, &["status", folder]).await;
        assert!(
            status.out.contains("v2, statement 1 of 1, line 1"),
            "{}",
            status.out
        );
        if by_command {
            let ended = cli
                .expect(0, &["cancel", "--applied-by", "Ada", folder])
                .await;
            assert!(ended.out.contains("Version 2 was stopped"), "{}", ended.out);
        } else {
            terminal.press("\x03").await;
            terminal.see("Stop v2 and undo it?").await;
            terminal.press("y\n").await;
        }
        assert_eq!(terminal.end().await, 130);
        let by = if by_command { "Ada" } else { "ctx0-schema" };
        let text = terminal.text();
        assert!(text.contains(&format!("was stopped by {by}")), "{text}");
        assert!(text.contains("v2 stopped"), "{text}");
        assert!(!text.contains("failed"), "{text}");
        assert_eq!(project.ledger().await, [1]);
    }
    let nothing = cli.expect(0, &["cancel", folder]).await;
    assert!(
        nothing.out.contains("Nothing is changing the schema"),
        "{}",
        nothing.out
    );
}

#[tokio::test]
async fn screens_fit_wide_and_narrow_terminals() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    cli.expect(0, &["apply", "--yes"]).await;
    for columns in [80, 40] {
        for command in ["status", "plan", "history", "verify", "doctor"] {
            let mut terminal = cli.terminal(columns, &[command]);
            assert_eq!(terminal.end().await, 0);
            // A line that is too long continues in the next row of the screen.
            let screen = terminal.text();
            for line in String::from_utf8_lossy(&terminal.raw).lines() {
                let line = line.rsplit('\r').next().unwrap_or_default();
                let plain = line
                    .replace("\x1b[2K", "")
                    .replace("\x1b[32m", "")
                    .replace("\x1b[0m", "");
                assert!(
                    plain.chars().count() <= usize::from(columns),
                    "{command} {columns}:\n{screen}"
                );
            }
        }
    }
}

#[tokio::test]
async fn no_color_is_respected_on_a_terminal() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    for (no_color, coloured) in [("", true), ("1", false)] {
        let mut terminal = cli.terminal_with(80, &["status"], &[("NO_COLOR", no_color)]);
        assert_eq!(terminal.end().await, 3);
        let raw = String::from_utf8_lossy(&terminal.raw).into_owned();
        assert_eq!(raw.contains("\x1b[33m"), coloured, "{raw:?}");
    }
}

#[tokio::test]
async fn a_terminal_that_cannot_move_its_cursor_gets_plain_lines() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[("001_pause", "select pg_sleep(1);")]);
    let mut terminal = cli.terminal_with(80, &["apply", "--yes", folder], &[("TERM", "dumb")]);
    assert_eq!(terminal.end().await, 0);
    let raw = String::from_utf8_lossy(&terminal.raw);
    assert!(raw.contains("The schema is at v1"), "{raw:?}");
    assert!(!raw.contains('\x1b'), "{raw:?}");
}

#[tokio::test]
async fn a_lock_is_asked_for_where_nothing_runs_a_version_outside_a_transaction() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES]);
    cli.expect(0, &["apply", "--yes", folder]).await;
    let index = "create index concurrently ctx0_notes_idx on public.ctx0_notes (id);";
    cli.migrations(&[NOTES, ("002_index", index)]);
    cli.declare(2, "transaction", json!(false));
    let plan = cli.expect(3, &["plan", folder]).await;
    assert!(
        plan.out.contains("v2 runs outside a transaction"),
        "{}",
        plan.out
    );

    let mut terminal = cli.terminal(80, &["apply", folder]);
    terminal
        .see("waits a moment (it has 8.0 kB). Go on? [y/N]")
        .await;
    terminal.press("n\n").await;
    assert_eq!(terminal.end().await, 7);
    assert_eq!(project.ledger().await, [1]);

    // A script agrees to it by a flag.
    let refused = cli.expect(7, &["apply", "--yes", folder]).await;
    assert!(refused.says("--may-lock"), "{}", refused.err);
    assert_eq!(project.ledger().await, [1]);

    let mut terminal = cli.terminal(80, &["apply", folder]);
    terminal
        .see("waits a moment (it has 8.0 kB). Go on? [y/N]")
        .await;
    terminal.press("y\n").await;
    terminal.see("Apply up to v2? [y/N]").await;
    terminal.press("y\n").await;
    assert_eq!(terminal.end().await, 0, "{}", terminal.text());
    let text = terminal.text();
    assert!(text.contains("v2 runs inside a transaction"), "{text}");
    assert_eq!(project.ledger().await, [1, 2]);

    cli.migrations(&[
        NOTES,
        ("002_index", index),
        ("003_vacuum", "vacuum public.ctx0_notes;"),
    ]);
    for version in [2, 3] {
        cli.declare(version, "transaction", json!(false));
    }
    let closed = cli
        .expect(5, &["apply", "--yes", "--may-lock", folder])
        .await;
    assert!(closed.says("nothing runs it outside one"), "{}", closed.err);
    assert_eq!(project.ledger().await, [1, 2]);
}
