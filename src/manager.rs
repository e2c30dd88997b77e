//! The operations, each one read, plan, act and report.

mod preview;
mod run;
mod verify;

use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;

use self::run::Goal;
pub use self::run::Run;
use crate::{
    backup::{BackupAdvice, instructions},
    config::Config,
    error::Error,
    install::RPC_VERSION,
    ledger::{AppliedVersion, Pages},
    manifest::{Migration, Migrations, Version},
    plan::{NoRollback, Step, plan, plan_rollback},
    report::{DatabaseStatus, SchemaVersion, UpdateCheck},
    transport::{Http, Request, Response, Transport, read},
};

/// Looks after the ctx0 schema of one Supabase project.
///
/// Cheap to clone; the clones share one HTTP client. All methods may be called at the
/// same time, from any number of tasks, processes and computers.
///
/// ```no_run
/// use ctx0_schema::{Config, Migrations, SchemaVersionManager};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = SchemaVersionManager::new(&Config::from_env()?, Migrations::bundled()?)?;
/// let check = manager.check_for_updates().await?;
/// if check.has_updates {
///     println!("v{} → v{}", check.current_version, check.latest_version);
///     // Only after the user has agreed:
///     manager.apply_all_pending().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SchemaVersionManager(Arc<Inner>);

struct Inner {
    transport: Box<dyn Transport>,
    migrations: Migrations,
    applied_by: String,
    /// How the user makes a backup of this project.
    backup_instructions: String,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    request: Duration,
    delay: Duration,
    retry: Duration,
    apply: Duration,
}

impl SchemaVersionManager {
    /// Makes a manager. No request is made.
    ///
    /// # Errors
    /// [`Error::Config`] when the HTTP client cannot be set up, for example for a CA file
    /// with a damaged certificate.
    pub fn new(config: &Config, migrations: Migrations) -> Result<Self, Error> {
        let transport = Box::new(Http::new(config)?);
        Ok(Self(Arc::new(Inner {
            transport,
            migrations,
            applied_by: config.applied_by.clone(),
            backup_instructions: instructions(config.rest_url()),
            limits: config.into(),
        })))
    }

    /// The version that the database has: the highest in the ledger, or [`Version::ZERO`]
    /// where the ledger is empty or does not exist. One request.
    ///
    /// # Errors
    /// [`Error`], when the ledger could not be read.
    pub async fn current_version(&self) -> Result<Version, Error> {
        let ledger = self.history().await?;
        Ok(ledger.last().map_or(Version::ZERO, |row| row.version))
    }

    /// The highest version of this build. No request is made.
    #[must_use]
    pub fn latest_version(&self) -> Version {
        self.0.migrations.latest_version()
    }

    /// Compares the database with this build. One request.
    ///
    /// A ledger that does not fit this build is no error but [`UpdateCheck::problem`].
    ///
    /// # Errors
    /// [`Error`], when the ledger could not be read.
    pub async fn check_for_updates(&self) -> Result<UpdateCheck, Error> {
        let ledger = self.history().await?;
        let plan = plan(&self.0.migrations, &ledger);
        Ok(UpdateCheck {
            has_updates: !plan.pending.is_empty(),
            current_version: plan.current,
            latest_version: self.latest_version(),
            pending_migrations: plan.pending.iter().map(SchemaVersion::from).collect(),
            backup: plan
                .pending
                .iter()
                .filter_map(Migration::backup)
                .max()
                .map(|level| BackupAdvice::new(level, &self.0.backup_instructions)),
            problem: plan.problem,
        })
    }

    /// Applies one version, which must be the next one. One request, and one to read the
    /// ledger. A version that is already there is left alone. Await the result to start.
    pub fn apply_migration(&self, version: Version) -> Run {
        Run::new(self.clone(), Goal::Next(version))
    }

    /// Applies what is pending, in order. One request a version, and one to read the
    /// ledger. Await the result to start.
    pub fn apply_all_pending(&self) -> Run {
        Run::new(self.clone(), Goal::Latest)
    }

    /// Takes versions back until the database is at this one, newest first, each by the way
    /// back that was stored when it was applied, so also what a newer build has applied. One
    /// request a version, and one to read the ledger. Await the result to start.
    ///
    /// Where one of the versions has no way back, nothing is done ([`Error::NotReversible`]).
    /// A way back restores the schema; whether it restores the data is told by
    /// [`preview_rollback`](Self::preview_rollback).
    pub fn rollback_to(&self, version: Version) -> Run {
        Run::new(self.clone(), Goal::BackTo(version))
    }

    /// What each version of this build does, lowest first. No request is made.
    #[must_use]
    pub fn change_log(&self) -> Vec<SchemaVersion> {
        self.0.migrations.iter().map(SchemaVersion::from).collect()
    }

    /// The ledger, lowest version first. One request for each thousand versions.
    ///
    /// # Errors
    /// [`Error`], when the ledger could not be read.
    pub async fn history(&self) -> Result<Vec<AppliedVersion>, Error> {
        let mut pages = Pages::default();
        loop {
            let above = pages.above();
            let Response::Json { value, total } = self.read(&Request::Ledger { above }).await?
            else {
                return Ok(pages.into_rows());
            };
            let last = pages.add(parse(value)?, total).map_err(|_| {
                unexpected("the ledger's versions are not in order, or not above 0".to_owned())
            })?;
            if last {
                return Ok(pages.into_rows());
            }
        }
    }

    /// Asks the installed functions how the database stands. One request.
    ///
    /// # Errors
    /// [`Error::RpcNotInstalled`] and [`Error::RpcOutdated`], which say how to install;
    /// others when the database could not be asked.
    pub async fn status(&self) -> Result<DatabaseStatus, Error> {
        let call = Request::Function {
            name: "ctx0_schema_status",
            arguments: "{}".to_owned(),
        };
        let Response::Json { value, .. } = self.read(&call).await? else {
            return Err(unexpected("the status is missing".to_owned()));
        };
        let installed = value
            .get("rpc_version")
            .and_then(Value::as_u64)
            .and_then(|release| release.try_into().ok());
        match installed {
            Some(installed) if installed < RPC_VERSION => Err(Error::RpcOutdated {
                installed,
                needed: RPC_VERSION,
            }),
            _ => parse(value),
        }
    }

    /// The database's version, and the steps from there to everything. One request.
    async fn steps_to_latest(&self) -> Result<(Version, Vec<Step>), Error> {
        let migrations = &self.0.migrations;
        let ledger = self.history().await?;
        let plan = plan(migrations, &ledger);
        if let Some(problem) = plan.problem {
            return Err(problem.into());
        }
        let steps = plan.pending.iter();
        let steps = steps.map(|migration| Step::apply(migration, migrations));
        Ok((plan.current, steps.collect()))
    }

    /// The same to one version, which must be the next, or be there. One request.
    async fn steps_to_next(&self, version: Version) -> Result<(Version, Vec<Step>), Error> {
        if self.0.migrations.get(version).is_none() {
            let latest = self.latest_version();
            return Err(Error::UnknownVersion { version, latest });
        }
        let (current, mut steps) = self.steps_to_latest().await?;
        let next = current.next();
        if version > next {
            return Err(Error::NotNext {
                version,
                current,
                next,
            });
        }
        steps.truncate(usize::from(version == next));
        Ok((current, steps))
    }

    /// The same to a version below, newest first; each has a way back. One request.
    async fn steps_back_to(&self, version: Version) -> Result<(Version, Vec<Step>), Error> {
        let migrations = &self.0.migrations;
        let status = self.status().await?;
        let rows = plan_rollback(migrations, &status.ledger, &status.reversible, version).map_err(
            |refused| match refused {
                NoRollback::Ledger(problem) => Error::Ledger(problem),
                NoRollback::NotBelow { current } => Error::NotBelow { version, current },
                NoRollback::NotReversible(version) => Error::NotReversible { version },
            },
        )?;
        let steps = rows.into_iter().map(|row| Step::roll_back(row, migrations));
        Ok((status.current_version, steps.collect()))
    }

    async fn read(&self, call: &Request) -> Result<Response, Error> {
        let limits = self.0.limits;
        read(
            &*self.0.transport,
            call,
            limits.request,
            limits.delay,
            limits.retry,
        )
        .await
        .map_err(|fault| *fault.error)
    }
}

impl fmt::Debug for SchemaVersionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaVersionManager")
            .field("latest_version", &self.latest_version())
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            request: config.request_timeout,
            delay: config.retry_delay,
            retry: config.retry_deadline,
            apply: config.apply_deadline,
        }
    }
}

/// The value that a function returned.
fn returned<T: DeserializeOwned>(reply: Response) -> Result<T, Error> {
    match reply {
        Response::Json { value, .. } => parse(value),
        Response::NoLedger => Err(unexpected("the outcome is missing".to_owned())),
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| unexpected(error.to_string()))
}

fn unexpected(message: String) -> Error {
    Error::UnexpectedResponse {
        status: 200,
        code: None,
        message,
    }
}

#[cfg(test)]
impl SchemaVersionManager {
    /// A manager of two migrations, with the default limits, on a database of the tests' own.
    pub(crate) fn on(fake: &crate::transport::fake::Fake) -> Self {
        let manifest = r#"{"currentVersion": 2, "migrations": [
            {"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql"},
            {"version": 2, "name": "002_b", "description": "B", "file": "002_b.sql"}]}"#;
        let files = [
            ("manifest.json", manifest),
            ("001_a.sql", "select 1;\n\nselect 2;"),
            ("002_b.sql", "select 3;"),
        ];
        let config = Config::new("http://127.0.0.1", "sb_secret_test").expect("a configuration");
        Self(Arc::new(Inner {
            transport: Box::new(fake.clone()),
            migrations: Migrations::embedded(&files).expect("valid migrations"),
            limits: Limits::from(&config),
            backup_instructions: instructions(config.rest_url()),
            applied_by: config.applied_by,
        }))
    }
}
