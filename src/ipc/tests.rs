use std::{sync::Mutex, time::Duration};

use tokio::time::sleep;

use super::{
    message::{APPLIED, APPLY_PROGRESS, Applied, ERROR, UPDATE_AVAILABLE},
    *,
};
use crate::{
    config::HostedPolicy,
    install::install_sql,
    manifest::Version,
    report::{HostedComparison, HostedState, UpdateCheck},
    scheduler::SchemaState,
    transport::{
        Request,
        fake::{Fake, Scripted, refusal, response},
    },
};

/// A database that has what was applied to it, each apply taking a second. Of several versions in one
/// request it takes one, as a busy database does.
fn database() -> Fake {
    database_that_reads(Duration::ZERO)
}

/// A database that takes so long for the second look at its ledger.
fn database_that_reads(second: Duration) -> Fake {
    let applied = Mutex::new(Vec::new());
    let mut looks = 0;
    Fake::by(move |call| {
        let mut applied = applied.lock().unwrap();
        match call {
            Request::Rows { .. } => {
                looks += 1;
                let rows = response(200, json!(*applied));
                match looks {
                    2 => Scripted::Later(second, Box::new(rows)),
                    _ => rows,
                }
            }
            Request::Function {
                name: "ctx0_schema_status",
                ..
            } => response(200, status()),
            Request::Function { arguments, .. } => {
                let arguments: Value = serde_json::from_slice(arguments).unwrap();
                let first = &arguments["p_steps"][0];
                let [version, name] = if first.is_null() {
                    [&arguments["p_version"], &arguments["p_name"]]
                } else {
                    [&first["version"], &first["name"]]
                };
                applied.push(json!({
                    "version": version, "migration_name": name,
                    "description": null, "applied_at": null, "applied_by": null,
                }));
                let done = json!({"outcome": "applied", "execution_ms": 7});
                let done = if first.is_null() {
                    done
                } else {
                    json!({ "results": [done] })
                };
                Scripted::Later(Duration::from_secs(1), Box::new(response(200, done)))
            }
            Request::Sql { .. } => panic!("nothing is installed here"),
        }
    })
}

fn status() -> Value {
    json!({
        "rpc_version": crate::install::RPC_VERSION, "server_version": "17.6", "current_version": 0, "locked": false,
        "owner": "postgres", "ledger": [], "reversible": [], "last_attempt": null,
    })
}

/// A database without the installed functions.
fn not_installed() -> Fake {
    Fake::by(|request| match request {
        Request::Rows { .. } => response(200, json!([])),
        Request::Function { .. } => refusal(404, "PGRST202", None),
        Request::Sql { .. } => refusal(403, "closed", None),
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
    ask(ipc, &request(method, Value::Null)).await
}

fn request(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

async fn next(events: &mut IpcEvents) -> Value {
    serde_json::from_str(&events.next().await.expect("an event")).unwrap()
}

fn applies(fake: &Fake) -> usize {
    let sent = fake.arguments("p_applied_by");
    sent.iter().filter(|by| !by.is_null()).count()
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
        Request::Sql { .. } => panic!("nothing is installed here"),
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
async fn a_preview_is_joined_while_it_runs_and_made_anew_once_it_has_ended() {
    let rehearsed = json!({"outcome": "rehearsed", "versions": [], "tables": [], "sequences": [], "cancelled": false});
    let fake = Fake::by(move |call| match call {
        Request::Rows { .. } => response(200, json!([])),
        Request::Function {
            name: "ctx0_schema_status",
            ..
        } => response(200, status()),
        Request::Function { .. } => Scripted::Later(
            Duration::from_secs(1),
            Box::new(response(200, rehearsed.clone())),
        ),
        Request::Sql { .. } => panic!("nothing is installed here"),
    });
    let rehearsals = || {
        let sent = fake.arguments("p_preview");
        sent.iter().filter(|preview| !preview.is_null()).count()
    };
    let ipc = ipc(&fake);
    call(&ipc, CHECK_UPDATES).await;
    let (first, second) = tokio::join!(call(&ipc, PREVIEW), call(&ipc, PREVIEW));
    assert_eq!(first["result"]["targetVersion"], 2);
    assert_eq!((first, rehearsals()), (second, 1));
    // Another window clicks a moment later: there may be rows by now.
    call(&ipc, PREVIEW).await;
    assert_eq!(rehearsals(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_consent_never_joins_a_run_under_way() {
    let fake = database();
    let ipc = ipc(&fake);
    let apply = |params: Value| {
        let ipc = ipc.clone();
        async move {
            sleep(Duration::from_millis(10)).await;
            ask(&ipc, &request(APPLY_UPDATES, params)).await
        }
    };
    let (first, same, token, backup, rollback) = tokio::join!(
        call(&ipc, APPLY_UPDATES),
        apply(json!({})),
        apply(json!({"token": "0".repeat(64)})),
        apply(json!({"backupBy": "me"})),
        async {
            sleep(Duration::from_millis(10)).await;
            ask(
                &ipc,
                &request(ROLLBACK, json!({"version": 0, "token": "0".repeat(64)})),
            )
            .await
        },
    );
    assert_eq!(first["result"], json!({"success": true, "applied": [1, 2]}));
    assert_eq!(first, same);
    for refused in [token, backup, rollback] {
        assert_eq!(refused["error"]["data"]["code"], "changeRunning");
    }
    assert_eq!(applies(&fake), 2, "one a version");
}

#[tokio::test(start_paused = true)]
async fn only_the_caller_sees_a_refusal() {
    let ipc = ipc(&database());
    let mut events = ipc.events();
    assert_eq!(next(&mut events).await["method"], UPDATE_AVAILABLE);
    for (method, params, code) in [
        (
            APPLY_UPDATES,
            json!({"token": "0".repeat(64)}),
            json!("previewOutdated"),
        ),
        (APPLY_UPDATES, json!({"backupBy": " "}), Value::Null),
        (ROLLBACK, json!({"version": 0}), Value::Null),
    ] {
        let answer = ask(&ipc, &request(method, params)).await;
        assert_eq!(answer["error"]["data"]["code"], code, "{answer}");
    }
    // Only the check after the refused run is heard.
    assert_eq!(next(&mut events).await["method"], UPDATE_AVAILABLE);
    let more = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_internal_error_for_that_request_alone() {
    let fake = Fake::by(|request| {
        assert!(matches!(request, Request::Rows { .. }), "no function today");
        response(200, json!([]))
    });
    let ipc = ipc(&fake);
    for method in [STATUS, PREVIEW, APPLY_UPDATES] {
        let answer = call(&ipc, method).await;
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(-32603), &json!(1)),
            "{method}"
        );
    }
    assert_eq!(call(&ipc, CHANGE_LOG).await["result"][0]["version"], 1);
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
async fn a_window_gets_the_update_the_progress_and_the_end() {
    let ipc = ipc(&database());
    let mut events = ipc.events();
    assert_eq!(next(&mut events).await["method"], UPDATE_AVAILABLE);
    call(&ipc, APPLY_UPDATES).await;
    let mut reported = Vec::new();
    for _ in 0..6 {
        let event = next(&mut events).await;
        reported.push((event["method"].clone(), event["params"].clone()));
    }
    let progress = |event: &str, version: u32| json!({"event": event, "version": version});
    let started = |version: u32, name: &str| json!({"event": "started", "action": "apply", "version": version, "migration_name": name, "position": version, "total": 2});
    let mut applied = progress("applied", 1);
    applied["executionMs"] = json!(7);
    assert_eq!(reported[0], (json!(APPLY_PROGRESS), started(1, "001_a")));
    assert_eq!(reported[1], (json!(APPLY_PROGRESS), applied));
    assert_eq!(reported[2], (json!(APPLY_PROGRESS), started(2, "002_b")));
    assert_eq!(
        reported[4],
        (
            json!(APPLIED),
            json!({"applied": [1, 2], "currentVersion": 2})
        )
    );
    // The check that follows finds nothing more.
    assert_eq!(
        reported[5],
        (json!(APPLIED), json!({"applied": [], "currentVersion": 2}))
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_check_found_before_a_run_is_not_told_after_it() {
    let ipc = ipc(&database_that_reads(Duration::from_secs(10)));
    let mut events = ipc.events();
    assert_eq!(next(&mut events).await["method"], UPDATE_AVAILABLE);
    let check = call(&ipc, CHECK_UPDATES);
    let apply = async {
        sleep(Duration::from_secs(1)).await;
        call(&ipc, APPLY_UPDATES).await
    };
    let (check, apply) = tokio::join!(check, apply);
    assert_eq!(apply["result"]["applied"], json!([1, 2]));
    assert_eq!(check["result"]["hasUpdates"], false);
    // The end of the run, and the check after it.
    let mut told = 0;
    while told < 2 {
        let event = next(&mut events).await;
        assert_ne!(event["method"], UPDATE_AVAILABLE);
        told += usize::from(event["method"] == APPLIED);
    }
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
    for (event, version) in [("started", 1), ("applied", 1), ("started", 2)] {
        let reported = next(&mut late).await;
        assert_eq!(reported["method"], APPLY_PROGRESS);
        assert_eq!(
            (&reported["params"]["event"], &reported["params"]["version"]),
            (&json!(event), &json!(version))
        );
    }
    run.await.unwrap();
    assert_eq!(next(&mut ipc.events()).await["method"], APPLIED);
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

#[test]
fn a_hosted_service_that_could_not_be_asked_is_an_error_event_and_never_up_to_date() {
    let event = |state, problem: Option<&str>, withheld: Value| {
        let hosted = HostedComparison {
            policy: HostedPolicy::Follow,
            version: None,
            state,
            withheld: serde_json::from_value(withheld).unwrap(),
            problem: problem.map(str::to_owned),
        };
        let check = UpdateCheck {
            hosted: Some(hosted),
            ..UpdateCheck::between(0, 1)
        };
        let event = Event::of(&SchemaState::Checked(Arc::new(check)));
        event.expect("an event").notification()
    };
    let first = json!([{"version": 1, "migration_name": "001_a", "description": "A"}]);
    let error = event(HostedState::Unknown, Some("no route"), first.clone());
    assert_eq!(
        (&error["method"], &error["params"]["code"]),
        (&json!(ERROR), &json!("hostedUnknown"))
    );
    assert_eq!(
        error["params"]["message"],
        "couldn't ask the hosted service (no route); updates wait until it answers"
    );
    // It was asked before and lacks this version, or nothing waits for it.
    for told in [
        event(HostedState::Level, Some("no route"), first),
        event(HostedState::Unknown, Some("no route"), json!([])),
    ] {
        assert_eq!(told["method"], APPLIED);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_installed_comes_with_the_text_to_install() {
    let answer = call(&ipc(&not_installed()), STATUS).await;
    assert_eq!(answer["error"]["code"], -32000);
    assert_eq!(answer["error"]["data"]["code"], "rpcNotInstalled");
    assert_eq!(answer["error"]["data"]["installSql"], install_sql());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_installed_over_http_comes_with_the_editor() {
    let answer = call(&ipc(&not_installed()), INSTALL).await;
    let data = &answer["error"]["data"];
    assert_eq!(data["code"], "runByHand");
    assert_eq!(data["installSql"], install_sql());
    assert_eq!(
        data["editorUrl"],
        "http://127.0.0.1/project/default/sql/new"
    );
}

#[tokio::test(start_paused = true)]
async fn an_installation_tells_every_window_that_the_update_can_be_applied() {
    let installed = Mutex::new(false);
    let fake = Fake::by(move |request| {
        let mut installed = installed.lock().unwrap();
        match request {
            Request::Rows { .. } => response(200, json!([])),
            Request::Function { .. } if *installed => response(200, status()),
            Request::Function { .. } => refusal(404, "PGRST202", None),
            Request::Sql { .. } => {
                *installed = true;
                response(200, json!([]))
            }
        }
    });
    let ipc = ipc(&fake);
    let mut events = ipc.events();
    let before = next(&mut events).await["params"]["setup"].clone();
    assert_eq!(before["canInstall"], true);
    let answer = call(&ipc, INSTALL).await;
    assert_eq!(
        answer["result"],
        json!({"outcome": "installed", "release": crate::install::RPC_VERSION, "route": "postgresMeta"})
    );
    let after = next(&mut events).await;
    assert_eq!(after["method"], UPDATE_AVAILABLE);
    assert_eq!(after["params"]["setup"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_check_finds_out_that_the_setup_is_missing_before_an_update_is_offered() {
    let ipc = ipc(&not_installed());
    let event = next(&mut ipc.events()).await;
    assert_eq!(event["method"], UPDATE_AVAILABLE);
    let setup = &event["params"]["setup"];
    assert_eq!(setup["code"], "rpcNotInstalled");
    assert_eq!(setup["installSql"], install_sql());
    assert_eq!(call(&ipc, CHECK_UPDATES).await["result"]["setup"], *setup);
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
        (&format!("[{}7]", "7,".repeat(MAX_BATCH_REQUESTS)), -32600),
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
async fn a_text_that_the_database_cannot_store_is_not_sent_there() {
    let fake = database();
    let ipc = ipc(&fake);
    call(&ipc, CHECK_UPDATES).await;
    let sent = fake.asked().len();
    for (method, params) in [
        (CANCEL_CHANGE, json!({"cancelledBy": "A\0da"})),
        (APPLY_UPDATES, json!({"backupBy": "\0"})),
        (BASELINE, json!({"version": 1, "reason": "by hand\0"})),
    ] {
        let answer = ask(&ipc, &request(method, params)).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    assert_eq!(fake.asked().len(), sent);
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

/// `CTX0_WRITE_SCHEMA=1 cargo test --all-features --lib schema` rewrites the file.
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
    let checked_in: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(
        checked_in == ipc_schema(),
        "the messages have changed: rewrite {path} as described above"
    );
}
