//! What gateways, firewalls and things that are not Supabase respond, as people met it: the right
//! error, and whether the request is made again.

use std::time::Duration;

use ctx0_schema::{ConfigError, Error, Version};
use ctx0_stack::Port;
use serde_json::json;
use tokio::{io::AsyncWriteExt, time::Instant};
use wiremock::{Mock, ResponseTemplate, matchers::any};

use crate::support::{
    APPLY, LEDGER, Parrot, SECRET_KEY, STATUS, Supabase, build, config, hasty, http,
    in_its_own_process, json_answer, ledger_to, listen, manager, refusal, url_of_parent,
};

const HTML: &str = "text/html; charset=UTF-8";

fn too_early() -> ResponseTemplate {
    refusal(401, "PGRST303", "JWT issued at future").insert_header(
        "WWW-Authenticate",
        "Bearer error=\"invalid_token\", error_description=\"JWT issued at future\"",
    )
}

fn applied() -> ResponseTemplate {
    json_answer(
        &json!({"outcome": "applied", "rpc_version": ctx0_schema::RPC_VERSION, "execution_ms": 3}),
    )
}

/// What applying says where the last version is pending and the database responds so.
async fn apply_error(response: ResponseTemplate) -> (Error, usize) {
    let supabase = Supabase::at_version(2).await;
    supabase.on("POST", APPLY, [response]).await;
    let manager = manager(&supabase.uri());
    let error = manager.apply_all_pending().await.unwrap_err().error;
    (error, supabase.applies().await.len())
}

/// What a check says where the ledger responds so.
async fn check_error(response: ResponseTemplate) -> Error {
    let supabase = Supabase::start().await;
    supabase.on("GET", LEDGER, [response]).await;
    let manager = hasty(&supabase.uri());
    manager.check_for_updates().await.unwrap_err()
}

#[tokio::test]
async fn a_token_issued_in_the_future_is_sent_again_until_the_clocks_agree() {
    for early in [1, 3] {
        let supabase = Supabase::at_version(2).await;
        let mut responses = vec![too_early(); early];
        responses.push(applied());
        supabase.on("POST", APPLY, responses).await;
        let report = manager(&supabase.uri()).apply_all_pending().await.unwrap();
        assert_eq!(report.current_version.get(), 3);
        assert_eq!(supabase.applies().await.len(), early + 1);
    }
}

#[tokio::test]
async fn clocks_that_stay_apart_are_not_reported_as_a_wrong_key() {
    let (error, requests) = apply_error(too_early()).await;
    assert!(matches!(error, Error::ClockSkew { .. }), "{error:?}");
    assert!(error.is_retryable() && requests > 3, "{requests}");
    assert!(error.to_string().contains("clocks"), "{error}");

    let expired = refusal(401, "PGRST303", "JWT expired");
    let (error, requests) = apply_error(expired).await;
    assert!(matches!(error, Error::KeyRejected { .. }), "{error:?}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_firewall_that_blocks_sql_is_named() {
    let cloudflare = "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head>\
                      <body>Sorry, you have been blocked</body></html>";
    for (page, title) in [
        (cloudflare, "Attention Required! | Cloudflare"),
        (
            "<html><body><h1>403 Forbidden</h1></body></html>",
            "403 Forbidden",
        ),
    ] {
        let response = ResponseTemplate::new(403).set_body_raw(page, HTML);
        let (error, requests) = apply_error(response).await;
        assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
        assert!(!error.is_retryable());
        assert_eq!(requests, 1);
        let text = error.to_string();
        for part in ["firewall", "nothing was done", "/rest/v1/rpc/ctx0_*", title] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn a_firewall_that_does_not_use_403_is_named_too() {
    let page = |status: u16, body: &str| ResponseTemplate::new(status).set_body_raw(body, HTML);
    let redirect = ResponseTemplate::new(302).insert_header("Location", "/blocked?id=1");
    for (response, part) in [
        (
            page(
                406,
                "<html><head><title>Not Acceptable!</title></head></html>",
            ),
            "Not Acceptable!",
        ),
        (
            page(
                200,
                "<html><head><title>Request Rejected</title></head></html>",
            ),
            "Request Rejected",
        ),
        (page(405, "<h1>405 Not Allowed</h1>"), "405 Not Allowed"),
        (redirect, "a redirect to /blocked)"),
    ] {
        let (error, requests) = apply_error(response).await;
        assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
        assert_eq!(requests, 1);
        let text = error.to_string();
        for part in ["firewall", "POST to /rest/v1/rpc/ctx0_*", part] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn a_firewall_that_blocks_a_read_is_told_to_let_the_read_through() {
    let page = "<html><head><title>403 Forbidden</title></head></html>";
    let error = check_error(ResponseTemplate::new(403).set_body_raw(page, HTML)).await;
    let text = error.to_string();
    assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
    assert!(
        text.ends_with("allow GET to /rest/v1/ctx0_schema_versions there"),
        "{text}"
    );
}

#[tokio::test]
async fn a_redirect_says_which_address_to_use_or_that_a_login_is_in_front() {
    let redirect = |location: Option<&str>| {
        let response = ResponseTemplate::new(302);
        match location {
            Some(location) => response.insert_header("Location", location),
            None => response,
        }
    };
    for (location, part) in [
        (
            Some("https://sso.example.org/start?rd=x"),
            "asks for a login (status 302, a redirect to https://sso.example.org/start), so it is not the API",
        ),
        (Some("/login"), "asks for a login"),
        (
            Some("https://b.example.org/rest/v1/ctx0_schema_versions?select=*"),
            "redirects to https://b.example.org/rest/v1/ctx0_schema_versions, and redirects are not followed: use",
        ),
        (None, "redirects without saying where"),
    ] {
        let text = check_error(redirect(location)).await.to_string();
        assert!(text.contains(part), "{text}");
        assert!(
            location.is_some() || !text.contains("use that address"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_restricted_project_is_named_with_the_reason() {
    let reason = "exceed_egress_quota: Service for this project is restricted due to a quota";
    let body = json!({ "message": reason });
    let error = check_error(ResponseTemplate::new(402).set_body_json(body)).await;
    assert!(
        matches!(error, Error::ProjectRestricted { .. }) && !error.is_retryable(),
        "{error:?}"
    );
    let text = error.to_string();
    for part in [reason, "plan and usage", "dashboard"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn too_many_requests_name_the_time_that_the_server_asks_for() {
    for (after, part) in [
        (Some("86400"), "24 hours"),
        (Some("90"), "90 seconds"),
        (None, "a minute"),
    ] {
        let response = ResponseTemplate::new(429);
        let response = match after {
            Some(after) => response.insert_header("Retry-After", after),
            None => response,
        };
        let text = check_error(response).await.to_string();
        assert_eq!(text, format!("too many requests: try again in {part}"));
    }
}

#[tokio::test]
async fn a_server_without_a_jwt_secret_is_told_where_to_set_it() {
    let error = check_error(refusal(500, "PGRST300", "Server lacks JWT secret")).await;
    assert!(matches!(error, Error::KeyRejected { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("PGRST_JWT_SECRET") && text.contains("JWT_SECRET in the .env"),
        "{text}"
    );
}

#[tokio::test]
async fn a_gateway_that_refuses_the_key_with_403_is_no_firewall() {
    for body in [
        r#"{"message":"You cannot consume this service"}"#,
        "RBAC: access denied",
    ] {
        let error = check_error(ResponseTemplate::new(403).set_body_string(body)).await;
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_read_only_database_is_named_with_its_usual_cause() {
    let message = "cannot execute INSERT in a read-only transaction";
    let (error, requests) = apply_error(refusal(405, "25006", message)).await;
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    assert_eq!(requests, 1);
    let text = error.to_string();
    for part in ["read-only", "disk", "nothing was done", message] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_secret_key_that_is_refused_to_a_browser_names_the_user_agent() {
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Electron/33.0 Safari/537.36";
    let supabase = Supabase::start().await;
    let refused = ResponseTemplate::new(401);
    supabase.on("GET", LEDGER, [refused]).await;
    let browser = build(config(&supabase.uri()).user_agent(agent));
    let error = browser.check_for_updates().await.unwrap_err();
    assert!(matches!(error, Error::KeyRejected { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("User-Agent") && text.contains("Electron/33.0"),
        "{text}"
    );

    let error = manager(&supabase.uri())
        .check_for_updates()
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("User-Agent"), "{error}");
}

#[tokio::test]
async fn what_asks_for_a_user_name_and_password_stands_in_front_or_is_another_address() {
    let kong = json!({"message": "Unauthorized", "request_id": "0"});
    for (realm, body) in [
        ("Basic realm=\"restricted\"", String::new()),
        ("basic realm=\"service\"", kong.to_string()),
        ("Negotiate, Basic realm=\"x\"", "<h1>401</h1>".to_owned()),
    ] {
        let response = ResponseTemplate::new(401)
            .insert_header("WWW-Authenticate", realm)
            .set_body_string(body);
        let error = check_error(response).await;
        assert!(
            matches!(error, Error::LoginInFront { status: 401, .. }),
            "{error:?}"
        );
        let text = error.to_string();
        for part in ["user name and password", "exempt /rest/v1", "URL"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn a_path_in_front_of_the_api_is_kept_in_every_form() {
    for path in [
        "/proxy",
        "/proxy/",
        "/proxy/rest/v1/",
        "/proxy/auth/v1",
        "/proxy/rest/v1/ctx0_entries",
    ] {
        let supabase = Supabase::start().await;
        let ledger = format!("/proxy{LEDGER}");
        supabase
            .on("GET", &ledger, [json_answer(&ledger_to(3))])
            .await;
        let manager = manager(&format!("{}{path}", supabase.uri()));
        assert_eq!(manager.current_version().await.unwrap().get(), 3, "{path}");
    }
}

#[tokio::test]
async fn a_hint_of_the_gateway_is_passed_on() {
    let invalid = json!({
        "message": "Invalid API key",
        "hint": "Double check your Supabase `anon` or `service_role` API key.",
    });
    let legacy = json!({
        "message": "Legacy API keys are disabled",
        "hint": "Use the new publishable and secret API keys",
    });
    for (body, advice) in [
        (&invalid, "SERVICE_ROLE_KEY"),
        (&legacy, "create a secret key (sb_secret_…)"),
    ] {
        let error = check_error(ResponseTemplate::new(401).set_body_json(body)).await;
        assert!(matches!(error, Error::KeyRejected { .. }), "{error:?}");
        let text = error.to_string();
        for part in [
            body["message"].as_str().unwrap(),
            body["hint"].as_str().unwrap(),
            advice,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let error = check_error(ResponseTemplate::new(401).set_body_json(&legacy)).await;
    assert!(!error.to_string().contains("SERVICE_ROLE_KEY"), "{error}");

    // Whatever the status and the name of the field.
    for (status, body) in [
        (502, json!({"message": "no", "hint": "restart it"})),
        (403, json!({"error": "no", "hint": "restart it"})),
        (404, json!({"msg": "no", "code": 404, "hint": "restart it"})),
    ] {
        let error = check_error(ResponseTemplate::new(status).set_body_json(&body)).await;
        assert!(
            error.to_string().contains("no; restart it"),
            "{status}: {error}"
        );
    }
}

#[tokio::test]
async fn an_empty_404_is_version_0_only_where_postgrest_says_so() {
    for (name, value) in [
        ("Server", "postgrest/12.2.12"),
        ("Proxy-Status", "PostgREST; error=42P01"),
        ("Content-Profile", "public"),
    ] {
        let supabase = Supabase::start().await;
        let marked = ResponseTemplate::new(404).insert_header(name, value);
        supabase.on("GET", LEDGER, [marked]).await;
        let check = manager(&supabase.uri()).check_for_updates().await.unwrap();
        assert_eq!(check.current_version, Version::ZERO, "{name}");
    }
    for response in [
        ResponseTemplate::new(404),
        ResponseTemplate::new(404).set_body_string(" \n"),
        ResponseTemplate::new(404).insert_header("Server", "nginx/1.27.0"),
    ] {
        let error = check_error(response).await;
        assert!(
            matches!(error, Error::NotSupabase { status: 404, .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_says_the_same_to_everything_is_not_supabase() {
    for body in [r#"{"status":"ok"}"#, "null", r#"[{"id":1}]"#] {
        let supabase = Supabase::start().await;
        let same = ResponseTemplate::new(200).set_body_raw(body, "application/json");
        Mock::given(any())
            .respond_with(same)
            .mount(&supabase.0)
            .await;
        let manager = hasty(&supabase.uri());
        for error in [
            manager.check_for_updates().await.unwrap_err(),
            manager.history().await.unwrap_err(),
            manager.status().await.unwrap_err(),
            manager.apply_all_pending().await.unwrap_err().error,
        ] {
            let text = error.to_string();
            assert!(
                matches!(error, Error::NotSupabase { status: 200, .. }),
                "{error:?}"
            );
            assert!(text.contains(body) && text.contains("URL"), "{text}");
        }
        let found = manager.diagnose().await.to_string();
        assert!(
            found.contains("not a Supabase API") && !found.contains("open to the service key"),
            "{found}"
        );
    }
}

#[tokio::test]
async fn functions_of_a_newer_release_are_not_taken_for_another_server() {
    let supabase = Supabase::start().await;
    let newer = json_answer(&json!({"rpc_version": ctx0_schema::RPC_VERSION + 1, "state": "new"}));
    supabase.on("POST", STATUS, [newer]).await;
    let error = hasty(&supabase.uri()).status().await.unwrap_err();
    assert!(
        matches!(error, Error::UnexpectedResponse { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn functions_of_an_older_release_are_outdated_and_not_missing() {
    let older = json!({
        "code": "PGRST202",
        "details": "Searched for the function public.ctx0_apply_migration with parameters p_x, p_y, but no matches \
                    were found in the schema cache.",
        "hint": "Perhaps you meant to call the function public.ctx0_apply_migration(p_checksum, p_name, p_sql)",
        "message": "Could not find the function public.ctx0_apply_migration(p_x, p_y) in the schema cache",
    });
    let response = ResponseTemplate::new(404).set_body_json(&older);
    let (error, requests) = apply_error(response.clone()).await;
    assert!(
        matches!(
            error,
            Error::RpcOutdated {
                installed: None,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(requests, 4, "PostgREST may not have read the new ones yet");

    let supabase = Supabase::start().await;
    supabase.on("POST", STATUS, [response]).await;
    let error = hasty(&supabase.uri()).status().await.unwrap_err();
    assert!(matches!(error, Error::RpcOutdated { .. }), "{error:?}");
}

#[tokio::test]
async fn an_error_raised_by_code_in_the_database_is_reported_as_such() {
    for (status, sqlstate) in [(400, "P0001"), (400, "QX001"), (418, "PT418")] {
        let (error, requests) = apply_error(refusal(status, sqlstate, "no DDL on Fridays")).await;
        assert!(matches!(error, Error::Raised { .. }), "{error:?}");
        assert_eq!(requests, 1);
        let text = error.to_string();
        for part in ["trigger", "no DDL on Fridays", sqlstate] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("update the app"), "{text}");
    }
}

#[tokio::test]
async fn a_lost_prepared_statement_is_met_once_more() {
    let supabase = Supabase::at_version(2).await;
    let lost = refusal(500, "26000", "prepared statement \"12\" does not exist");
    supabase.on("POST", APPLY, [lost, applied()]).await;
    let report = manager(&supabase.uri()).apply_all_pending().await.unwrap();
    assert_eq!(report.current_version.get(), 3);
}

#[tokio::test]
async fn a_server_that_speaks_no_http_is_reported_soon() {
    const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
    let ssh = listen(|mut stream| async move {
        let _ = stream.write_all(SSH).await;
        // Until the client hangs up.
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
    })
    .await;
    let after_request = Parrot::saying([SSH]).await;
    for url in [format!("http://{ssh}"), after_request.url.clone()] {
        let started = Instant::now();
        let error = manager(&url).check_for_updates().await.unwrap_err();
        assert!(matches!(error, Error::NotHttp { .. }), "{error:?}");
        assert!(!error.is_retryable());
        // The deadline for what may pass is 30 s.
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn https_to_a_port_of_plain_http_is_not_called_a_certificate() {
    let answer = || http("400 Bad Request", &["Connection: close"], "no TLS here");
    let address = listen(move |mut stream| async move {
        let mut hello = [0; 512];
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await;
        let _ = stream.write_all(&answer()).await;
    })
    .await;
    let manager = manager(&format!("https://localhost:{}", address.port()));
    let error = manager.check_for_updates().await.unwrap_err();
    assert!(matches!(error, Error::NotTls { .. }), "{error:?}");
    assert!(error.to_string().contains("http://"), "{error}");
}

#[tokio::test]
async fn a_dead_proxy_is_named_by_its_variable_and_without_its_password() {
    if let Some(url) = url_of_parent() {
        let error = hasty(&url).check_for_updates().await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("HTTPS_PROXY") && text.contains("127.0.0.1:"),
            "{text}"
        );
        assert!(!text.contains("hush"), "{text}");
        return;
    }
    let port = Port::reserve().unwrap();
    let proxy = format!("http://me:hush@127.0.0.1:{}", port.number());
    tokio::task::spawn_blocking(move || {
        in_its_own_process(
            "gateways::a_dead_proxy_is_named_by_its_variable_and_without_its_password",
            "https://supabase.example.org",
            &[("HTTPS_PROXY", proxy)],
        );
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_environment_allows_plain_http_and_names_a_private_authority() {
    if url_of_parent().is_some() {
        let built = ctx0_schema::Config::from_env();
        match std::env::var("CTX0_TEST_EXPECTS").unwrap().as_str() {
            "built" => assert_eq!(
                built.unwrap().rest_url().as_str(),
                "http://10.0.0.7:8000/rest/v1"
            ),
            "plain" => {
                let text = built.unwrap_err().to_string();
                assert!(text.contains("CTX0_ALLOW_PLAIN_HTTP_TO=10.0.0.7"), "{text}");
            }
            _ => assert!(
                matches!(built, Err(ConfigError::CaFile { .. })),
                "{built:?}"
            ),
        }
        return;
    }
    let allowed = ("CTX0_ALLOW_PLAIN_HTTP_TO", "10.0.0.7");
    let no_file = ("CTX0_CA_FILE", "/nowhere/ca.pem");
    for (expects, more) in [
        ("built", vec![allowed]),
        ("plain", vec![]),
        ("ca", vec![allowed, no_file]),
    ] {
        let mut variables = vec![
            ("SUPABASE_URL", "http://10.0.0.7:8000".to_owned()),
            ("SUPABASE_SERVICE_ROLE_KEY", SECRET_KEY.to_owned()),
            ("CTX0_TEST_EXPECTS", expects.to_owned()),
        ];
        variables.extend(
            more.into_iter()
                .map(|(name, value)| (name, value.to_owned())),
        );
        tokio::task::spawn_blocking(move || {
            in_its_own_process(
                "gateways::the_environment_allows_plain_http_and_names_a_private_authority",
                "set",
                &variables,
            );
        })
        .await
        .unwrap();
    }
}
