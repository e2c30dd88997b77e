use std::{env, time::Duration};

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use crate::{
    Port, StackError,
    cluster::{self, Cluster},
    embedded::{self, Embedded},
    external, keys,
    meta::{Meta, Served},
    rest::{Rest, Settings},
    sql::{self, Parser, Rows},
};

/// What stands behind the REST layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL 18 as WebAssembly.
    Embedded,
    /// The machine's own PostgreSQL, in a fresh cluster.
    Postgres,
    /// A Supabase that runs elsewhere.
    External,
}

/// How a stack with a real PostgreSQL is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many requests can use the database at once; 10 as in PostgREST.
    pub pool: u32,
    /// How long a request waits for one of these connections; 10 s as in
    /// PostgREST.
    pub pool_timeout: Duration,
    /// How the extension pg_cron runs its jobs. Without it there is no such extension.
    pub cron: Option<Cron>,
    /// Whether the functions of ctx0 are installed, as if someone had done that in the SQL editor.
    pub installed: bool,
}

/// How the extension pg_cron runs its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cron {
    /// In processes of its own.
    Workers,
    /// In connections to the server.
    Connections,
    /// In connections to a server that asks for a password, so that none comes about.
    Refused,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            pool: 10,
            pool_timeout: Duration::from_secs(10),
            cron: None,
            installed: false,
        }
    }
}

/// A stand-in Supabase. It stops, and removes everything it has made, when it
/// is dropped and when the process ends, however that happens.
pub struct Stack {
    url: String,
    /// That of the REST layer, kept while that is stopped.
    port: Option<Port>,
    service_key: String,
    /// The REST layer, which ends before its database does.
    rest: Mutex<Option<Rest>>,
    settings: Option<Settings>,
    database: Database,
}

enum Database {
    Embedded(Embedded),
    Postgres {
        cluster: Mutex<Cluster>,
        url: String,
    },
    External {
        database: Option<External>,
    },
}

struct External {
    url: String,
    options: PgConnectOptions,
}

impl Stack {
    /// Starts the machine's own PostgreSQL as [`Stack::postgres`] does, or where there is none the
    /// [embedded](Stack::embedded) one.
    ///
    /// # Errors
    ///
    /// When it or the REST layer cannot be started.
    pub async fn temporary() -> Result<Stack, StackError> {
        match Stack::postgres().await {
            Err(StackError::NoPostgres) => Stack::embedded().await,
            started => started,
        }
    }

    /// Starts PostgreSQL 18 as WebAssembly: nothing to install, ready in about 2 s once cargo has
    /// built it, with the limits that the crate's documentation lists.
    ///
    /// # Errors
    ///
    /// When the embedded PostgreSQL cannot be built, or it or the REST layer cannot be started.
    pub async fn embedded() -> Result<Stack, StackError> {
        let embedded = Embedded::start().await?;
        let settings = Settings {
            login: embedded.options(),
            upkeep: None,
            pool: 1,
            pool_timeout: Duration::from_secs(60),
            idle: None,
            meta: Served::default(),
        };
        Stack::behind_rest(Database::Embedded(embedded), settings).await
    }

    /// Whether the machine's own PostgreSQL has the extension that [`Options::cron`] needs.
    ///
    /// # Errors
    ///
    /// When there is no such PostgreSQL.
    pub fn has_cron() -> Result<bool, StackError> {
        cluster::has_cron()
    }

    /// Starts the machine's own PostgreSQL, 15 or newer, on a fresh cluster:
    /// the first one of `CTX0_TEST_PG_BIN` (alone, where it is set), `PATH`
    /// and `/usr/lib/postgresql/*/bin`.
    ///
    /// # Errors
    ///
    /// When there is none, or it or the REST layer cannot be started.
    pub async fn postgres() -> Result<Stack, StackError> {
        Stack::postgres_with(Options::default()).await
    }

    /// Like [`Stack::postgres`], set up differently.
    ///
    /// # Errors
    ///
    /// As for [`Stack::postgres`].
    pub async fn postgres_with(options: Options) -> Result<Stack, StackError> {
        let settings = options.cron.map_or_else(Vec::new, Cron::settings);
        let cluster = match options.installed {
            true => Cluster::installed(settings).await?,
            false => Cluster::start(settings).await?,
        };
        if options.cron.is_some() {
            sql::run(&cluster.options("supabase_admin"), CRON).await?;
        }
        let settings = Settings {
            login: cluster.options("authenticator"),
            upkeep: Some(cluster.options("supabase_admin")),
            pool: options.pool,
            pool_timeout: options.pool_timeout,
            idle: None,
            meta: Served::default(),
        };
        let url = cluster.url();
        let cluster = Mutex::new(cluster);
        Stack::behind_rest(Database::Postgres { cluster, url }, settings).await
    }

    /// A Supabase that runs elsewhere: `CTX0_TEST_SUPABASE_URL` names it,
    /// `CTX0_TEST_SERVICE_KEY` opens it, and `CTX0_TEST_DATABASE_URL`, which
    /// may be missing, lets tests look behind its API. `None` where the first
    /// is not set.
    ///
    /// # Errors
    ///
    /// When there is a URL and no key, or the database's URL is none.
    pub async fn external() -> Result<Option<Stack>, StackError> {
        let Some(url) = variable("CTX0_TEST_SUPABASE_URL") else {
            return Ok(None);
        };
        let service_key = variable("CTX0_TEST_SERVICE_KEY")
            .ok_or(StackError::Incomplete("CTX0_TEST_SERVICE_KEY"))?;
        let database = match variable("CTX0_TEST_DATABASE_URL") {
            Some(url) => Some(External {
                options: url.parse()?,
                url,
            }),
            None => None,
        };
        Ok(Some(Stack {
            url: url.trim_end_matches('/').to_owned(),
            port: None,
            service_key,
            rest: Mutex::new(None),
            settings: None,
            database: Database::External { database },
        }))
    }

    /// What a test runs on: the external Supabase where one is named, and the
    /// machine's own PostgreSQL otherwise.
    ///
    /// # Errors
    ///
    /// As for [`Stack::external`] and [`Stack::postgres`].
    pub async fn for_tests() -> Result<Stack, StackError> {
        match Stack::external().await? {
            Some(stack) => Ok(stack),
            None => Stack::postgres().await,
        }
    }

    async fn behind_rest(database: Database, settings: Settings) -> Result<Stack, StackError> {
        let port = Port::reserve()?;
        let rest = Rest::start(settings.clone(), port.number()).await?;
        rest.ready().await?;
        Ok(Stack {
            url: format!("http://127.0.0.1:{}", port.number()),
            port: Some(port),
            service_key: keys::key("service_role"),
            rest: Mutex::new(Some(rest)),
            settings: Some(settings),
            database,
        })
    }

    /// What stands behind the REST layer.
    pub fn kind(&self) -> Kind {
        match self.database {
            Database::Embedded(_) => Kind::Embedded,
            Database::Postgres { .. } => Kind::Postgres,
            Database::External { .. } => Kind::External,
        }
    }

    /// The project's URL, such as `http://127.0.0.1:54321`. REST lives under
    /// `/rest/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The legacy service key. [`SECRET_KEY`](crate::SECRET_KEY) opens a stack
    /// of one's own as well.
    pub fn service_key(&self) -> &str {
        &self.service_key
    }

    /// A legacy key for any role, such as `anon` or `authenticated`, signed
    /// with the local CLI's secret.
    pub fn key(&self, role: &str) -> String {
        keys::key(role)
    }

    /// A key like that of [`Stack::key`], which expired an hour ago.
    pub fn expired_key(&self, role: &str) -> String {
        keys::expired_key(role)
    }

    /// Whether [`Stack::sql`] works, which needs more than the API.
    pub fn can_look_behind(&self) -> bool {
        !matches!(self.database, Database::External { database: None })
    }

    /// The database's own URL, as role `postgres`, where another program can
    /// connect to it.
    pub fn database_url(&self) -> Option<&str> {
        match &self.database {
            Database::Embedded(_) => None,
            Database::Postgres { url, .. } => Some(url),
            Database::External { database } => Some(&database.as_ref()?.url),
        }
    }

    /// Runs SQL behind the API, as a SQL editor does: under the role
    /// `postgres`, which is no superuser, and all of it in one transaction.
    /// Returns the rows of all statements.
    ///
    /// # Errors
    ///
    /// When the database refuses it or is not there, and where
    /// [`Stack::can_look_behind`] is false.
    pub async fn sql(&self, sql: &str) -> Result<Rows, StackError> {
        self.sql_as("postgres", sql).await
    }

    /// Runs SQL behind the API as the superuser `supabase_admin`.
    ///
    /// # Errors
    ///
    /// As for [`Stack::sql`], and at an external Supabase, where nobody is one.
    pub async fn admin_sql(&self, sql: &str) -> Result<Rows, StackError> {
        if self.kind() == Kind::External {
            return Err(StackError::NotHere("run SQL as a superuser"));
        }
        self.sql_as("supabase_admin", sql).await
    }

    /// Connects for parsing SQL, as the role `postgres`.
    ///
    /// # Errors
    ///
    /// As for [`Stack::sql`], and where the database serves only one connection.
    pub async fn parser(&self) -> Result<Parser, StackError> {
        let options = match &self.database {
            Database::Embedded(_) => return Err(StackError::NotHere("parse on a connection")),
            Database::Postgres { cluster, .. } => cluster.lock().await.options("postgres"),
            Database::External { .. } => self.elsewhere()?.options.clone(),
        };
        Ok(Parser::open(&options).await?)
    }

    async fn sql_as(&self, role: &'static str, sql: &str) -> Result<Rows, StackError> {
        let options = match &self.database {
            Database::Embedded(embedded) => {
                // The one connection is the pool's, as long as there is one.
                if let Some(rest) = &*self.rest.lock().await {
                    return rest.run_as(role, sql).await;
                }
                let mut connection = embedded.options().connect().await?;
                let rows = embedded::run_as(&mut connection, role, sql).await;
                connection.close().await?;
                return Ok(rows?);
            }
            Database::Postgres { cluster, .. } => cluster.lock().await.options(role),
            Database::External { .. } => self.elsewhere()?.options.clone(),
        };
        Ok(sql::run(&options, sql).await?)
    }

    /// Waits until the REST layer knows the schema as it is now.
    ///
    /// # Errors
    ///
    /// When the database or the external REST layer is not there, and where
    /// [`Stack::can_look_behind`] is false.
    pub async fn reload_schema(&self) -> Result<(), StackError> {
        if let Database::External { .. } = self.database {
            let database = &self.elsewhere()?.options;
            return external::reload(database, &self.url, &self.service_key).await;
        }
        match &*self.rest.lock().await {
            Some(rest) => rest.reload().await,
            // It reads the schema when it starts.
            None => Ok(()),
        }
    }

    /// Serves postgres-meta under `/pg/` to the service role, as a self-hosted Supabase does. It
    /// connects as `role`: older installations have `supabase_admin` there, the superuser.
    ///
    /// # Errors
    ///
    /// When the stack has no [`Kind::Postgres`], or the server is not installed or does not start.
    pub async fn serve_sql(&self, role: &str) -> Result<(), StackError> {
        let cluster = self.cluster("serve SQL")?.lock().await;
        let Some(settings) = &self.settings else {
            return Err(StackError::NotHere("serve SQL"));
        };
        let meta = Meta::on(&cluster.socket_url(role)).await?;
        *settings.meta.write().await = Some(meta);
        Ok(())
    }

    fn elsewhere(&self) -> Result<&External, StackError> {
        match &self.database {
            Database::External {
                database: Some(database),
            } => Ok(database),
            _ => Err(StackError::NotHere("look behind the API")),
        }
    }

    /// Kills the database and all its processes at once, as a power failure
    /// would. What was committed stays.
    ///
    /// # Errors
    ///
    /// When the stack has no [`Kind::Postgres`], or the processes cannot be
    /// found.
    pub async fn kill_database(&self) -> Result<(), StackError> {
        self.cluster("kill its database")?.lock().await.kill().await
    }

    /// Starts the database after [`Stack::kill_database`] and returns when it
    /// takes connections; the REST layer finds that out by itself.
    ///
    /// # Errors
    ///
    /// When the stack has no [`Kind::Postgres`], or the database does not
    /// start.
    pub async fn start_database(&self) -> Result<(), StackError> {
        let cluster = self.cluster("start its database")?;
        cluster.lock().await.launch().await
    }

    fn cluster(&self, what: &'static str) -> Result<&Mutex<Cluster>, StackError> {
        match &self.database {
            Database::Postgres { cluster, .. } => Ok(cluster),
            Database::Embedded(_) | Database::External { .. } => Err(StackError::NotHere(what)),
        }
    }

    /// Ends the REST layer abruptly: requests stay unanswered, their
    /// connections to the database are cut, and the port is closed.
    ///
    /// # Errors
    ///
    /// When the stack is external.
    pub async fn stop_rest(&self) -> Result<(), StackError> {
        if self.settings.is_none() {
            return Err(StackError::NotHere("stop its REST layer"));
        }
        match self.rest.lock().await.take() {
            Some(rest) => rest.stop().await,
            None => Ok(()),
        }
    }

    /// Starts the REST layer after [`Stack::stop_rest`], on the same port, and
    /// returns when it listens; it may still be reading the schema.
    ///
    /// # Errors
    ///
    /// When the stack is external.
    pub async fn start_rest(&self) -> Result<(), StackError> {
        let (Some(settings), Some(port)) = (&self.settings, &self.port) else {
            return Err(StackError::NotHere("start its REST layer"));
        };
        let mut rest = self.rest.lock().await;
        if rest.is_none() {
            *rest = Some(Rest::start(settings.clone(), port.number()).await?);
        }
        Ok(())
    }
}

/// The extension with the privileges that Supabase gives.
const CRON: &str = "
create extension pg_cron;
grant usage on schema cron to postgres with grant option;
grant all on all tables in schema cron to postgres with grant option;
revoke all on table cron.job from postgres;
grant select on table cron.job to postgres with grant option;
";

impl Cron {
    fn settings(self) -> Vec<String> {
        let (workers, host) = match self {
            Cron::Workers => ("on", "localhost"),
            Cron::Connections => ("off", cluster::SOCKET),
            Cron::Refused => ("off", "localhost"),
        };
        vec![
            "shared_preload_libraries=pg_cron".to_owned(),
            "cron.database_name=postgres".to_owned(),
            format!("cron.use_background_workers={workers}"),
            format!("cron.host={host}"),
            // Its minutes are not those of UTC. Releases before 1.5 have no such setting.
            "cron.timezone=Asia/Kathmandu".to_owned(),
        ]
    }
}

/// A variable of the environment; an empty one counts as none.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
