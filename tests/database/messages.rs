//! The messages of a window, answered by a real database.

use ctx0_schema::{Ipc, IpcEvents, Scheduler};
use ctx0_stack::project::{GATE, Project, migrations};
use serde_json::{Value, json};

async fn call(ipc: &Ipc, method: &str, params: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = ipc.handle(&message.to_string()).await.expect("an answer");
    serde_json::from_str(&answer).unwrap()
}

async fn until(events: &mut IpcEvents, method: &str) -> Value {
    loop {
        let event: Value = serde_json::from_str(&events.next().await.expect("an event")).unwrap();
        if event["method"] == method {
            return event["params"].clone();
        }
    }
}

fn ipc(project: &Project) -> Ipc {
    let manager = project.bundled();
    Ipc::new(manager.clone(), Scheduler::builder(manager).start())
}

#[tokio::test]
async fn a_window_previews_agrees_rolls_back_and_verifies() {
    let project = Project::installed().await;
    let ipc = ipc(&project);
    let mut events = ipc.events();

    let preview = call(&ipc, "schema:preview", Value::Null).await["result"].clone();
    assert_eq!(
        (&preview["currentVersion"], &preview["targetVersion"]),
        (&json!(0), &json!(2))
    );
    let first = &preview["versions"][0];
    assert_eq!(
        (&first["action"], &first["migration_name"]),
        (&json!("apply"), &json!("001_ctx0_schema"))
    );
    let change = &first["changes"][0];
    assert_eq!(
        (&change["kind"], &change["before"]),
        (&json!("table"), &Value::Null)
    );
    assert!(
        change["diff"]
            .as_str()
            .unwrap()
            .contains("+column id uuid not null")
    );
    assert_eq!(change["after"]["parts"][1]["part"], "column");

    let wrong = json!({"token": "0".repeat(64)});
    let refused = call(&ipc, "schema:applyUpdates", wrong).await["error"].clone();
    assert_eq!(refused["data"]["code"], "previewOutdated");
    assert_eq!(project.ledger().await, [0; 0]);
    let agreed = json!({"token": preview["token"], "backupBy": "Ada"});
    let applied = call(&ipc, "schema:applyUpdates", agreed).await["result"].clone();
    assert_eq!(applied, json!({"success": true, "applied": [1, 2]}));

    let verified = call(&ipc, "schema:verify", json!({})).await["result"].clone();
    assert_eq!(verified, json!({"state": "unchanged", "currentVersion": 2}));
    project.sql("drop index public.ctx0_entries_tags_idx").await;
    let verified = call(&ipc, "schema:verify", json!([])).await["result"].clone();
    assert_eq!(
        (&verified["state"], &verified["differences"][0]["name"]),
        (&json!("drifted"), &json!("public.ctx0_entries"))
    );

    let back = call(&ipc, "schema:preview", json!({"rollbackTo": 0})).await["result"].clone();
    assert_eq!(
        (&back["targetVersion"], &back["versions"][1]["action"]),
        (&json!(0), &json!("rollback"))
    );
    let agreed = json!({"version": 1, "token": back["token"]});
    let refused = call(&ipc, "schema:rollback", agreed).await["error"].clone();
    assert_eq!(
        refused["data"]["code"], "previewOutdated",
        "another version than the one that was seen"
    );
    let agreed = json!({"version": 0, "token": back["token"]});
    let done = call(&ipc, "schema:rollback", agreed).await["result"].clone();
    assert_eq!(
        done,
        json!({"success": true, "applied": [], "rolledBack": [2, 1]})
    );
    assert_eq!(
        until(&mut events, "schema:rolledBack").await,
        json!({"rolledBack": [2, 1], "currentVersion": 0})
    );
    assert_eq!(
        until(&mut events, "schema:updateAvailable").await["currentVersion"],
        0
    );
}

#[tokio::test]
async fn while_versions_are_applied_none_is_rolled_back() {
    let project = Project::installed().await;
    project.close_gate().await;
    let manager = project.manager(migrations(&[("001_slow", GATE)]));
    let ipc = Ipc::new(manager.clone(), Scheduler::builder(manager).start());
    let mut events = ipc.events();
    let apply = tokio::spawn({
        let ipc = ipc.clone();
        async move { call(&ipc, "schema:applyUpdates", Value::Null).await }
    });
    until(&mut events, "schema:applyProgress").await;
    let unseen = json!({"version": 0, "token": "0".repeat(64)});
    let refused = call(&ipc, "schema:rollback", unseen).await;
    assert_eq!(refused["error"]["data"]["code"], "changeRunning");
    project.open_gate().await;
    assert_eq!(apply.await.unwrap()["result"]["success"], true);
}

#[tokio::test]
async fn wrong_parameters_are_refused_and_nothing_is_done() {
    let project = Project::installed().await;
    let ipc = ipc(&project);
    for (method, params) in [
        ("schema:rollback", json!({})),
        ("schema:rollback", json!({"version": 0})),
        (
            "schema:rollback",
            json!({"version": -1, "token": "0".repeat(64)}),
        ),
        (
            "schema:rollback",
            json!({"version": 0, "token": "0".repeat(64), "force": true}),
        ),
        ("schema:rollback", json!([0])),
        ("schema:preview", json!({"rollbackTo": "1"})),
        ("schema:applyUpdates", json!({"token": 7})),
        ("schema:verify", json!({"version": 1})),
    ] {
        let answer = call(&ipc, method, params.clone()).await;
        assert_eq!(
            answer["error"]["code"], -32602,
            "{method} {params}: {answer}"
        );
    }
    let above = json!({"version": 3, "token": "0".repeat(64)});
    let refused = call(&ipc, "schema:rollback", above).await;
    assert_eq!(refused["error"]["data"]["code"], "notBelow");
    assert_eq!(project.ledger().await, [0; 0]);
}
