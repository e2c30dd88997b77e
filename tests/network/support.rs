//! A project behind a network that fails, and the truth about its database.

use std::{collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

use ctx0_schema::{
    Config, ConfigBuilder, Migrations, Progress, Run, RunError, RunReport, SchemaVersionManager,
    WaitReason, install_sql,
};
use ctx0_stack::project::{PATIENCE, Project, migrations};
use ctx0_stack::{
    Options, Stack,
    fault::{Fault, FaultProxy, Page},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// A project whose requests go through a proxy that injects faults.
pub(crate) struct Network {
    pub(crate) project: Project,
    pub(crate) proxy: FaultProxy,
}

impl Network {
    /// The functions are installed, and every request passes.
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Like [`Network::start`], on a stack with these options.
    pub(crate) async fn with(options: Options) -> Self {
        Self::on(Project::installed_with(options).await).await
    }

    /// The REST server has not heard of the functions, and neither of what migrations do.
    pub(crate) async fn uninformed() -> Self {
        let network = Self::without_functions(Options::default()).await;
        network.install_silently().await;
        network
    }

    /// The REST server has read the schema, and does not read it again after a migration.
    ///
    /// That would take far longer than the migration, and may need more connections than
    /// there are to be.
    pub(crate) async fn informed_once(options: Options) -> Self {
        let network = Self::without_functions(options).await;
        network.install_silently().await;
        while network.stack.reload_schema().await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        network
    }

    /// Nothing is installed, and the gateway runs SQL for the service key.
    pub(crate) async fn without_the_functions() -> Self {
        let network = Self::without_functions(Options::default()).await;
        let served = network.stack.serve_sql("postgres").await;
        served.expect("postgres-meta starts");
        network
    }

    async fn without_functions(options: Options) -> Self {
        let stack = Stack::postgres_with(options).await;
        Self::on(Project::on(stack.expect("a stack starts")).await).await
    }

    async fn on(project: Project) -> Self {
        project.sql(COUNTERS).await;
        project.close_gate().await;
        let proxy = FaultProxy::start(project.stack.url()).await;
        let proxy = proxy.expect("a proxy starts");
        Self { project, proxy }
    }

    async fn install_silently(&self) {
        self.sql(&install_sql().replace("pgrst", "nobody")).await;
    }

    pub(crate) fn config(&self) -> ConfigBuilder {
        Config::builder(self.proxy.url(), self.project.stack.service_key())
    }

    pub(crate) fn manager(&self, migrations: &Migrations) -> SchemaVersionManager {
        manager(self.config(), migrations)
    }

    /// What the database says of itself. It must hold together at any time that no migration
    /// runs and nobody has taken one back.
    pub(crate) async fn truth(&self) -> Truth {
        let asked = Instant::now();
        let mut truth = self.look().await;
        // PostgreSQL sends an error before it releases the locks of the transaction that failed.
        while !truth.left_over.is_empty() && asked.elapsed() < PATIENCE {
            sleep(Duration::from_millis(5)).await;
            truth = self.look().await;
        }
        truth.must_hold_together();
        truth
    }

    /// What the database says of itself, whatever that is.
    pub(crate) async fn look(&self) -> Truth {
        serde_json::from_str(&self.value(LOOK).await).expect("the truth")
    }

    /// Kills the database and starts it again. Until the proxy is cleared, no request reaches it, so
    /// that it is as it was left.
    pub(crate) async fn crash(&self) {
        self.proxy.script(vec![Fault::Refuse; 1_000]);
        self.stack.kill_database().await.expect("it is killed");
        self.stack.start_database().await.expect("it starts");
    }

    /// Takes the database back to the state before the first version.
    pub(crate) async fn forget(&self) {
        self.sql(FORGET).await;
    }
}

pub(crate) fn manager(config: ConfigBuilder, migrations: &Migrations) -> SchemaVersionManager {
    let config = config.build().expect("a valid configuration");
    SchemaVersionManager::new(&config, migrations.clone()).expect("a manager")
}

/// One migration for each of these texts. Each also counts its executions and makes a table.
pub(crate) fn steps(texts: &[&str]) -> Migrations {
    let files: Vec<_> = (1..)
        .zip(texts)
        .map(|(version, text)| {
            let sql = format!(
                "select nextval('public.executed_{version}');\n\
                 create table public.step_{version} (id int);\n{text}"
            );
            (format!("{version:03}_step"), sql)
        })
        .collect();
    migrations(&files)
}

/// The same, and behind them a version outside a transaction that makes an index on the last table.
pub(crate) fn steps_and_index(texts: &[&str]) -> Migrations {
    let steps = steps(texts);
    let tables = u32::try_from(texts.len()).expect("few");
    let number = tables + 1;
    let name = format!("{number:03}_index");
    let mut entries: Vec<_> = steps
        .iter()
        .map(|step| {
            json!({"version": step.version().get(), "name": step.name(), "description": step.description(),
                   "file": format!("{}.sql", step.name())})
        })
        .collect();
    entries.push(
        json!({"version": number, "name": &name, "description": "an index", "file": format!("{name}.sql"),
               "transaction": false}),
    );
    let manifest = json!({"currentVersion": number, "migrations": entries}).to_string();
    let mut files = vec![("manifest.json".to_owned(), manifest)];
    files.extend(
        steps
            .iter()
            .map(|step| (format!("{}.sql", step.name()), step.sql().to_owned())),
    );
    files.push((
        format!("{name}.sql"),
        format!("create index concurrently step_{number} on public.step_{tables} (id);"),
    ));
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    Migrations::embedded(&files).expect("valid migrations")
}

/// The numbers of an apply's versions.
pub(crate) fn numbers(versions: &[ctx0_schema::Version]) -> Vec<u32> {
    versions.iter().map(|version| version.get()).collect()
}

/// An apply that runs on its own, and what it tells.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<Result<RunReport, RunError>>,
    reported: UnboundedReceiver<Progress>,
}

impl Running {
    pub(crate) fn start(apply: Run) -> Self {
        let (tell, reported) = unbounded_channel();
        let apply = apply.on_progress(move |progress| {
            // A test that does not listen any more has heard enough.
            let _ = tell.send(progress);
        });
        let task = tokio::spawn(apply.into_future());
        Self { task, reported }
    }

    /// Waits until it tells that it waits for this.
    pub(crate) async fn until_waiting_for(&mut self, wanted: WaitReason) {
        self.until(
            |reported| matches!(reported, Progress::Waiting { reason, .. } if *reason == wanted),
        )
        .await;
    }

    /// Waits until it tells that it begins with its version at this position.
    pub(crate) async fn until_started(&mut self, wanted: usize) {
        self.until(
            |reported| matches!(reported, Progress::Started { position, .. } if *position == wanted),
        )
        .await;
    }

    /// Waits until it tells this.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Progress) -> bool) {
        let telling = async {
            while let Some(reported) = self.reported.recv().await {
                if wanted(&reported) {
                    return;
                }
            }
            panic!("it ended without telling so");
        };
        timeout(PATIENCE, telling).await.expect("it tells in time");
    }

    pub(crate) async fn end(self) -> Result<RunReport, RunError> {
        let ended = timeout(PATIENCE, self.task).await;
        ended.expect("it ends in time").expect("it does not panic")
    }

    /// The versions that it applied, and the one that the database has then.
    pub(crate) async fn success(self) -> (Vec<u32>, u32) {
        let report = self.end().await.expect("it succeeds");
        (numbers(&report.applied), report.current_version.get())
    }

    pub(crate) async fn failure(self) -> RunError {
        self.end().await.expect_err("it fails")
    }
}

/// A transaction of the app's own, which stays open until it is [ended](Self::end).
pub(crate) struct AppTransaction {
    network: Arc<Network>,
    pub(crate) process: String,
}

impl AppTransaction {
    pub(crate) const NAME: &str = "the app";

    /// Runs the statements and waits until they have run.
    pub(crate) async fn begin(network: &Arc<Network>, statements: &str) -> Self {
        let name = Self::NAME;
        let sql = format!("set application_name = '{name}'; {statements}; select pg_sleep(3600)");
        let session = Arc::clone(network);
        // It ends with an error, because its session is terminated.
        tokio::spawn(async move { session.stack.sql(&sql).await });
        let asleep = format!(
            "select pid from pg_stat_activity where application_name = '{name}' and wait_event = 'PgSleep'"
        );
        let process = network.until_some(&asleep).await;
        let network = Arc::clone(network);
        Self { network, process }
    }

    pub(crate) async fn end(self) {
        let ended = format!("select pg_terminate_backend({}, 60000)::text", self.process);
        assert_eq!(self.network.value(&ended).await, "true");
    }
}

/// What the database says of itself.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Truth {
    pub(crate) ledger: Vec<Applied>,
    pub(crate) attempts: Vec<Attempt>,
    /// The steps whose tables and indexes there are.
    tables: Vec<u32>,
    /// Whether a version is running outside a transaction.
    pub(crate) running: u32,
    /// The steps that were begun, and how often.
    executions: BTreeMap<u32, u64>,
    /// Locks that a transaction or a session still holds, in words.
    left_over: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Applied {
    pub(crate) version: u32,
    pub(crate) applied_by: String,
    attempt: String,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) attempt: String,
    pub(crate) version: u32,
    pub(crate) outcome: String,
    pub(crate) sqlstate: Option<String>,
    pub(crate) applied_by: String,
}

impl Truth {
    pub(crate) fn versions(&self) -> Vec<u32> {
        self.ledger.iter().map(|row| row.version).collect()
    }

    /// The versions that are recorded as this manager's.
    pub(crate) fn versions_by(&self, manager: &str) -> Vec<u32> {
        let rows = self.ledger.iter().filter(|row| row.applied_by == manager);
        rows.map(|row| row.version).collect()
    }

    /// The outcomes of the attempts at a version, in the order in which they ended.
    pub(crate) fn outcomes(&self, version: u32) -> Vec<&str> {
        let attempts = self.attempts.iter();
        let attempts = attempts.filter(|attempt| attempt.version == version);
        attempts.map(|attempt| attempt.outcome.as_str()).collect()
    }

    /// How often the migration to a version was begun, rolled back or not.
    pub(crate) fn executions(&self, version: u32) -> u64 {
        self.executions.get(&version).copied().unwrap_or(0)
    }

    fn must_hold_together(&self) {
        let prefix: Vec<u32> = (1..).take(self.ledger.len()).collect();
        assert_eq!(
            self.versions(),
            prefix,
            "whole versions in order: {self:#?}"
        );
        assert_eq!(
            self.tables, prefix,
            "what the ledger says is there: {self:#?}"
        );
        let successes = self.attempts.iter();
        let successes = successes.filter(|attempt| attempt.outcome == "applied");
        let mut successes: Vec<_> = successes
            .map(|attempt| (attempt.version, &attempt.attempt, &attempt.applied_by))
            .collect();
        successes.sort();
        let ledger = self.ledger.iter();
        let ledger: Vec<_> = ledger
            .map(|row| (row.version, &row.attempt, &row.applied_by))
            .collect();
        assert_eq!(successes, ledger, "one success for each version: {self:#?}");
        assert!(self.left_over.is_empty(), "nothing is left over: {self:#?}");
    }
}

impl Deref for Network {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

/// Sequences, because what they count survives a rollback.
const COUNTERS: &str = "
create sequence public.executed_1;
create sequence public.executed_2;
create sequence public.executed_3;
create sequence public.executed_4;
create sequence public.executed_5;
";

/// Without `truncate`, which would make new files.
const FORGET: &str = "
drop table if exists public.step_1, public.step_2, public.step_3;
drop table if exists public.step_4, public.step_5;
delete from public.ctx0_schema_versions;
delete from ctx0_private.ctx0_schema_attempts;
delete from ctx0_private.ctx0_schema_outside;
alter sequence public.executed_1 restart;
alter sequence public.executed_2 restart;
alter sequence public.executed_3 restart;
alter sequence public.executed_4 restart;
alter sequence public.executed_5 restart;
";

const LOOK: &str = r"
select jsonb_build_object(
  'ledger', (
    select coalesce(jsonb_agg(to_jsonb(v) order by version), '[]')
      from public.ctx0_schema_versions v),
  'attempts', (
    select coalesce(jsonb_agg(to_jsonb(a) - 'result' order by finished_at), '[]')
      from ctx0_private.ctx0_schema_attempts a),
  'tables', (
    select coalesce(jsonb_agg(step order by step), '[]')
      from (select substr(relname, 6)::int
              from pg_class c
              left join pg_index i on i.indexrelid = c.oid
             where relnamespace = 'public'::regnamespace and relname ~ '^step_\d+$' and i.indisvalid is not false) t (step)),
  'running', (select count(*) from ctx0_private.ctx0_schema_outside),
  'executions', (
    select coalesce(jsonb_object_agg(substr(sequencename, 10), last_value), '{}')
      from pg_sequences
     where sequencename like 'executed\_%' and last_value is not null),
  'left_over', (
    select coalesce(jsonb_agg(words), '[]')
      from (select concat_ws(' ', 'lock', l.locktype, l.mode, c.relname)
              from pg_locks l
              left join pg_class c on c.oid = l.relation
             where l.pid <> pg_backend_pid()
               -- Autovacuum takes locks of its own whenever it likes.
               and l.pid in (select pid from pg_stat_activity where backend_type = 'client backend')
               and (l.locktype = 'advisory' or c.relname ~ '^(step|ctx0)_')) l (words))
)";

/// Whatever can happen to a request and its response without a daemon giving up.
pub(crate) fn faults_of_one_request() -> [Fault; 10] {
    [
        Fault::Refuse,
        Fault::ResetBeforeSending,
        Fault::ResetAfterRequest,
        Fault::ResetAfterAnswer,
        Fault::ResetInAnswer,
        Fault::Truncated,
        Fault::Status(503, Page::Text),
        Fault::StatusAfterRequest(504, Page::Html),
        Fault::Duplicate,
        Fault::LateDuplicate(Duration::from_millis(20)),
    ]
}
