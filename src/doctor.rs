//! What can be wrong with a project and what to do about it. Pure: facts in, checks out.

mod server;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub(crate) use self::server::{Health, SqlAccess, extensions};
use crate::{
    config::{Config, KeyKind, is_loopback},
    drift::Verification,
    error::Error,
    ledger::AttemptOutcome,
    report::{DatabaseStatus, UpdateCheck},
};

/// Clocks may differ by this much before a token counts as expired or as issued in the future.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(30);
/// A key that expires sooner is worth a warning.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(24 * 30);
/// A read that takes longer is worth a warning.
const SLOW: std::time::Duration = std::time::Duration::from_secs(2);

/// What [`diagnose`](crate::SchemaVersionManager::diagnose) found.
///
/// Displays as text that can be pasted into a bug report: it has the address of the project, and
/// nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Diagnosis {
    /// The version of this crate.
    pub version: &'static str,
    /// The checks, each of which rests on those before it.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Check {
    /// What was looked at.
    pub name: CheckName,
    /// How it is.
    pub state: CheckState,
    /// What was found, in words.
    pub found: String,
    /// What to do, where there is something to do.
    pub remedy: Option<String>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum CheckName {
    /// The URL of the project.
    Address,
    /// The kind of the key, and when it expires.
    Key,
    /// Whether the server responds, over TLS that is trusted.
    Connection,
    /// Whether this computer's clock and the server's agree.
    Clock,
    /// Whether PostgREST responds, accepts the key and serves the schema.
    RestApi,
    /// Whether PostgREST returns rows, and how many at most.
    MaxRows,
    /// Who may run SQL past PostgREST, through `/pg/` of a self-hosted installation.
    SqlAccess,
    /// Whether the functions are installed, in the release that this build needs.
    Functions,
    /// Whether the database can be written to, and its size.
    Database,
    /// How long a change may run.
    Timeouts,
    /// Whether the extensions are there that the migrations name.
    Extensions,
    /// Whether the ledger agrees with this build.
    Ledger,
    /// Whether a change is running.
    Running,
    /// How the last change ended.
    LastChange,
    /// Whether the schema was changed outside the migrations.
    Drift,
}

impl CheckName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
            Self::Connection => "connection",
            Self::Clock => "clock",
            Self::RestApi => "REST API",
            Self::MaxRows => "max rows",
            Self::SqlAccess => "/pg/",
            Self::Functions => "functions",
            Self::Database => "database",
            Self::Timeouts => "timeouts",
            Self::Extensions => "extensions",
            Self::Ledger => "ledger",
            Self::Running => "running",
            Self::LastChange => "last change",
            Self::Drift => "drift",
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum CheckState {
    /// Nothing to do.
    Good,
    /// It works, and there is something to know.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be looked at: something above it failed, or the server did not say. No failure by itself.
    NotChecked,
}

impl CheckState {
    /// A word of at most five letters.
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warn",
            Self::Failed => "FAIL",
            Self::NotChecked => "-",
        }
    }
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Diagnosis {
    /// Whether nothing failed.
    #[must_use]
    pub fn works(&self) -> bool {
        self.checks.iter().all(|check| match check.state {
            CheckState::Good | CheckState::Warning | CheckState::NotChecked => true,
            CheckState::Failed => false,
        })
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ctx0-schema {}", self.version)?;
        for check in &self.checks {
            writeln!(f, "{:<4}  {:<11}  {}", check.state, check.name, check.found)?;
            if let Some(remedy) = &check.remedy {
                writeln!(f, "{:19}→ {remedy}", "")?;
            }
        }
        Ok(())
    }
}

/// What can be said of a configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The base of every request.
    url: String,
    is_plain_http_away: bool,
    key: KeyKind,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let url = config.rest_url();
        Self {
            url: url.to_string(),
            is_plain_http_away: url.scheme() == "http" && !is_loopback(url),
            key: config.key.kind(),
        }
    }
}

/// What was looked at. What rests on something that failed was not looked at.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    settings: &'a Settings,
    now: Timestamp,
    pub(crate) probe: Probe,
    pub(crate) check: Option<Result<UpdateCheck, Error>>,
    pub(crate) status: Option<Result<DatabaseStatus, Error>>,
    /// `None` also where nothing runs SQL past PostgREST with the service key.
    pub(crate) sql_access: Option<SqlAccess>,
    pub(crate) health: Option<Result<Health, Error>>,
    pub(crate) drift: Option<Result<Verification, Error>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(settings: &'a Settings, now: Timestamp, probe: Probe) -> Self {
        Self {
            settings,
            now,
            probe,
            check: None,
            status: None,
            sql_access: None,
            health: None,
            drift: None,
        }
    }
}

/// A read of the ledger, once and without retries.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) took: std::time::Duration,
    /// The server's clock.
    pub(crate) date: Option<Timestamp>,
    /// What calls itself the server.
    pub(crate) server: Option<String>,
    /// Whether there was a response of any kind.
    pub(crate) responded: bool,
    /// How many rows of the ledger were returned, and how many there are.
    pub(crate) rows: Option<(usize, usize)>,
    pub(crate) error: Option<Error>,
}

/// Decides how each thing is.
pub(crate) fn diagnosis(facts: &Facts<'_>) -> Diagnosis {
    Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        checks: vec![
            address(facts),
            key(facts),
            connection(facts),
            clock(facts),
            rest_api(facts),
            server::max_rows(facts),
            server::sql_access(facts),
            functions(facts),
            server::database(facts),
            server::timeouts(facts),
            server::extensions_there(facts),
            ledger(facts),
            running(facts),
            last_change(facts),
            drift(facts),
        ],
    }
}

impl Check {
    fn good(name: CheckName, found: impl Into<String>) -> Self {
        // What comes from a server must not steer a terminal.
        let found = found.into().replace(char::is_control, "\u{fffd}");
        Self {
            name,
            state: CheckState::Good,
            found,
            remedy: None,
        }
    }

    fn warning(name: CheckName, found: impl Into<String>, remedy: &str) -> Self {
        Self {
            state: CheckState::Warning,
            remedy: Some(remedy.to_owned()),
            ..Self::good(name, found)
        }
    }

    fn failing(name: CheckName, found: impl Into<String>, remedy: &str) -> Self {
        Self {
            state: CheckState::Failed,
            ..Self::warning(name, found, remedy)
        }
    }

    /// The text of an error says what happened, and after a colon what to do.
    fn failed(name: CheckName, error: &Error) -> Self {
        let mut found = error.to_string();
        // What is between says in which layer it happened, which helps nobody.
        if let Some(cause) = error.causes().last() {
            found += &format!(" (because: {cause})");
        }
        Self {
            state: CheckState::Failed,
            ..Self::good(name, found)
        }
    }

    /// For what rests on a check above it, which failed.
    fn not_checked(name: CheckName) -> Self {
        Self::not_checked_because(name, "something above failed")
    }

    fn not_checked_because(name: CheckName, reason: &str) -> Self {
        Self {
            state: CheckState::NotChecked,
            ..Self::good(name, format!("not checked: {reason}"))
        }
    }
}

fn address(facts: &Facts<'_>) -> Check {
    let name = CheckName::Address;
    if facts.settings.is_plain_http_away {
        let remedy =
            "anyone on the way can read the key: use https outside a network that you trust";
        return Check::warning(name, &facts.settings.url, remedy);
    }
    Check::good(name, &facts.settings.url)
}

fn key(facts: &Facts<'_>) -> Check {
    let name = CheckName::Key;
    match facts.settings.key {
        KeyKind::Secret => Check::good(name, "secret key"),
        KeyKind::Legacy { expires: None } => {
            Check::good(name, "legacy key of service_role, without end")
        }
        KeyKind::Legacy { expires: Some(end) } => {
            let found = format!("legacy key of service_role, until {}", end.strftime("%F"));
            if end.duration_since(facts.now) < EXPIRES_SOON {
                return Check::warning(
                    name,
                    found,
                    "copy a new key in time: Project Settings → API Keys",
                );
            }
            Check::good(name, found)
        }
    }
}

fn connection(facts: &Facts<'_>) -> Check {
    let name = CheckName::Connection;
    let Probe {
        took,
        responded,
        error,
        ..
    } = &facts.probe;
    match error {
        Some(error) if !responded => Check::failed(name, error),
        _ if *took > SLOW => Check::warning(
            name,
            format!("responds in {} ms", took.as_millis()),
            "that is slow: check the network and the load of the server",
        ),
        _ => Check::good(name, format!("responds in {} ms", took.as_millis())),
    }
}

fn clock(facts: &Facts<'_>) -> Check {
    let name = CheckName::Clock;
    let Some(date) = facts.probe.date else {
        return match facts.probe.responded {
            true => Check::not_checked_because(
                name,
                "the response has no Date header, perhaps because a proxy removes it",
            ),
            false => Check::not_checked(name),
        };
    };
    let skew = facts.now.duration_since(date);
    let seconds = skew.abs().as_secs();
    if skew.abs() <= CLOCK_SKEW {
        return Check::good(name, "this computer and the server agree");
    }
    let direction = if skew.is_positive() {
        "ahead of"
    } else {
        "behind"
    };
    Check::warning(
        name,
        format!("this computer is {seconds} s {direction} the server"),
        "set both clocks by NTP: keys expire by them",
    )
}

fn rest_api(facts: &Facts<'_>) -> Check {
    let name = CheckName::RestApi;
    let Probe {
        responded,
        error,
        server,
        ..
    } = &facts.probe;
    match error {
        _ if !responded => Check::not_checked(name),
        Some(error) => Check::failed(name, error),
        None => Check::good(
            name,
            server.as_deref().unwrap_or("PostgREST behind a gateway"),
        ),
    }
}

fn functions(facts: &Facts<'_>) -> Check {
    let name = CheckName::Functions;
    match &facts.status {
        None => Check::not_checked(name),
        Some(Err(Error::RpcNotInstalled { .. }))
            if facts
                .sql_access
                .as_ref()
                .is_some_and(|access| access.installed) =>
        {
            Check::failed(name, &Error::NotServed)
        }
        Some(Err(error)) => Check::failed(name, error),
        Some(Ok(status)) => {
            let DatabaseStatus {
                rpc_version,
                owner,
                server_version,
                ..
            } = status;
            let found =
                format!("release {rpc_version}, owned by {owner}, on PostgreSQL {server_version}");
            if owner == "postgres" {
                return Check::good(name, found);
            }
            let remedy = "migrations run with the rights of this role, which is postgres on Supabase: run the setup \
                          script again as postgres";
            Check::warning(name, found, remedy)
        }
    }
}

fn ledger(facts: &Facts<'_>) -> Check {
    let name = CheckName::Ledger;
    match &facts.check {
        None => Check::not_checked(name),
        Some(Err(error)) => Check::failed(name, error),
        Some(Ok(check)) => match &check.problem {
            Some(problem) => Check::failed(name, &Error::Ledger(problem.clone())),
            None if facts
                .status
                .iter()
                .flatten()
                .any(|status| !status.unrecorded.is_empty()) =>
            {
                let remedy = "if they were made by hand, `ctx0-schema baseline` recognises and records the version";
                Check::warning(
                    name,
                    "the database has objects of ctx0, but no version is recorded",
                    remedy,
                )
            }
            None => {
                let (current, latest) = (check.current_version, check.latest_version);
                if !check.newer.is_empty() {
                    let found = format!(
                        "version {current}, which is newer than this build's {latest} and works with it"
                    );
                    return Check::warning(name, found, "update the app when you can");
                }
                Check::good(name, format!("version {current}; this build has {latest}"))
            }
        },
    }
}

fn running(facts: &Facts<'_>) -> Check {
    let name = CheckName::Running;
    match &facts.status {
        None | Some(Err(_)) => Check::not_checked(name),
        Some(Ok(status)) if status.locked => Check::warning(
            name,
            "a change is running",
            "wait until it has ended, then look again",
        ),
        Some(Ok(_)) => Check::good(name, "no change is running"),
    }
}

fn last_change(facts: &Facts<'_>) -> Check {
    let name = CheckName::LastChange;
    let Some(Ok(status)) = &facts.status else {
        return Check::not_checked(name);
    };
    let Some(last) = &status.last_attempt else {
        return Check::good(name, "none yet");
    };
    let at = last.finished_at.strftime("%F %T UTC");
    let version = last.version;
    match last.outcome {
        AttemptOutcome::Applied
        | AttemptOutcome::AlreadyApplied
        | AttemptOutcome::RolledBack
        | AttemptOutcome::AlreadyRolledBack => {
            Check::good(name, format!("version {version} succeeded at {at}"))
        }
        AttemptOutcome::Recorded | AttemptOutcome::AlreadyRecorded => Check::good(
            name,
            format!("the ledger was repaired for version {version} at {at}"),
        ),
        AttemptOutcome::Cancelled => {
            let by = last.cancelled_by.as_deref().unwrap_or("somebody");
            let found = format!("version {version} was stopped by {by} at {at}, and undone");
            Check::good(name, found)
        }
        AttemptOutcome::Conflict | AttemptOutcome::Failed => {
            let message = last.message.as_deref().unwrap_or("no message");
            let state = last
                .sqlstate
                .iter()
                .map(|state| format!(" (SQLSTATE {state})"))
                .collect::<String>();
            let found = format!("version {version} failed at {at}: {message}{state}");
            Check::warning(
                name,
                found,
                "nothing of it is left: correct the cause, then apply again",
            )
        }
    }
}

fn drift(facts: &Facts<'_>) -> Check {
    let name = CheckName::Drift;
    match &facts.drift {
        None => Check::not_checked(name),
        Some(Err(error)) => Check::failed(name, error),
        Some(Ok(verification)) => match verification {
            Verification::Unchanged { .. } => {
                Check::good(name, "the schema is as the last change left it")
            }
            Verification::CannotSay { reason, .. } => {
                Check::good(name, format!("cannot be compared: {reason}"))
            }
            Verification::Drifted { differences, .. } => {
                let names: Vec<_> = differences
                    .iter()
                    .map(|change| change.name.as_str())
                    .collect();
                let found = format!("changed outside the migrations: {}", names.join(", "));
                let remedy = "`ctx0-schema verify` shows the differences: revert them, or put them into a migration";
                Check::warning(name, found, remedy)
            }
        },
    }
}
