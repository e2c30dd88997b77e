//! Postrust's transactions, with three things that it lacks and one it need not
//! do.
//!
//! It knows no timeouts of functions. It hands the arguments of a function over as text and
//! makes an empty text of a JSON null, so nulls travel through it under
//! another name and become nulls again just before the database sees them. And
//! it reads more of the catalog than the stack needs. Rows and their count it
//! reads one after the other, so both must see the same state.

use std::borrow::Cow;

use axum::body::Bytes;
use postrust_core::db::{Db, DbError, FetchedThen, RawRows, SqlxTx, Tx};
use postrust_sql::SqlParam;
use serde_json::Value;
use sqlx::PgPool;

/// The other name of null. No test means it when it says this.
const NULL: &str = "ctx0-stack: null";

/// The same as JSON and as an element of an array writes it.
const QUOTED: &str = "\"ctx0-stack: null\"";

/// Renames the nulls among the arguments in the body of a call, and those
/// inside an argument that is an array.
pub(crate) fn hide_nulls(body: &Bytes) -> Bytes {
    let Ok(Value::Object(mut arguments)) = serde_json::from_slice(body) else {
        return body.clone();
    };
    for argument in arguments.values_mut() {
        match argument {
            Value::Null => *argument = Value::from(NULL),
            Value::Array(elements) => elements
                .iter_mut()
                .filter(|element| element.is_null())
                .for_each(|element| *element = Value::from(NULL)),
            _ => (),
        }
    }
    Bytes::from(Value::Object(arguments).to_string())
}

/// The parameters of a statement with their nulls.
fn restore(parameters: &[SqlParam]) -> Cow<'_, [SqlParam]> {
    let hides =
        |parameter: &SqlParam| matches!(parameter, SqlParam::Text(text) if text.contains(NULL));
    if !parameters.iter().any(hides) {
        return Cow::Borrowed(parameters);
    }
    let restored = parameters.iter().map(|parameter| match parameter {
        SqlParam::Text(text) if text == NULL || text == QUOTED => SqlParam::Null,
        // Both a JSON array and the literal of an array read this as null.
        SqlParam::Text(text) => SqlParam::Text(text.replace(QUOTED, "null")),
        other => other.clone(),
    });
    restored.collect()
}

/// What the schema cache does without, because it takes ten times as long as
/// all the rest: the names of the time zones, for `Prefer: timezone`, and the
/// definitions of all views, for embedding through a view.
const NOT_READ: [&str; 2] = ["pg_timezone_names", "pg_rewrite"];

/// The database as the schema is read from it.
pub(crate) struct Catalog(pub(crate) PgPool);

impl Db for Catalog {
    type Tx<'a> = Transaction;

    async fn begin(&self) -> Result<Transaction, DbError> {
        let mut transaction = Transaction(Db::begin(&self.0).await?);
        // Postrust leaves out the tables that its own role may not use.
        transaction.queue("set local role supabase_admin", &[]);
        Ok(transaction)
    }
}

/// A transaction in which hidden nulls are nulls.
pub(crate) struct Transaction(pub(crate) SqlxTx);

impl Transaction {
    /// Has all statements see the same state: postrust counts rows in a separate statement,
    /// where PostgREST has one for both.
    pub(crate) fn see_one_state(&mut self) {
        self.queue("set transaction isolation level repeatable read", &[]);
    }

    /// Sets the timeout of every statement to come.
    pub(crate) fn set_timeout(&mut self, timeout: &str) {
        let timeout = timeout.replace('\'', "''");
        self.queue(&format!("set local statement_timeout = '{timeout}'"), &[]);
    }
}

impl Tx for Transaction {
    async fn execute(&mut self, sql: &str, params: &[SqlParam]) -> Result<u64, DbError> {
        self.0.execute(sql, &restore(params)).await
    }

    async fn fetch_json(&mut self, sql: &str, params: &[SqlParam]) -> Result<Vec<Value>, DbError> {
        self.0.fetch_json(sql, &restore(params)).await
    }

    async fn fetch_values(
        &mut self,
        sql: &str,
        params: &[SqlParam],
    ) -> Result<Vec<Vec<Value>>, DbError> {
        if NOT_READ.iter().any(|catalog| sql.contains(catalog)) {
            return Ok(Vec::new());
        }
        self.0.fetch_values(sql, &restore(params)).await
    }

    async fn fetch_raw(
        &mut self,
        sql: &str,
        params: &[SqlParam],
        count_column: &str,
    ) -> Result<RawRows, DbError> {
        self.0.fetch_raw(sql, &restore(params), count_column).await
    }

    async fn commit(self) -> Result<(), DbError> {
        self.0.commit().await
    }

    fn queue(&mut self, sql: &str, params: &[SqlParam]) {
        self.0.queue(sql, params);
    }

    async fn fetch_json_then(&mut self, sql: &str, params: &[SqlParam], then: &str) -> FetchedThen {
        self.0.fetch_json_then(sql, &restore(params), then).await
    }

    async fn fetch_json_and_commit(
        self,
        sql: &str,
        params: &[SqlParam],
    ) -> Result<Vec<Value>, DbError> {
        self.0.fetch_json_and_commit(sql, &restore(params)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_argument_is_null_again_for_the_database() {
        let body = Bytes::from(r#"{"a":null,"b":["x",null],"c":{"d":null},"e":"null"}"#);
        let hidden: Value = serde_json::from_slice(&hide_nulls(&body)).unwrap();
        assert_eq!(
            hidden["c"]["d"],
            Value::Null,
            "inside an object it is JSON's"
        );
        assert_eq!(hidden["e"], "null");

        let sent = [
            SqlParam::text(hidden["a"].as_str().unwrap()),
            SqlParam::text(hidden["a"].to_string()),
            SqlParam::text(hidden["b"].to_string()),
            SqlParam::text("null"),
        ];
        let restored = [
            SqlParam::Null,
            SqlParam::Null,
            SqlParam::text(r#"["x",null]"#),
            SqlParam::text("null"),
        ];
        assert_eq!(*restore(&sent), restored);
    }

    #[test]
    fn a_body_without_arguments_is_left_alone() {
        for body in ["", "[1]", "{\"a\":"] {
            assert_eq!(hide_nulls(&Bytes::from(body)), body);
        }
    }
}
