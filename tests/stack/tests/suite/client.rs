use ctx0_stack::Stack;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

/// A request to the REST layer with a key in `apikey`, and in `Authorization`
/// too unless that is empty.
pub(crate) fn request(
    stack: &Stack,
    method: Method,
    path: &str,
    authorization: &str,
) -> RequestBuilder {
    let request = reqwest::Client::new()
        .request(method, format!("{}/rest/v1{path}", stack.url()))
        .header("apikey", stack.service_key());
    if authorization.is_empty() {
        return request;
    }
    request.header("authorization", format!("Bearer {authorization}"))
}

/// The call of a function as `role`, ready to be sent.
pub(crate) fn call(stack: &Stack, role: &str, function: &str, arguments: Value) -> RequestBuilder {
    request(
        stack,
        Method::POST,
        &format!("/rpc/{function}"),
        &stack.key(role),
    )
    .header("content-type", "application/json")
    .body(arguments.to_string())
}

/// Status and body of an answer.
pub(crate) async fn outcome(request: RequestBuilder) -> (u16, Value) {
    read(request.send().await.unwrap()).await
}

pub(crate) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).unwrap(),
    };
    (status, body)
}
