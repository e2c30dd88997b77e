//! The responses of what runs SQL over HTTP: postgres-meta, and the Management API in front of it.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Effect, RequestError, Retry, by_status, excerpt, foreign, is_sqlstate, lost, request_error,
    said,
};
use crate::{
    error::Error,
    transport::{HttpResponse, Request, Response, SqlRefusal},
};

/// Understands what came back for SQL.
pub(super) fn classify_sql(
    request: &Request,
    response: &HttpResponse,
) -> Result<Response, RequestError> {
    let status = response.status;
    let body = serde_json::from_str::<Value>(&response.body);
    match (status, body) {
        (200..300, Ok(value @ Value::Array(_))) => Ok(Response::Json { value, total: None }),
        (200..300, Err(error)) if response.body.trim_start().starts_with('[') => {
            Err(lost(error.into()))
        }
        // The dashboard responds to every path that the gateway does not know.
        (200..300, _) => Err(foreign(response, Effect::None)),
        (_, Ok(body)) if let Some(refusal) = refusal(&body) => Ok(Response::Refused(refusal)),
        // postgres-meta could not connect.
        (400, Ok(_)) => Err(request_error(
            Error::Gateway {
                status,
                excerpt: said(&response.body),
            },
            Effect::Unknown,
            Retry::Yes,
        )),
        // It is closed to this key, or not there. What that means is the same.
        (401 | 403, _) => Err(foreign(response, Effect::None)),
        _ => Err(by_status(request, response, None)),
    }
}

/// The error of PostgreSQL in a body: in fields, or in the text that the Management API has for it.
fn refusal(body: &Value) -> Option<SqlRefusal> {
    #[derive(Deserialize)]
    struct Fields {
        code: Option<String>,
        message: String,
        detail: Option<String>,
        hint: Option<String>,
    }
    let fields = Fields::deserialize(body).ok()?;
    let (sqlstate, message) = match fields.code {
        Some(code) if is_sqlstate(&code) => (code, fields.message.clone()),
        Some(_) => return None,
        None => {
            let (_, text) = fields.message.split_once("ERROR:")?;
            let (code, text) = text.trim_start().split_once(": ")?;
            if !is_sqlstate(code) {
                return None;
            }
            let line = text.lines().next().unwrap_or_default();
            (code.to_owned(), line.to_owned())
        }
    };
    let texts = [Some(message), fields.detail, fields.hint].into_iter();
    let texts = texts
        .flatten()
        .map(|text| text.trim_end_matches('.').to_owned());
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    Some(SqlRefusal {
        sqlstate,
        reason: excerpt(&texts.join("; "), 500),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> HttpResponse {
        HttpResponse {
            status,
            body: body.to_owned(),
            ..HttpResponse::default()
        }
    }

    fn sql() -> Request {
        Request::Sql {
            text: "select 1".into(),
            with_key: true,
        }
    }

    #[test]
    fn an_error_of_postgresql_is_read_from_either_form() {
        // postgres-meta 0.99.0, and what the Management API makes of it.
        for body in [
            r#"{"error":"ERROR:  42601: syntax error at or near \"x\"\nLINE 1: x\n        ^\n","length":90,"name":"error","severity":"ERROR","code":"42601","position":"1","file":"scan.l","message":"syntax error at or near \"x\"","formattedError":"ERROR:  42601: syntax error at or near \"x\"\nLINE 1: x\n        ^\n"}"#,
            r#"{"message":"Failed to run sql query: ERROR:  42601: syntax error at or near \"x\"\nLINE 1: x\n        ^\n"}"#,
        ] {
            let refusal = SqlRefusal {
                sqlstate: "42601".to_owned(),
                reason: "syntax error at or near \"x\"".to_owned(),
            };
            let understood = classify_sql(&sql(), &response(400, body)).unwrap();
            assert_eq!(understood, Response::Refused(refusal));
        }
    }

    #[test]
    fn what_is_closed_or_not_there_is_not_tried_again() {
        for (status, body) in [
            (401, r#"{"message":"Unauthorized"}"#),
            (403, r#"{"message":"You cannot consume this service"}"#),
            (403, "RBAC: access denied"),
            (404, r#"{"message":"no Route matched with those values"}"#),
            (200, "<!DOCTYPE html><title>Supabase</title>"),
            (200, r#"{"status":"ok"}"#),
        ] {
            let failed = classify_sql(&sql(), &response(status, body)).unwrap_err();
            assert_eq!(
                (failed.effect, failed.retry),
                (Effect::None, Retry::No),
                "{body}"
            );
            assert!(matches!(*failed.error, Error::NotSupabase { .. }), "{body}");
        }
    }

    #[test]
    fn a_server_that_has_lost_its_database_is_asked_again() {
        for (status, body) in [
            (
                400,
                r#"{"error":"connect ECONNREFUSED 127.0.0.1:5432","code":"ECONNREFUSED"}"#,
            ),
            (408, r#"{"error":"Query read timeout"}"#),
            (503, r#"{"message":"name resolution failed"}"#),
            (504, "upstream request timeout"),
            (200, r#"[{"installation": 1"#),
        ] {
            let failed = classify_sql(&sql(), &response(status, body)).unwrap_err();
            assert_eq!(
                (failed.effect, failed.retry),
                (Effect::Unknown, Retry::Yes),
                "{body}"
            );
        }
    }

    #[test]
    fn an_error_has_the_message_of_the_body_and_not_its_json() {
        let long = format!(r#"{{"status":{}}}"#, "1".repeat(200));
        let shortened = format!(r#"{{"status":{}…"#, "1".repeat(110));
        for (status, body, expected) in [
            (
                400,
                r#"{"error":"connect ECONNREFUSED 127.0.0.1:5432","code":"ECONNREFUSED"}"#,
                "connect ECONNREFUSED 127.0.0.1:5432",
            ),
            (
                400,
                r#"{"statusCode":400,"code":"FST_ERR_CTP_EMPTY_JSON_BODY","error":"Bad Request","message":"Body cannot be empty"}"#,
                "Body cannot be empty",
            ),
            (
                404,
                r#"{"message":"no Route matched with those values"}"#,
                "no Route matched with those values",
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"upstream is\ndown"}}"#,
                "upstream is down",
            ),
            (
                403,
                r#"{"errors":[{"detail":"not for this key"}]}"#,
                "not for this key",
            ),
            (401, r#""Unauthorized""#, "Unauthorized"),
            (404, r#"{"message":"","error":"Not Found"}"#, "Not Found"),
            (404, r#"{"status":404}"#, r#"{"status":404}"#),
            (404, "[]", "[]"),
            (404, &long, &shortened),
            (503, "no healthy upstream", "no healthy upstream"),
            (404, "", "an empty body"),
        ] {
            let failed = classify_sql(&sql(), &response(status, body)).unwrap_err();
            let (Error::NotSupabase { excerpt, .. } | Error::Gateway { excerpt, .. }) =
                &*failed.error
            else {
                panic!("{body}: {:?}", failed.error);
            };
            assert_eq!(excerpt, expected, "{body}");
        }
    }
}
