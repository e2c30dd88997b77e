//! Installing and removing the functions over HTTP.
//!
//! The outcome is read from the functions and not from a response: a script may have run although its
//! response was lost, and it can run any number of times.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::SchemaVersionManager;
use crate::{
    backoff::Backoff,
    config::SqlApi,
    error::Error,
    install::{RPC_VERSION, SetupScript, install_request, install_sql, uninstall_request},
    report::{DatabaseStatus, InstallOutcome, InstallReport, InstallRoute, UninstallReport},
    rpc::{ExchangeError, RetryPolicy, ScriptEnd},
};

/// The delays between two looks at whether PostgREST serves the functions.
const LOOKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// Why SQL cannot be run on a hosted project.
const NO_TOKEN: &str =
    "a hosted project needs a personal access token for that: set SUPABASE_ACCESS_TOKEN";

/// Installs the functions. Await it to start.
///
/// ```no_run
/// # async fn example(manager: ctx0_schema::SchemaVersionManager) -> Result<(), ctx0_schema::Error> {
/// use ctx0_schema::Error;
///
/// match manager.install().await {
///     Ok(report) => println!("release {} is installed", report.release),
///     Err(Error::RunByHand { script, editor_url, .. }) => {
///         println!("paste this into {}:\n{}", editor_url.unwrap_or_default(), script.text());
///     }
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing changes until it is awaited"]
pub struct Install {
    manager: SchemaVersionManager,
    again: bool,
}

/// Removes the functions. Await it to start.
#[must_use = "nothing changes until it is awaited"]
pub struct Uninstall {
    manager: SchemaVersionManager,
    forget_history: bool,
}

impl Install {
    pub(super) fn new(manager: SchemaVersionManager) -> Self {
        Self {
            manager,
            again: false,
        }
    }

    /// Installs also over functions of this release, which restores functions and privileges that
    /// someone has changed.
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    async fn run(self) -> Result<InstallReport, Error> {
        let manager = &self.manager;
        let found = Installed::of(manager.status().await)?;
        let outcome = match found {
            Installed::Newer(release) => {
                return Ok(InstallReport {
                    outcome: InstallOutcome::Newer,
                    release,
                    route: None,
                });
            }
            Installed::Current if !self.again => {
                return Ok(InstallReport {
                    outcome: InstallOutcome::AlreadyInstalled,
                    release: RPC_VERSION,
                    route: None,
                });
            }
            Installed::Nothing => InstallOutcome::Installed,
            Installed::Older => InstallOutcome::Upgraded,
            Installed::Current | Installed::Denied => InstallOutcome::Restored,
        };
        let route = match manager.send_install(found).await {
            Ok(route) => route,
            // It may have run all the same, or another process has installed them.
            Err(error) => match Installed::of(manager.status().await) {
                Ok(Installed::Current) if found != Installed::Current => {
                    return Ok(InstallReport {
                        outcome,
                        release: RPC_VERSION,
                        route: None,
                    });
                }
                _ => return Err(error),
            },
        };
        Ok(InstallReport {
            outcome,
            release: manager.until_served().await?,
            route: Some(route),
        })
    }
}

impl Uninstall {
    pub(super) fn new(manager: SchemaVersionManager) -> Self {
        Self {
            manager,
            forget_history: false,
        }
    }

    /// Drops the ledger and the attempts as well: the database then does not know any more which
    /// versions it has. The tables of ctx0 stay.
    pub fn forget_history(mut self) -> Self {
        self.forget_history = true;
        self
    }

    async fn run(self) -> Result<UninstallReport, Error> {
        let manager = &self.manager;
        let route = manager.sql_route(SetupScript::Uninstall)?;
        let by_hand = |end| manager.setup_error(SetupScript::Uninstall, end);
        let rpc = &manager.0.rpc;
        let installation = rpc.installation().await.map_err(by_hand)?;
        let script = uninstall_request(installation, self.forget_history);
        let end = rpc.run_script(manager.setup_policy(), &script).await;
        if end.map_err(by_hand)? == ScriptEnd::Gone
            && rpc.installation().await.map_err(by_hand)?.is_some()
        {
            // Somebody else removed it, and installed it again.
            return Err(Error::ChangeRunning);
        }
        Ok(UninstallReport {
            was_installed: installation.is_some(),
            history_kept: !self.forget_history,
            route,
        })
    }
}

/// What is installed, as far as that decides what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Installed {
    Nothing,
    Older,
    Current,
    Newer(u32),
    /// The service role may not execute the functions.
    Denied,
}

impl Installed {
    /// From the response to a request for the status.
    fn of(status: Result<DatabaseStatus, Error>) -> Result<Self, Error> {
        match status {
            Ok(status) if status.rpc_version > RPC_VERSION => Ok(Self::Newer(status.rpc_version)),
            Ok(_) => Ok(Self::Current),
            Err(Error::RpcNotInstalled { .. }) => Ok(Self::Nothing),
            Err(Error::RpcOutdated { .. }) => Ok(Self::Older),
            Err(Error::PermissionDenied { .. }) => Ok(Self::Denied),
            Err(error) => Err(error),
        }
    }
}

impl SchemaVersionManager {
    /// Runs the setup script: through the functions of an older release, which need no other way, or
    /// past PostgREST.
    async fn send_install(&self, found: Installed) -> Result<InstallRoute, Error> {
        let rpc = &self.0.rpc;
        if found == Installed::Older {
            match rpc.upgrade(self.setup_policy(), install_sql()).await {
                Ok(()) => return Ok(InstallRoute::Functions),
                Err(ExchangeError::Failed { error, .. }) if !knows_upgrade(&error) => {}
                Err(end) => return Err(self.setup_error(SetupScript::Install, end)),
            }
        }
        let route = self.sql_route(SetupScript::Install)?;
        rpc.run_script(self.setup_policy(), &install_request())
            .await
            .map_err(|end| self.setup_error(SetupScript::Install, end))?;
        Ok(route)
    }

    /// Waits until PostgREST serves the functions, and returns their release.
    async fn until_served(&self) -> Result<u32, Error> {
        let started = Instant::now();
        let deadline = self.0.rpc.policy().deadline;
        let [first, longest] = LOOKS;
        let mut backoff = Backoff::new(first, longest);
        loop {
            match Installed::of(self.status().await)? {
                Installed::Current => return Ok(RPC_VERSION),
                Installed::Newer(release) => return Ok(release),
                Installed::Nothing | Installed::Older | Installed::Denied => {}
            }
            if started.elapsed() >= deadline {
                return Err(Error::NotServed);
            }
            sleep(backoff.delay()).await;
        }
    }

    /// What runs SQL past PostgREST.
    fn sql_route(&self, script: SetupScript) -> Result<InstallRoute, Error> {
        match &self.0.sql_api {
            Some(SqlApi::PostgresMeta { .. }) => Ok(InstallRoute::PostgresMeta),
            Some(SqlApi::Management { .. }) => Ok(InstallRoute::ManagementApi),
            None => Err(self.by_hand(script, NO_TOKEN.to_owned())),
        }
    }

    fn by_hand(&self, script: SetupScript, reason: String) -> Error {
        Error::RunByHand {
            script,
            reason,
            editor_url: self.0.editor_url.clone(),
        }
    }

    /// A script waits for a running change as long as a change would.
    fn setup_policy(&self) -> RetryPolicy {
        RetryPolicy {
            running_deadline: self.0.apply_deadline,
            ..self.0.rpc.policy()
        }
    }

    /// The error of a script that did not run.
    fn setup_error(&self, script: SetupScript, end: ExchangeError) -> Error {
        let error = Error::from(end);
        match self.sql_is_closed(&error) {
            Some(why) => self.by_hand(script, why),
            None => error,
        }
    }

    /// Why nothing runs SQL past PostgREST, if that is what an error says.
    pub(super) fn sql_is_closed(&self, error: &Error) -> Option<String> {
        let server = match &self.0.sql_api {
            Some(SqlApi::Management { .. }) => "the Management API",
            Some(SqlApi::PostgresMeta { .. }) | None => "/pg/query",
        };
        closed(error).map(|why| format!("{server} {why}"))
    }

    /// Why nothing can run SQL past PostgREST, as far as the configuration says.
    pub(super) fn no_sql_api(&self) -> Option<String> {
        self.0.sql_api.is_none().then(|| NO_TOKEN.to_owned())
    }
}

/// Why the way past PostgREST is closed, if that is what an error says.
fn closed(error: &Error) -> Option<String> {
    match error {
        Error::NotSupabase { status, excerpt }
        | Error::LoginInFront { status, excerpt }
        | Error::Gateway { status, excerpt } => {
            Some(format!("responds with status {status}, {excerpt}"))
        }
        Error::Redirected { location } => Some(match location {
            Some(location) => format!("redirects to {location}"),
            None => "redirects".to_owned(),
        }),
        Error::RequestTooLarge => Some("does not take a request of this size".to_owned()),
        Error::Unreachable { .. }
        | Error::Tls { .. }
        | Error::NotTls { .. }
        | Error::NotHttp { .. }
        | Error::Timeout { .. }
        | Error::ConnectionLost { .. } => Some("cannot be reached".to_owned()),
        _ => None,
    }
}

/// Whether functions that respond with this error have `ctx0_upgrade`.
fn knows_upgrade(error: &Error) -> bool {
    !matches!(
        error,
        Error::RpcNotInstalled { .. } | Error::RpcOutdated { .. }
    )
}

impl IntoFuture for Install {
    type Output = Result<InstallReport, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl IntoFuture for Uninstall {
    type Output = Result<UninstallReport, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Install {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Install")
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Uninstall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uninstall")
            .field("forget_history", &self.forget_history)
            .finish_non_exhaustive()
    }
}
