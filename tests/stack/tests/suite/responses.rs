//! Answers against those of a real PostgREST.

use ctx0_stack::{SECRET_KEY, Stack};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::client::{call, outcome, request};

/// What PostgREST 14.12 answered to the same requests on the same schema.
const MEASURED: &str = include_str!("../../../fixtures/responses.json");

const SCHEMA: &str = "
    create table todos (
        id serial primary key,
        task text unique,
        done boolean not null default false
    );
    insert into todos (task) values ('one'), ('two');
    create function add_them(a int, b int) returns int language sql as 'select a + b';
    create function locked() returns int language sql as 'select 1';
    revoke execute on function locked() from public, anon, authenticated;
    create function raised(code text, said text, detail text, hint text) returns void
    language plpgsql as $$ begin
        raise exception using errcode = code, message = said, detail = detail, hint = hint;
    end $$;
    create function raised(code text) returns void language plpgsql as $$ begin
        raise exception using errcode = code, message = 'raised ' || code;
    end $$;
    create function nothing() returns void language sql as '';
    create function arguments(words text[], body jsonb, note text default 'none')
    returns jsonb language sql as $$
        select jsonb_build_object('words', words, 'body', body, 'note', note)
    $$;
    create function makes_a_table(called text) returns jsonb
    language plpgsql security definer as $$ begin
        execute format('create table %I (id int)', called);
        notify pgrst, 'reload schema';
        return '{}';
    end $$;";

async fn stack() -> Stack {
    let stack = Stack::postgres().await.unwrap();
    prepare(&stack).await;
    stack
}

async fn prepare(stack: &Stack) {
    stack.sql(SCHEMA).await.unwrap();
    stack.reload_schema().await.unwrap();
}

/// The measured cases that the stack claims to answer alike: their name, the
/// request, and the role of its token.
fn claimed() -> Vec<(&'static str, Method, &'static str, &'static str, Value)> {
    let (get, post) = (Method::GET, Method::POST);
    let call = |case, function, role, arguments| (case, post.clone(), function, role, arguments);
    let read = |case, path| (case, get.clone(), path, "service_role", Value::Null);
    let service = "service_role";
    vec![
        read("GET a table (service_role)", "/todos?select=*"),
        (
            "GET a table (anon, no JWT)",
            get.clone(),
            "/todos?select=*",
            "",
            Value::Null,
        ),
        read("missing table", "/nope"),
        read("missing table, near name (hint)", "/todo"),
        call(
            "POST rpc with arguments",
            "/rpc/add_them",
            service,
            json!({"a": 1, "b": 2}),
        ),
        call(
            "POST rpc that raises custom SQLSTATE QX001 with detail+hint",
            "/rpc/raised",
            service,
            json!({
                "code": "QX001",
                "said": "queue does not exist",
                "detail": "the detail",
                "hint": "the hint",
            }),
        ),
        call(
            "POST rpc that raises sqlstate PT418",
            "/rpc/raised",
            service,
            json!({"code": "PT418", "said": "teapot", "detail": "d", "hint": "h"}),
        ),
        call(
            "missing function, no arguments",
            "/rpc/nope",
            service,
            json!({}),
        ),
        call(
            "missing function, with arguments",
            "/rpc/nope",
            service,
            json!({"x": 1}),
        ),
        call(
            "function exists, wrong argument names",
            "/rpc/add_them",
            service,
            json!({"a": 1, "c": 2}),
        ),
        call("void rpc ok", "/rpc/nothing", service, json!({})),
        call(
            "unique violation",
            "/todos",
            service,
            json!({"task": "one"}),
        ),
        call(
            "execute denied, anon (no JWT)",
            "/rpc/locked",
            "",
            json!({}),
        ),
        call(
            "execute denied, authenticated",
            "/rpc/locked",
            "authenticated",
            json!({}),
        ),
        call(
            "execute allowed, service_role",
            "/rpc/locked",
            service,
            json!({}),
        ),
    ]
}

#[tokio::test]
async fn it_answers_as_postgrest_was_measured_to() {
    compare_claimed(&stack().await).await;
}

#[tokio::test]
async fn the_embedded_database_answers_no_differently() {
    let stack = Stack::embedded().await.unwrap();
    prepare(&stack).await;
    compare_claimed(&stack).await;
}

async fn compare_claimed(stack: &Stack) {
    for (case, method, path, role, arguments) in claimed() {
        let key = match role {
            "" => String::new(),
            role => stack.key(role),
        };
        let mut request = request(stack, method, path, &key);
        if arguments != Value::Null {
            request = request
                .header("content-type", "application/json")
                .body(arguments.to_string());
        }
        compare(case, request).await;
    }
}

#[tokio::test]
async fn every_sqlstate_has_postgrests_status() {
    let stack = stack().await;
    let mut seen = 0;
    for case in measured() {
        let case = case["case"].as_str().unwrap();
        if let Some(raised) = case.strip_prefix("SQLSTATE ") {
            let code = raised.split(' ').next().unwrap();
            let request = call(&stack, "service_role", "raised", json!({"code": code}));
            compare(case, request).await;
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} cases");
}

#[tokio::test]
async fn requests_and_tokens_that_are_wrong_are_refused_as_measured() {
    let stack = stack().await;
    let key = stack.service_key().to_owned();
    let get = |path: &str, key: &str| request(&stack, Method::GET, path, key);

    compare("bad JWT signature", get("/todos", &format!("{key}x"))).await;
    compare(
        "expired JWT",
        get("/todos", &stack.expired_key("service_role")),
    )
    .await;
    compare(
        "single object wanted, 0 or many rows",
        get("/todos", &key).header("accept", "application/vnd.pgrst.object+json"),
    )
    .await;
    compare(
        "unknown schema (Content-Profile)",
        call(&stack, "service_role", "add_them", json!({})).header("content-profile", "private"),
    )
    .await;
    compare(
        "invalid JSON body",
        call(&stack, "service_role", "add_them", json!({})).body("{"),
    )
    .await;

    // PostgREST's hint is the database's, which is not asked here.
    let (status, body) = outcome(get("/todos?select=id,nope", &key)).await;
    assert_eq!((status, &body["code"]), (400, &json!("42703")));
    assert_eq!(body["message"], "column todos.nope does not exist");
}

#[tokio::test]
async fn the_gateway_wants_a_key_that_it_knows() {
    let stack = stack().await;
    let url = format!("{}/rest/v1/rpc/locked", stack.url());
    let send = |key: Option<&str>| {
        let request = reqwest::Client::new()
            .post(&url)
            .header("content-type", "application/json")
            .body("{}");
        match key {
            Some(key) => request.header("apikey", key),
            None => request,
        }
    };
    let (status, body) = outcome(send(None)).await;
    assert_eq!(
        (status, body),
        (401, json!({"message": "No API key found in request"}))
    );
    let (status, body) = outcome(send(Some("sb_secret_unknown"))).await;
    assert_eq!(
        (status, body),
        (
            401,
            json!({"message": "Invalid authentication credentials"})
        )
    );

    // A legacy key lets in, and says who one is only as a token.
    let (status, body) = outcome(send(Some(stack.service_key()))).await;
    assert_eq!((status, &body["code"]), (401, &json!("42501")));
    assert_eq!(outcome(send(Some(SECRET_KEY))).await, (200, json!(1)));

    let (status, _) = outcome(reqwest::Client::new().get(stack.url())).await;
    assert_eq!(status, 404, "nothing but REST is there");
}

#[tokio::test]
async fn arguments_arrive_as_they_were_sent() {
    let stack = stack().await;
    for (sent, received) in [
        (
            json!({
                "words": ["a", "b,c", "\"d\" {e}", "back\\slash", "null", "", null],
                "body": {"list": [1, 2.50, null], "text": "ü"},
                "note": "a 'quoted' note",
            }),
            json!({
                "words": ["a", "b,c", "\"d\" {e}", "back\\slash", "null", "", null],
                "body": {"list": [1, 2.50, null], "text": "ü"},
                "note": "a 'quoted' note",
            }),
        ),
        (
            json!({"words": [], "body": [null], "note": null}),
            json!({"words": [], "body": [null], "note": null}),
        ),
        (
            json!({"words": null, "body": null}),
            json!({"words": null, "body": null, "note": "none"}),
        ),
    ] {
        let request = call(&stack, "service_role", "arguments", sent);
        assert_eq!(outcome(request).await, (200, received));
    }
}

#[tokio::test]
async fn a_large_body_goes_through() {
    let stack = stack().await;
    let note = "ö".repeat(6 * 1024 * 1024);
    let sent = json!({"words": [], "body": {}, "note": note});
    let (status, body) = outcome(call(&stack, "service_role", "arguments", sent)).await;
    assert_eq!((status, body["note"] == note), (200, true));
}

#[tokio::test]
async fn a_table_comes_in_pages_of_a_thousand_rows() {
    let stack = stack().await;
    stack
        .sql("insert into todos (task) select 'task ' || n from generate_series(3, 2500) n")
        .await
        .unwrap();
    let path = "/todos?select=*&order=id.asc&id=gt.1000";
    let request = request(&stack, Method::GET, path, stack.service_key());
    let response = request
        .header("prefer", "count=exact")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 206);
    assert_eq!(header(response.headers(), "content-range"), "0-999/1500");
    let rows: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(rows[0]["id"], 1001);
    assert_eq!(rows[999]["id"], 2000);
}

#[tokio::test]
async fn a_notification_makes_a_new_table_known() {
    let stack = stack().await;
    let request = call(
        &stack,
        "service_role",
        "makes_a_table",
        json!({"called": "fresh"}),
    );
    assert_eq!(outcome(request).await, (200, json!({})));
    loop {
        let read = crate::client::request(&stack, Method::GET, "/fresh", stack.service_key());
        match outcome(read).await {
            (404, body) => assert_eq!(body["code"], "PGRST205"),
            found => break assert_eq!(found, (200, json!([]))),
        }
    }
}

/// What is read once is kept for other stacks, where the same was done: as many tables, made in as
/// many transactions, are not the same.
#[tokio::test]
async fn stacks_that_differ_only_in_a_name_are_not_taken_for_one_another() {
    for (made, other) in [("ours", "your"), ("your", "ours"), ("ours", "your")] {
        let stack = Stack::postgres().await.unwrap();
        stack
            .sql(&format!("create table {made} (id int)"))
            .await
            .unwrap();
        stack.reload_schema().await.unwrap();
        for (name, status) in [(made, 200), (other, 404)] {
            let read = request(
                &stack,
                Method::GET,
                &format!("/{name}"),
                stack.service_key(),
            );
            assert_eq!(outcome(read).await.0, status, "{name}");
        }
    }
}

#[tokio::test]
async fn a_table_that_nobody_may_read_is_known_all_the_same() {
    let stack = stack().await;
    stack
        .sql(
            "create table hidden (id int);
             revoke all on hidden from anon, authenticated, service_role",
        )
        .await
        .unwrap();
    stack.reload_schema().await.unwrap();
    for (key, expected) in [
        (stack.service_key().to_owned(), 403),
        (stack.key("anon"), 401),
    ] {
        let (status, body) = outcome(request(&stack, Method::GET, "/hidden", &key)).await;
        assert_eq!((status, &body["code"]), (expected, &json!("42501")));
    }
}

/// Sends a request and compares its answer with the measured one.
async fn compare(case: &str, request: reqwest::RequestBuilder) {
    let measured = measured();
    let measured = measured
        .iter()
        .find(|measured| measured["case"] == case)
        .unwrap_or_else(|| panic!("no measured case is called {case}"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), measured["status"], "{case}");
    for name in [
        "content-range",
        "content-type",
        "proxy-status",
        "retry-after",
        "www-authenticate",
    ] {
        let expected = measured["headers"]
            .as_object()
            .unwrap()
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.as_str().unwrap());
        assert_eq!(header(response.headers(), name), expected, "{case}: {name}");
    }
    let body = response.bytes().await.unwrap();
    let expected = measured["body"].as_str().unwrap();
    let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap_or_default();
    assert_eq!(parse(&body), parse(expected.as_bytes()), "{case}");
}

fn measured() -> Vec<Value> {
    serde_json::from_str(MEASURED).unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
