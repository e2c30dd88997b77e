//! The key goes to the server in its two headers, and nowhere else.

use std::{
    error::Error,
    fmt::Debug,
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use ctx0_schema::{Config, SchemaVersionManager};
use ctx0_stack::Port;
use serde_json::{Value, json};
use tracing::{
    Dispatch,
    level_filters::LevelFilter,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::{fmt::MakeWriter, util::SubscriberInitExt};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    support::{
        APPLY, LEDGER, Parrot, SECRET_KEY, Supabase, build, every_text, http, json_answer,
        legacy_key, manager, migrations, once, refusal,
    },
    tls,
};

#[test]
fn the_key_is_not_in_the_debug_text_of_anything() {
    for key in [SECRET_KEY.to_owned(), legacy_key()] {
        let builder = Config::builder("http://127.0.0.1:1", &key);
        let mut texts = format!("{builder:?} {builder:#?}");
        let config = builder.build().unwrap();
        let manager = SchemaVersionManager::new(&config, migrations()).unwrap();
        texts += &format!("{config:?} {manager:?} {:?}", manager.apply_all_pending());
        assert_silent(&texts, &key);
    }
}

#[test]
fn a_key_that_is_refused_is_not_repeated() {
    for key in [
        "sb_publishable_hush7QkXmZpw3Vt9",
        "sb_secret_hush7Qk XmZpw3Vt9",
        "sb_secret_hush7Qk\nXmZpw3Vt9",
        "hush7QkXmZpw3Vt9",
        "sbp_hush7QkXmZpw3Vt9",
    ] {
        let error = Config::new("https://abc.supabase.co", key).unwrap_err();
        assert!(!every_text(&error).contains("hush"), "{key}: {error:?}");
    }
}

#[tokio::test]
async fn the_key_is_neither_logged_nor_repeated_in_any_error_over_http() {
    for key in [SECRET_KEY.to_owned(), legacy_key()] {
        let log = Log::default();
        let _logging = log.record();
        let errors = run_into_every_error(&key).await;
        for error in &errors {
            assert_silent(&every_text(error), &key);
        }
        let log = log.text();
        assert_silent(&log, &key);
        // Were these not there, the log would prove nothing.
        for part in [
            "ctx0_schema::transport",
            "reqwest",
            "no response",
            "status=503",
        ] {
            assert!(log.contains(part), "{part}");
        }
    }
}

#[tokio::test]
async fn the_key_is_neither_logged_nor_repeated_in_any_error_over_https() {
    for (protocol, logged) in [("http/1.1", "rustls"), ("h2", "h2::")] {
        for key in [SECRET_KEY.to_owned(), legacy_key()] {
            let log = Log::default();
            let _logging = log.record();
            let authority = tls::Authority::new();
            let server = authority.serve("localhost", protocol).await;
            let builder = Config::builder(&server.url, &key);
            let trusting = build(builder.clone().ca_file(authority.file()));
            trusting.check_for_updates().await.unwrap();
            let error = build(builder).check_for_updates().await.unwrap_err();
            assert_silent(&every_text(&error), &key);
            let log = log.text();
            assert_silent(&log, &key);
            assert!(log.contains(logged), "{logged}");
        }
    }
}

#[tokio::test]
async fn a_server_that_repeats_the_key_does_not_bring_it_into_an_error() {
    for key in [SECRET_KEY.to_owned(), legacy_key()] {
        let body = |body: Value| json_answer(&body);
        let refused = |status, code| {
            let body = json!({"code": code, "message": key, "details": key, "hint": key});
            ResponseTemplate::new(status).set_body_json(body)
        };
        let text = |status, text: String| ResponseTemplate::new(status).set_body_string(text);
        for answer in [
            ResponseTemplate::new(302).insert_header(
                "Location",
                format!("https://other.example/{key}?apikey={key}"),
            ),
            body(json!([])).insert_header("Server", format!("postgrest/9.{key}")),
            body(json!(key)),
            body(json!([{"version": key}])),
            body(
                json!([{"version": 1, "migration_name": key, "description": key, "applied_at": key, "applied_by": key}]),
            ),
            body(json!({"rpc_version": 3, "server_version": key, "owner": 3})),
            body(json!({"outcome": key})),
            body(json!({"outcome": "conflict", "reason": "gap", "message": key})),
            body(
                json!({"outcome": "failed", "statement": 1, "sqlstate": key, "message": key, "detail": key, "hint": key, "context": key, "retryable": false}),
            ),
            text(200, key.clone()),
            text(404, format!("no {key} here")),
            text(502, format!("<p>apikey: {key}</p>")),
            text(403, format!("<title>{}</title>", &key[..key.len() - 2])),
            refused(401, "PGRST301"),
            refused(403, "42501"),
            refused(406, "PGRST106"),
            refused(500, "57014"),
            refused(503, "PGRST002"),
            refused(400, &key),
        ] {
            let log = Log::default();
            let _logging = log.record();
            let everywhere = Supabase::start().await;
            Mock::given(any())
                .respond_with(answer.clone())
                .mount(&everywhere.0)
                .await;
            let on_apply = Supabase::at_version(0).await;
            on_apply.on("POST", APPLY, [answer]).await;
            let manager = asking_once(&everywhere.uri(), &key);
            let applying = asking_once(&on_apply.uri(), &key);
            let texts = [
                text_of(manager.check_for_updates().await),
                text_of(manager.history().await),
                text_of(manager.status().await),
                text_of(applying.apply_all_pending().await),
            ]
            .concat();
            assert_silent(&texts, &key);
            assert_silent(&log.text(), &key);
        }
    }
}

#[tokio::test]
async fn no_redirect_is_followed_and_the_other_host_hears_nothing() {
    let other = MockServer::start().await;
    Mock::given(any())
        .respond_with(json_answer(&json!([])))
        .mount(&other)
        .await;
    for status in [300, 301, 302, 303, 305, 307, 308] {
        let supabase = Supabase::start().await;
        let elsewhere = format!("{}{LEDGER}?token=abc#top", other.uri());
        let redirect = ResponseTemplate::new(status).insert_header("Location", elsewhere);
        Mock::given(any())
            .respond_with(redirect)
            .mount(&supabase.0)
            .await;
        let manager = manager(&supabase.uri());
        for error in [
            manager.check_for_updates().await.unwrap_err(),
            manager.status().await.unwrap_err(),
            manager.apply_all_pending().await.unwrap_err().error,
        ] {
            let ctx0_schema::Error::Redirected { location, .. } = &error else {
                panic!("{status}: {error:?}")
            };
            assert_eq!(
                location.as_deref(),
                Some(format!("{}{LEDGER}", other.uri()).as_str()),
                "without its query"
            );
            assert!(!error.is_retryable());
        }
        assert_eq!(supabase.requests().await.len(), 3);
    }
    assert!(other.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_of_the_apply_call_is_not_followed_either() {
    let supabase = Supabase::at_version(0).await;
    let redirect = ResponseTemplate::new(308).insert_header("Location", "/elsewhere");
    supabase.on("POST", APPLY, [redirect]).await;
    let error = manager(&supabase.uri())
        .apply_all_pending()
        .batch(false)
        .await
        .unwrap_err()
        .error;
    assert!(
        matches!(&error, ctx0_schema::Error::Blocked { excerpt, .. } if excerpt == "a redirect to /elsewhere"),
        "{error:?}"
    );
    let paths = supabase.requests().await;
    assert!(
        paths
            .iter()
            .all(|request| request.url.path() != "/elsewhere")
    );
}

/// Runs into as many errors as there are, and through every success.
async fn run_into_every_error(key: &str) -> Vec<ctx0_schema::Error> {
    let mut errors = Vec::new();

    let supabase = Supabase::at_version(0).await;
    supabase
        .on_apply([json!({"outcome": "applied", "execution_ms": 1})])
        .await;
    let manager = build(Config::builder(supabase.uri(), key));
    manager.check_for_updates().await.unwrap();
    manager.apply_all_pending().batch(false).await.unwrap();

    let failed = json!({"outcome": "failed", "statement": 1, "sqlstate": "P0001", "message": "no", "retryable": false});
    for answer in [
        json_answer(&failed),
        json_answer(&json!({"outcome": "locked", "held_by": "change"})),
        json_answer(&json!({"outcome": "conflict", "reason": "gap", "message": "no"})),
        json_answer(&json!({"outcome": "exploded"})),
        ResponseTemplate::new(503).set_body_string("<p>busy</p>"),
        json_answer(&json!([])).set_delay(Duration::from_secs(60)),
        ResponseTemplate::new(401),
        ResponseTemplate::new(403),
        ResponseTemplate::new(404),
        ResponseTemplate::new(413),
        ResponseTemplate::new(429),
        ResponseTemplate::new(540),
        ResponseTemplate::new(302).insert_header("Location", "https://other.example"),
        refusal(404, "PGRST202", "no function"),
        refusal(406, "PGRST106", "no schema"),
        refusal(504, "PGRST003", "no connection"),
        refusal(500, "57014", "cancelled"),
        refusal(400, "P0001", "no"),
    ] {
        let supabase = Supabase::at_version(0).await;
        supabase.on("POST", APPLY, [answer]).await;
        let manager = asking_once(&supabase.uri(), key);
        let error = manager.apply_all_pending().batch(false).await.unwrap_err();
        assert_silent(&every_text(&error), key);
        errors.push(error.error);
    }

    for bytes in [
        b"".to_vec(),
        b"not HTTP at all\r\n\r\n".to_vec(),
        http("200 OK", &[], "[{"),
        http("200 OK", &[], "hello"),
        http("200 OK", &["Server: postgrest/9.0"], "[]"),
    ] {
        let server = Parrot::saying([bytes]).await;
        errors.push(
            asking_once(&server.url, key)
                .current_version()
                .await
                .unwrap_err(),
        );
    }

    let nobody = Port::reserve().unwrap();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://127.0.0.1:{}", nobody.number());
        errors.push(asking_once(&url, key).current_version().await.unwrap_err());
    }
    errors
}

/// Everything that a log or a person can get to see of a result.
fn text_of<T: Debug, E: Error + 'static>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => every_text(&error),
    }
}

fn asking_once(url: &str, key: &str) -> SchemaVersionManager {
    build(once(Config::builder(url, key)))
}

/// Neither the key nor a part of it that would do any good.
fn assert_silent(text: &str, key: &str) {
    let parts = key.split('.').filter(|part| !part.starts_with("eyJhbGci"));
    for part in parts {
        if let Some(at) = text.find(part) {
            let end = text.len().min(at + part.len() + 100);
            panic!(
                "{}",
                String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..end])
            );
        }
    }
}

/// Never used. While a second subscriber is alive, tracing asks all of them about an event that it meets
/// for the first time. With only one it asks that of the thread, which another test does not have.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// Everything that any crate says on this thread, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn record(&self) -> DefaultGuard {
        LazyLock::force(&SECOND);
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish()
            .set_default()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
