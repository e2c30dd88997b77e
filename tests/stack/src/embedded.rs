//! PostgreSQL 18 as WebAssembly, in the process of a program that is built when it is first needed.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    BOOTSTRAP, StackError,
    account::Account,
    program,
    scratch::Scratch,
    sql::{self, Rows},
};

/// The embedded server names its superuser `postgres`, and a role that is
/// logged in as cannot be renamed, except where its name is written.
const RENAME: &str = "update pg_authid set rolname = 'supabase_admin' where rolname = 'postgres'";

/// Nobody but the superuser can log in, so what a login as the authenticator
/// would bring along is set by hand.
const AUTHENTICATOR: &str = "
    set role authenticator;
    set search_path to default;
    set statement_timeout = '8s';
    set lock_timeout = '8s'";

/// A database in memory. It serves one connection at a time, the others wait.
pub(crate) struct Embedded {
    /// It ends with its standard input, so it cannot outlive this process.
    server: Child,
    scratch: Scratch,
}

impl Embedded {
    /// Builds the program where it is missing, and returns when it can be connected to.
    pub(crate) async fn start() -> Result<Embedded, StackError> {
        let started = tokio::task::spawn_blocking(Embedded::launch).await;
        started.map_err(std::io::Error::other)?
    }

    fn launch() -> Result<Embedded, StackError> {
        let program = program::build("-p ctx0-embedded")?;
        let scratch = Scratch::new(&Account::own(), |_| vec![OsString::from("true")])?;
        let mut server = Command::new(program)
            .arg(scratch.path())
            // A group of its own, so that Ctrl-C in a terminal does not end it first.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = server.stdout.take().expect("it is piped");
        if BufReader::new(output).read_line(&mut String::new())? == 0 {
            return Err(StackError::Embedded(server.wait()?));
        }
        Ok(Embedded { server, scratch })
    }

    /// How to connect; [`open`] does the rest.
    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.scratch.path())
            .port(5432)
            .username("postgres")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }
}

/// Makes a new connection the authenticator's. The first one of all makes the
/// database Supabase's before that, since each takes a third of a second.
pub(crate) async fn open(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let known = "select 1 from pg_roles where rolname = 'authenticator'";
    if sql::run_on(connection, known).await?.is_empty() {
        sql::run_on(connection, &format!("{RENAME};{BOOTSTRAP}")).await?;
    }
    sql::run_on(connection, AUTHENTICATOR).await?;
    Ok(())
}

/// Runs SQL as another role than the authenticator, as if that had logged in.
pub(crate) async fn run_as(
    connection: &mut PgConnection,
    role: &str,
    sql: &str,
) -> Result<Rows, sqlx::Error> {
    let login = format!(r#"set role {role}; set search_path = "$user", public, extensions"#);
    sql::run_on(connection, &login).await?;
    let rows = sql::run_on(connection, sql).await;
    // The text may have left a transaction open.
    sql::run_on(connection, "rollback").await?;
    sql::run_on(connection, AUTHENTICATOR).await?;
    rows
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        // Nobody is left to be told of an error.
        let _ = self.server.wait();
    }
}
