//! Events, parameters and errors as they appear in messages.

use std::{borrow::Borrow, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{MAX_MESSAGE_BYTES, shared_run::Change};
use crate::{
    error::Error,
    install::install_sql,
    ledger::LedgerError,
    manifest::Version,
    preview::PreviewToken,
    report::{ProblemMessage, Progress, RunError, SetupNeeded, UpdateCheck},
    scheduler::SchemaState,
};

pub(super) const UPDATE_AVAILABLE: &str = "schema:updateAvailable";
pub(super) const APPLY_PROGRESS: &str = "schema:applyProgress";
pub(super) const APPLIED: &str = "schema:applied";
pub(super) const ROLLED_BACK: &str = "schema:rolledBack";
pub(super) const AHEAD: &str = "schema:ahead";
pub(super) const ERROR: &str = "schema:error";

/// What all windows hear.
#[derive(Clone, Debug)]
pub(super) enum Event {
    UpdateAvailable(Arc<UpdateCheck>),
    ApplyProgress(Progress),
    Applied(Applied),
    RolledBack(RolledBack),
    Ahead(Arc<UpdateCheck>),
    Error(Box<ErrorEvent>),
}

impl Event {
    pub(super) fn of(state: &SchemaState) -> Option<Self> {
        Some(match state {
            SchemaState::Unknown => return None,
            SchemaState::Failed(error) => Self::Error(Box::new(ErrorEvent::of(error))),
            SchemaState::Checked(check) => match (&check.problem, check.hosted_unknown()) {
                (Some(problem), _) => Self::Error(Box::new(ErrorEvent::of_problem(problem))),
                (None, Some(why)) => Self::Error(Box::new(ErrorEvent::of_hosted(why))),
                (None, None) if check.has_updates => Self::UpdateAvailable(Arc::clone(check)),
                (None, None) if !check.newer.is_empty() => Self::Ahead(Arc::clone(check)),
                (None, None) => Self::Applied(Applied {
                    applied: Vec::new(),
                    current_version: check.current_version,
                }),
            },
        })
    }

    pub(super) fn notification(&self) -> Value {
        let (method, params) = match self {
            Self::UpdateAvailable(check) => (UPDATE_AVAILABLE, json!(**check)),
            Self::ApplyProgress(progress) => (APPLY_PROGRESS, json!(progress)),
            Self::Applied(applied) => (APPLIED, json!(applied)),
            Self::RolledBack(rolled_back) => (ROLLED_BACK, json!(rolled_back)),
            Self::Ahead(check) => (AHEAD, json!(**check)),
            Self::Error(error) => (ERROR, json!(error)),
        };
        json!({"jsonrpc": "2.0", "method": method, "params": params})
    }
}

/// The parameters of `schema:applied`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Applied {
    pub(super) applied: Vec<Version>,
    pub(super) current_version: Version,
}

/// The parameters of `schema:rolledBack`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct RolledBack {
    pub(super) rolled_back: Vec<Version>,
    pub(super) current_version: Version,
}

/// The parameters of a method that takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

/// The parameters of `schema:applyUpdates`.
#[derive(Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Consent {
    /// The token of the preview that the user agreed to.
    pub(super) token: Option<PreviewToken>,
    /// Who says that there is a backup.
    pub(super) backup_by: Option<FilledText>,
    /// Whether the user agreed that a table is locked where nothing runs a version outside a transaction.
    #[serde(default)]
    pub(super) may_lock: bool,
}

/// The parameters of `schema:preview`.
#[derive(Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PreviewParams {
    /// Previews a rollback to this version instead of applying what is pending.
    pub(super) rollback_to: Option<Version>,
}

/// The parameters of `schema:rollback`.
#[derive(Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RollbackParams {
    /// The version to roll back to.
    pub(super) version: Version,
    /// The token of the preview that the user agreed to.
    pub(super) token: PreviewToken,
    /// Who says that there is a backup.
    pub(super) backup_by: Option<FilledText>,
    /// Whether the user agreed that a table is locked where nothing runs a version outside a transaction.
    #[serde(default)]
    pub(super) may_lock: bool,
}

/// The parameters of `schema:cancelChange`.
#[derive(Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CancelParams {
    /// Who asks; the daemon's name if it is missing.
    pub(super) cancelled_by: Option<FilledText>,
}

/// The parameters of `schema:baseline`.
#[derive(Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BaselineParams {
    /// The version that the user agreed to record, which must make exactly the schema that is there.
    pub(super) version: Version,
    /// Why; it is recorded.
    pub(super) reason: FilledText,
}

/// A text such as the name of a person. Not blank, and without NUL, which PostgreSQL does not store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub(super) struct FilledText(
    #[cfg_attr(
        feature = "json-schema",
        schemars(regex(pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"))
    )]
    String,
);

impl TryFrom<String> for FilledText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            return Err("the text is blank");
        }
        if text.contains('\0') {
            return Err("the text has a NUL in it");
        }
        Ok(Self(text))
    }
}

impl From<FilledText> for String {
    fn from(FilledText(text): FilledText) -> Self {
        text
    }
}

/// Reads named parameters. Missing parameters count as an empty list.
pub(super) fn parameters<T: DeserializeOwned>(params: Value) -> Result<T, Refusal> {
    let params = match params {
        Value::Null => json!({}),
        Value::Array(list) if list.is_empty() => json!({}),
        Value::Object(fields) => Value::Object(fields),
        _ => return Err(Refusal::invalid_params("parameters must be named")),
    };
    serde_json::from_value(params).map_err(|error| Refusal::invalid_params(&error.to_string()))
}

pub(super) fn result<T: Serialize, E: Borrow<Error>>(
    result: Result<T, E>,
) -> Result<Value, Refusal> {
    match result {
        Ok(value) => Ok(json!(value)),
        Err(error) => Err(Refusal::of(error.borrow())),
    }
}

/// The parameters of `schema:error`, and the `data` of an error that is not the standard's.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorEvent {
    /// The name of the error, such as `rpcNotInstalled`. `hostedUnknown`: updates wait, because the hosted service
    /// could not be asked.
    code: &'static str,
    message: String,
    retryable: bool,
    /// Whether `schema:doctor` can find out more.
    doctor_helps: bool,
    /// The setup script, if installing is the remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    install_sql: Option<&'static str>,
    /// The page on which it is pasted, if it cannot be run over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    editor_url: Option<String>,
    /// After a failed run: the versions that it applied before, which stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<Vec<Version>>,
    /// After a failed rollback: the versions that it rolled back before.
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back: Option<Vec<Version>>,
    /// Whether `mayLock` helps: nothing runs a version outside a transaction, and it may run inside one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    may_lock: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemMessage>,
}

impl ErrorEvent {
    pub(super) fn of(error: &Error) -> Self {
        if let Error::Ledger(problem) = error {
            return Self::of_problem(problem);
        }
        let editor_url = match error {
            Error::RunByHand { editor_url, .. } => editor_url.clone(),
            _ => None,
        };
        Self {
            code: error.code(),
            message: error.to_string(),
            retryable: error.is_retryable(),
            doctor_helps: error.doctor_helps(),
            install_sql: SetupNeeded::is_remedy_of(error).then(install_sql),
            editor_url,
            applied: None,
            rolled_back: None,
            may_lock: matches!(error, Error::NothingRunsSql { may_lock: true, .. }),
            problem: None,
        }
    }

    fn of_problem(problem: &LedgerError) -> Self {
        Self {
            code: problem.code(),
            message: problem.to_string(),
            retryable: false,
            doctor_helps: true,
            install_sql: None,
            editor_url: None,
            applied: None,
            rolled_back: None,
            may_lock: false,
            problem: Some(problem.into()),
        }
    }

    /// Updates wait for a hosted service that could not be asked, for this reason.
    fn of_hosted(why: &str) -> Self {
        Self {
            code: "hostedUnknown",
            message: format!(
                "couldn't ask the hosted service ({why}); updates wait until it answers"
            ),
            retryable: true,
            doctor_helps: false,
            install_sql: None,
            editor_url: None,
            applied: None,
            rolled_back: None,
            may_lock: false,
            problem: None,
        }
    }

    pub(super) fn of_run(change: Change, error: &RunError) -> Self {
        let (applied, rolled_back) = match change {
            Change::Apply => (Some(error.applied.clone()), None),
            Change::RollBackTo(_) => (None, Some(error.rolled_back.clone())),
        };
        Self {
            applied,
            rolled_back,
            ..Self::of(&error.error)
        }
    }
}

/// An error of JSON-RPC 2.0: <https://www.jsonrpc.org/specification#error_object>.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    code: i32,
    message: String,
    data: Option<Box<ErrorEvent>>,
}

impl Refusal {
    fn standard(code: i32, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
            data: None,
        }
    }

    pub(super) fn parse_error() -> Self {
        Self::standard(-32700, "Parse error")
    }

    pub(super) fn too_large() -> Self {
        let why = format!(
            "the message is larger than {} KiB",
            MAX_MESSAGE_BYTES / 1024
        );
        Self::invalid_request(&why)
    }

    pub(super) fn invalid_request(why: &str) -> Self {
        Self::standard(-32600, &format!("Invalid Request: {why}"))
    }

    pub(super) fn method_not_found() -> Self {
        Self::standard(-32601, "Method not found")
    }

    pub(super) fn invalid_params(why: &str) -> Self {
        Self::standard(-32602, &format!("Invalid params: {why}"))
    }

    pub(super) fn internal_error() -> Self {
        Self::standard(-32603, "Internal error")
    }

    /// An error of this crate, in the range that the standard leaves to servers.
    pub(super) fn of(error: &Error) -> Self {
        let data = ErrorEvent::of(error);
        Self {
            code: -32000,
            message: data.message.clone(),
            data: Some(Box::new(data)),
        }
    }

    pub(super) fn response(self, id: Value) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(data) = self.data {
            error["data"] = json!(data);
        }
        json!({"jsonrpc": "2.0", "id": id, "error": error})
    }
}
