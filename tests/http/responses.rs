//! Every recorded answer of PostgREST and of the gateways in front of it, given to each
//! operation: which error comes of it, whether it is worth another try, and whether one was made.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex},
};

use ctx0_schema::Error;
use serde::Deserialize;
use tokio::{sync::Semaphore, task::JoinSet};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::support::{hasty, json_answer, manager, variant};

const FIXTURES: &str = include_str!("../fixtures/responses.json");

/// What the operations make of some of the recorded answers.
///
/// `retryable` is what the error says of itself; `asked again` is what was done within the
/// deadline. `{status}` and `{code}` are those of the answer.
struct Expected {
    check: &'static str,
    status: &'static str,
    apply: &'static str,
    answers: &'static [&'static str],
}

const EXPECTED: &[Expected] = &[
    // Good JSON that answers another question.
    Expected {
        check: "NotSupabase({status})",
        status: "NotSupabase({status})",
        apply: "OutcomeUnknown(NotSupabase({status})), retryable",
        answers: &[
            "GET a table (service_role)",
            "GET a table (anon, no JWT)",
            "POST rpc with arguments",
            "insert, Prefer return=representation",
            "execute allowed, service_role",
            "new function AFTER NOTIFY",
            "authenticated (role timeout 1s): show_timeout",
            "authenticated (role timeout 1s): sleep_hoisted(2), function SET statement_timeout=3s",
            "service_role (authenticator 8s): show_timeout",
            "delete it, Prefer return=minimal",
            "void rpc ok",
        ],
    },
    Expected {
        check: "version 0",
        status: "UnexpectedResponse({status} {code})",
        apply: "UnexpectedResponse({status} {code})",
        answers: &[
            "missing table",
            "missing table, near name (hint)",
            "PostgREST 16 with client-error-verbosity=minimal",
        ],
    },
    Expected {
        check: "version 0",
        status: "RpcNotInstalled, asked again",
        apply: "RpcNotInstalled, asked again",
        answers: &[
            "PostgREST before 13, missing table",
            "SQLSTATE 42P01 raised in a function (service_role)",
        ],
    },
    Expected {
        check: "UnexpectedResponse({status} {code})",
        status: "RpcNotInstalled, asked again",
        apply: "RpcNotInstalled, asked again",
        answers: &[
            "missing function, no arguments",
            "missing function, with arguments",
            "function exists, wrong argument names",
            "missing column",
            "new function BEFORE NOTIFY",
            "dropped function, cache still has it (no NOTIFY)",
            "dropped function, after NOTIFY",
            "SQLSTATE 42883 raised in a function (service_role)",
            "SQLSTATE 42703 raised in a function (service_role)",
        ],
    },
    Expected {
        check: "SchemaNotExposed",
        status: "SchemaNotExposed",
        apply: "SchemaNotExposed",
        answers: &["unknown schema (Content-Profile)"],
    },
    Expected {
        check: "KeyRejected",
        status: "KeyRejected",
        apply: "KeyRejected",
        answers: &[
            "bad JWT signature",
            "expired JWT",
            "Kong, no apikey header",
            "Kong, unknown apikey",
            "PostgREST before 13, expired JWT",
        ],
    },
    Expected {
        check: "PermissionDenied",
        status: "PermissionDenied",
        apply: "PermissionDenied",
        answers: &[
            "execute denied, anon (no JWT)",
            "execute denied, authenticated",
            "SQLSTATE 28000 raised in a function (service_role)",
            "SQLSTATE 42501 raised in a function (service_role)",
        ],
    },
    // The database ended it, so nothing is left of it.
    Expected {
        check: "Cancelled, retryable, asked again",
        status: "Cancelled, retryable, asked again",
        apply: "Cancelled, retryable, asked again",
        answers: &[
            "authenticated (role timeout 1s): sleep_plain(2) must be cancelled",
            "authenticated (role timeout 1s): sleep_hoisted(4), function SET statement_timeout=3s",
            "SQLSTATE 55P03 raised in a function (service_role)",
            "SQLSTATE 57014 raised in a function (service_role)",
        ],
    },
    // The database went away, maybe after the commit.
    Expected {
        check: "DatabaseUnavailable, retryable, asked again",
        status: "DatabaseUnavailable, retryable, asked again",
        apply: "OutcomeUnknown(DatabaseUnavailable), retryable, asked again",
        answers: &[
            "SQLSTATE 08006 raised in a function (service_role)",
            "SQLSTATE 53000 raised in a function (service_role)",
            "SQLSTATE 53400 raised in a function (service_role)",
            "SQLSTATE 57P01 raised in a function (service_role)",
            "backend terminated in mid-request (outcome unknown)",
        ],
    },
    // The database was not there to begin with.
    Expected {
        check: "DatabaseUnavailable, retryable, asked again",
        status: "DatabaseUnavailable, retryable, asked again",
        apply: "DatabaseUnavailable, retryable, asked again",
        answers: &[
            "SQLSTATE 53300 raised in a function (service_role)",
            "database down, or schema cache loading",
        ],
    },
    Expected {
        check: "PoolExhausted, retryable, asked again",
        status: "PoolExhausted, retryable, asked again",
        apply: "PoolExhausted, retryable, asked again",
        answers: &["pool exhausted (nothing ran)"],
    },
    // The gateway does not know what became of the request.
    Expected {
        check: "Gateway({status}), retryable, asked again",
        status: "Gateway({status}), retryable, asked again",
        apply: "OutcomeUnknown(Gateway({status})), retryable, asked again",
        answers: &[
            "Kong, upstream slower than its read timeout (outcome unknown)",
            "Kong, upstream closed the connection (outcome unknown)",
            "Kong, upstream unresolvable",
            "Envoy, upstream slower than the route timeout (outcome unknown)",
            "Envoy, no upstream",
            "Envoy, upstream reset (outcome unknown)",
            "nginx, bad gateway (outcome unknown)",
            "CDN, origin timed out (outcome unknown)",
        ],
    },
    Expected {
        check: "RequestTooLarge",
        status: "RequestTooLarge",
        apply: "RequestTooLarge",
        answers: &["nginx, body larger than allowed"],
    },
    Expected {
        check: "ProjectPaused",
        status: "ProjectPaused",
        apply: "ProjectPaused",
        answers: &["hosted, project paused or unknown host behind the CDN"],
    },
    Expected {
        check: "ReadOnly",
        status: "ReadOnly",
        apply: "ReadOnly",
        answers: &["SQLSTATE 25006 raised in a function (service_role)"],
    },
    // Somebody's own code in the database.
    Expected {
        check: "Raised",
        status: "Raised",
        apply: "Raised",
        answers: &[
            "POST rpc that raises custom SQLSTATE QX001 with detail+hint",
            "POST rpc that raises a plain exception (P0001)",
            "POST rpc that raises sqlstate PT418",
            "SQLSTATE P0001 raised in a function (service_role)",
            "SQLSTATE P0002 raised in a function (service_role)",
            "SQLSTATE PT404 raised in a function (service_role)",
            "SQLSTATE PT503 raised in a function (service_role)",
            "SQLSTATE QX001 raised in a function (service_role)",
        ],
    },
    // Nothing that these requests bring about, so nobody knows a remedy.
    Expected {
        check: "UnexpectedResponse({status} {code})",
        status: "UnexpectedResponse({status} {code})",
        apply: "UnexpectedResponse({status} {code})",
        answers: &[
            "unique violation",
            "invalid JSON body",
            "single object wanted, 0 or many rows",
            "SQLSTATE 22023 raised in a function (service_role)",
            "SQLSTATE 22P02 raised in a function (service_role)",
            "SQLSTATE 23502 raised in a function (service_role)",
            "SQLSTATE 23503 raised in a function (service_role)",
            "SQLSTATE 23505 raised in a function (service_role)",
            "SQLSTATE 23514 raised in a function (service_role)",
            "SQLSTATE 25P02 raised in a function (service_role)",
            "SQLSTATE 2D000 raised in a function (service_role)",
            "SQLSTATE 38000 raised in a function (service_role)",
            "SQLSTATE 39000 raised in a function (service_role)",
            "SQLSTATE 3B000 raised in a function (service_role)",
            "SQLSTATE 42P17 raised in a function (service_role)",
            "SQLSTATE 54000 raised in a function (service_role)",
            "SQLSTATE 55000 raised in a function (service_role)",
            "SQLSTATE 55P04 raised in a function (service_role)",
            "SQLSTATE 58000 raised in a function (service_role)",
            "SQLSTATE F0000 raised in a function (service_role)",
            "SQLSTATE HV000 raised in a function (service_role)",
        ],
    },
    // An internal error of PostgreSQL, which a change beside the request may have caused.
    Expected {
        check: "UnexpectedResponse({status} {code}), asked again",
        status: "UnexpectedResponse({status} {code}), asked again",
        apply: "UnexpectedResponse({status} {code}), asked again",
        answers: &["SQLSTATE XX000 raised in a function (service_role)"],
    },
];

#[test]
fn every_recorded_answer_has_one_expectation() {
    let mut recorded: Vec<_> = fixtures().into_iter().map(|answer| answer.case).collect();
    let mut expected: Vec<_> = EXPECTED
        .iter()
        .flat_map(|group| group.answers)
        .copied()
        .collect();
    recorded.sort();
    expected.sort();
    assert_eq!(recorded, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_answer_gives_each_operation_its_error() {
    let server = Arc::new(serve_all().await);
    let few_at_once = Arc::new(Semaphore::new(8));
    let mut tasks = JoinSet::new();
    for (number, fixture) in fixtures().into_iter().enumerate() {
        let server = Arc::clone(&server);
        let few_at_once = Arc::clone(&few_at_once);
        tasks.spawn(async move {
            let _turn = few_at_once.acquire().await.unwrap();
            let reported = results_of_each_operation(&server, number).await;
            (fixture.case.clone(), reported, expected(&fixture))
        });
    }
    let mut wrong = tasks.join_all().await;
    wrong.retain(|(_, reported, expected)| reported != expected);
    assert!(wrong.is_empty(), "case, reported, expected: {wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_repeats_what_the_server_said() {
    let server = serve_all().await;
    let speaking = fixtures()
        .into_iter()
        .enumerate()
        .filter_map(|(number, fixture)| {
            let body: Body = serde_json::from_str(&fixture.body).ok()?;
            Some((number, fixture.case, body.message?))
        });
    let mut repeated = 0;
    for (number, case, message) in speaking {
        let Err(error) = hasty(&at(&server, number, "status")).status().await else {
            continue;
        };
        // These say what to do, which is more than what was said.
        if !matches!(
            variant(&error).as_str(),
            "RpcNotInstalled" | "PoolExhausted"
        ) {
            let text = error.to_string();
            assert!(text.contains(&message), "{case}: {text}");
            repeated += 1;
        }
    }
    assert!(repeated > 40, "{repeated}");
}

#[derive(Clone, Deserialize)]
struct Fixture {
    case: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Deserialize)]
struct Body {
    code: Option<String>,
    message: Option<String>,
}

fn fixtures() -> Vec<Fixture> {
    serde_json::from_str(FIXTURES).unwrap()
}

fn expected(fixture: &Fixture) -> [String; 3] {
    let group = EXPECTED
        .iter()
        .find(|group| group.answers.contains(&fixture.case.as_str()))
        .unwrap_or_else(|| panic!("no expectation for {}", fixture.case));
    let code = serde_json::from_str(&fixture.body)
        .ok()
        .and_then(|body: Body| body.code)
        .unwrap_or_default();
    [group.check, group.status, group.apply].map(|text| {
        text.replace("{status}", &fixture.status.to_string())
            .replace("{code}", &code)
    })
}

/// Gives answer `n` below `/n/<operation>`; an apply finds an empty ledger first. From the second
/// time on an answer asks for a longer delay than any policy allows, so that it is the last one.
async fn serve_all() -> MockServer {
    let answers: Vec<_> = fixtures().iter().map(template).collect();
    let asked_before = Mutex::new(HashSet::new());
    let server = MockServer::start().await;
    let choose = move |request: &Request| {
        let mut path = request.url.path_segments().unwrap();
        let number: usize = path.next().unwrap().parse().unwrap();
        if (path.next().unwrap(), request.method.as_str()) == ("apply", "GET") {
            return json_answer(&serde_json::json!([]));
        }
        let answer = answers[number].clone();
        if asked_before
            .lock()
            .unwrap()
            .insert(request.url.path().to_owned())
        {
            answer
        } else {
            answer.insert_header("Retry-After", "99999")
        }
    };
    Mock::given(any()).respond_with(choose).mount(&server).await;
    server
}

fn template(fixture: &Fixture) -> ResponseTemplate {
    let mime = fixture.headers.get("Content-Type");
    let answer = fixture
        .headers
        .iter()
        .filter(|(name, _)| *name != "Content-Type")
        .fold(
            ResponseTemplate::new(fixture.status),
            |answer, (name, value)| answer.insert_header(name.as_str(), value.as_str()),
        );
    match mime {
        Some(mime) => answer.set_body_raw(fixture.body.as_str(), mime),
        None => answer,
    }
}

fn at(server: &MockServer, number: usize, operation: &str) -> String {
    format!("{}/{number}/{operation}", server.uri())
}

async fn results_of_each_operation(server: &MockServer, number: usize) -> [String; 3] {
    let manager = |operation| manager(&at(server, number, operation));
    let check = manager("check").check_for_updates().await;
    let status = manager("status").status().await;
    let apply = manager("apply").apply_all_pending().await;
    let version = check.map(|check| format!("version {}", check.current_version));
    [
        reported(version, asked(server, number, "check").await),
        reported(described(status), asked(server, number, "status").await),
        reported(
            described(apply.map_err(|failed| failed.error)),
            // The first one read the ledger.
            asked(server, number, "apply").await - 1,
        ),
    ]
}

fn described<T: Debug, E>(result: Result<T, E>) -> Result<String, E> {
    result.map(|value| format!("{value:?}"))
}

fn reported(result: Result<String, Error>, requests: usize) -> String {
    let error = match result {
        Ok(text) => return text,
        Err(error) => error,
    };
    let retryable = if error.is_retryable() {
        ", retryable"
    } else {
        ""
    };
    let again = if requests > 1 { ", asked again" } else { "" };
    format!("{}{retryable}{again}", name(&error))
}

fn name(error: &Error) -> String {
    let variant = variant(error);
    match error {
        Error::UnexpectedResponse {
            status,
            code: Some(code),
            ..
        } => {
            format!("{variant}({status} {code})")
        }
        Error::UnexpectedResponse { status, .. }
        | Error::Gateway { status, .. }
        | Error::NotSupabase { status, .. } => format!("{variant}({status})"),
        Error::OutcomeUnknown { source, .. } => format!("{variant}({})", name(source)),
        _ => variant,
    }
}

async fn asked(server: &MockServer, number: usize, operation: &str) -> usize {
    let below = format!("/{number}/{operation}/");
    let requests = server.received_requests().await.unwrap();
    let ours = requests
        .iter()
        .filter(|request| request.url.path().starts_with(&below));
    ours.count()
}
