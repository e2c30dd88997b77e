//! What the test suites of `ctx0-schema` share: a project, the manager on it, and small helpers.
//!
//! `ctx0-schema` uses this crate in its tests only, so that the two may use each other.

#![expect(
    clippy::missing_panics_doc,
    reason = "a helper of tests panics where the test fails"
)]

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::mpsc,
    time::{Duration, Instant},
};

use ctx0_schema::{
    Config, ConfigBuilder, Migrations, Preview, PreviewedVersion, Progress, Run, RunError,
    RunReport, SchemaVersionManager, Version, Warning, WarningKind, install_sql,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::sleep,
};

use crate::{Kind, Options, Rows, Stack};

/// Long enough for anything that comes to an end, on any machine.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// A statement that runs until [`Project::open_gate`], after [`Project::close_gate`].
pub const GATE: &str = "do $$
begin
  while not exists (select from public.gate_of_ctx0_tests) loop
    perform pg_catalog.pg_sleep(0.01);
  end loop;
end
$$;";

/// All that the tests leave in a database is named `ctx0_…`, but for the gate: an app's table of
/// that name would be a part of the schema.
const REMOVE_EVERYTHING: &str = r"
do $$
declare
  command text;
begin
  -- All commands first: what one of them drops along cannot be named any more.
  foreach command in array array(
    select format('drop %s if exists %s cascade',
                  case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                                 when 'c' then 'type' else 'table' end,
                  format('public.%I', c.relname))
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S', 'c') and c.relname like 'ctx0\_%'
    union all
    select format('drop routine if exists %s cascade', p.oid::regprocedure)
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.proname like 'ctx0\_%'
       -- Those that came with a type go with it.
       and not exists (select from pg_depend d
                        where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'i')
    union all
    select format('drop publication if exists %I', pubname)
      from pg_publication
     where pubname like 'ctx0\_%'
    union all
    select format('drop type if exists public.%I cascade', t.typname)
      from pg_type t
     where t.typnamespace = 'public'::regnamespace and t.typtype in ('e', 'd', 'r') and t.typname like 'ctx0\_%'
  ) loop
    execute command;
  end loop;
end
$$;
drop table if exists public.gate_of_ctx0_tests;
drop schema if exists ctx0_private cascade;
notify pgrst, 'reload schema';
";

/// Settings of databases and roles, roles, and whatever has a name that is not ctx0's. At Supabase
/// some roles and schemas come and go by themselves, but not these.
const NOT_OURS: &str = r"
select string_agg(line, E'\n' order by line) from (
  select format('setting %s %s %s', setdatabase, setrole, setconfig) from pg_db_role_setting
  union all select format('role %s', rolname) from pg_roles
  union all select format('member %s %s', roleid, member) from pg_auth_members
  union all select format('schema %s %s', nspname, nspacl) from pg_namespace
             where nspname <> 'ctx0_private' and nspname !~ '^pg_(toast_)?temp_'
  union all select format('relation %s %s %s', oid, relname, relacl) from pg_class
             where relnamespace = 'public'::regnamespace and relname !~ '^ctx0_'
  union all select format('function %s %s', oid, proname) from pg_proc
             where pronamespace = 'public'::regnamespace and proname !~ '^ctx0_'
  union all select format('default privileges %s %s %s', defaclrole, defaclnamespace, defaclacl) from pg_default_acl
  union all select format('extension %s', extname) from pg_extension
  union all select format('event trigger %s', evtname) from pg_event_trigger
  union all select format('publication %s', pubname) from pg_publication where pubname !~ '^ctx0_'
) lines (line)
";

/// One database is shared by all tests where it is an external one.
static EXTERNAL: Mutex<()> = Mutex::const_new(());

/// A project for one test. What it has of ctx0 goes with it, also on an external Supabase.
pub struct Project {
    /// The gateway, the REST layer and the database.
    pub stack: Stack,
    /// On an external Supabase: the turn of this test, and what is not ctx0's.
    external: Option<(MutexGuard<'static, ()>, String)>,
}

impl Project {
    /// A project without anything of ours.
    pub async fn empty() -> Self {
        Self::on(Stack::for_tests().await.expect("a stack starts")).await
    }

    /// A project in which the functions are installed.
    pub async fn installed() -> Self {
        match Stack::external().await.expect("a complete description") {
            None => Self::installed_on_own_server().await,
            Some(stack) => {
                let project = Self::on(stack).await;
                project.install().await;
                project
            }
        }
    }

    /// A project without anything of ours, on a PostgreSQL of its own wherever the suite runs: for a
    /// test that needs a superuser, or that makes or changes what is not ctx0's.
    pub async fn on_own_server() -> Self {
        Self::on(Stack::postgres().await.expect("a stack starts")).await
    }

    /// [`Project::on_own_server`] with the functions installed.
    pub async fn installed_on_own_server() -> Self {
        Self::installed_with(Options::default()).await
    }

    /// The same, set up differently.
    pub async fn installed_with(options: Options) -> Self {
        let options = Options {
            installed: true,
            ..options
        };
        let stack = Stack::postgres_with(options).await;
        Self {
            stack: stack.expect("a stack starts"),
            external: None,
        }
    }

    /// On this stack, which must not have anything of ctx0.
    pub async fn on(stack: Stack) -> Self {
        let turn = match stack.kind() {
            Kind::External => Some(EXTERNAL.lock().await),
            Kind::Embedded | Kind::Postgres => None,
        };
        let mut project = Self {
            stack,
            external: None,
        };
        if let Some(turn) = turn {
            project.external = Some((turn, project.value(NOT_OURS).await));
        }
        let found = project
            .value(r"select count(*) from pg_class where relname like 'ctx0\_%'")
            .await;
        assert_eq!(
            found, "0",
            "the database under test already has ctx0 objects, which the tests would remove"
        );
        project
    }

    /// Installs the functions, as someone does in the SQL editor.
    pub async fn install(&self) {
        self.sql(install_sql()).await;
        self.stack
            .reload_schema()
            .await
            .expect("the schema is read again");
    }

    /// Runs SQL behind the API.
    pub async fn sql(&self, sql: &str) -> Rows {
        self.stack
            .sql(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// The first value of the first row.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.sql(sql).await;
        rows.first()
            .and_then(|row| row.first().cloned().flatten())
            .unwrap_or_default()
    }

    /// Waits until a condition in SQL is true.
    pub async fn until(&self, condition: &str) {
        self.until_some(&format!("select true where {condition}"))
            .await;
    }

    /// Waits until a query has a value, and returns it.
    pub async fn until_some(&self, query: &str) -> String {
        let asked = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            let value = self.value(query).await;
            if !value.is_empty() {
                return value;
            }
            assert!(asked.elapsed() < PATIENCE, "in vain: {query}");
            // Each look is a connection of its own, which takes the processor from what is waited for.
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// Waits until a migration has come to its [`GATE`] or to another sleep, and returns the process
    /// of its session.
    pub async fn until_asleep(&self) -> String {
        self.until_some(
            "select pid from pg_stat_activity where usename = 'authenticator' and wait_event = 'PgSleep' limit 1",
        )
        .await
    }

    /// Closes the gate that [`GATE`] waits for.
    pub async fn close_gate(&self) {
        self.sql("create table if not exists public.gate_of_ctx0_tests (open boolean); delete from public.gate_of_ctx0_tests")
            .await;
    }

    /// Opens it again.
    pub async fn open_gate(&self) {
        self.sql("insert into public.gate_of_ctx0_tests values (true)")
            .await;
    }

    /// A configuration for the project, with the service key.
    pub fn config(&self) -> ConfigBuilder {
        Config::builder(self.stack.url(), self.stack.service_key())
    }

    /// A manager of these migrations.
    pub fn manager(&self, migrations: Migrations) -> SchemaVersionManager {
        let config = self.config().build().expect("a valid configuration");
        SchemaVersionManager::new(&config, migrations).expect("a manager")
    }

    /// A manager of the migrations that come with the crate.
    pub fn bundled(&self) -> SchemaVersionManager {
        self.manager(Migrations::bundled().expect("the bundled migrations"))
    }

    /// The versions in the ledger, behind the API.
    pub async fn ledger(&self) -> Vec<u32> {
        let rows = self
            .sql("select version from public.ctx0_schema_versions order by version")
            .await;
        rows.into_iter()
            .map(|row| {
                row[0]
                    .as_ref()
                    .expect("a version")
                    .parse()
                    .expect("a number")
            })
            .collect()
    }

    /// A line for each catalog, table and sequence of the whole database, by which another state
    /// is known: contents down to the row versions, without the counts that `analyze` keeps.
    pub async fn everything(&self) -> Vec<String> {
        let rows = match self.stack.kind() {
            Kind::External => self.stack.sql(EVERYTHING).await,
            Kind::Embedded | Kind::Postgres => self.stack.admin_sql(EVERYTHING).await,
        };
        let rows = rows.expect("the state can be read").into_iter();
        rows.map(|mut row| row.remove(0).expect("a line")).collect()
    }

    /// Every definition of ours, one a line: for comparing two states of a database.
    pub async fn catalog(&self) -> String {
        let rows = self.sql(CATALOG).await;
        rows.into_iter().fold(String::new(), |mut text, row| {
            let cells: Vec<_> = row.into_iter().map(Option::unwrap_or_default).collect();
            writeln!(text, "{}", cells.join(" | ")).expect("a string takes it");
            text
        })
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let Some((_turn, not_ours)) = self.external.take() else {
            return;
        };
        // A thread of its own, because this one may be inside the test's runtime and unwinding.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    self.sql(REMOVE_EVERYTHING).await;
                    let now = self.value(NOT_OURS).await;
                    assert_eq!(now, not_ours, "the test has changed what is not ctx0's");
                });
            });
        });
    }
}

/// What a run returns and reports on a machine of any speed, where nothing else changes the schema: a slow one also
/// reports that it waits for its own version.
pub async fn followed(run: Run) -> (Result<RunReport, RunError>, Vec<Progress>) {
    let (tell, reported) = mpsc::channel();
    let run = run.on_progress(move |progress| {
        if !matches!(progress, Progress::Waiting { .. }) {
            tell.send(progress).expect("it is received below");
        }
    });
    let result = run.await;
    (result, reported.try_iter().collect())
}

/// What a preview warns of on a machine of any speed.
pub fn warnings(preview: &Preview) -> Vec<&Warning> {
    let at_any_speed = |seen: &PreviewedVersion, warning: &Warning| match warning.kind {
        WarningKind::Slow => false,
        // A lock is worth a warning where its table is rewritten, or the version is slow.
        WarningKind::Locked => !seen.rewrites.is_empty(),
        _ => true,
    };
    preview
        .versions
        .iter()
        .flat_map(|seen| seen.warnings.iter().map(move |warning| (seen, warning)))
        .filter(|(seen, warning)| at_any_speed(seen, warning))
        .map(|(_, warning)| warning)
        .collect()
}

/// Says, past the test harness, that a test did not run, and what it needs.
pub fn skip(test: &str, needs: &str) {
    writeln!(io::stderr(), "skipped: {test} needs {needs}").expect("standard error");
}

/// The longest budget of a preview, for one that is to be tested to its end however busy the machine is.
pub const LONGEST: Duration = Duration::from_secs(25);

/// This version.
pub fn version(number: u32) -> Version {
    Version::new(number).expect("a version")
}

/// Migrations with these names and texts, numbered from 1.
pub fn migrations(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Migrations {
    let files: Vec<_> = files
        .iter()
        .map(|(name, sql)| (name.as_ref(), sql.as_ref()))
        .collect();
    let entries: Vec<_> = (1..)
        .zip(&files)
        .map(|(version, (name, _))| {
            serde_json::json!({
                "version": version, "name": name, "description": format!("about {name}"), "file": format!("{name}.sql"),
            })
        })
        .collect();
    let manifest =
        serde_json::json!({ "currentVersion": files.len(), "migrations": entries }).to_string();
    let files: Vec<_> = files
        .iter()
        .map(|&(name, sql)| (format!("{name}.sql"), sql))
        .collect();
    let mut all = vec![("manifest.json", manifest.as_str())];
    all.extend(files.iter().map(|(name, sql)| (name.as_str(), *sql)));
    Migrations::embedded(&all).expect("valid migrations")
}

const EVERYTHING: &str = r"
with catalogs as (
  select c.oid::regclass as name
    from pg_class c
   where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r'
     -- At Supabase the superuser's own are closed to everyone else.
     and has_table_privilege(c.oid, 'select')
     and c.relname not in ('pg_statistic', 'pg_largeobject', 'pg_authid', 'pg_subscription', 'pg_user_mapping')
), tables as (
  select c.oid::regclass as name
    from pg_class c
   where c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
     and c.relnamespace::regnamespace::text !~ '^pg_' and c.relkind in ('r', 'm')
     and has_schema_privilege(c.relnamespace, 'usage') and has_table_privilege(c.oid, 'select')
), queries (name, query) as (
  -- A row version is known by its place and its transaction; printing thousands would take most of the time. The counts
  -- of pg_class, and flags that say only what may be, are updated in place, which this leaves out.
  select name, format('select count(*), sum(hashtidextended(t.ctid, t.xmin::text::bigint)) as x from %s t', name)
    from catalogs
  union all
  select name, format('select md5(string_agg(concat(t.xmin, t.ctid, t::text), '';'' order by t.ctid)) as x from %s t', name)
    from tables
  union all
  select s.seqrelid::regclass, format('select last_value, is_called from %s', s.seqrelid::regclass)
    from pg_sequence s
)
select concat(name, ' ', query_to_xml(query, false, true, '')) from queries order by name::text
";

const CATALOG: &str = r"
with ours as (
  select c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.relowner, c.reloptions
    from pg_class c
   where c.relnamespace in ('public'::regnamespace, to_regnamespace('ctx0_private'))
     and (c.relname like 'ctx0\_%' or c.relnamespace = to_regnamespace('ctx0_private'))
)
select 'relation', relname, relkind::text, relrowsecurity::text, relforcerowsecurity::text, relowner::regrole::text,
       (select string_agg(a::text, ' ' order by a::text) from unnest(coalesce(relacl, acldefault('r', relowner))) a),
       reloptions::text, obj_description(oid, 'pg_class')
  from ours
union all
select 'column', o.relname, a.attnum::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity::text || a.attgenerated::text, col_description(o.oid, a.attnum)
  from ours o
  join pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where o.relkind in ('r', 'p', 'v', 'm')
union all
select 'constraint', o.relname, c.conname, pg_get_constraintdef(c.oid), '', '', '', '', ''
  from ours o join pg_constraint c on c.conrelid = o.oid
 where c.contype <> 'n'
union all
select 'index', o.relname, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid::text, '', '', '', ''
  from ours o join pg_index i on i.indrelid = o.oid
union all
select 'trigger', o.relname, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text, '', '', '', ''
  from ours o join pg_trigger t on t.tgrelid = o.oid and not t.tgisinternal
union all
select 'policy', o.relname, p.polname, pg_get_expr(p.polqual, p.polrelid), '', '', '', '', ''
  from ours o join pg_policy p on p.polrelid = o.oid
union all
select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proowner::regrole::text,
       (select string_agg(a::text, ' ' order by a::text) from unnest(coalesce(p.proacl, acldefault('f', p.proowner))) a),
       '', '', '', obj_description(p.oid, 'pg_proc')
  from pg_proc p
 where p.pronamespace = 'public'::regnamespace and p.proname like 'ctx0\_%' or p.pronamespace = to_regnamespace('ctx0_private')
order by 1, 2, 3, 4
";
