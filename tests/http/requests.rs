//! What is sent: the requests themselves, and how few of them.

use ctx0_schema::{
    Config, Error, Preview, PreviewState, RPC_VERSION, SchemaVersionManager, Unfinished, Version,
};
use serde_json::{Value, json};
use std::time::Duration;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::support::{
    APPLY, APPLY_SEVERAL, LEDGER, SECRET_KEY, STATUS, Supabase, build, config, json_answer,
    ledger_to, legacy_key, manager, migrations, refusal,
};

const AGENT: &str = concat!("ctx0-schema/", env!("CARGO_PKG_VERSION"));

#[tokio::test]
async fn a_check_is_one_request_for_the_whole_ledger() {
    let supabase = Supabase::at_version(1).await;
    manager(&supabase.uri()).check_for_updates().await.unwrap();
    let [request] = &supabase.requests().await[..] else {
        panic!("one request")
    };
    assert_eq!(request.method, "GET");
    assert_eq!(request.url.path(), LEDGER);
    assert_eq!(request.url.query(), Some("select=*&order=version.asc"));
    assert_eq!(
        headers(request),
        [
            ("accept", "application/json"),
            ("accept-encoding", "gzip"),
            ("accept-profile", "public"),
            ("apikey", SECRET_KEY),
            ("prefer", "count=exact"),
            ("range", "0-2147483647"),
            ("range-unit", "items"),
            ("user-agent", AGENT),
        ]
    );
    assert!(request.body.is_empty());
}

#[tokio::test]
async fn each_operation_that_only_reads_is_one_request() {
    let supabase = Supabase::at_version(2).await;
    let manager = manager(&supabase.uri());
    assert_eq!(manager.current_version().await.unwrap().get(), 2);
    assert_eq!(manager.history().await.unwrap().len(), 2);
    manager.check_for_updates().await.unwrap();
    assert_eq!(supabase.requests().await.len(), 3);
    assert_eq!(manager.latest_version().get(), 3);
    assert_eq!(manager.change_log().len(), 3);
    assert_eq!(supabase.requests().await.len(), 3, "these ask nobody");
}

#[tokio::test]
async fn a_status_is_one_call_of_its_function() {
    let supabase = Supabase::start().await;
    let answer = json!({
        "rpc_version": 3, "server_version": "15.8", "current_version": 3, "locked": true,
        "owner": "postgres", "ledger": ledger_to(3), "reversible": [2], "last_attempt": null,
    });
    supabase.on("POST", STATUS, [json_answer(&answer)]).await;
    let status = manager(&supabase.uri()).status().await.unwrap();
    assert_eq!(
        serde_json::to_value(&status.ledger)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert!(status.locked);
    assert_eq!(status.current_version.get(), 3);
    let [request] = &supabase.requests().await[..] else {
        panic!("one request")
    };
    assert_eq!(
        (request.method.as_str(), request.url.query()),
        ("POST", None)
    );
    assert_eq!(request.body, b"{}");
}

#[tokio::test]
async fn applying_is_one_request_to_read_and_one_for_each_version() {
    let supabase = Supabase::at_version(1).await;
    supabase
        .on_apply([json!({"outcome": "applied", "execution_ms": 1})])
        .await;
    manager(&supabase.uri()).apply_all_pending().await.unwrap();
    let requests = supabase.requests().await;
    let sent: Vec<_> = requests
        .iter()
        .map(|request| {
            (
                request.method.as_str(),
                request.url.path(),
                request.url.query(),
            )
        })
        .collect();
    let read = ("GET", LEDGER, Some("select=*&order=version.asc"));
    let apply = ("POST", APPLY, None);
    assert_eq!(sent, [read, apply, apply]);
    let length = requests[1].body.len().to_string();
    assert_eq!(
        headers(&requests[1]),
        [
            ("accept", "application/json"),
            ("accept-encoding", "gzip"),
            ("apikey", SECRET_KEY),
            ("content-length", length.as_str()),
            ("content-profile", "public"),
            ("content-type", "application/json"),
            ("user-agent", AGENT),
        ]
    );
}

#[tokio::test]
async fn over_an_empty_ledger_applying_is_one_request_to_read_and_one_for_all_versions() {
    let supabase = Supabase::at_version(0).await;
    let taken = json!({"outcome": "applied", "execution_ms": 1});
    let taken = json_answer(&json!({"results": [taken, taken, taken]}));
    supabase.on("POST", APPLY_SEVERAL, [taken]).await;
    let manager = build(config(&supabase.uri()).applied_by("ctx0-desktop 1.4"));
    let run = manager.apply_all_pending().backup_made_by("Ada");
    assert_eq!(run.await.unwrap().applied.len(), 3);
    let requests = supabase.requests().await;
    assert_eq!(requests.len(), 2);
    let sent: serde_json::Value = requests[1].body_json().unwrap();
    let migrations = migrations();
    let second = migrations.get(Version::new(2).unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({
            "p_steps": [
                sent["p_steps"][0],
                {
                    "version": 2,
                    "name": "002_tags",
                    "description": "Adds tags",
                    "sql": ["create table tags (name text);"],
                    "checksum": second.checksum(),
                    "down_sql": ["drop table tags;"],
                    "down_checksum": "c4f9d2a017974f3818431c71c5fe1bde71e46007b043cebe211265ab7d7c3b61",
                    "expected_version": 1,
                    "attempt": sent["p_steps"][1]["attempt"],
                    "breaking": null,
                    "min_app_version": null,
                    "outside": null,
                    "down_outside": null,
                },
                sent["p_steps"][2],
            ],
            "p_applied_by": "ctx0-desktop 1.4",
            "p_backup_by": "Ada",
            "p_continues": false,
        })
    );
}

#[tokio::test]
async fn a_version_is_sent_with_everything_that_the_function_wants() {
    let supabase = Supabase::at_version(1).await;
    supabase
        .on_apply([json!({"outcome": "applied", "execution_ms": 1})])
        .await;
    let manager = build(config(&supabase.uri()).applied_by("ctx0-desktop 1.4"));
    manager.apply_all_pending().await.unwrap();
    let sent = supabase.applies().await;
    let migrations = migrations();
    let [second, third] = [2, 3].map(|n| migrations.get(Version::new(n).unwrap()).unwrap());
    assert_eq!(
        sent,
        [
            json!({
                "p_version": 2,
                "p_name": "002_tags",
                "p_description": "Adds tags",
                "p_sql": ["create table tags (name text);"],
                "p_checksum": second.checksum(),
                "p_down_sql": ["drop table tags;"],
                "p_down_checksum": "c4f9d2a017974f3818431c71c5fe1bde71e46007b043cebe211265ab7d7c3b61",
                "p_applied_by": "ctx0-desktop 1.4",
                "p_expected_version": 1,
                "p_attempt": sent[0]["p_attempt"],
                "p_backup_by": null,
                "p_continues": true,
                "p_breaking": null,
                "p_min_app_version": null,
            }),
            json!({
                "p_version": 3,
                "p_name": "003_index",
                "p_description": "Finds them",
                "p_sql": ["select 1;", "\n\n-- here\ncreate index on tags (nam);", "\nselect 2;"],
                "p_checksum": third.checksum(),
                "p_down_sql": null,
                "p_down_checksum": null,
                "p_applied_by": "ctx0-desktop 1.4",
                "p_expected_version": 2,
                "p_attempt": sent[1]["p_attempt"],
                "p_backup_by": null,
                "p_continues": false,
                "p_breaking": null,
                "p_min_app_version": null,
            }),
        ]
    );
    let attempts: Vec<uuid::Uuid> = sent
        .iter()
        .map(|arguments| serde_json::from_value(arguments["p_attempt"].clone()).unwrap())
        .collect();
    assert_ne!(attempts[0], attempts[1]);
}

#[tokio::test]
async fn a_legacy_key_is_sent_in_both_headers_and_a_secret_key_in_one() {
    let legacy = legacy_key();
    let bearer = format!("Bearer {legacy}");
    for (key, authorization) in [(legacy.as_str(), Some(bearer.as_str())), (SECRET_KEY, None)] {
        let supabase = Supabase::at_version(0).await;
        supabase
            .on_apply([json!({"outcome": "already_applied"})])
            .await;
        let config = Config::builder(supabase.uri(), key).build().unwrap();
        let manager = SchemaVersionManager::new(&config, migrations()).unwrap();
        manager.apply_all_pending().batch(false).await.unwrap();
        for request in supabase.requests().await {
            assert_eq!(header(&request, "apikey"), Some(key));
            assert_eq!(header(&request, "authorization"), authorization);
        }
    }
}

#[tokio::test]
async fn the_user_agent_is_the_one_of_the_configuration() {
    let supabase = Supabase::at_version(0).await;
    let manager = build(config(&supabase.uri()).user_agent("ctx0-desktop/1.4 (linux)"));
    manager.current_version().await.unwrap();
    assert_eq!(
        header(&supabase.requests().await[0], "user-agent"),
        Some("ctx0-desktop/1.4 (linux)")
    );
}

#[tokio::test]
async fn a_path_in_front_of_the_api_is_kept() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(json_answer(&json!([])))
        .mount(&server)
        .await;
    for pasted in ["/supabase/a", "/supabase/a/", "/supabase/a/rest/v1/"] {
        let manager = manager(&format!("{}{pasted}", server.uri()));
        manager.current_version().await.unwrap();
        manager.status().await.unwrap_err();
    }
    let requests = server.received_requests().await.unwrap();
    let paths: Vec<_> = requests.iter().map(|request| request.url.path()).collect();
    let table = format!("/supabase/a{LEDGER}");
    let function = format!("/supabase/a{STATUS}");
    assert_eq!(paths, [[table.as_str(), function.as_str()]; 3].concat());
}

#[tokio::test]
async fn a_ledger_of_several_pages_is_read_whole() {
    for at_once in [1, 99, 100, 125, 250, 251] {
        let server = in_pages(250, at_once).await;
        let version = manager(&server.uri()).current_version().await.unwrap();
        assert_eq!(version.get(), 250, "{at_once} at once");
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), 250_usize.div_ceil(at_once));
        // Each page begins above the last row of the one before.
        let above = (requests.len() - 1) * at_once;
        let query = match above {
            0 => "select=*&order=version.asc".to_owned(),
            _ => format!("select=*&order=version.asc&version=gt.{above}"),
        };
        assert_eq!(requests.last().unwrap().url.query(), Some(query.as_str()));
    }
}

#[tokio::test]
async fn a_server_that_counts_no_rows_is_asked_once() {
    for range in [None, Some("0-2/*"), Some("nonsense"), Some("0-2/many")] {
        let supabase = Supabase::start().await;
        let mut answer = ResponseTemplate::new(200);
        if let Some(range) = range {
            answer = answer.insert_header("Content-Range", range);
        }
        let answer = answer.set_body_json(ledger_to(3));
        supabase.on("GET", LEDGER, [answer]).await;
        let version = manager(&supabase.uri()).current_version().await.unwrap();
        assert_eq!((version.get(), supabase.requests().await.len()), (3, 1));
    }
}

#[tokio::test]
async fn pages_that_lead_nowhere_end_in_an_error() {
    for page in [
        // The same again.
        json!([row(1), row(2)]),
        json!([row(2), row(1)]),
        json!([row(1), row(1)]),
        json!([row(0)]),
        json!([row(-1)]),
        json!([row(1_i64 << 31)]),
    ] {
        let supabase = Supabase::start().await;
        let answer = json_answer(&page).insert_header("Content-Range", "0-1/4");
        supabase.on("GET", LEDGER, [answer]).await;
        let error = manager(&supabase.uri())
            .current_version()
            .await
            .unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(supabase.requests().await.len() <= 2);
    }
}

#[tokio::test]
async fn a_ledger_that_is_not_there_is_version_0_in_every_way_that_it_is_said() {
    let missing = "Could not find the table 'public.ctx0_schema_versions' in the schema cache";
    let minimal = json!({"code": "PGRST205", "message": missing});
    for answer in [
        refusal(404, "PGRST205", missing),
        refusal(
            404,
            "42P01",
            "relation \"public.ctx0_schema_versions\" does not exist",
        ),
        ResponseTemplate::new(404).set_body_json(minimal),
        ResponseTemplate::new(404).insert_header("Server", "postgrest/12.2.12"),
    ] {
        let supabase = Supabase::start().await;
        supabase.on("GET", LEDGER, [answer]).await;
        let check = manager(&supabase.uri()).check_for_updates().await.unwrap();
        assert_eq!(check.current_version, Version::ZERO);
        assert_eq!((check.pending_migrations.len(), check.problem), (3, None));
        assert_eq!(supabase.requests().await.len(), 1);
    }
}

#[tokio::test]
async fn a_404_of_something_else_is_not_version_0() {
    for body in [
        r#"{"message":"no Route matched with those values"}"#,
        "<html>Not Found</html>",
        "default backend - 404",
        r#"{"code":"PGRST125","message":"Invalid path specified in request URL"}"#,
    ] {
        let supabase = Supabase::start().await;
        let answer = ResponseTemplate::new(404).set_body_string(body);
        supabase.on("GET", LEDGER, [answer]).await;
        let error = manager(&supabase.uri())
            .check_for_updates()
            .await
            .unwrap_err();
        assert!(!error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn functions_of_another_release_are_recognised() {
    let supabase = Supabase::start().await;
    let old = json!({"rpc_version": 0});
    supabase.on("POST", STATUS, [json_answer(&old)]).await;
    let error = manager(&supabase.uri()).status().await.unwrap_err();
    assert!(matches!(
        error,
        ctx0_schema::Error::RpcOutdated {
            installed: Some(0),
            needed: ctx0_schema::RPC_VERSION,
            ..
        }
    ));
}

#[tokio::test]
async fn a_postgrest_that_would_cut_long_migrations_short_is_refused_at_once() {
    for (server, refused) in [
        ("postgrest/11.2.2", true),
        ("postgrest/9.0.1 (2aee0a7)", true),
        ("postgrest/12.2.12", false),
        ("postgrest/16.0", false),
        ("postgrest/", false),
        ("nginx/1.2", false),
    ] {
        let supabase = Supabase::start().await;
        let answer = json_answer(&ledger_to(1)).insert_header("Server", server);
        supabase.on("GET", LEDGER, [answer]).await;
        let result = manager(&supabase.uri()).check_for_updates().await;
        let too_old = matches!(result, Err(ctx0_schema::Error::PostgrestTooOld { .. }));
        assert_eq!(too_old, refused, "{server}");
        assert_eq!(supabase.requests().await.len(), 1);
    }
}

/// All headers but the address and what HTTP itself needs, by name.
fn headers(request: &Request) -> Vec<(&str, &str)> {
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    headers
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    Some(request.headers.get(name)?.to_str().unwrap())
}

/// A PostgREST whose `db-max-rows` is `at_once`, with a ledger up to version `last`.
async fn in_pages(last: u32, at_once: usize) -> MockServer {
    let page = move |request: &Request| {
        let mut filters = request
            .url
            .query_pairs()
            .filter(|(name, _)| name == "version");
        let above = filters.next().map_or(0, |(_, filter)| {
            filter.strip_prefix("gt.").unwrap().parse().unwrap()
        });
        let rows: Vec<Value> = (above + 1..=last).take(at_once).map(row).collect();
        let total = (last - above) as usize;
        let status = if rows.len() < total { 206 } else { 200 };
        let range = format!("0-{}/{total}", rows.len() - 1);
        ResponseTemplate::new(status)
            .insert_header("Content-Range", range)
            .set_body_json(rows)
    };
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(page).mount(&server).await;
    server
}

/// A row as a person would write it.
fn row(version: impl Into<i64>) -> Value {
    json!({
        "version": version.into(), "migration_name": "by hand", "description": null,
        "applied_at": null, "applied_by": null,
    })
}

/// A copy that starts after the user cancelled would run without anybody waiting for it.
#[tokio::test]
async fn a_cancelled_preview_is_not_requested_again() {
    const REHEARSE: &str = "/rest/v1/rpc/ctx0_rehearse_migrations";
    const CANCEL: &str = "/rest/v1/rpc/ctx0_cancel_preview";
    let supabase = Supabase::at_version(1).await;
    let down = refusal(
        503,
        "57P01",
        "terminating connection due to administrator command",
    );
    supabase.on("POST", REHEARSE, [down]).await;
    let not_running = json!({"rpc_version": RPC_VERSION, "outcome": "not_running"});
    supabase
        .on("POST", CANCEL, [json_answer(&not_running)])
        .await;
    let rehearsals = async || {
        let requests = supabase.requests().await;
        requests
            .iter()
            .filter(|request| request.url.path() == REHEARSE)
            .count()
    };

    let manager = manager(&supabase.uri());
    let cancelled = |preview: Result<Preview, Error>| {
        let reason = Unfinished::Cancelled;
        preview.unwrap().versions[0].state == PreviewState::NotFinished { reason }
    };
    let request = manager.preview();
    let canceller = request.canceller();
    let cancel = async {
        while rehearsals().await == 0 {
            tokio::task::yield_now().await;
        }
        canceller.cancel().await.unwrap();
    };
    let (preview, ()) = tokio::join!(request, cancel);
    assert!(cancelled(preview));
    assert_eq!(rehearsals().await, 1);

    let request = manager.preview();
    request.canceller().cancel().await.unwrap();
    assert!(cancelled(request.await));
    assert_eq!(rehearsals().await, 1);
}

/// The database's own clock starts when the request arrives, which may be much later.
#[tokio::test]
async fn a_preview_that_is_cancelled_because_its_budget_is_used_was_too_slow() {
    let supabase = Supabase::at_version(1).await;
    let stopped = json!({
        "rpc_version": RPC_VERSION, "outcome": "rehearsed", "current_version": 1, "cancelled": true,
        "versions": [{"outcome": "stopped", "action": "apply", "version": 2, "name": "002_tags"}],
        "tables": [], "sequences": [],
    });
    let late = json_answer(&stopped).set_delay(Duration::from_secs(3));
    let rehearse = "/rest/v1/rpc/ctx0_rehearse_migrations";
    supabase.on("POST", rehearse, [late]).await;
    let cancelled = json!({"rpc_version": RPC_VERSION, "outcome": "cancelled"});
    let cancel = "/rest/v1/rpc/ctx0_cancel_preview";
    supabase.on("POST", cancel, [json_answer(&cancelled)]).await;
    let manager = manager(&supabase.uri());
    let preview = manager.preview().budget(Duration::from_millis(1)).await;
    let reason = Unfinished::BudgetUsed;
    let state = preview.unwrap().versions[0].state;
    assert_eq!(state, PreviewState::NotFinished { reason });
}
