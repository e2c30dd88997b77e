//! The rehearsal: one request that runs everything and takes it back.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    SchemaVersionManager, returned,
    run::{Failed, conflict, damaged, statement_list},
};
use crate::{
    error::{ConflictReason, Error},
    manifest::{SqlFile, Version},
    plan::Step,
    preview::{
        Preview, Rehearsal, RowChange, SeenObject, SeenRewrite, SeenVersion, TableFacts, TableLock,
    },
    transport::{Effect, Request, RequestError, Response, Retry, RetryState, try_once},
};

impl SchemaVersionManager {
    /// What [`apply_all_pending`](Self::apply_all_pending) would do, seen on the database
    /// itself: the pending versions really run there, in one transaction that is taken back.
    /// One request, and one to read the ledger.
    ///
    /// Nothing is left behind, whatever happens to the connection. While it runs, the tables
    /// that the versions lock are locked, for at most 25 s, and a table that is written anew
    /// needs its size on the disk once more; it waits for no table longer than 2 s.
    ///
    /// A version that fails is no error but [`Preview::failure`].
    ///
    /// # Errors
    /// [`Error::ChangeRunning`] while the schema is being changed, [`Error::Ledger`] where the
    /// ledger does not fit this build; others when the database could not be asked.
    pub async fn preview(&self) -> Result<Preview, Error> {
        let (current, steps) = self.steps_to_latest().await?;
        self.rehearse(current, &steps).await
    }

    /// What [`rollback_to`](Self::rollback_to) would do, seen likewise.
    ///
    /// # Errors
    /// As [`SchemaVersionManager::preview`], and [`Error::NotReversible`] and [`Error::NotBelow`].
    pub async fn preview_rollback(&self, version: Version) -> Result<Preview, Error> {
        let (current, steps) = self.steps_back_to(version).await?;
        self.rehearse(current, &steps).await
    }

    async fn rehearse(&self, current: Version, steps: &[Step]) -> Result<Preview, Error> {
        let instructions = &self.0.backup_instructions;
        if steps.is_empty() {
            return Ok(Preview::new(
                current,
                steps,
                Rehearsal::default(),
                instructions,
            ));
        }
        let call = Request::Function {
            name: "ctx0_rehearse_migrations",
            arguments: json!({
                "p_steps": steps.iter().map(argument).collect::<Vec<_>>(),
                "p_expected_version": current,
            })
            .to_string(),
        };
        let limits = self.0.limits;
        let mut retry = RetryState::new(Instant::now(), limits.delay, limits.retry, limits.retry);
        loop {
            let limit = limits.request.min(retry.left(Instant::now()));
            let answer = try_once(&*self.0.transport, &call, limit).await;
            let wait = match answer.and_then(|reply| outcome(steps, reply)) {
                Ok(Outcome::Rehearsed(seen)) => {
                    let seen = seen.in_steps(steps);
                    return Ok(Preview::new(current, steps, seen, instructions));
                }
                // It may be an earlier copy of this very request; it ends soon.
                Ok(Outcome::Locked { rehearsal: true }) => retry
                    .wait_for_running(Instant::now())
                    .ok_or(Error::ChangeRunning)?,
                Ok(Outcome::Locked { rehearsal: false }) => return Err(Error::ChangeRunning),
                Ok(Outcome::Conflict { reason, message }) => {
                    return Err(conflict(steps[0].version, reason, message));
                }
                Err(fault) => retry
                    .next(Instant::now(), fault)
                    .map_err(|fault| *fault.error)?,
            };
            sleep(wait).await;
        }
    }
}

/// A step as the function takes it.
fn argument(step: &Step) -> Value {
    json!({
        "action": step.action,
        "version": step.version,
        "name": step.name,
        "description": step.description,
        "sql": statement_list(step.runs()),
        "checksum": step.runs().map(SqlFile::checksum),
    })
}

/// What `ctx0_rehearse_migrations` returns.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Rehearsed(Told),
    Locked {
        rehearsal: bool,
    },
    Conflict {
        reason: ConflictReason,
        message: String,
    },
}

#[derive(Deserialize)]
struct Told {
    versions: Vec<ToldVersion>,
    tables: Vec<TableFacts>,
    sequences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum ToldVersion {
    Failed(Failed),
    #[serde(alias = "rolled_back")]
    Applied {
        execution_ms: u64,
        objects: Vec<SeenObject>,
        locks: Vec<TableLock>,
        rewrites: Vec<SeenRewrite>,
        rows: Vec<RowChange>,
    },
}

impl Told {
    fn in_steps(self, steps: &[Step]) -> Rehearsal {
        let versions = steps
            .iter()
            .zip(self.versions)
            .map(|(step, told)| told.in_step(step));
        Rehearsal {
            versions: versions.collect(),
            tables: self.tables,
            sequences: self.sequences,
        }
    }
}

impl ToldVersion {
    fn in_step(self, step: &Step) -> SeenVersion {
        match self {
            Self::Failed(failed) => SeenVersion {
                failure: Some(failed.in_step(step)),
                ..SeenVersion::default()
            },
            Self::Applied {
                execution_ms,
                objects,
                locks,
                rewrites,
                rows,
            } => SeenVersion {
                execution_ms: Some(execution_ms),
                objects,
                locks,
                rewrites,
                rows,
                ..SeenVersion::default()
            },
        }
    }
}

fn outcome(steps: &[Step], reply: Response) -> Result<Outcome, RequestError> {
    match returned(reply) {
        Ok(Outcome::Conflict {
            reason: ConflictReason::Damaged,
            message,
        }) => Err(damaged(steps[0].version, message)),
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(RequestError {
            error: Box::new(error),
            effect: Effect::None,
            retry: Retry::No,
        }),
    }
}
