//! PostgreSQL 18 as WebAssembly inside this process.

use std::{ffi::OsString, sync::mpsc, time::Duration};

use oliphaunt_pgwire_server::{AsyncOliphauntServer, ServerListen};
use oliphaunt_wasix::Extension;
use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    BOOTSTRAP, StackError,
    account::Account,
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
    server: AsyncOliphauntServer,
    scratch: Scratch,
}

impl Embedded {
    pub(crate) async fn start() -> Result<Embedded, StackError> {
        let scratch = Scratch::new(&Account::own(), |_| vec![OsString::from("true")])?;
        let server = AsyncOliphauntServer::builder()
            // Over TCP each answer that follows an error would be 40 ms late.
            .listen(ServerListen::unix(scratch.path()))
            .extensions([
                Extension::PGCRYPTO,
                Extension::UUID_OSSP,
                Extension::PG_TRGM,
            ])
            .start()
            .await?;
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
        // The server's thread is asked to stop, and waited for.
        let (stopped, stop) = mpsc::channel();
        self.server.close_with_completion(move |_| {
            let _ = stopped.send(());
        });
        let _ = stop.recv_timeout(Duration::from_secs(10));
    }
}
