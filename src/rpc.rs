//! Everything that goes over the wire: the ledger's table and the installed functions, with their
//! names, arguments and responses.

mod change;
mod exchange;
mod hosted;
mod outside;
mod rehearsal;
mod repair;
mod setup;
#[cfg(test)]
mod tests;
mod watch;

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use self::exchange::exchange;
pub(crate) use self::{
    change::{
        CancelChange, CancelChangeOutcome, ChangeOutcome, ChangeOutcomes, ChangeSchema, Conflict,
        Failed, LockHeldBy, OutsideStatement, RunFacts, Running,
    },
    exchange::{ExchangeError, Verdict},
    hosted::HostedManifest,
    outside::{Instead, NOTHING_RUNS_SQL, SqlEnd},
    rehearsal::{
        CancelPreview, RehearsalOutcome, RehearseMigrations, Rehearsed, RehearsedVersion,
        SHORT_REHEARSAL_MS,
    },
    repair::{RecogniseOutcome, RecogniseSchema, RepairLedger, RepairOutcome},
    setup::ScriptEnd,
};
pub(crate) use crate::transport::{RequestError, RetryPolicy};
use crate::{
    config::{Config, ConfigError},
    doctor::{Health, Probe},
    drift::Findings,
    error::Error,
    install::RPC_VERSION,
    ledger::AppliedVersion,
    manifest::{Checksum, SqlFile, Version},
    report::{DatabaseStatus, Wait},
    sql::Outside,
    transport::{Effect, Http, Request, Response, Retry, Transport, classify, not_an_answer},
};

/// The table of the ledger, in schema `public`.
pub(crate) const LEDGER_TABLE: &str = "ctx0_schema_versions";

/// The functions that this crate calls, in schema `public`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    ApplyMigration,
    ApplyMigrations,
    RollbackMigration,
    RehearseMigrations,
    RehearseMigrationsLong,
    CancelPreview,
    CancelChange,
    VerifySchema,
    RecogniseSchema,
    RepairLedger,
    SchemaStatus,
    Diagnose,
    Running,
    Upgrade,
}

impl Function {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ApplyMigration => "ctx0_apply_migration",
            Self::ApplyMigrations => "ctx0_apply_migrations",
            Self::RollbackMigration => "ctx0_rollback_migration",
            Self::RehearseMigrations => "ctx0_rehearse_migrations",
            Self::RehearseMigrationsLong => "ctx0_rehearse_migrations_long",
            Self::CancelPreview => "ctx0_cancel_preview",
            Self::CancelChange => "ctx0_cancel_change",
            Self::VerifySchema => "ctx0_verify_schema",
            Self::RecogniseSchema => "ctx0_recognise_schema",
            Self::RepairLedger => "ctx0_repair_ledger",
            Self::SchemaStatus => "ctx0_schema_status",
            Self::Diagnose => "ctx0_diagnose",
            Self::Running => "ctx0_running",
            Self::Upgrade => "ctx0_upgrade",
        }
    }
}

/// A call of a function. It serialises to the function's named arguments.
pub(crate) trait Call: Serialize {
    /// What the function returns.
    type Response: DeserializeOwned;

    fn function(&self) -> Function;

    /// The id by which the database knows a repeated request again, for one that changes something.
    fn attempt(&self) -> Option<Uuid> {
        None
    }
}

/// Compares the schema with what the last change left.
#[derive(Serialize)]
pub(crate) struct VerifySchema {}

impl Call for VerifySchema {
    type Response = Findings;

    fn function(&self) -> Function {
        Function::VerifySchema
    }
}

/// Describes the state of the database.
#[derive(Serialize)]
pub(crate) struct SchemaStatus {}

impl Call for SchemaStatus {
    type Response = Value;

    fn function(&self) -> Function {
        Function::SchemaStatus
    }
}

/// Asks for what a doctor wants to know of the server.
#[derive(Serialize)]
pub(crate) struct Diagnose {
    pub(crate) p_extensions: Vec<String>,
}

impl Call for Diagnose {
    type Response = Health;

    fn function(&self) -> Function {
        Function::Diagnose
    }
}

/// The statements of a file. Joined they are the file's text.
type Statements<'a> = Vec<&'a str>;

fn sql(file: Option<&SqlFile>) -> (Option<Statements<'_>>, Option<Checksum>) {
    (
        file.map(|file| file.statements().collect()),
        file.map(SqlFile::checksum),
    )
}

fn outside_of(file: Option<&SqlFile>) -> Option<&Outside> {
    file.and_then(SqlFile::outside)
}

/// A page of the ledger.
pub(crate) struct LedgerPage {
    pub(crate) rows: Vec<AppliedVersion>,
    /// How many rows the ledger has from the first of these on, where the server counted them.
    pub(crate) total: Option<usize>,
}

/// Makes the calls, with the retry policy of one project.
pub(crate) struct Rpc {
    transport: Box<dyn Transport>,
    policy: RetryPolicy,
}

impl Rpc {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self::over(Box::new(Http::new(config)?), config))
    }

    pub(crate) fn over(transport: Box<dyn Transport>, config: &Config) -> Self {
        Self {
            transport,
            policy: RetryPolicy {
                timeout: config.request_timeout,
                delay: config.retry_delay,
                deadline: config.retry_deadline,
                running_deadline: config.retry_deadline,
                new_attempts: 0,
            },
        }
    }

    /// The policy of requests that change nothing.
    pub(crate) fn policy(&self) -> RetryPolicy {
        self.policy
    }

    /// The ledger's rows above a version. `None` where the ledger does not exist.
    pub(crate) async fn ledger_page(&self, above: Version) -> Result<Option<LedgerPage>, Error> {
        let request = Request::Rows {
            table: LEDGER_TABLE,
            above,
        };
        let page = |response| match response {
            Response::Json { value, total } => {
                let rows = parse(value)?;
                Ok(Verdict::Done(Some(LedgerPage { rows, total })))
            }
            Response::NoTable => Ok(Verdict::Done(None)),
            Response::Refused(refusal) => Err(unexpected(refusal.reason)),
        };
        let request = || request.clone();
        Ok(exchange(
            &*self.transport,
            self.policy,
            request,
            page,
            |_, _| {},
            || None,
        )
        .await?)
    }

    /// Reads the ledger once, and looks at the response itself.
    pub(crate) async fn probe(&self) -> Probe {
        let request = Request::Rows {
            table: LEDGER_TABLE,
            above: Version::ZERO,
        };
        let started = Instant::now();
        let response = self.transport.send(&request, self.policy.timeout).await;
        let (date, server) = response.as_ref().map_or((None, None), |response| {
            let date = response.date.and_then(|date| date.try_into().ok());
            (date, response.server.clone())
        });
        let responded = response.is_ok();
        let took = started.elapsed();
        let (rows, error) = match classify(&request, response) {
            Ok(Response::Json { value, total }) => {
                let returned = value.as_array().map(Vec::len);
                (returned.zip(total), None)
            }
            Ok(Response::NoTable | Response::Refused(_)) => (None, None),
            Err(failed) => (None, Some(*failed.error)),
        };
        Probe {
            took,
            date,
            server,
            responded,
            rows,
            error,
        }
    }

    /// The state of the database, from functions that are new enough to tell it.
    pub(crate) async fn status(&self) -> Result<DatabaseStatus, Error> {
        let status = self.read(&SchemaStatus {}).await?;
        let installed = status["rpc_version"]
            .as_u64()
            .and_then(|release| release.try_into().ok());
        match installed {
            Some(installed) if installed < RPC_VERSION => Err(Error::RpcOutdated {
                installed: Some(installed),
                needed: RPC_VERSION,
            }),
            _ => of_function(status).map_err(|failed| *failed.error),
        }
    }

    /// Makes a call that changes nothing and whose response is its outcome.
    pub(crate) async fn read<C: Call>(&self, call: &C) -> Result<C::Response, Error> {
        let request = request(call);
        let outcome = |response| Ok(Verdict::Done(returned(response)?));
        let request = || request.clone();
        Ok(exchange(
            &*self.transport,
            self.policy,
            request,
            outcome,
            |_, _| {},
            || None,
        )
        .await?)
    }

    /// Makes a call until its outcome is known; see [`exchange`].
    pub(crate) async fn call<C: Call, T>(
        &self,
        policy: RetryPolicy,
        mut call: impl FnMut() -> C,
        mut decide: impl FnMut(C::Response) -> Result<Verdict<T>, RequestError>,
        on_wait: impl FnMut(Wait, Duration),
        cancelled: impl Fn() -> Option<T>,
    ) -> Result<T, ExchangeError> {
        let request = || request(&call());
        let decide = |response| decide(returned(response)?);
        exchange(
            &*self.transport,
            policy,
            request,
            decide,
            on_wait,
            cancelled,
        )
        .await
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn request<C: Call>(call: &C) -> Request {
    Request::Function {
        name: call.function().name(),
        arguments: json(call),
        attempt: call.attempt(),
    }
}

/// A call as JSON. Its length is counted first, because a text that grows while it is written has at
/// times two copies in memory, and a migration may be of 16 MiB.
fn json<C: Call>(call: &C) -> Bytes {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, call).expect("arguments are plain values");
    let mut text = Vec::with_capacity(length.0);
    serde_json::to_writer(&mut text, call).expect("arguments are plain values");
    text.into()
}

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value that a function returned.
fn returned<T: DeserializeOwned>(response: Response) -> Result<T, RequestError> {
    match response {
        Response::Json { value, .. } => of_function(value),
        Response::NoTable => Err(unexpected("the outcome is missing".to_owned())),
        Response::Refused(refusal) => Err(unexpected(refusal.reason)),
    }
}

/// A value of the installed functions. All that they return has their release in it.
fn of_function<T: DeserializeOwned>(value: Value) -> Result<T, RequestError> {
    if value.get("rpc_version").is_some() {
        parse(value)
    } else {
        T::deserialize(&value).map_err(|_| not_an_answer(&value))
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, RequestError> {
    serde_json::from_value(value).map_err(|error| unexpected(error.to_string()))
}

/// A response that only another release of the functions gives. What it did is not known.
fn unexpected(message: String) -> RequestError {
    RequestError {
        error: Box::new(Error::UnexpectedResponse {
            status: 200,
            code: None,
            message,
        }),
        effect: Effect::Unknown,
        retry: Retry::No,
    }
}
