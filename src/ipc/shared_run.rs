//! The one run that all windows share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Ipc,
    message::{Applied, ErrorEvent, Event, FilledText, Refusal, RolledBack},
};
use crate::{
    error::Error,
    manager::{Run, RunCanceller},
    manifest::Version,
    preview::PreviewToken,
    report::{CancelReport, Progress, RunError, RunReport},
};

/// A change of the schema, and what the user agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunRequest {
    pub(super) change: Change,
    pub(super) token: Option<PreviewToken>,
    pub(super) backup_by: Option<FilledText>,
    pub(super) may_lock: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Apply,
    RollBackTo(Version),
}

/// The latest run.
#[derive(Default)]
pub(super) struct Runs(Mutex<Option<Running>>);

struct Running {
    request: RunRequest,
    /// What it reported so far, with the latest wait only.
    progress: Vec<Progress>,
    canceller: RunCanceller,
    end: watch::Receiver<Option<Result<Value, Refusal>>>,
}

impl Runs {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run is under way.
    pub(super) fn are_running(&self) -> bool {
        self.lock().as_ref().is_some_and(Running::is_running)
    }

    /// What a window that connects during a run has missed.
    pub(super) fn progress(&self) -> Vec<Progress> {
        let running = self.lock();
        let run = running.as_ref().filter(|run| run.is_running());
        run.map(|run| run.progress.clone()).unwrap_or_default()
    }

    fn record(&self, progress: Progress) {
        if let Some(run) = &mut *self.lock() {
            if let Some(Progress::Waiting { .. }) = run.progress.last() {
                run.progress.pop();
            }
            run.progress.push(progress);
        }
    }
}

impl Running {
    fn is_running(&self) -> bool {
        // The sender is gone without a result after a panic.
        self.end.borrow().is_none() && self.end.has_changed().is_ok()
    }
}

impl Ipc {
    /// Waits for the end of the run under way if it is the same, or of a new one.
    pub(super) async fn run(&self, request: RunRequest) -> Result<Value, Refusal> {
        let mut end = {
            let mut running = self.0.runs.lock();
            match &*running {
                Some(run) if run.is_running() && run.request == request => run.end.clone(),
                Some(run) if run.is_running() => return Err(Refusal::of(&Error::ChangeRunning)),
                _ => {
                    let (sender, end) = watch::channel(None);
                    let run = self.prepare(&request);
                    *running = Some(Running {
                        request: request.clone(),
                        progress: Vec::new(),
                        canceller: run.canceller(),
                        end: end.clone(),
                    });
                    // A task of its own, so that it goes on when the window is closed.
                    tokio::spawn(self.clone().run_to_end(request.change, run, sender));
                    end
                }
            }
        };
        let result = end.wait_for(Option::is_some).await;
        let result = result.map_err(|_| Refusal::internal_error())?;
        result
            .clone()
            .unwrap_or_else(|| Err(Refusal::internal_error()))
    }

    /// Ends the run under way, or else what another process is doing.
    pub(super) async fn cancel_change(&self, by: Option<String>) -> Result<CancelReport, Error> {
        let canceller = {
            let running = self.0.runs.lock();
            let run = running.as_ref().filter(|run| run.is_running());
            run.map(|run| run.canceller.clone())
        };
        match (canceller, by) {
            (Some(canceller), Some(by)) => canceller.cancel_by(&by).await,
            (Some(canceller), None) => canceller.cancel().await,
            (None, Some(by)) => self.0.manager.cancel_by(&by).await,
            (None, None) => self.0.manager.cancel().await,
        }
    }

    fn prepare(&self, request: &RunRequest) -> Run {
        let mut run = match request.change {
            Change::Apply => self.0.manager.apply_all_pending(),
            Change::RollBackTo(version) => self.0.manager.rollback_to(version),
        }
        .may_lock(request.may_lock);
        if let Some(token) = request.token.clone() {
            run = run.agreed_to(token);
        }
        if let Some(name) = request.backup_by.clone() {
            run = run.backup_made_by(String::from(name));
        }
        run
    }

    async fn run_to_end(
        self,
        change: Change,
        run: Run,
        end: watch::Sender<Option<Result<Value, Refusal>>>,
    ) {
        // The user has decided, and a preview would only hold the tables.
        self.cancel_preview().await;
        let ipc = self.clone();
        let result = run
            .on_progress(move |progress| {
                ipc.0.runs.record(progress.clone());
                ipc.tell(Event::ApplyProgress(progress));
            })
            .await;
        // Before anyone hears of the end, so that no window gets what a check found before it.
        self.0.scheduler.schema_changed();
        let result = match result {
            Err(error) if was_refused(&error) => Err(Refusal::of(&error.error)),
            Err(error) => {
                let event = ErrorEvent::of_run(change, &error);
                self.tell(Event::Error(Box::new(event)));
                Ok(json!(error))
            }
            Ok(report) => {
                let result = json!(report);
                // Where nothing was to be done, the check that follows tells how things stand.
                if !report.applied.is_empty() || change != Change::Apply {
                    self.tell(ended(change, report));
                }
                Ok(result)
            }
        };
        end.send_replace(Some(result));
        // Tells everyone the new version. The scheduler reports a failed check itself.
        let _ = self.0.scheduler.check_now().await;
    }
}

fn ended(change: Change, report: RunReport) -> Event {
    let RunReport {
        applied,
        rolled_back,
        current_version,
    } = report;
    match change {
        Change::Apply => Event::Applied(Applied {
            applied,
            current_version,
        }),
        Change::RollBackTo(_) => Event::RolledBack(RolledBack {
            rolled_back,
            current_version,
        }),
    }
}

/// Whether the request was refused, which concerns nobody but the window that asked.
fn was_refused(error: &RunError) -> bool {
    matches!(
        error.error,
        Error::PreviewOutdated
            | Error::BackupRequired { .. }
            | Error::ChangeRunning
            | Error::NotBelow { .. }
            | Error::NotReversible { .. }
    )
}
