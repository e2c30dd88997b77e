use bytes::Bytes;
use fastrand::Rng;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::manifest::Version;

const LEDGER: Request = Request::Rows {
    table: "ctx0_schema_versions",
    above: Version::ZERO,
};
const APPLY: Request = Request::Function {
    name: "ctx0_apply_migration",
    arguments: Bytes::new(),
    attempt: None,
};

fn response(status: u16, body: impl Into<String>) -> HttpResponse {
    HttpResponse {
        status,
        body: body.into(),
        ..HttpResponse::default()
    }
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    response(status, json!({"code": code, "message": "said"}).to_string())
}

/// The error's variant, what the request did, and whether it is made again.
fn error_of(
    request: &Request,
    response: Result<HttpResponse, TransportError>,
) -> (String, Effect, Retry) {
    let error = classify(request, response).expect_err("an error");
    let text = format!("{:?}", error.error);
    let variant = text.chars().take_while(char::is_ascii_alphabetic);
    (variant.collect(), error.effect, error.retry)
}

#[test]
fn functions_that_are_being_replaced_are_called_again() {
    for (code, message) in [
        ("XX000", "cache lookup failed for function 16481"),
        ("XX000", "could not open relation with OID 16521"),
        ("XX000", "function in FROM has unsupported return type"),
        ("42704", "type with OID 16521 does not exist"),
    ] {
        let body = json!({"code": code, "message": message}).to_string();
        assert_eq!(
            error_of(&APPLY, Ok(response(500, body))),
            ("RpcNotInstalled".to_owned(), Effect::None, Retry::Yes),
            "{message}"
        );
    }
}

#[test]
fn a_code_weighs_more_than_the_status() {
    for (code, variant, effect, retry) in [
        ("PGRST000", "DatabaseUnavailable", Effect::None, Retry::Yes),
        (
            "PGRST001",
            "DatabaseUnavailable",
            Effect::Interrupted,
            Retry::Yes,
        ),
        ("PGRST002", "DatabaseUnavailable", Effect::None, Retry::Yes),
        ("PGRST003", "PoolExhausted", Effect::None, Retry::Yes),
        ("PGRST106", "SchemaNotExposed", Effect::None, Retry::No),
        ("PGRST202", "RpcNotInstalled", Effect::None, Retry::Soon),
        ("PGRST203", "RpcNotInstalled", Effect::None, Retry::Soon),
        ("PGRST300", "KeyRejected", Effect::None, Retry::No),
        ("PGRST301", "KeyRejected", Effect::None, Retry::No),
        ("PGRST302", "KeyRejected", Effect::None, Retry::No),
        ("PGRST303", "KeyRejected", Effect::None, Retry::No),
        ("42883", "RpcNotInstalled", Effect::None, Retry::Soon),
        ("42P01", "RpcNotInstalled", Effect::None, Retry::Soon),
        ("42703", "RpcNotInstalled", Effect::None, Retry::Soon),
        ("42501", "PermissionDenied", Effect::None, Retry::No),
        ("28000", "PermissionDenied", Effect::None, Retry::No),
        ("28P01", "PermissionDenied", Effect::None, Retry::No),
        ("57014", "Cancelled", Effect::None, Retry::Yes),
        ("55P03", "Cancelled", Effect::None, Retry::Yes),
        ("40001", "Cancelled", Effect::None, Retry::Yes),
        ("40P01", "Cancelled", Effect::None, Retry::Yes),
        ("25P04", "Cancelled", Effect::None, Retry::No),
        (
            "57P01",
            "DatabaseUnavailable",
            Effect::Interrupted,
            Retry::Yes,
        ),
        (
            "57P02",
            "DatabaseUnavailable",
            Effect::Interrupted,
            Retry::Yes,
        ),
        ("57P03", "DatabaseUnavailable", Effect::None, Retry::Yes),
        (
            "57P05",
            "DatabaseUnavailable",
            Effect::Interrupted,
            Retry::Yes,
        ),
        ("08006", "DatabaseUnavailable", Effect::Unknown, Retry::Yes),
        ("53100", "DatabaseUnavailable", Effect::Unknown, Retry::Yes),
        ("53300", "DatabaseUnavailable", Effect::None, Retry::Yes),
        ("PT503", "Raised", Effect::None, Retry::No),
        ("P0001", "Raised", Effect::None, Retry::No),
        ("QX001", "Raised", Effect::None, Retry::No),
        ("25006", "ReadOnly", Effect::None, Retry::No),
        ("26000", "DatabaseUnavailable", Effect::None, Retry::Soon),
        ("42P05", "DatabaseUnavailable", Effect::None, Retry::Soon),
        ("XX000", "UnexpectedResponse", Effect::None, Retry::Soon),
        ("PGRSTX00", "UnexpectedResponse", Effect::None, Retry::No),
    ] {
        for status in [302, 400, 401, 404, 429, 500, 503] {
            let reported = error_of(&APPLY, Ok(refusal(status, code)));
            let wanted = (variant.to_owned(), effect, retry);
            assert_eq!(reported, wanted, "{status} {code}");
        }
    }
}

#[test]
fn without_a_code_of_postgrest_the_status_decides() {
    for (status, variant, effect, retry) in [
        (301, "Redirected", Effect::None, Retry::No),
        (400, "NotSupabase", Effect::None, Retry::No),
        (401, "KeyRejected", Effect::None, Retry::No),
        (402, "ProjectRestricted", Effect::None, Retry::No),
        (404, "NotSupabase", Effect::None, Retry::No),
        (408, "Gateway", Effect::Unknown, Retry::Yes),
        (413, "RequestTooLarge", Effect::None, Retry::No),
        (425, "Gateway", Effect::Unknown, Retry::Yes),
        (429, "RateLimited", Effect::None, Retry::Yes),
        (500, "Gateway", Effect::Unknown, Retry::Yes),
        (502, "Gateway", Effect::Unknown, Retry::Yes),
        (504, "Gateway", Effect::Unknown, Retry::Yes),
        (524, "Gateway", Effect::Unknown, Retry::Yes),
        (540, "ProjectPaused", Effect::None, Retry::No),
        (999, "Gateway", Effect::Unknown, Retry::Yes),
    ] {
        for body in [
            "upstream said no",
            "<html></html>",
            "null",
            "[]",
            r#"{"message":"said"}"#,
            r#"{"code":503,"message":"said"}"#,
            r#"{"code":"UPSTREAM_TIMEOUT","message":"said"}"#,
            r#"{"code":"oops!","message":"said"}"#,
            r#"{"code":"","message":"said"}"#,
        ] {
            let reported = error_of(&APPLY, Ok(response(status, body)));
            let wanted = (variant.to_owned(), effect, retry);
            assert_eq!(reported, wanted, "{status} {body}");
        }
    }
}

#[test]
fn a_transport_error_says_whether_anything_was_sent() {
    let timeout = Duration::from_secs(1);
    for (cause, variant, effect, retry) in [
        (
            TransportError::Unreachable(None, "x".into()),
            "Unreachable",
            Effect::None,
            Retry::Yes,
        ),
        (
            TransportError::Tls("x".into()),
            "Tls",
            Effect::None,
            Retry::No,
        ),
        (
            TransportError::Timeout(timeout),
            "Timeout",
            Effect::Unknown,
            Retry::Yes,
        ),
        (
            TransportError::Lost("x".into()),
            "ConnectionLost",
            Effect::Unknown,
            Retry::Yes,
        ),
        (
            TransportError::TooLong,
            "UnexpectedResponse",
            Effect::Unknown,
            Retry::Yes,
        ),
    ] {
        let reported = error_of(&APPLY, Err(cause));
        assert_eq!(reported, (variant.to_owned(), effect, retry));
    }
}

#[test]
fn a_delay_that_the_server_names_goes_with_what_may_pass() {
    let delay = Duration::from_secs(7);
    let named = |response: HttpResponse| HttpResponse {
        retry_after: Some(delay),
        ..response
    };
    for response in [
        refusal(503, "PGRST002"),
        refusal(500, "57014"),
        response(429, ""),
    ] {
        let (_, _, retry) = error_of(&LEDGER, Ok(named(response)));
        assert_eq!(retry, Retry::After(delay));
    }
    let (_, _, retry) = error_of(&LEDGER, Ok(named(response(401, ""))));
    assert_eq!(retry, Retry::No);
}

#[test]
fn a_missing_ledger_is_known_in_every_way_that_it_is_said() {
    let marked = |body: &str| HttpResponse {
        server: Some("postgrest/12.2.12".to_owned()),
        ..response(404, body)
    };
    for response in [
        refusal(404, "PGRST205"),
        refusal(404, "42P01"),
        marked(""),
        marked(" \n"),
    ] {
        assert_eq!(
            classify(&LEDGER, Ok(response)).ok(),
            Some(Response::NoTable)
        );
    }
    let (variant, _, retry) = error_of(&APPLY, Ok(marked("")));
    assert_eq!((variant.as_str(), retry), ("RpcNotInstalled", Retry::Soon));
}

#[test]
fn a_success_that_is_no_answer_to_the_request_is_not_supabase() {
    for (request, body) in [
        (&LEDGER, r#"{"status":"ok"}"#),
        (&LEDGER, r#"[{"id":1,"name":"x"}]"#),
        (&LEDGER, "[1]"),
        (&LEDGER, "null"),
        (&APPLY, "[]"),
        (&APPLY, "true"),
        (&APPLY, "null"),
    ] {
        let (variant, _, retry) = error_of(request, Ok(response(200, body)));
        assert_eq!(
            (variant.as_str(), retry),
            ("NotSupabase", Retry::No),
            "{body}"
        );
    }
}

#[test]
fn a_page_or_a_redirect_for_a_function_is_a_firewalls_where_rows_were_read() {
    let page = "<html><title>Not Acceptable!</title></html>";
    let rejected = "<html><head><title>Request Rejected</title></head></html>";
    let generated = "This error was generated by Mod_Security.";
    for (status, body, location, after_reads, at_once) in [
        (200, page, None, "Blocked", "NotSupabase"),
        (200, rejected, None, "Blocked", "Blocked"),
        (405, page, None, "Blocked", "NotSupabase"),
        (406, page, None, "Blocked", "NotSupabase"),
        (406, generated, None, "Blocked", "Blocked"),
        (404, "no such page", None, "NotSupabase", "NotSupabase"),
        (302, "", Some("/blocked"), "Blocked", "Redirected"),
        (302, "", None, "Blocked", "Redirected"),
        (
            308,
            "",
            Some("https://x.example/rest/v1/rpc/ctx0_apply_migration"),
            "Redirected",
            "Redirected",
        ),
        (401, page, None, "KeyRejected", "KeyRejected"),
        (429, page, None, "RateLimited", "RateLimited"),
        (503, page, None, "Gateway", "Gateway"),
    ] {
        for (reads_pass, variant) in [(true, after_reads), (false, at_once)] {
            let response = HttpResponse {
                location: location.map(str::to_owned),
                reads_pass,
                ..response(status, body)
            };
            let (reported, effect, _) = error_of(&APPLY, Ok(response));
            assert_eq!(reported, variant, "{status} {body} {reads_pass}");
            assert!(reported != "Blocked" || effect == Effect::None);
        }
    }
    // Nothing but rows can show that this is not another server's page.
    let read_again = HttpResponse {
        reads_pass: true,
        ..response(404, page)
    };
    let (reported, _, _) = error_of(&LEDGER, Ok(read_again));
    assert_eq!(reported, "NotSupabase");
}

#[test]
fn a_redirect_is_another_address_or_a_login() {
    for (location, leaves_host, variant) in [
        (
            Some("https://b.example/rest/v1/ctx0_schema_versions"),
            true,
            "Redirected",
        ),
        (Some("/api/"), false, "Redirected"),
        (Some("https://sso.example/start"), true, "LoginInFront"),
        (Some("/Login"), false, "LoginInFront"),
        (Some("/oauth2/start"), false, "LoginInFront"),
        (Some(" "), false, "Redirected"),
        (None, false, "Redirected"),
    ] {
        let response = HttpResponse {
            location: location.map(str::to_owned),
            leaves_host,
            ..response(302, "")
        };
        let (reported, _, retry) = error_of(&LEDGER, Ok(response));
        assert_eq!(
            (reported.as_str(), retry),
            (variant, Retry::No),
            "{location:?}"
        );
    }
}

#[test]
fn a_status_of_success_needs_json() {
    let rows = json!([{"version": 1}]);
    let whole = Response::Json {
        value: rows.clone(),
        total: None,
    };
    assert_eq!(
        classify(&LEDGER, Ok(response(206, rows.to_string()))).ok(),
        Some(whole)
    );
    for cut in ["[1", "{", "\"a", " [", "[1]]"] {
        let lost = ("ConnectionLost".to_owned(), Effect::Unknown, Retry::Yes);
        assert_eq!(error_of(&APPLY, Ok(response(200, cut))), lost, "{cut}");
    }
    for foreign in ["", "<html>", "hello", "nul"] {
        let other = ("NotSupabase".to_owned(), Effect::Unknown, Retry::No);
        assert_eq!(
            error_of(&APPLY, Ok(response(200, foreign))),
            other,
            "{foreign}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_response_is_understood_as_something(response in responses(), reads in any::<bool>()) {
        let request = if reads { LEDGER } else { APPLY };
        let (status, empty) = (response.status, response.body.trim().is_empty());
        let by_postgrest = serde_json::from_str::<Body>(&response.body)
            .is_ok_and(|body| body.code().is_some_and(is_postgrests));
        match classify(&request, Ok(response)) {
            Ok(Response::Json { .. }) => prop_assert!((200..300).contains(&status)),
            Ok(Response::Refused(_)) => prop_assert!(false, "only SQL is refused"),
            Ok(Response::NoTable) => prop_assert!(reads && (by_postgrest || (status == 404 && empty))),
            Err(error) => {
                let text = error.error.to_string();
                prop_assert!(text.chars().count() < 1_000, "{}", text);
                prop_assert!(!text.contains(char::is_control), "{:?}", text);
                // Only PostgREST knows that nothing ran, and whoever did not let the request in.
                if status >= 500 && status != 540 && !by_postgrest {
                    let too_old = matches!(*error.error, Error::PostgrestTooOld { .. });
                    prop_assert!(too_old || error.effect == Effect::Unknown);
                }
            }
        }
    }
}

/// Any status, any headers, and a body that is often PostgREST's. All of it comes out of one
/// seed: a strategy for each part takes a minute for a hundred thousand cases.
fn responses() -> impl Strategy<Value = HttpResponse> {
    any::<u64>().prop_map(|seed| {
        let rng = &mut Rng::with_seed(seed);
        let body = match rng.u8(..3) {
            0 => text(rng, 60),
            1 => (0..rng.usize(..20)).map(|_| one_of(rng, &JSON)).collect(),
            _ => {
                let code = [text(rng, 12), one_of(rng, &CODES).to_owned()];
                json!({"code": one_of(rng, &code), "message": text(rng, 40)}).to_string()
            }
        };
        let name = ["", "postgrest/", "postgrest/1"];
        HttpResponse {
            status: if rng.bool() {
                rng.u16(..)
            } else {
                one_of(rng, &STATUSES)
            },
            total: rng.bool().then(|| rng.usize(..)),
            retry_after: rng.bool().then(|| Duration::from_secs(rng.u64(..))),
            date: None,
            server: rng
                .bool()
                .then(|| one_of(rng, &name).to_owned() + &text(rng, 20)),
            location: rng.bool().then(|| text(rng, 400)),
            leaves_host: rng.bool(),
            reads_pass: rng.bool(),
            www_authenticate: rng.bool().then(|| text(rng, 40)),
            proxy_status: rng.bool().then(|| one_of(rng, &name).to_owned()),
            content_profile: rng.bool().then(|| text(rng, 10)),
            sent_as_browser: rng.bool().then(|| text(rng, 40)),
            body,
        }
    })
}

const STATUSES: [u16; 12] = [200, 204, 206, 302, 400, 401, 403, 404, 413, 500, 503, 540];
const CODES: [&str; 8] = [
    "PGRST001", "PGRST202", "PGRST205", "42P01", "42501", "57014", "08006", "XX000",
];
const JSON: [&str; 12] = [
    "[", "]", "{", "}", "\"", ":", ",", "0", "null", "\\", " ", "é",
];

/// Any bytes, as far as they are text, as `http.rs` reads them.
fn text(rng: &mut Rng, longest: usize) -> String {
    let bytes: Vec<u8> = (0..rng.usize(..longest)).map(|_| rng.u8(..)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn one_of<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())].clone()
}
