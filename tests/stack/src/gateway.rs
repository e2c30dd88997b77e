//! What stands before PostgREST at Supabase: the gateway that wants a key.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};

use crate::keys;

/// Lets a request through that carries a key of this stack in `apikey`, and
/// keeps that header to itself, as Kong is set up to.
///
/// A legacy key says nothing here but "let me in": PostgREST reads
/// `Authorization` alone. A secret key is the service role by itself.
pub(crate) async fn check(mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    let Some(key) = headers.remove("apikey") else {
        return refuse("No API key found in request");
    };
    match key.to_str() {
        Ok(keys::SECRET_KEY) => {
            if !headers.contains_key(header::AUTHORIZATION)
                && let Ok(token) =
                    HeaderValue::from_str(&format!("Bearer {}", keys::key("service_role")))
            {
                headers.insert(header::AUTHORIZATION, token);
            }
        }
        Ok(key) if keys::is_ours(key) => (),
        _ => return refuse("Invalid authentication credentials"),
    }
    next.run(request).await
}

/// Lets the service role through, as Kong is set up for `/pg/`.
pub(crate) async fn check_admin(request: Request, next: Next) -> Response {
    let key = request.headers().get("apikey").cloned();
    match key.as_ref().and_then(|key| key.to_str().ok()) {
        Some(key) if key != keys::SECRET_KEY && keys::is_ours(key) && !keys::is_service(key) => {
            answer(StatusCode::FORBIDDEN, "You cannot consume this service")
        }
        _ => check(request, next).await,
    }
}

/// Answers for a service that is down.
pub(crate) fn no_upstream() -> Response {
    answer(
        StatusCode::BAD_GATEWAY,
        "An invalid response was received from the upstream server",
    )
}

/// Answers a request to a path that the gateway does not have.
pub(crate) async fn no_route() -> Response {
    answer(StatusCode::NOT_FOUND, "no Route matched with those values")
}

fn refuse(message: &str) -> Response {
    answer(StatusCode::UNAUTHORIZED, message)
}

fn answer(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Body::from(format!(r#"{{"message":"{message}"}}"#)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}
