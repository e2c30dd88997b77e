//! The operations: each reads, plans, acts and reports.

mod cancel;
mod diagnose;
mod goal;
mod install;
mod rehearsal;
mod repair;
mod run;
mod way;

use std::{fmt, sync::Arc, time::Duration};

use self::goal::Goal;
pub use self::{
    cancel::RunCanceller,
    install::{Install, Uninstall},
    rehearsal::{PreviewCanceller, PreviewRequest},
    repair::RepairRequest,
    run::Run,
};
use crate::{
    app_version::AppVersion,
    backup::{BackupAdvice, instructions},
    config::{Config, SqlApi},
    doctor::Settings,
    drift::Verification,
    error::Error,
    hosted::HostedFacts,
    ledger::{AppliedVersion, Pages},
    manifest::{Migration, Migrations, Version},
    plan::{Plan, plan, worth_a_backup},
    report::{DatabaseStatus, SchemaVersion, SetupNeeded, UpdateCheck},
    rpc::{HostedManifest, Rpc, VerifySchema},
};

/// Manages the ctx0 schema of one Supabase project.
///
/// Cheap to clone; clones share one HTTP client. Any number of tasks, processes and computers may
/// call any method at the same time.
///
/// ```no_run
/// use ctx0_schema::{Config, Migrations, SchemaVersionManager};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = SchemaVersionManager::new(&Config::from_env()?, Migrations::bundled()?)?;
/// let check = manager.check_for_updates().await?;
/// if check.has_updates {
///     println!("v{} → v{}", check.current_version, check.latest_version);
///     // Only after the user has agreed:
///     manager.apply_all_pending().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SchemaVersionManager(Arc<Inner>);

struct Inner {
    rpc: Rpc,
    migrations: Migrations,
    applied_by: String,
    /// The version of the app, where it is known.
    app_version: Option<AppVersion>,
    /// How the user makes a backup of this project.
    backup_instructions: String,
    apply_deadline: Duration,
    /// What runs SQL past PostgREST, if anything does.
    sql_api: Option<SqlApi>,
    /// The page on which SQL is pasted, where it is known.
    editor_url: Option<String>,
    /// What the doctor says of the configuration.
    settings: Settings,
    /// The hosted service to compare with.
    hosted: Option<HostedManifest>,
}

impl SchemaVersionManager {
    /// Creates a manager. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Config`] if the HTTP client cannot be set up, for example because the CA file
    /// holds a damaged certificate.
    pub fn new(config: &Config, migrations: Migrations) -> Result<Self, Error> {
        let hosted = config.hosted.as_ref();
        let hosted = hosted.map(|hosted| HostedManifest::new(hosted, config));
        let hosted = hosted.transpose()?;
        Ok(Self::over(Rpc::new(config)?, hosted, config, migrations))
    }

    fn over(
        rpc: Rpc,
        hosted: Option<HostedManifest>,
        config: &Config,
        migrations: Migrations,
    ) -> Self {
        Self(Arc::new(Inner {
            rpc,
            migrations,
            applied_by: config.applied_by.clone(),
            app_version: config.app_version.clone(),
            backup_instructions: instructions(config.rest_url()),
            apply_deadline: config.apply_deadline,
            sql_api: config.sql_api.clone(),
            editor_url: config.editor_url.clone(),
            settings: Settings::of(config),
            hosted,
        }))
    }

    /// Returns the database's version: the highest in the ledger, or [`Version::ZERO`] if the ledger
    /// is empty or does not exist. One request.
    ///
    /// # Errors
    /// Any [`Error`] of a request.
    pub async fn current_version(&self) -> Result<Version, Error> {
        let ledger = self.history().await?;
        Ok(ledger.last().map_or(Version::ZERO, |row| row.version))
    }

    /// Returns the highest version of this build. Sends nothing.
    #[must_use]
    pub fn latest_version(&self) -> Version {
        self.0.migrations.latest_version()
    }

    /// Compares the database with this build. One request, and one to the
    /// [hosted service](crate::ConfigBuilder::hosted_manifest) where it is configured.
    ///
    /// A ledger that disagrees with this build is not an error: [`UpdateCheck::problem`] reports it.
    ///
    /// # Errors
    /// Any [`Error`] of a request.
    pub async fn check_for_updates(&self) -> Result<UpdateCheck, Error> {
        let (ledger, hosted) = self.ledger_and_hosted().await?;
        let plan = self.plan(&ledger, hosted.as_ref());
        let withheld = plan.withheld.iter().map(SchemaVersion::from).collect();
        Ok(UpdateCheck {
            has_updates: !plan.pending.is_empty(),
            current_version: plan.current,
            latest_version: self.latest_version(),
            pending_migrations: plan.pending.iter().map(SchemaVersion::from).collect(),
            backup: self.backup_before(worth_a_backup(plan.current != Version::ZERO, plan.pending)),
            setup: None,
            unrecorded: Vec::new(),
            newer: plan.newer.iter().map(SchemaVersion::from).collect(),
            hosted: hosted.map(|hosted| hosted.compare(plan.current, withheld)),
            problem: plan.problem,
        })
    }

    /// Adds the objects that no version is recorded for: they may hold data that any version could lose.
    #[cfg(feature = "scheduler")]
    pub(crate) fn add_unrecorded(&self, check: &mut UpdateCheck, objects: Vec<String>) {
        if !objects.is_empty() {
            let pending = check.pending_migrations.iter();
            check.backup = self.backup_before(
                pending.filter_map(|pending| self.0.migrations.get(pending.version)),
            );
        }
        check.unrecorded = objects;
    }

    /// The backup that one of these asks for.
    fn backup_before<'a>(
        &self,
        migrations: impl IntoIterator<Item = &'a Migration>,
    ) -> Option<BackupAdvice> {
        let level = migrations.into_iter().filter_map(Migration::backup).max()?;
        Some(BackupAdvice::new(level, &self.0.backup_instructions))
    }

    /// The ledger, and what is known of the hosted service where one is configured, at the same time.
    async fn ledger_and_hosted(&self) -> Result<(Vec<AppliedVersion>, Option<HostedFacts>), Error> {
        let hosted = async {
            match &self.0.hosted {
                Some(manifest) => Some(manifest.look().await),
                None => None,
            }
        };
        let (ledger, hosted) = tokio::join!(self.history(), hosted);
        Ok((ledger?, hosted))
    }

    fn plan<'p>(&'p self, ledger: &'p [AppliedVersion], hosted: Option<&HostedFacts>) -> Plan<'p> {
        let migrations = &self.0.migrations;
        let latest = migrations.latest_version();
        let released =
            |current| hosted.map_or(latest, |hosted| hosted.released(migrations, current));
        plan(migrations, ledger, self.0.app_version.as_ref(), released)
    }

    /// Applies one version, which must be the next one. Await the result to start.
    ///
    /// Does nothing if the database has the version. One request, and one to read the ledger.
    pub fn apply_migration(&self, version: Version) -> Run {
        Run::new(self.clone(), Goal::Next(version))
    }

    /// Applies all pending versions in order. Await the result to start.
    ///
    /// One request per version, and one to read the ledger; over an empty ledger, one request for as many
    /// versions as fit (see [`Run::batch`]).
    pub fn apply_all_pending(&self) -> Run {
        Run::new(self.clone(), Goal::Latest)
    }

    /// Rolls back to a version, newest first. Await the result to start.
    ///
    /// Each version is rolled back by the down migration that was stored when it was applied, so
    /// also one that a newer build applied. If a version has none, nothing is done
    /// ([`Error::NotReversible`]). A down migration restores the schema; see
    /// [`preview_rollback`](Self::preview_rollback) for what happens to the data.
    /// One request per version, and one to read the ledger.
    pub fn rollback_to(&self, version: Version) -> Run {
        Run::new(self.clone(), Goal::BackTo(version))
    }

    /// Previews [`apply_all_pending`](Self::apply_all_pending): runs the pending versions in a
    /// transaction that is rolled back. Await the result to start.
    ///
    /// It runs on live tables: while it runs, the tables that the versions lock are locked. It waits at
    /// most 2 s for a table and works for at most 5 s ([`PreviewRequest::budget`] allows more), then
    /// ends and marks what was not tested. [`PreviewRequest::canceller`] ends it earlier.
    ///
    /// Definitions, rows and settings are as before afterwards, even if the connection breaks. Dead
    /// rows, the disk space of a rewritten table, statistics from `analyze`, and whatever the versions
    /// do outside the transaction, for example with `dblink`, stay. The preview lists sequences that it
    /// could not set back. One request, and one to read the ledger.
    ///
    /// A version that fails is not an error: [`Preview::failure`](crate::Preview::failure) reports
    /// it. Awaiting returns [`Error::ChangeRunning`] while the schema is being changed,
    /// [`Error::Ledger`] if the ledger disagrees with this build, and any [`Error`] of a request.
    pub fn preview(&self) -> PreviewRequest {
        PreviewRequest::new(self.clone(), Goal::Latest)
    }

    /// Previews [`rollback_to`](Self::rollback_to) in the same way.
    ///
    /// Awaiting also returns [`Error::NotReversible`] and [`Error::NotBelow`].
    pub fn preview_rollback(&self, version: Version) -> PreviewRequest {
        PreviewRequest::new(self.clone(), Goal::BackTo(version))
    }

    /// Describes each version of this build, lowest first. Sends nothing.
    #[must_use]
    pub fn change_log(&self) -> Vec<SchemaVersion> {
        self.0.migrations.iter().map(SchemaVersion::from).collect()
    }

    /// Returns the ledger, lowest version first. One request per thousand versions.
    ///
    /// # Errors
    /// Any [`Error`] of a request.
    pub async fn history(&self) -> Result<Vec<AppliedVersion>, Error> {
        let mut pages = Pages::default();
        while let Some(page) = self.0.rpc.ledger_page(pages.above()).await? {
            let last = pages
                .add(page.rows, page.total)
                .map_err(|_| Error::UnexpectedResponse {
                    status: 200,
                    code: None,
                    message: "the ledger's versions are not in order, or not above 0".to_owned(),
                })?;
            if last {
                break;
            }
        }
        Ok(pages.into_rows())
    }

    /// Describes the state of the database. One request.
    ///
    /// # Errors
    /// [`Error::RpcNotInstalled`] and [`Error::RpcOutdated`], which say how to install the
    /// functions; any other [`Error`] if the database could not be asked.
    pub async fn status(&self) -> Result<DatabaseStatus, Error> {
        let mut status = self.0.rpc.status().await?;
        let position = status.position.take();
        status.position = position.map(|position| position.in_files_of(&self.0.migrations));
        Ok(status)
    }

    /// Installs the functions that this crate calls, or upgrades those of an older release. Await the
    /// result to start.
    ///
    /// It changes nothing if they are there: those of this release are left as they are, and those of a
    /// newer one too. Functions of an older release upgrade themselves. Otherwise the script of
    /// [`install_sql`](crate::install_sql) runs through `/pg/query` of a self-hosted installation, or
    /// through the Management API of a hosted project, for which
    /// [`ConfigBuilder::access_token`](crate::ConfigBuilder::access_token) is needed. It waits for a
    /// running change, and until PostgREST serves the functions. What it creates belongs to the role
    /// `postgres`.
    ///
    /// Awaiting returns [`Error::RunByHand`] with the script and the address of the SQL editor where
    /// neither is open, [`Error::SetupFailed`] if the database refuses the script, and any [`Error`] of a
    /// request.
    pub fn install(&self) -> Install {
        Install::new(self.clone())
    }

    /// Removes what [`install`](Self::install) has installed. Await the result to start.
    ///
    /// The ledger, the attempts and the tables of ctx0 stay; installing again puts the ledger and the
    /// attempts back into use. [`Uninstall::forget_history`] drops those two as well. It runs in the same
    /// ways, but not through the functions themselves, and returns the same errors.
    pub fn uninstall(&self) -> Uninstall {
        Uninstall::new(self.clone())
    }

    /// Whether [`install`](Self::install) may work without anyone pasting a script: there is an
    /// interface for SQL. Only a request shows whether it is open. Sends nothing.
    #[must_use]
    pub fn can_install(&self) -> bool {
        self.0.sql_api.is_some()
    }

    /// How long a running change is waited for.
    #[cfg(feature = "fleet")]
    pub(crate) fn apply_deadline(&self) -> Duration {
        self.0.apply_deadline
    }

    /// Whether the setup script has to run before anything can be applied. One request.
    ///
    /// # Errors
    /// [`Error`], when the database could not be asked.
    pub async fn setup_needed(&self) -> Result<Option<SetupNeeded>, Error> {
        match self.status().await {
            Ok(_) => Ok(None),
            Err(error) => self.setup_after(&error).map(Some).ok_or(error),
        }
    }

    /// The setup that is the remedy of an error.
    pub(crate) fn setup_after(&self, error: &Error) -> Option<SetupNeeded> {
        SetupNeeded::of(error, self.can_install(), self.0.editor_url.as_deref())
    }

    /// Checks whether the schema was changed outside the migrations. One request, which changes
    /// nothing.
    ///
    /// A restored dump and a new release of PostgreSQL, minor or major, are no change: where a
    /// definition is printed differently, PostgreSQL decides whether it means the same.
    ///
    /// # Errors
    /// Any [`Error`] of a request.
    pub async fn verify(&self) -> Result<Verification, Error> {
        Ok(self.0.rpc.read(&VerifySchema {}).await?.into())
    }
}

impl fmt::Debug for SchemaVersionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaVersionManager")
            .field("latest_version", &self.latest_version())
            .field("rpc", &self.0.rpc)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl SchemaVersionManager {
    /// A manager of two migrations, with the default limits, on a database of the tests' own.
    pub(crate) fn on(fake: &crate::transport::fake::Fake) -> Self {
        let manifest = r#"{"currentVersion": 2, "migrations": [
            {"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql"},
            {"version": 2, "name": "002_b", "description": "B", "file": "002_b.sql"}]}"#;
        let files = [
            ("manifest.json", manifest),
            ("001_a.sql", "select 1;\n\nselect 2;"),
            ("002_b.sql", "select 3;"),
        ];
        let config = Config::new("http://127.0.0.1", "sb_secret_test").expect("a configuration");
        let migrations = Migrations::embedded(&files).expect("valid migrations");
        Self::over(
            Rpc::over(Box::new(fake.clone()), &config),
            None,
            &config,
            migrations,
        )
    }
}
