//! The commands that a user gets for a backup, run by a shell, and those of the guide that restore it.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use ctx0_stack::project::{LONGEST, Project, migrations, skip};

use crate::drift::pg_dump_release;

const GUIDE: &str = include_str!("../../src/guide/rollback-and-backup.md");
const ROWS: &str = "select string_agg(concat(id, body), ',' order by id) from ctx0_entries";

#[tokio::test]
async fn a_backup_by_the_printed_commands_brings_back_every_row() {
    let project = Project::on_own_server().await;
    // The stand-in does without, to start faster.
    project.stack.stop_rest().await.unwrap();
    for sql in [
        "create database template0 template postgres",
        "alter database template0 is_template true",
    ] {
        project.stack.admin_sql(sql).await.unwrap();
    }
    project.stack.start_rest().await.unwrap();
    project.install().await;
    let release = "select (current_setting('server_version_num')::int / 10000)::text";
    let server: u32 = project.value(release).await.parse().unwrap();
    if pg_dump_release() < server {
        let needs = format!("pg_dump {server} or newer in PATH");
        skip(
            "a_backup_by_the_printed_commands_brings_back_every_row",
            &needs,
        );
        return;
    }
    let entries = (
        "001_entries",
        "create table public.ctx0_entries (id int primary key, body text);
         insert into public.ctx0_entries select n, 'Schöne ''Grüße'' ' || n from generate_series(1, 100) n;",
    );
    let lossy = (
        "002_short",
        "alter table public.ctx0_entries drop column body;",
    );
    project
        .manager(migrations(&[entries]))
        .apply_all_pending()
        .await
        .unwrap();
    let before = project
        .value(&format!("set search_path = public; {ROWS}"))
        .await;
    let manager = project.manager(migrations(&[entries, lossy]));
    let instructions = manager
        .preview()
        .budget(LONGEST)
        .await
        .unwrap()
        .backup
        .unwrap()
        .instructions;

    let url = project.stack.database_url().unwrap();
    let (login, place) = url.split_once('@').unwrap();
    let (_, password) = login.rsplit_once(':').unwrap();
    let server = place.split_once('/').unwrap().0;
    let commands = commands(&instructions);
    assert_eq!(commands.len(), 2, "{instructions}");
    for command in commands {
        let folder = tempfile::tempdir().unwrap();
        stand_in_for_docker(folder.path());
        let run = |command: &str| {
            let shell = Command::new("sh")
                .args(["-c", command])
                .current_dir(folder.path())
                .env(
                    "PATH",
                    format!("{}:{}", folder.path().display(), env::var("PATH").unwrap()),
                )
                .env("PGHOST", "127.0.0.1")
                .env("PGPORT", server.rsplit_once(':').unwrap().1)
                .env("PGPASSWORD", password)
                .output()
                .unwrap();
            let [said, warned] =
                [shell.stdout, shell.stderr].map(|text| String::from_utf8(text).unwrap());
            (shell.status.success(), said, warned)
        };
        // What a user replaces.
        let command = command
            .replace("postgres.[POOLER_TENANT_ID]", "postgres")
            .replace("[POSTGRES_PASSWORD]", password)
            .replace("127.0.0.1:5432", server);
        let (succeeds, _, warned) = run(&command);
        assert!(succeeds, "{command}\n{warned}");
        // pg_restore of a newer release warns of settings that an older server does not have.
        let restores = self::commands(GUIDE);
        assert_eq!(restores.len(), 2, "{restores:?}");
        let warned: String = restores.into_iter().map(|command| run(command).2).collect();
        let (_, restored, _) = run(&format!(
            "psql --username=postgres --dbname=ctx0_backup --no-align --tuples-only --command=\"{ROWS}\""
        ));
        assert_eq!(restored.trim(), before, "{warned}");
        assert!(run("dropdb --username=postgres ctx0_backup").0);
    }
}

/// The lines of a text that are commands.
fn commands(text: &str) -> Vec<&str> {
    let commands = ["docker ", "pg_dump "];
    text.lines()
        .map(str::trim_start)
        .filter(|line| commands.iter().any(|command| line.starts_with(command)))
        .collect()
}

/// A program `docker` that runs what is to run in a container.
fn stand_in_for_docker(folder: &Path) {
    let program = folder.join("docker");
    let text =
        "#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'compose exec -T db' ] || exit 1\nshift 4\nexec \"$@\"\n";
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}
