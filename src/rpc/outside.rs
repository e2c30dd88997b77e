//! Runs the statement of a version that is no transaction.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::{Rpc, watch::Watched};
use crate::{
    error::Error,
    report::Wait,
    transport::{Effect, Request, Response, Retry, SqlRefusal, Transport as _, classify},
};

/// The SQLSTATE of a statement that a client has nothing for.
pub(crate) const NOTHING_RUNS_SQL: &str = "CTX05";

/// What came back for such a statement. The database takes no outcome from it, only the reason of a failure.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum SqlEnd {
    Ran {},
    Refused {
        sqlstate: String,
        message: String,
    },
    /// This client has nothing that runs it. If pg_cron does not either, it may run inside a transaction, if its table is
    /// smaller than this.
    Inside {
        inside: bool,
        below_bytes: Option<u64>,
        sqlstate: String,
        message: String,
    },
}

/// What to do where nothing runs a statement outside a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    Nothing,
    /// Run it inside one, which locks its table, if that is smaller.
    Lock {
        below_bytes: Option<u64>,
    },
}

impl SqlEnd {
    /// This client cannot run SQL past PostgREST, for this reason.
    pub(crate) fn nothing_runs_it(message: String, instead: Instead) -> Self {
        let sqlstate = NOTHING_RUNS_SQL.to_owned();
        let below_bytes = match instead {
            Instead::Nothing => return Self::Refused { sqlstate, message },
            Instead::Lock { below_bytes } => below_bytes,
        };
        tracing::info!(
            reason = message,
            ?below_bytes,
            "a statement outside a transaction is left to pg_cron, or runs inside one"
        );
        Self::Inside {
            inside: true,
            below_bytes,
            sqlstate,
            message,
        }
    }
}

impl Rpc {
    /// Runs a statement past PostgREST, once. `None`: what became of it is not known, and the database is to be
    /// asked. An error: it did not run, and will not.
    pub(crate) async fn run_outside(
        &self,
        sql: &str,
        attempt: Uuid,
        on_wait: Option<impl FnMut(Wait, Duration) + Send>,
    ) -> Result<Option<SqlEnd>, Error> {
        let watched = Watched::new(&*self.transport, Some(attempt), on_wait);
        let request = Request::Sql {
            text: sql.into(),
            with_key: true,
        };
        let response = watched.send(&request, self.policy.timeout).await;
        match classify(&request, response) {
            Ok(Response::Json { .. } | Response::NoTable) => Ok(Some(SqlEnd::Ran {})),
            Ok(Response::Refused(SqlRefusal { sqlstate, reason })) => Ok(Some(SqlEnd::Refused {
                sqlstate,
                message: reason,
            })),
            Err(failed) if failed.effect == Effect::None && failed.retry == Retry::No => {
                Err(*failed.error)
            }
            Err(failed) => {
                tracing::info!(%attempt, cause = %failed.error, "no response to a statement outside a transaction");
                Ok(None)
            }
        }
    }
}
