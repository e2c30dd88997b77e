//! `install` and `uninstall`: the SQL for the SQL editor.

use serde_json::json;

use super::Output;
use crate::install::{install_sql, uninstall_sql};

pub(super) fn install() -> Output {
    sql(install_sql())
}

pub(super) fn uninstall() -> Output {
    sql(uninstall_sql())
}

fn sql(sql: &str) -> Output {
    Output::verbatim(sql.to_owned(), &json!({ "sql": sql }))
}
