//! Plain SQL, the way a SQL editor sends it.

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row, SqlSafeStr, ValueRef,
    postgres::{PgConnectOptions, PgRow},
};

use crate::StackError;

/// The rows of a query as text, null as `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// Opens a connection, runs the text on it and closes it.
pub(crate) async fn run(options: &PgConnectOptions, sql: &str) -> Result<Rows, sqlx::Error> {
    let mut connection = options.connect().await?;
    let rows = run_on(&mut connection, sql).await;
    // The answer counts, however the farewell goes.
    let _ = connection.close().await;
    rows
}

/// Runs the text as one message of the simple protocol, so that all its
/// statements are one transaction unless it says otherwise, and returns the
/// rows of all of them.
pub(crate) async fn run_on(connection: &mut PgConnection, sql: &str) -> Result<Rows, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await?;
    rows.iter().map(text).collect()
}

/// A connection that parses SQL and runs none.
pub struct Parser(PgConnection);

impl Parser {
    pub(crate) async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        Ok(Self(options.connect().await?))
    }

    /// Has the database parse a text through the extended protocol, which takes exactly one
    /// statement: it refuses more with 42601.
    ///
    /// # Errors
    ///
    /// What the database found wrong with it.
    pub async fn parse(&mut self, sql: &str) -> Result<(), StackError> {
        self.0.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
        Ok(())
    }
}

fn text(row: &PgRow) -> Result<Vec<Option<String>>, sqlx::Error> {
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(None);
            }
            let text = value.as_str().map_err(sqlx::Error::Decode)?;
            Ok(Some(text.to_owned()))
        })
        .collect()
}
