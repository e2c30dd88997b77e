//! The scripts that install and remove the functions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exchange::exchange;
use super::{Call, ExchangeError, Function, LockHeldBy, RetryPolicy, Rpc, Verdict, unexpected};
use crate::{
    doctor::SqlAccess,
    error::Error,
    install::{GONE, INSTALLATION_SQL},
    manifest::Checksum,
    report::WaitReason,
    transport::{Effect, Request, RequestError, Response, Retry, SqlRefusal, classify},
};

/// Replaces the installed functions by those of a newer release.
#[derive(Serialize)]
pub(crate) struct Upgrade<'a> {
    p_sql: &'a str,
    p_checksum: Checksum,
}

impl<'a> Upgrade<'a> {
    pub(crate) fn new(sql: &'a str) -> Self {
        Self {
            p_sql: sql,
            p_checksum: Checksum::of(sql),
        }
    }
}

impl Call for Upgrade<'_> {
    type Response = UpgradeOutcome;

    fn function(&self) -> Function {
        Function::Upgrade
    }
}

/// What `ctx0_upgrade` returns.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum UpgradeOutcome {
    Upgraded,
    Locked {
        held_by: LockHeldBy,
    },
    /// The text was damaged on its way.
    Conflict {
        message: String,
    },
    Failed {
        sqlstate: String,
        message: String,
        hint: Option<String>,
    },
}

/// How a script ended that was sent over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptEnd {
    Ran,
    /// What it was to remove is gone.
    Gone,
}

impl Rpc {
    /// Runs a script in the installed functions, until it has run.
    pub(crate) async fn upgrade(
        &self,
        policy: RetryPolicy,
        sql: &str,
    ) -> Result<(), ExchangeError> {
        let decide = |outcome| match outcome {
            UpgradeOutcome::Upgraded => Ok(Verdict::Done(())),
            UpgradeOutcome::Locked { held_by } => Ok(Verdict::Running(held_by.into())),
            UpgradeOutcome::Conflict { message } => Err(RequestError {
                retry: Retry::Yes,
                effect: Effect::None,
                ..unexpected(message)
            }),
            UpgradeOutcome::Failed {
                sqlstate,
                message,
                hint,
            } => {
                let texts: Vec<_> = [Some(message), hint].into_iter().flatten().collect();
                let reason = texts.join("; ");
                let ran = refused(SqlRefusal { sqlstate, reason })?;
                Ok(match ran {
                    Verdict::Running(reason) => Verdict::Running(reason),
                    Verdict::Done(_) | Verdict::TableInUse(_) => Verdict::Done(()),
                })
            }
        };
        self.call(policy, || Upgrade::new(sql), decide, |_, _| {}, || None)
            .await
    }

    /// Runs a script past PostgREST, until it has run.
    pub(crate) async fn run_script(
        &self,
        policy: RetryPolicy,
        sql: &str,
    ) -> Result<ScriptEnd, ExchangeError> {
        let text: Arc<str> = sql.into();
        let request = || Request::Sql {
            text: Arc::clone(&text),
            with_key: true,
        };
        let decide = |response| match response {
            Response::Json { .. } => Ok(Verdict::Done(ScriptEnd::Ran)),
            Response::Refused(refusal) => refused(refusal),
            Response::NoTable => Err(unexpected("the outcome is missing".to_owned())),
        };
        exchange(
            &*self.transport,
            policy,
            request,
            decide,
            |_, _| {},
            || None,
        )
        .await
    }

    /// Which installation there is, past PostgREST. `None`: none.
    pub(crate) async fn installation(&self) -> Result<Option<u32>, ExchangeError> {
        let request = || Request::Sql {
            text: INSTALLATION_SQL.into(),
            with_key: true,
        };
        let decide = |response| match response {
            Response::Json { value, .. } => installation(&value).map(Verdict::Done),
            Response::Refused(refusal) => match refused(refusal)? {
                Verdict::Running(reason) => Ok(Verdict::Running(reason)),
                Verdict::Done(_) | Verdict::TableInUse(_) => Ok(Verdict::Done(None)),
            },
            Response::NoTable => Err(unexpected("the outcome is missing".to_owned())),
        };
        exchange(
            &*self.transport,
            self.policy,
            request,
            decide,
            |_, _| {},
            || None,
        )
        .await
    }
}

impl Rpc {
    /// Who may run SQL past PostgREST. Asks once each, without retries.
    pub(crate) async fn sql_access(&self) -> SqlAccess {
        let once = async |text: &'static str, with_key| {
            let request = Request::Sql {
                text: text.into(),
                with_key,
            };
            let response = self.transport.send(&request, self.policy.timeout).await;
            match classify(&request, response) {
                Ok(Response::Json { value, .. }) => Some(value),
                Ok(Response::NoTable | Response::Refused(_)) | Err(_) => None,
            }
        };
        let asked = once(INSTALLATION_SQL, true).await;
        let installed = asked.as_ref().map(installation);
        SqlAccess {
            with_key: asked
                .as_ref()
                .is_some_and(|rows| rows[0].get("installation").is_some()),
            without_key: once("select 1 as anyone", false)
                .await
                .is_some_and(|rows| rows[0]["anyone"] == 1),
            installed: matches!(installed, Some(Ok(Some(_)))),
        }
    }
}

/// The one value of the one row of [`INSTALLATION_SQL`].
fn installation(rows: &Value) -> Result<Option<u32>, RequestError> {
    match &rows[0]["installation"] {
        Value::Null if rows.is_array() => Ok(None),
        Value::Number(number) => Ok(number.as_u64().and_then(|oid| oid.try_into().ok())),
        Value::String(text) => Ok(text.parse().ok()),
        _ => Err(unexpected("rows were expected".to_owned())),
    }
}

/// What an error of PostgreSQL means for a script, which nothing is left of.
fn refused(refusal: SqlRefusal) -> Result<Verdict<ScriptEnd>, RequestError> {
    let SqlRefusal { sqlstate, reason } = refusal;
    let (error, effect, retry) = match sqlstate.as_str() {
        GONE => return Ok(Verdict::Done(ScriptEnd::Gone)),
        // A change or a preview has the lock, or a table is in use.
        "55P03" | "57014" | "40001" | "40P01" => {
            return Ok(Verdict::Running(WaitReason::OtherChange.into()));
        }
        "25006" => (Error::ReadOnly { reason }, Effect::None, Retry::No),
        code if ["08", "53", "57"].contains(&&code[..2]) => (
            Error::DatabaseUnavailable { reason },
            Effect::Unknown,
            Retry::Yes,
        ),
        _ => (
            Error::SetupFailed { sqlstate, reason },
            Effect::None,
            Retry::No,
        ),
    };
    Err(RequestError {
        error: Box::new(error),
        effect,
        retry,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_installation_is_read_in_each_form_that_servers_write_it_in() {
        for (rows, expected) in [
            (json!([{"installation": 16385}]), Some(16385)),
            (json!([{"installation": "16385"}]), Some(16385)),
            (json!([{"installation": null}]), None),
            (json!([]), None),
        ] {
            assert_eq!(installation(&rows).unwrap(), expected);
        }
        assert!(installation(&json!({"message": "hello"})).is_err());
    }

    #[test]
    fn a_refusal_is_waited_for_repeated_or_final() {
        let verdict = |sqlstate: &str| {
            let refusal = SqlRefusal {
                sqlstate: sqlstate.to_owned(),
                reason: "said".to_owned(),
            };
            match refused(refusal) {
                Ok(Verdict::Done(ScriptEnd::Gone)) => "gone",
                Ok(Verdict::Running(_)) => "waited for",
                Ok(_) => "done",
                Err(failed) if failed.retry == Retry::Yes => "repeated",
                Err(_) => "final",
            }
        };
        for (sqlstate, expected) in [
            (GONE, "gone"),
            ("55P03", "waited for"),
            ("57014", "waited for"),
            ("40P01", "waited for"),
            ("53300", "repeated"),
            ("57P01", "repeated"),
            ("08006", "repeated"),
            ("25006", "final"),
            ("55000", "final"),
            ("42501", "final"),
        ] {
            assert_eq!(verdict(sqlstate), expected, "{sqlstate}");
        }
    }
}
