//! Requests to the REST layer as each role, past the manager, and the call of
//! `ctx0_apply_migration` as they and SQL make it.

use ctx0_stack::project::Project;
use reqwest::{
    Client, Method,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Requests to the REST layer, each under the key of a role.
pub(crate) struct Rest<'a> {
    project: &'a Project,
    client: Client,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null where there is none.
    pub(crate) body: Value,
}

impl<'a> Rest<'a> {
    pub(crate) fn of(project: &'a Project) -> Self {
        Self {
            project,
            client: Client::new(),
        }
    }

    pub(crate) async fn call(&self, role: &str, function: &str, arguments: &Value) -> Answer {
        self.send(role, Method::POST, &format!("rpc/{function}"), arguments)
            .await
    }

    /// The one row of a table, as the service role reads it.
    pub(crate) async fn read(&self, table: &str, filter: &str) -> Value {
        let mut answer = self
            .send(
                "service_role",
                Method::GET,
                &format!("{table}?{filter}"),
                &Value::Null,
            )
            .await;
        assert_eq!(answer.body.as_array().map(Vec::len), Some(1), "{answer:?}");
        answer.body[0].take()
    }

    pub(crate) async fn send(
        &self,
        role: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Answer {
        let key = self.project.stack.key(role);
        let mut request = self
            .client
            .request(
                method,
                format!("{}/rest/v1/{path}", self.project.stack.url()),
            )
            .header("apikey", &key)
            .header(AUTHORIZATION, format!("Bearer {key}"));
        if !body.is_null() {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a text");
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).expect("JSON")
        };
        Answer { status, body }
    }
}

impl Answer {
    /// The code of an error.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// The arguments of `ctx0_apply_migration`.
pub(crate) fn arguments(version: u32, statements: &[&str]) -> Value {
    json!({
        "p_version": version,
        "p_name": format!("{version:03}_test"),
        "p_description": "A test",
        "p_sql": statements,
        "p_checksum": sha256(&statements.concat()),
        "p_attempt": Uuid::new_v4(),
    })
}

/// The call of `ctx0_apply_migration` as SQL, in which no function or operator but ours is used.
pub(crate) fn call_text(version: u32, statements: &[&str]) -> String {
    let texts: Vec<_> = statements
        .iter()
        .map(|statement| literal(statement))
        .collect();
    format!(
        "public.ctx0_apply_migration({version}, '{version:03}_test', 'A test', array[{}], '{}')",
        texts.join(", "),
        sha256(&statements.concat()),
    )
}

/// A text as SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As PostgreSQL and the manifest write it, in hex.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
