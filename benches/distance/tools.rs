//! The other tools, as their documentation says to run them.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use ctx0_stack::Stack;
use tokio::process::Command;

use crate::{Result, Site, migration};

/// A tool that was found on the PATH.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    program: &'static str,
    /// What comes before and after the SQL of a migration, and how its file is called.
    file: fn(usize, &str) -> (String, String),
    /// Applies the migrations of a folder to a database.
    apply: fn(&mut Command, &Path, &str),
}

const TOOLS: [Tool; 4] = [
    Tool {
        name: "sqlx",
        version: String::new(),
        program: "sqlx",
        file: |number, sql| (format!("{number:04}_a.sql"), sql.to_owned()),
        apply: |command, folder, url| {
            command
                .args(["migrate", "run", "--database-url", url, "--source"])
                .arg(folder);
        },
    },
    Tool {
        name: "refinery",
        version: String::new(),
        program: "refinery",
        file: |number, sql| (format!("V{number}__a.sql"), sql.to_owned()),
        apply: |command, folder, url| {
            command
                .env("BENCH_DATABASE", url)
                .args(["migrate", "-e", "BENCH_DATABASE", "-p"])
                .arg(folder);
        },
    },
    Tool {
        name: "dbmate",
        version: String::new(),
        program: "dbmate",
        file: |number, sql| {
            (
                format!("{number:04}_a.sql"),
                format!("-- migrate:up\n{sql}-- migrate:down\n"),
            )
        },
        apply: |command, folder, url| {
            command
                .args(["--no-dump-schema", "--url", url, "--migrations-dir"])
                .arg(folder)
                .arg("migrate");
        },
    },
    Tool {
        name: "Supabase CLI",
        version: String::new(),
        program: "supabase",
        file: |number, sql| {
            (
                format!("supabase/migrations/{}_a.sql", 20_260_101_000_000 + number),
                sql.to_owned(),
            )
        },
        apply: |command, folder, url| {
            command
                .args(["--yes", "migration", "up", "--db-url", url, "--workdir"])
                .arg(folder);
        },
    },
];

impl Tool {
    /// The command that applies this many migrations, or finds that there is nothing to do.
    pub(crate) fn command(
        &self,
        site: &Site,
        address: SocketAddr,
        count: usize,
    ) -> Result<Command> {
        let folder = site.folder.path().join(format!("{} {count}", self.program));
        if !folder.exists() {
            for number in 1..=count {
                let (name, text) = (self.file)(number, &migration(number));
                let file = folder.join(name);
                fs::create_dir_all(file.parent().ok_or("a folder")?)?;
                fs::write(file, text)?;
            }
        }
        let url = site.stack.database_url().ok_or("a database's URL")?;
        let (login, rest) = url.rsplit_once('@').ok_or("a URL with a login")?;
        let (_, database) = rest.split_once('/').ok_or("a URL with a database")?;
        let url = format!("{login}@{address}/{database}?sslmode=disable");
        let mut command = Command::new(self.program);
        (self.apply)(&mut command, &folder, &url);
        Ok(command)
    }
}

/// The tools that are there and can reach the database.
pub(crate) async fn found(site: &Site) -> Result<Vec<Tool>> {
    let mut found = Vec::new();
    for mut tool in TOOLS {
        if site.stack.database_url().is_none() || !is_there(tool.program).await {
            println!("not measured: {}", tool.name);
            continue;
        }
        let output = Command::new(tool.program).arg("--version").output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        tool.version = number.unwrap_or("?").to_owned();
        found.push(tool);
    }
    Ok(found)
}

pub(crate) async fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .await
        .is_ok()
}

/// Where the database listens.
pub(crate) fn server(stack: &Stack) -> Option<String> {
    let (_, rest) = stack.database_url()?.rsplit_once('@')?;
    Some(rest.split_once('/')?.0.to_owned())
}

/// Runs a command to its end: how long it took, and what it printed.
pub(crate) async fn run(mut command: Command) -> Result<(Duration, String)> {
    command.stdin(Stdio::null());
    let began = Instant::now();
    let output = command.output().await?;
    let took = began.elapsed();
    if output.status.success() {
        return Ok((took, String::from_utf8(output.stdout)?));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // Without its environment, which has the key.
    let program = command.as_std().get_program();
    Err(format!("{program:?}: {}\n{said}", output.status).into())
}
