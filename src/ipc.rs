//! The messages between the daemon and its windows: JSON-RPC 2.0 over anything that carries text.

mod events;
mod message;
#[cfg(feature = "json-schema")]
mod schema;
mod shared_preview;
mod shared_run;

use std::{future::Future, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::broadcast, task::JoinSet};

pub use self::events::IpcEvents;
#[cfg(feature = "json-schema")]
pub use self::schema::ipc_schema;
use self::{
    events::EVENTS_KEPT,
    message::{
        BaselineParams, CancelParams, Consent, Event, NoParams, PreviewParams, Refusal,
        RollbackParams, parameters, result,
    },
    shared_preview::Previews,
    shared_run::{Change, RunRequest, Runs},
};
use crate::{error::Error, manager::SchemaVersionManager, manifest::Version, scheduler::Scheduler};

/// The largest message that is read, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The largest number of requests in one batch.
pub const MAX_BATCH_REQUESTS: usize = 16;

const CHECK_UPDATES: &str = "schema:checkUpdates";
const APPLY_UPDATES: &str = "schema:applyUpdates";
const CHANGE_LOG: &str = "schema:changeLog";
const STATUS: &str = "schema:status";
const PREVIEW: &str = "schema:preview";
const CANCEL_PREVIEW: &str = "schema:cancelPreview";
const CANCEL_CHANGE: &str = "schema:cancelChange";
const ROLLBACK: &str = "schema:rollback";
const VERIFY: &str = "schema:verify";
const DOCTOR: &str = "schema:doctor";
const INSTALL: &str = "schema:install";
const RECOGNISE: &str = "schema:recognise";
const BASELINE: &str = "schema:baseline";

/// The daemon's end of the messages, for any number of windows. Cheap to clone.
///
/// It does not care how messages travel: pass each one from a window to [`Ipc::handle`], and
/// send each one of [`Ipc::events`] to the window.
///
/// | Method | Result |
/// |---|---|
/// | `schema:checkUpdates` | [`UpdateCheck`](crate::UpdateCheck) |
/// | `schema:applyUpdates {token?, backupBy?, mayLock?}` | `{success, applied, error?}`; a failed run is a result too |
/// | `schema:changeLog` | a list of [`SchemaVersion`](crate::SchemaVersion) |
/// | `schema:status` | [`DatabaseStatus`](crate::DatabaseStatus) |
/// | `schema:preview {rollbackTo?}` | [`Preview`](crate::Preview) |
/// | `schema:cancelPreview` | whether a preview was running |
/// | `schema:cancelChange {cancelledBy?}` | [`CancelReport`](crate::CancelReport) |
/// | `schema:rollback {version, token, backupBy?, mayLock?}` | `{success, applied, rolledBack?, error?}` |
/// | `schema:verify` | [`Verification`](crate::Verification) |
/// | `schema:doctor` | [`Diagnosis`](crate::Diagnosis) |
/// | `schema:install` | [`InstallReport`](crate::InstallReport) |
/// | `schema:recognise` | [`Recognition`](crate::Recognition) of a schema that was made by hand |
/// | `schema:baseline {version, reason}` | [`RepairReport`](crate::RepairReport) |
///
/// | Event | Parameters |
/// |---|---|
/// | `schema:updateAvailable` | [`UpdateCheck`](crate::UpdateCheck) |
/// | `schema:applyProgress` | [`Progress`](crate::Progress) |
/// | `schema:applied` | `{applied, currentVersion}`; with nothing applied: the database is up to date |
/// | `schema:rolledBack` | `{rolledBack, currentVersion}` |
/// | `schema:ahead` | [`UpdateCheck`](crate::UpdateCheck): the database is newer than this build, and the app can work with it |
/// | `schema:error` | `{code, message, retryable, doctorHelps, installSql?, editorUrl?, applied?, rolledBack?, mayLock?, problem?}` |
///
/// With [`HostedPolicy::Follow`](crate::HostedPolicy::Follow), an error with the code `hostedUnknown` says that updates
/// wait, because the hosted service could not be asked.
///
/// Parameters are named, and unknown ones are refused.
///
/// Windows share one run and one preview: asking for the same while it runs joins it, asking for something
/// else is refused with `changeRunning`. Once a preview has ended, asking for it starts a new one. A run that may not start, for example because its
/// preview is outdated, is refused to the window that asked and is no event. A rollback
/// needs the token of its preview. A preview ends in the database when it is cancelled, when
/// all windows that wait for it are gone, and when a run starts. `schema:cancelChange` ends the run
/// of this daemon, or else the change of another one.
#[derive(Clone)]
pub struct Ipc(Arc<Shared>);

struct Shared {
    manager: SchemaVersionManager,
    scheduler: Scheduler,
    runs: Runs,
    previews: Previews,
    events: broadcast::Sender<Event>,
}

impl Ipc {
    /// Answers for a manager and the scheduler that checks with it.
    #[must_use]
    pub fn new(manager: SchemaVersionManager, scheduler: Scheduler) -> Self {
        Self(Arc::new(Shared {
            manager,
            scheduler,
            runs: Runs::default(),
            previews: Previews::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
        }))
    }

    /// Handles one message or batch. Returns the response, or `None` for a notification.
    ///
    /// Malformed JSON, unknown methods, wrong parameters, messages over [`MAX_MESSAGE_BYTES`]
    /// and batches over [`MAX_BATCH_REQUESTS`] get the standard's errors. Dropping the future
    /// does not stop an apply or a rollback.
    pub async fn handle(&self, message: &str) -> Option<String> {
        let response = if message.len() > MAX_MESSAGE_BYTES {
            Some(Refusal::too_large().response(Value::Null))
        } else {
            match serde_json::from_str(message) {
                Ok(Value::Array(batch)) if !batch.is_empty() => self.handle_batch(batch).await,
                Ok(request) => self.handle_request(request).await,
                Err(_) => Some(Refusal::parse_error().response(Value::Null)),
            }
        };
        response.map(|response| response.to_string())
    }

    async fn handle_batch(&self, batch: Vec<Value>) -> Option<Value> {
        if batch.len() > MAX_BATCH_REQUESTS {
            let why = format!("a batch has at most {MAX_BATCH_REQUESTS} requests");
            return Some(Refusal::invalid_request(&why).response(Value::Null));
        }
        let mut responses = Vec::new();
        for request in batch {
            responses.extend(self.handle_request(request).await);
        }
        (!responses.is_empty()).then_some(Value::Array(responses))
    }

    async fn handle_request(&self, mut request: Value) -> Option<Value> {
        let id = match request.get_mut("id").map(Value::take) {
            None => None,
            Some(id @ (Value::Null | Value::String(_) | Value::Number(_))) => Some(id),
            Some(_) => {
                let refusal = Refusal::invalid_request("id must be a string or a number");
                return Some(refusal.response(Value::Null));
            }
        };
        let method = match (&request["jsonrpc"], &request["method"]) {
            (Value::String(version), Value::String(method)) if version == "2.0" => method.clone(),
            _ => {
                let refusal =
                    Refusal::invalid_request("jsonrpc must be \"2.0\" and method a string");
                return Some(refusal.response(id.unwrap_or_default()));
            }
        };
        let params = request["params"].clone();
        // A task of its own, so that a panic in it is an error for this request alone. It is
        // aborted with the set when the window is closed.
        let mut task = JoinSet::new();
        let ipc = self.clone();
        task.spawn(async move { ipc.call(&method, params).await });
        let result = match task.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(Refusal::internal_error()),
        };
        let id = id?;
        Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(refusal) => refusal.response(id),
        })
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, Refusal> {
        let manager = &self.0.manager;
        match method {
            CHECK_UPDATES => {
                let NoParams {} = parameters(params)?;
                let check = self.0.scheduler.check_now().await;
                result(check.map(|check| json!(*check)))
            }
            APPLY_UPDATES => {
                let Consent {
                    token,
                    backup_by,
                    may_lock,
                } = parameters(params)?;
                self.run(RunRequest {
                    change: Change::Apply,
                    token,
                    backup_by,
                    may_lock,
                })
                .await
            }
            CHANGE_LOG => {
                let NoParams {} = parameters(params)?;
                Ok(json!(manager.change_log()))
            }
            STATUS => {
                let NoParams {} = parameters(params)?;
                result(manager.status().await)
            }
            PREVIEW => {
                let params: PreviewParams = parameters(params)?;
                self.preview(&params).await
            }
            CANCEL_PREVIEW => {
                let NoParams {} = parameters(params)?;
                Ok(json!(self.cancel_preview().await))
            }
            CANCEL_CHANGE => {
                let CancelParams { cancelled_by } = parameters(params)?;
                result(self.cancel_change(cancelled_by.map(String::from)).await)
            }
            ROLLBACK => {
                let params: RollbackParams = parameters(params)?;
                self.run(RunRequest {
                    change: Change::RollBackTo(params.version),
                    token: Some(params.token),
                    backup_by: params.backup_by,
                    may_lock: params.may_lock,
                })
                .await
            }
            VERIFY => {
                let NoParams {} = parameters(params)?;
                result(manager.verify().await)
            }
            DOCTOR => {
                let NoParams {} = parameters(params)?;
                Ok(json!(manager.diagnose().await))
            }
            INSTALL => {
                let NoParams {} = parameters(params)?;
                self.install().await
            }
            RECOGNISE => {
                let NoParams {} = parameters(params)?;
                result(manager.recognise().await)
            }
            BASELINE => {
                let BaselineParams { version, reason } = parameters(params)?;
                self.baseline(version, reason.into()).await
            }
            _ => Err(Refusal::method_not_found()),
        }
    }

    /// Installs, and tells all windows what can be done now.
    async fn install(&self) -> Result<Value, Refusal> {
        let manager = self.0.manager.clone();
        self.and_check(async move { manager.install().await }).await
    }

    /// Records the schema that is there as this version, which must make exactly that, and tells all windows what
    /// can be done now.
    async fn baseline(&self, version: Version, reason: String) -> Result<Value, Refusal> {
        let manager = self.0.manager.clone();
        self.and_check(async move {
            // What the user saw may be old. Unless it is the same now, nothing is recorded.
            let found = manager.recognise().await?;
            let plan = manager.plan_baseline(&found, version)?;
            manager.repair(plan, reason).await
        })
        .await
    }

    /// Does something and checks for updates then.
    async fn and_check<T: Serialize + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<Value, Refusal> {
        let ipc = self.clone();
        // A task of its own, so that the other windows hear of it when this one is closed.
        let task = tokio::spawn(async move {
            let done = work.await;
            if done.is_ok() {
                ipc.0.scheduler.schema_changed();
                // The scheduler reports a failed check itself.
                let _ = ipc.0.scheduler.check_now().await;
            }
            result(done)
        });
        task.await.map_err(|_| Refusal::internal_error())?
    }

    fn tell(&self, event: Event) {
        // There may be no window.
        let _ = self.0.events.send(event);
    }
}

impl std::fmt::Debug for Ipc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ipc")
            .field("manager", &self.0.manager)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
