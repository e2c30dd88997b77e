//! The commands that need no project.

use crate::support::Cli;

fn cli() -> Cli {
    Cli::with("", "")
}

#[tokio::test]
async fn a_new_migration_is_numbered_listed_and_checked() {
    let cli = cli();
    let named = cli.migrations(&[("001_notes", "create table public.ctx0_notes (id bigint);\n")]);
    cli.expect(0, &["new", "Add tags", "--description", "Tags for notes"])
        .await;
    let folder = cli.path().join("migrations");
    for file in ["002_add_tags.sql", "002_add_tags.down.sql"] {
        assert!(folder.join(file).exists(), "{file}");
    }

    // It has to be written first.
    let unwritten = cli.expect(1, &["checksum", named]).await;
    assert!(unwritten.says("002_add_tags.sql"), "{}", unwritten.err);
    let sql = "alter table public.ctx0_notes drop column id;\n";
    std::fs::write(folder.join("002_add_tags.sql"), sql).unwrap();
    std::fs::write(
        folder.join("002_add_tags.down.sql"),
        "alter table public.ctx0_notes add column id bigint;\n",
    )
    .unwrap();
    let checksums = cli.expect(0, &["checksum", named]).await.out;
    assert!(
        checksums
            .lines()
            .nth(1)
            .unwrap()
            .ends_with("  002_add_tags.sql"),
        "{checksums}"
    );

    let findings = cli.expect(1, &["lint", "--json", named]).await.json();
    assert_eq!(findings["findings"][0]["file"], "002_add_tags.sql");
    assert_eq!(findings["findings"][0]["line"], 1);
    assert_eq!(findings["findings"][0]["rule"], "ban-drop-column");

    // What is there is never overwritten.
    std::fs::write(folder.join("003_more.sql"), "mine").unwrap();
    cli.expect(1, &["new", "more"]).await;
    assert_eq!(
        std::fs::read_to_string(folder.join("003_more.sql")).unwrap(),
        "mine"
    );
}

#[tokio::test]
async fn a_field_that_nothing_reads_is_named() {
    let cli = cli();
    let folder = cli.migrations(&[(
        "001_notes",
        "create table public.ctx0_notes (id bigint primary key);\n",
    )]);
    let linted = cli.expect(0, &["lint", folder]).await;
    assert_eq!(linted.err, "");
    cli.declare(1, "brekaing", true.into());
    let linted = cli.expect(0, &["lint", "--json", folder]).await;
    assert!(
        linted.says("does not know and ignores: `brekaing` of version 1. Check the spelling"),
        "{}",
        linted.err
    );
    assert_eq!(linted.json()["findings"], serde_json::json!([]));
}

#[tokio::test]
async fn every_command_has_help_completions_and_a_page() {
    let cli = cli();
    let pages = cli.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    cli.expect(0, &["man", "--output", "pages"]).await;
    assert!(pages.join("ctx0-schema.1").exists() && pages.join("ctx0-schema-apply.1").exists());
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = cli.expect(0, &["completions", shell]).await.out;
        assert!(script.contains("rollback"), "{shell}");
    }
    let help = cli.expect(0, &["rollback", "--help"]).await.out;
    assert!(help.contains("--allow-data-loss"), "{help}");
    cli.expect(2, &["rollback"]).await;
    cli.expect(2, &["rollback", "latest"]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_result_that_cannot_be_written_is_a_failure_and_a_closed_pipe_is_not() {
    let cli = cli();
    for arguments in [
        "install --print",
        "install --print --json",
        "completions bash",
        "--help",
        "man",
    ] {
        let full = format!("ctx0-schema {arguments} > /dev/full");
        let ended = cli.run_script(&full, &[]).await;
        assert_eq!(ended.code, 1, "{arguments}");
        assert!(
            ended.says("cannot be written"),
            "{arguments}: {}",
            ended.err
        );
        let closed = format!("{{ ctx0-schema {arguments}; echo $? >&2; }} | head -c 0");
        let ended = cli.run_script(&closed, &[]).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, "0\n"), "{arguments}");
    }
    let wrong = cli
        .run_script("ctx0-schema nonsense > /dev/full", &[])
        .await;
    assert_eq!(wrong.code, 2, "{}", wrong.err);
}
