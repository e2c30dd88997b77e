//! The one preview that all windows share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::watch, time::timeout};

use super::{
    Ipc,
    message::{PreviewParams, Refusal},
};
use crate::{
    error::Error,
    manager::{PreviewCanceller, PreviewRequest},
    manifest::Version,
    report::SchemaVersion,
    scheduler::SchemaState,
};

/// How often a preview that does not end is cancelled again: the first time, the database may not
/// have begun with it.
const CANCEL_AGAIN: Duration = Duration::from_millis(250);

type End = watch::Receiver<Option<Result<Value, Refusal>>>;

/// The latest preview.
#[derive(Default)]
pub(super) struct Previews(Mutex<Option<Shared>>);

struct Shared {
    subject: Subject,
    end: End,
    /// Held by every request that waits for the end.
    interest: Weak<Interest>,
    canceller: PreviewCanceller,
}

/// What a preview is of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    rollback_to: Option<Version>,
    /// The database's version and what is pending, by the latest check.
    found: Option<(Version, Vec<SchemaVersion>)>,
}

/// Cancels a preview that is running when nobody waits for it any more.
struct Interest {
    ipc: Ipc,
    end: End,
}

impl Drop for Interest {
    fn drop(&mut self) {
        let ipc = self.ipc.clone();
        if self.end.borrow().is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { ipc.cancel_preview().await });
        }
    }
}

enum Joined {
    Shared(End, Arc<Interest>),
    /// Another one runs that nobody needs any more.
    Obsolete,
}

impl Previews {
    fn lock(&self) -> MutexGuard<'_, Option<Shared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn is_running(&self) -> bool {
        // The sender is gone without a result after a panic.
        self.end.borrow().is_none() && self.end.has_changed().is_ok()
    }
}

impl Ipc {
    /// Waits for the running preview of the same, or starts one. A result is never given out later:
    /// the data may be different by then.
    pub(super) async fn preview(&self, params: &PreviewParams) -> Result<Value, Refusal> {
        loop {
            if self.0.runs.are_running() {
                return Err(Refusal::of(&Error::ChangeRunning));
            }
            let (mut end, interest) = match self.join_or_start(params)? {
                Joined::Shared(end, interest) => (end, interest),
                Joined::Obsolete => {
                    self.cancel_preview().await;
                    continue;
                }
            };
            let result = end.wait_for(Option::is_some).await;
            drop(interest);
            let result = result.map_err(|_| Refusal::internal_error())?;
            return result
                .clone()
                .unwrap_or_else(|| Err(Refusal::internal_error()));
        }
    }

    fn join_or_start(&self, params: &PreviewParams) -> Result<Joined, Refusal> {
        let subject = self.subject(params);
        let mut latest = self.0.previews.lock();
        if let Some(shared) = latest.as_ref().filter(|shared| shared.is_running()) {
            // With nobody waiting for it, it is being cancelled.
            let interest = shared.interest.upgrade();
            return match interest {
                Some(interest) if shared.subject == subject => {
                    Ok(Joined::Shared(shared.end.clone(), interest))
                }
                Some(_) if shared.subject.found == subject.found => {
                    Err(Refusal::of(&Error::ChangeRunning))
                }
                Some(_) | None => Ok(Joined::Obsolete),
            };
        }
        let (sender, end) = watch::channel(None);
        let interest = Arc::new(Interest {
            ipc: self.clone(),
            end: end.clone(),
        });
        let manager = &self.0.manager;
        let request = match subject.rollback_to {
            None => manager.preview(),
            Some(version) => manager.preview_rollback(version),
        };
        *latest = Some(Shared {
            subject: subject.clone(),
            end: end.clone(),
            interest: Arc::downgrade(&interest),
            canceller: request.canceller(),
        });
        tokio::spawn(self.clone().run_preview(subject, request, sender));
        Ok(Joined::Shared(end, interest))
    }

    /// Ends the running preview in the database, for everyone. Returns whether there was one.
    pub(super) async fn cancel_preview(&self) -> bool {
        let running = {
            let latest = self.0.previews.lock();
            let running = latest.as_ref().filter(|shared| shared.is_running());
            running.map(|shared| (shared.canceller.clone(), shared.end.clone()))
        };
        let Some((canceller, mut end)) = running else {
            return false;
        };
        loop {
            if let Err(error) = canceller.cancel().await {
                tracing::info!(%error, "a preview could not be cancelled; it ends with its budget");
            }
            // Once it has ended, nothing of it runs any more.
            let ended = end.wait_for(Option::is_some);
            if timeout(CANCEL_AGAIN, ended).await.is_ok() {
                break;
            }
        }
        true
    }

    async fn run_preview(
        self,
        subject: Subject,
        request: PreviewRequest,
        end: watch::Sender<Option<Result<Value, Refusal>>>,
    ) {
        let result = request.await;
        let known = subject.found.as_ref().map(|(version, _)| *version);
        let outdated = matches!(&result, Ok(preview) if Some(preview.current_version) != known);
        end.send_replace(Some(match result {
            Ok(preview) => Ok(json!(preview)),
            Err(error) => Err(Refusal::of(&error)),
        }));
        if outdated {
            // Someone else changed the schema since the last check.
            self.0.scheduler.schema_changed();
            let _ = self.0.scheduler.check_now().await;
        }
    }

    fn subject(&self, params: &PreviewParams) -> Subject {
        let found = match self.0.scheduler.state() {
            SchemaState::Checked(check) => {
                Some((check.current_version, check.pending_migrations.clone()))
            }
            SchemaState::Unknown | SchemaState::Failed(_) => None,
        };
        Subject {
            rollback_to: params.rollback_to,
            found,
        }
    }
}
