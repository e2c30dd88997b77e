//! PostgreSQL 18 as WebAssembly inside this process.

use std::{ffi::OsString, sync::mpsc, time::Duration};

use oliphaunt_pgwire_server::{AsyncOliphauntServer, ServerListen};
use oliphaunt_wasix::Extension;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::{BOOTSTRAP, StackError, account::Account, scratch::Scratch, sql};

/// The embedded server names its superuser `postgres`, and a role that is
/// logged in as cannot be renamed, except where its name is written.
const RENAME: &str = "update pg_authid set rolname = 'supabase_admin' where rolname = 'postgres'";

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
        let embedded = Embedded { server, scratch };
        sql::run(
            &embedded.options("postgres"),
            &format!("{RENAME};{BOOTSTRAP}"),
        )
        .await?;
        Ok(embedded)
    }

    /// How to connect as `user`. The server then switches to that role, except
    /// for `postgres`, its name for the superuser.
    pub(crate) fn options(&self, user: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.scratch.path())
            .port(5432)
            .username(user)
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The server's thread is told to stop, and waited for.
        let (stopped, stop) = mpsc::channel();
        self.server.close_with_completion(move |_| {
            let _ = stopped.send(());
        });
        let _ = stop.recv_timeout(Duration::from_secs(10));
    }
}
