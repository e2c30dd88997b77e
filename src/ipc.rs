//! What the daemon and its windows say to each other: JSON-RPC 2.0 over whatever carries text.

mod message;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use self::message::{
    Applied, Consent, ErrorEvent, Event, NoParams, PreviewParams, Refusal, RollbackParams,
    RolledBack, parameters, result,
};
use crate::{
    error::Error,
    manager::SchemaVersionManager,
    manifest::Version,
    preview::PreviewToken,
    report::{Progress, RunReport},
    scheduler::{Listener, Scheduler},
};

/// The largest message that is read, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// How many events a window may be behind before it gets the present state instead.
const EVENTS_KEPT: usize = 256;

const CHECK_UPDATES: &str = "schema:checkUpdates";
const APPLY_UPDATES: &str = "schema:applyUpdates";
const CHANGE_LOG: &str = "schema:changeLog";
const STATUS: &str = "schema:status";
const PREVIEW: &str = "schema:preview";
const ROLLBACK: &str = "schema:rollback";
const VERIFY: &str = "schema:verify";

/// The daemon's end, for any number of windows. Cheap to clone.
///
/// It does not know how the texts travel: give each one that comes from a window to
/// [`Ipc::handle`], and each one of [`Ipc::events`] to the window.
///
/// | Method | Result |
/// |---|---|
/// | `schema:checkUpdates` | [`UpdateCheck`](crate::UpdateCheck) |
/// | `schema:applyUpdates {token?, backupBy?}` | `{success, applied, error?}`; a failed run is a result too |
/// | `schema:changeLog` | a list of [`SchemaVersion`](crate::SchemaVersion) |
/// | `schema:status` | [`DatabaseStatus`](crate::DatabaseStatus) |
/// | `schema:preview {rollbackTo?}` | [`Preview`](crate::Preview) |
/// | `schema:rollback {version, token?, backupBy?}` | `{success, applied, rolledBack?, error?}` |
/// | `schema:verify` | [`Verification`](crate::Verification) |
///
/// | Event | Parameters |
/// |---|---|
/// | `schema:updateAvailable` | [`UpdateCheck`](crate::UpdateCheck) |
/// | `schema:applyProgress` | [`Progress`](crate::Progress) |
/// | `schema:applied` | `{applied, currentVersion}`; with nothing applied: the database is up to date |
/// | `schema:rolledBack` | `{rolledBack, currentVersion}` |
/// | `schema:error` | `{code, message, retryable, installSql?, applied?, rolledBack?, problem?}` |
///
/// Parameters are named; of a method that has none, nothing else may be sent.
#[derive(Clone)]
pub struct Ipc(Arc<Shared>);

struct Shared {
    manager: SchemaVersionManager,
    scheduler: Scheduler,
    /// The run that is under way, and how it ended once it has.
    running: Mutex<Option<Running>>,
    events: broadcast::Sender<Event>,
    /// Where the run is, for a window that comes in the middle.
    progress: watch::Sender<Option<Progress>>,
}

/// A run, and how it ended once it has.
struct Running {
    change: Change,
    end: watch::Receiver<Option<Value>>,
}

/// What a run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Apply,
    RollBackTo(Version),
}

impl Ipc {
    /// Answers for a manager and the scheduler that checks with it.
    #[must_use]
    pub fn new(manager: SchemaVersionManager, scheduler: Scheduler) -> Self {
        Self(Arc::new(Shared {
            manager,
            scheduler,
            running: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            progress: watch::Sender::new(None),
        }))
    }

    /// Answers one message, or a batch. Nothing for a notification, which wants no answer.
    ///
    /// Malformed JSON, unknown methods, wrong parameters and messages over
    /// [`MAX_MESSAGE_BYTES`] get the standard's errors. When the future is dropped, an apply
    /// goes on all the same.
    pub async fn handle(&self, message: &str) -> Option<String> {
        let answer = if message.len() > MAX_MESSAGE_BYTES {
            Some(Refusal::invalid_request("the message is larger than 64 KiB").answer(Value::Null))
        } else {
            match serde_json::from_str(message) {
                Ok(Value::Array(batch)) if !batch.is_empty() => self.answer_batch(batch).await,
                Ok(request) => self.answer(request).await,
                Err(_) => Some(Refusal::parse_error().answer(Value::Null)),
            }
        };
        answer.map(|answer| answer.to_string())
    }

    /// The events for one window: first what is known, then what happens. A window that is
    /// far behind loses the oldest ones, and holds up nobody.
    #[must_use]
    pub fn events(&self) -> IpcEvents {
        let happened = self.0.events.subscribe();
        let (state, found) = self.0.scheduler.state_and_later();
        let progress = self.0.progress.borrow().clone().map(Event::ApplyProgress);
        IpcEvents {
            first: Event::of(&state).into_iter().chain(progress).collect(),
            happened,
            found,
        }
    }

    async fn answer_batch(&self, batch: Vec<Value>) -> Option<Value> {
        let mut answers = Vec::new();
        for request in batch {
            answers.extend(self.answer(request).await);
        }
        (!answers.is_empty()).then_some(Value::Array(answers))
    }

    async fn answer(&self, mut request: Value) -> Option<Value> {
        let id = match request.get_mut("id").map(Value::take) {
            None => None,
            Some(id @ (Value::Null | Value::String(_) | Value::Number(_))) => Some(id),
            Some(_) => {
                return Some(
                    Refusal::invalid_request("the id is neither text nor number")
                        .answer(Value::Null),
                );
            }
        };
        let method = match (&request["jsonrpc"], &request["method"]) {
            (Value::String(version), Value::String(method)) if version == "2.0" => method.as_str(),
            _ => {
                let refusal = Refusal::invalid_request("jsonrpc must be \"2.0\" and method a text");
                return Some(refusal.answer(id.unwrap_or_default()));
            }
        };
        let result = self.call(method, request["params"].clone()).await;
        let id = id?;
        Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(refusal) => refusal.answer(id),
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
                let Consent { token, backup_by } = parameters(params)?;
                self.change(Change::Apply, token, backup_by).await
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
                let PreviewParams { rollback_to } = parameters(params)?;
                result(match rollback_to {
                    None => manager.preview().await,
                    Some(version) => manager.preview_rollback(version).await,
                })
            }
            ROLLBACK => {
                let RollbackParams {
                    version,
                    token,
                    backup_by,
                } = parameters(params)?;
                self.change(Change::RollBackTo(version), token, backup_by)
                    .await
            }
            VERIFY => {
                let NoParams {} = parameters(params)?;
                result(manager.verify().await)
            }
            _ => Err(Refusal::method_not_found()),
        }
    }

    /// Waits for the end of the run that is under way, or of a new one.
    async fn change(
        &self,
        change: Change,
        token: Option<PreviewToken>,
        backup_by: Option<String>,
    ) -> Result<Value, Refusal> {
        let mut end = {
            let mut running = self
                .0
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match &*running {
                Some(run) if run.end.borrow().is_none() && run.end.has_changed().is_ok() => {
                    if run.change != change {
                        return Err(Refusal::of(&Error::ChangeRunning));
                    }
                    run.end.clone()
                }
                _ => {
                    let end = self.start(change, token, backup_by);
                    running.insert(Running { change, end }).end.clone()
                }
            }
        };
        // The sender goes without a word only when its runtime is shut down.
        let result = end
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Refusal::internal_error())?;
        result.clone().ok_or_else(Refusal::internal_error)
    }

    /// Runs in a task of its own, so that it goes on when the window that asked is closed.
    fn start(
        &self,
        change: Change,
        token: Option<PreviewToken>,
        backup_by: Option<String>,
    ) -> watch::Receiver<Option<Value>> {
        let (sender, receiver) = watch::channel(None);
        let ipc = self.clone();
        let mut run = match change {
            Change::Apply => self.0.manager.apply_all_pending(),
            Change::RollBackTo(version) => self.0.manager.rollback_to(version),
        };
        if let Some(token) = token {
            run = run.agreed_to(token);
        }
        if let Some(name) = backup_by {
            run = run.backup_made_by(name);
        }
        tokio::spawn(async move {
            let listener = ipc.clone();
            let result = run
                .on_progress(move |progress| {
                    listener.0.progress.send_replace(Some(progress.clone()));
                    listener.tell(Event::ApplyProgress(progress));
                })
                .await;
            ipc.0.progress.send_replace(None);
            let value = match result {
                Ok(report) => {
                    let value = json!(report);
                    let RunReport {
                        applied,
                        rolled_back,
                        current_version,
                    } = report;
                    ipc.tell(match change {
                        Change::Apply => Event::Applied(Applied {
                            applied,
                            current_version,
                        }),
                        Change::RollBackTo(_) => Event::RolledBack(RolledBack {
                            rolled_back,
                            current_version,
                        }),
                    });
                    value
                }
                Err(error) => {
                    let value = json!(error);
                    ipc.tell(Event::Error(Box::new(ErrorEvent::of_run(change, &error))));
                    value
                }
            };
            sender.send_replace(Some(value));
            // What listens to the scheduler learns of the new version too; should the check
            // fail, the scheduler tells that itself.
            let _ = ipc.0.scheduler.check_now().await;
        });
        receiver
    }

    fn tell(&self, event: Event) {
        // Nobody may be listening.
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

/// The events for one window.
#[derive(Debug)]
pub struct IpcEvents {
    /// What was known when the window came.
    first: VecDeque<Event>,
    happened: broadcast::Receiver<Event>,
    found: Listener,
}

impl IpcEvents {
    /// The next event as a JSON-RPC notification, or nothing once the daemon's end is gone.
    pub async fn next(&mut self) -> Option<String> {
        Some(self.event().await?.notification().to_string())
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.first.pop_front() {
                return Some(event);
            }
            tokio::select! {
                // What happens in a run comes before what a check finds after it.
                biased;
                happened = self.happened.recv() => match happened {
                    Ok(event) => return Some(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                state = self.found.next() => self.first.extend(Event::of(&state?)),
            }
        }
    }
}

/// The JSON Schema of every message: parameters and result of each method, parameters of each event.
#[cfg(feature = "json-schema")]
#[must_use]
pub fn ipc_schema() -> Value {
    use self::message::{APPLIED, APPLY_PROGRESS, ERROR, ROLLED_BACK, UPDATE_AVAILABLE};
    use crate::report::UpdateCheck;

    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let results = json!({
        CHECK_UPDATES: generator.subschema_for::<UpdateCheck>(),
        APPLY_UPDATES: generator.subschema_for::<crate::report::RunResult<'_>>(),
        CHANGE_LOG: generator.subschema_for::<Vec<crate::report::SchemaVersion>>(),
        STATUS: generator.subschema_for::<crate::report::DatabaseStatus>(),
        PREVIEW: generator.subschema_for::<crate::preview::Preview>(),
        ROLLBACK: generator.subschema_for::<crate::report::RunResult<'_>>(),
        VERIFY: generator.subschema_for::<crate::drift::Verification>(),
    });
    let parameters = json!({
        APPLY_UPDATES: generator.subschema_for::<Consent>(),
        PREVIEW: generator.subschema_for::<PreviewParams>(),
        ROLLBACK: generator.subschema_for::<RollbackParams>(),
    });
    let events = json!({
        UPDATE_AVAILABLE: generator.subschema_for::<UpdateCheck>(),
        APPLY_PROGRESS: generator.subschema_for::<Progress>(),
        APPLIED: generator.subschema_for::<Applied>(),
        ROLLED_BACK: generator.subschema_for::<RolledBack>(),
        ERROR: generator.subschema_for::<ErrorEvent>(),
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages of the ctx0-schema IPC: parameters and result of each method, parameters of each event",
        "parameters": parameters,
        "results": results,
        "events": events,
        "errorData": generator.subschema_for::<ErrorEvent>(),
        "$defs": generator.take_definitions(true),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::{
        message::{APPLIED, APPLY_PROGRESS, ERROR, UPDATE_AVAILABLE},
        *,
    };
    use crate::install::install_sql;
    use crate::transport::{
        Request,
        fake::{Fake, Scripted, refusal, response},
    };

    /// A database that has what was applied to it, each apply taking a second.
    fn database() -> Fake {
        let applied = Mutex::new(Vec::new());
        Fake::by(move |call| {
            let mut applied = applied.lock().unwrap();
            match call {
                Request::Rows { .. } => response(200, json!(*applied)),
                Request::Function {
                    name: "ctx0_schema_status",
                    ..
                } => refusal(404, "PGRST202", None),
                Request::Function { arguments, .. } => {
                    let arguments: Value = serde_json::from_str(arguments).unwrap();
                    applied.push(json!({
                        "version": arguments["p_version"], "migration_name": arguments["p_name"],
                        "description": null, "applied_at": null, "applied_by": null,
                    }));
                    let done = response(200, json!({"outcome": "applied", "execution_ms": 7}));
                    Scripted::Later(Duration::from_secs(1), Box::new(done))
                }
            }
        })
    }

    fn ipc(fake: &Fake) -> Ipc {
        let manager = SchemaVersionManager::on(fake);
        Ipc::new(manager.clone(), Scheduler::builder(manager).start())
    }

    async fn ask(ipc: &Ipc, message: &str) -> Value {
        serde_json::from_str(&ipc.handle(message).await.expect("an answer")).unwrap()
    }

    async fn call(ipc: &Ipc, method: &str) -> Value {
        ask(
            ipc,
            &json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string(),
        )
        .await
    }

    async fn next(events: &mut IpcEvents) -> Value {
        serde_json::from_str(&events.next().await.expect("an event")).unwrap()
    }

    fn applies(fake: &Fake) -> usize {
        fake.arguments("p_attempt")
            .iter()
            .filter(|attempt| !attempt.is_null())
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_answers_with_the_payload_of_the_specification() {
        let answer = call(&ipc(&database()), CHECK_UPDATES).await;
        assert_eq!(
            answer,
            json!({"jsonrpc": "2.0", "id": 1, "result": {
                "hasUpdates": true, "currentVersion": 0, "latestVersion": 2,
                "pendingMigrations": [
                    {"version": 1, "migration_name": "001_a", "description": "A"},
                    {"version": 2, "migration_name": "002_b", "description": "B"},
                ],
            }})
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_apply_answers_with_the_payload_of_the_specification() {
        let ipc = ipc(&database());
        assert_eq!(
            call(&ipc, APPLY_UPDATES).await["result"],
            json!({"success": true, "applied": [1, 2]})
        );
        assert_eq!(
            call(&ipc, APPLY_UPDATES).await["result"],
            json!({"success": true, "applied": []})
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_apply_is_a_result_and_an_event() {
        let failed = json!({"outcome": "failed", "statement": 1, "sqlstate": "42P01", "message": "no", "retryable": false});
        let fake = Fake::by(move |call| match call {
            Request::Rows { .. } => response(200, json!([])),
            Request::Function { .. } => response(200, failed.clone()),
        });
        let ipc = ipc(&fake);
        let mut events = ipc.events();
        let result = call(&ipc, APPLY_UPDATES).await["result"].clone();
        assert_eq!(
            (&result["success"], &result["applied"]),
            (&json!(false), &json!([]))
        );
        assert!(
            result["error"].as_str().unwrap().contains("001_a.sql"),
            "{result}"
        );
        let error = loop {
            let event = next(&mut events).await;
            if event["method"] == ERROR {
                break event["params"].clone();
            }
        };
        assert_eq!(
            (&error["code"], &error["applied"]),
            (&json!("migrationFailed"), &json!([]))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn two_clicks_share_one_run() {
        let fake = database();
        let ipc = ipc(&fake);
        let (first, second) = tokio::join!(call(&ipc, APPLY_UPDATES), call(&ipc, APPLY_UPDATES));
        assert_eq!(first["result"], json!({"success": true, "applied": [1, 2]}));
        assert_eq!(first, second);
        assert_eq!(applies(&fake), 2, "one a version");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_goes_on_when_the_window_that_asked_is_closed() {
        let fake = database();
        let ipc = ipc(&fake);
        tokio::select! {
            _ = call(&ipc, APPLY_UPDATES) => panic!("it takes two seconds"),
            () = sleep(Duration::from_millis(500)) => {}
        }
        sleep(Duration::from_secs(3)).await;
        assert_eq!(applies(&fake), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_is_told_of_the_update_the_progress_and_the_end() {
        let ipc = ipc(&database());
        let mut events = ipc.events();
        assert_eq!(next(&mut events).await["method"], UPDATE_AVAILABLE);
        call(&ipc, APPLY_UPDATES).await;
        let mut told = Vec::new();
        for _ in 0..6 {
            let event = next(&mut events).await;
            told.push((event["method"].clone(), event["params"].clone()));
        }
        let progress = |event: &str, version: u32| json!({"event": event, "version": version});
        let started = |version: u32, name: &str| json!({"event": "started", "action": "apply", "version": version, "migration_name": name, "position": version, "total": 2});
        let mut applied = progress("applied", 1);
        applied["executionMs"] = json!(7);
        assert_eq!(told[0], (json!(APPLY_PROGRESS), started(1, "001_a")));
        assert_eq!(told[1], (json!(APPLY_PROGRESS), applied));
        assert_eq!(told[2], (json!(APPLY_PROGRESS), started(2, "002_b")));
        assert_eq!(
            told[4],
            (
                json!(APPLIED),
                json!({"applied": [1, 2], "currentVersion": 2})
            )
        );
        // The check that follows finds nothing more.
        assert_eq!(
            told[5],
            (json!(APPLIED), json!({"applied": [], "currentVersion": 2}))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_comes_in_the_middle_learns_where_the_run_is() {
        let ipc = ipc(&database());
        let _first = next(&mut ipc.events()).await;
        let run = tokio::spawn({
            let ipc = ipc.clone();
            async move { call(&ipc, APPLY_UPDATES).await }
        });
        sleep(Duration::from_millis(1500)).await;
        let mut late = ipc.events();
        assert_eq!(next(&mut late).await["method"], UPDATE_AVAILABLE);
        let event = next(&mut late).await;
        assert_eq!(
            (&event["method"], &event["params"]["version"]),
            (&json!(APPLY_PROGRESS), &json!(2))
        );
        run.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_never_reads_holds_up_nobody() {
        let ipc = ipc(&database());
        let mut sleeping = ipc.events();
        for _ in 0..2 * EVENTS_KEPT {
            ipc.tell(Event::Applied(Applied {
                applied: Vec::new(),
                current_version: Version::ZERO,
            }));
        }
        assert_eq!(call(&ipc, APPLY_UPDATES).await["result"]["success"], true);
        assert_eq!(next(&mut sleeping).await["jsonrpc"], "2.0");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_does_not_fit_is_an_error_event_with_its_problem() {
        let row = json!([{"version": 1, "migration_name": "001_x", "description": null, "applied_at": null, "applied_by": null}]);
        let ipc = ipc(&Fake::new([response(200, row)]));
        let event = next(&mut ipc.events()).await;
        assert_eq!(
            (&event["method"], &event["params"]["code"]),
            (&json!(ERROR), &json!("differs"))
        );
        assert_eq!(event["params"]["problem"]["kind"], "differs");
        assert_eq!(
            event["params"]["problem"]["message"],
            event["params"]["message"]
        );
        let check = call(&ipc, CHECK_UPDATES).await["result"].clone();
        assert_eq!(
            (&check["hasUpdates"], &check["problem"]["kind"]),
            (&json!(false), &json!("differs"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_installed_comes_with_the_text_to_install() {
        let answer = call(&ipc(&database()), STATUS).await;
        assert_eq!(answer["error"]["code"], -32000);
        assert_eq!(answer["error"]["data"]["code"], "rpcNotInstalled");
        assert_eq!(answer["error"]["data"]["installSql"], install_sql());
    }

    #[tokio::test(start_paused = true)]
    async fn the_change_log_lists_every_version_of_this_build() {
        let log = call(&ipc(&database()), CHANGE_LOG).await["result"].clone();
        assert_eq!(
            log[1],
            json!({"version": 2, "migration_name": "002_b", "description": "B"})
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_a_request_gets_the_errors_of_the_standard() {
        let ipc = ipc(&database());
        let long = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#,
            "x".repeat(MAX_MESSAGE_BYTES)
        );
        for (message, code) in [
            ("", -32700),
            ("{", -32700),
            ("\u{0}", -32700),
            ("[]", -32600),
            ("null", -32600),
            ("7", -32600),
            ("{}", -32600),
            (
                r#"{"jsonrpc":"1.0","id":1,"method":"schema:changeLog"}"#,
                -32600,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
            (
                r#"{"jsonrpc":"2.0","id":{},"method":"schema:changeLog"}"#,
                -32600,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"schema:dropEverything"}"#,
                -32601,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"schema:changeLog","params":{"version":1}}"#,
                -32602,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"schema:changeLog","params":7}"#,
                -32602,
            ),
            (&long, -32600),
        ] {
            let answer = ask(&ipc, message).await;
            assert_eq!(answer["error"]["code"], code, "{message:.80}");
            assert_eq!(answer["jsonrpc"], "2.0");
            assert!(answer.get("result").is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_notification_gets_no_answer_and_a_batch_one_for_each_request() {
        let ipc = ipc(&database());
        assert_eq!(
            ipc.handle(r#"{"jsonrpc":"2.0","method":"schema:changeLog"}"#)
                .await,
            None
        );
        assert_eq!(
            ipc.handle(r#"[{"jsonrpc":"2.0","method":"schema:changeLog"}]"#)
                .await,
            None
        );
        let batch = r#"[{"jsonrpc":"2.0","id":"a","method":"schema:changeLog"}, 7,
                        {"jsonrpc":"2.0","method":"schema:changeLog"}, {"jsonrpc":"2.0","id":2,"method":"nope"}]"#;
        let answers = ask(&ipc, batch).await;
        let ids: Vec<_> = answers
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| answer["id"].clone())
            .collect();
        assert_eq!(ids, [json!("a"), Value::Null, json!(2)]);
    }

    /// `CTX0_WRITE_SCHEMA=1 cargo test --all-features --lib schema` writes the file anew.
    #[cfg(feature = "json-schema")]
    #[test]
    fn the_schema_that_is_checked_in_is_that_of_the_types() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/desktop/messages.schema.json"
        );
        if std::env::var_os("CTX0_WRITE_SCHEMA").is_some() {
            std::fs::write(path, format!("{:#}\n", ipc_schema())).unwrap();
        }
        let checked_in: Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(
            checked_in == ipc_schema(),
            "the messages have changed: write {path} anew, as told above"
        );
    }
}
