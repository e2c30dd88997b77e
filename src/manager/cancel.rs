//! Ends a change of the schema that is under way.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::SchemaVersionManager;
use crate::{
    error::Error,
    report::CancelReport,
    rpc::{CancelChange, CancelChangeOutcome},
};

/// How long a change is asked to end.
const LONGEST: Duration = Duration::from_secs(25);

/// Ends a run, from any task.
#[derive(Clone, Debug)]
pub struct RunCanceller {
    manager: SchemaVersionManager,
    ending: Ending,
}

/// Whether a run is to end, shared with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Who cancelled the run.
    pub(super) by: Option<String>,
    /// The attempt under way.
    pub(super) attempt: Option<Uuid>,
    /// The attempt that the database does not begin any more.
    pub(super) prevented: Option<Uuid>,
    /// Whether the run has ended.
    pub(super) has_ended: bool,
}

impl Ending {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who cancelled the run.
    pub(super) fn by(&self) -> Option<String> {
        self.lock().by.clone()
    }

    /// Who cancelled the run, once the database will not begin the attempt under way.
    pub(super) fn prevented_by(&self) -> Option<String> {
        let state = self.lock();
        state
            .by
            .clone()
            .filter(|_| state.prevented.is_some() && state.prevented == state.attempt)
    }
}

impl RunCanceller {
    pub(super) fn new(manager: SchemaVersionManager, ending: Ending) -> Self {
        Self { manager, ending }
    }

    /// Ends the run: nothing of the version that is running is left, no other is begun, and those before
    /// it stay. Returns when the version has ended. The run itself ends with
    /// [`Error::ChangeCancelled`], or as it would have if it was too late.
    ///
    /// [`applied_by`](crate::ConfigBuilder::applied_by) is recorded as who asked;
    /// [`cancel_by`](Self::cancel_by) records another name.
    ///
    /// # Errors
    /// [`Error`], when the database could not be asked. The run begins no other version all the same.
    pub async fn cancel(&self) -> Result<CancelReport, Error> {
        self.cancel_by(&self.manager.0.applied_by).await
    }

    /// Ends the run, and records who asked.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub async fn cancel_by(&self, name: &str) -> Result<CancelReport, Error> {
        let attempt = {
            let mut state = self.ending.lock();
            if state.has_ended {
                return Ok(CancelReport::NotRunning);
            }
            state.by.get_or_insert_with(|| name.to_owned());
            state.attempt
        };
        let Some(attempt) = attempt else {
            return Ok(CancelReport::Cancelled { version: None });
        };
        let report = end(&self.manager, Some(attempt), name).await?;
        if let CancelReport::Cancelled { .. } = report {
            self.ending.lock().prevented = Some(attempt);
        }
        Ok(report)
    }
}

impl SchemaVersionManager {
    /// Ends the change of the schema that is running in the database, whoever asked for it: nothing of
    /// its version is left. Returns when it has ended.
    ///
    /// [`Run::canceller`](crate::Run::canceller) ends a run of this process, and none but that.
    /// [`applied_by`](crate::ConfigBuilder::applied_by) is recorded as who asked;
    /// [`cancel_by`](Self::cancel_by) records another name.
    ///
    /// # Errors
    /// [`Error`], when the database could not be asked.
    pub async fn cancel(&self) -> Result<CancelReport, Error> {
        self.cancel_by(&self.0.applied_by).await
    }

    /// Ends the change of the schema that is running in the database, and records who asked.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub async fn cancel_by(&self, name: &str) -> Result<CancelReport, Error> {
        end(self, None, name).await
    }
}

/// The first request makes it known that the change is to end, and those after it end it.
async fn end(
    manager: &SchemaVersionManager,
    mut attempt: Option<Uuid>,
    by: &str,
) -> Result<CancelReport, Error> {
    let started = Instant::now();
    let mut is_known = false;
    loop {
        let request = CancelChange {
            p_attempt: attempt,
            p_cancelled_by: by,
        };
        match manager.0.rpc.read(&request).await? {
            CancelChangeOutcome::Requested {
                pid: Some(process), ..
            } => return Ok(CancelReport::NotPermitted { process }),
            CancelChangeOutcome::Requested { attempt: known, .. } => {
                if is_known && started.elapsed() >= LONGEST {
                    return Ok(CancelReport::Requested);
                }
                attempt = Some(known);
                is_known = true;
            }
            CancelChangeOutcome::Cancelled { version } => {
                return Ok(CancelReport::Cancelled { version });
            }
            CancelChangeOutcome::Finished { version, result } => {
                return Ok(CancelReport::Finished {
                    version,
                    end: result,
                });
            }
            CancelChangeOutcome::NotRunning => return Ok(CancelReport::NotRunning),
        }
    }
}
