//! A fresh cluster of the machine's own PostgreSQL.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use ctx0_schema::install_sql;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{
    ConnectOptions, Connection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::sync::OnceCell;

use crate::{Port, StackError, account::Account, scratch::Scratch, sql, template};

/// How long a server may take to answer; a slow machine's first start is some
/// seconds.
const READY: Duration = Duration::from_secs(60);

/// In a setting: the folder of the server's socket, where no password is asked for.
pub(crate) const SOCKET: &str = "{socket}";

/// A running server, stopped and removed when this is dropped and
/// when the process ends.
#[derive(Debug)]
pub(crate) struct Cluster {
    account: Account,
    binaries: PathBuf,
    version: String,
    /// On the command line of the server.
    settings: Vec<String>,
    port: Port,
    password: String,
    /// Stopped before the directory goes: fields are dropped in this order.
    server: Option<Server>,
    scratch: Scratch,
}

impl Cluster {
    /// Copies the template of this PostgreSQL and starts a server on it, with these settings, such
    /// as `max_connections=500`.
    pub(crate) async fn start(settings: Vec<String>) -> Result<Cluster, StackError> {
        let cluster = blocking(move || {
            let cluster = prepare(settings)?;
            let (account, directory) = (&cluster.account, cluster.scratch.path());
            template::copy(account, &cluster.binaries, &cluster.version, directory)?;
            Ok(cluster)
        });
        cluster.await?.ready().await
    }

    /// The same with ctx0's functions, which are installed once in a process: that takes as long as
    /// all the rest of a start.
    pub(crate) async fn installed(settings: Vec<String>) -> Result<Cluster, StackError> {
        static INSTALLED: OnceCell<Cluster> = OnceCell::const_new();
        let installed = INSTALLED.get_or_try_init(|| async {
            let mut cluster = Cluster::start(Vec::new()).await?;
            sql::run(&cluster.options("postgres"), install_sql()).await?;
            if let Some(server) = cluster.server.take() {
                blocking(move || Ok(server.stop()?)).await?;
            }
            Ok::<_, StackError>(cluster)
        });
        let data = installed.await?.scratch.path().join("data");
        let cluster = blocking(move || {
            let cluster = prepare(settings)?;
            template::copy_of(&cluster.account, &data, cluster.scratch.path())?;
            Ok(cluster)
        });
        cluster.await?.ready().await
    }

    /// Starts the server and gives `postgres` its password.
    async fn ready(mut self) -> Result<Cluster, StackError> {
        self.launch().await?;
        let password = format!("alter role postgres password '{}'", self.password);
        sql::run(&self.options("supabase_admin"), &password).await?;
        Ok(self)
    }

    /// How to connect as `user`, over the socket.
    pub(crate) fn options(&self, user: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.scratch.path())
            .port(self.port.number())
            .username(user)
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }

    /// The database of `user` over the socket, as node-postgres wants it.
    pub(crate) fn socket_url(&self, user: &str) -> String {
        let (port, directory) = (self.port.number(), self.scratch.path().display());
        format!("postgresql://{user}@localhost:{port}/postgres?host={directory}")
    }

    /// The database of user `postgres` over TCP.
    pub(crate) fn url(&self) -> String {
        let (password, port) = (&self.password, self.port.number());
        format!("postgresql://postgres:{password}@127.0.0.1:{port}/postgres")
    }

    /// Kills the server and every process of it at once, as a power failure
    /// would.
    pub(crate) async fn kill(&mut self) -> Result<(), StackError> {
        if self.server.is_none() {
            return Ok(());
        }
        let processes = sql::run(
            &self.options("supabase_admin"),
            "select pid from pg_stat_activity where pid <> pg_backend_pid()",
        )
        .await?;
        let processes: Vec<Pid> = processes
            .iter()
            .filter_map(|row| Pid::from_raw(row.first()?.as_ref()?.parse().ok()?))
            .collect();
        // The postmaster first: it would answer the death of a backend by
        // ending the others politely.
        if let Some(server) = self.server.take() {
            server.kill();
        }
        for process in &processes {
            let _ = kill_process(*process, Signal::KILL);
        }
        let deadline = Instant::now() + READY;
        while processes.iter().any(|p| test_kill_process(*p).is_ok()) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Nobody is left whom this file could protect, and its number may
        // become another process's before the server starts again. It also
        // names the shared memory that outlives a killed server.
        let file = self.scratch.path().join("data/postmaster.pid");
        let memory = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        if let Some(id) = memory
            .lines()
            .nth(6)
            .and_then(|keys| keys.split_whitespace().nth(1))
        {
            let _ = self.account.command("ipcrm").args(["-m", id]).output();
        }
        Ok(())
    }

    /// Starts the server on its port and waits until it answers.
    pub(crate) async fn launch(&mut self) -> Result<(), StackError> {
        if self.server.is_some() {
            return Ok(());
        }
        let directory = self.scratch.path();
        let socket = directory.to_string_lossy();
        let settings = self.settings.iter().map(|it| it.replace(SOCKET, &socket));
        let log = fs::File::create(directory.join("log"))?;
        let mut server = Server::spawn(
            self.account
                .command(self.binaries.join("postgres"))
                .arg("-D")
                .arg(directory.join("data"))
                .arg("-k")
                .arg(directory)
                .args(["-p", &self.port.number().to_string()])
                .args(settings.flat_map(|setting| ["-c".to_owned(), setting]))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log),
        )?;
        let options = self.options("supabase_admin");
        let deadline = Instant::now() + READY;
        loop {
            if let Ok(connection) = options.connect().await {
                connection.close().await?;
                self.server = Some(server);
                return Ok(());
            }
            if let Some(status) = server.0.try_wait()? {
                return Err(StackError::Program {
                    program: "postgres".to_owned(),
                    status,
                    output: self.log(),
                });
            }
            if Instant::now() > deadline {
                return Err(StackError::NotReady { log: self.log() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The end of the server's log.
    fn log(&self) -> String {
        let log = fs::read(self.scratch.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
    }
}

/// The postmaster. Dropping it stops it and all its backends at once.
#[derive(Debug)]
struct Server(Child);

impl Server {
    fn spawn(command: &mut Command) -> io::Result<Server> {
        use std::os::unix::process::CommandExt;
        // Ctrl-C in a terminal is not for the server: it would end while the
        // test still works with it.
        command.process_group(0).spawn().map(Server)
    }

    fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// SIGINT is PostgreSQL's fast shutdown: the data directory is whole after it.
    fn stop(mut self) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        self.0.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: no checkpoint, but the
        // backends go too. After `wait` the number belongs to nobody, so a
        // server that has been waited for is left alone.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process(Pid::from_child(&self.0), Signal::QUIT);
            let _ = self.0.wait();
        }
    }
}

/// Runs what takes a moment and blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StackError> + Send + 'static,
) -> Result<T, StackError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Everything but the data directory and the server.
fn prepare(settings: Vec<String>) -> Result<Cluster, StackError> {
    let account = Account::unprivileged()?;
    let (binaries, version) = find_binaries()?;
    let pg_ctl = binaries.join("pg_ctl");
    let scratch = Scratch::new(&account, |directory| -> Vec<OsString> {
        vec![
            pg_ctl.into(),
            "stop".into(),
            "-D".into(),
            directory.join("data").into(),
            "-m".into(),
            "immediate".into(),
        ]
    })?;
    Ok(Cluster {
        account,
        binaries,
        version,
        settings,
        port: Port::reserve()?,
        password: random_word()?,
        server: None,
        scratch,
    })
}

/// Whether that PostgreSQL has the extension pg_cron.
pub(crate) fn has_cron() -> Result<bool, StackError> {
    let (binaries, _) = find_binaries()?;
    Ok(binaries.join("../lib/pg_cron.so").is_file())
}

/// The first PostgreSQL 15 or newer, and its version. Only the directory of
/// `CTX0_TEST_PG_BIN` counts where that is set.
fn find_binaries() -> Result<(PathBuf, String), StackError> {
    let candidates = match env::var_os("CTX0_TEST_PG_BIN") {
        Some(directory) => vec![directory.into()],
        None => env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .chain(packaged())
            .collect(),
    };
    candidates
        .iter()
        // The programs beside the real one, where this is a link to it.
        .filter_map(|directory| directory.join("postgres").canonicalize().ok())
        .filter_map(|postgres| Some(postgres.parent()?.to_owned()))
        .filter(|directory| directory.join("initdb").is_file())
        .find_map(|directory| {
            let output = Command::new(directory.join("postgres"))
                .arg("--version")
                .output()
                .ok()?;
            let version = String::from_utf8(output.stdout).ok()?;
            let version = version.split(' ').nth(2)?.trim().to_owned();
            let major: u32 = version.split(['.', 'b', 'r', 'd']).next()?.parse().ok()?;
            (major >= 15).then_some((directory, version))
        })
        .ok_or(StackError::NoPostgres)
}

/// Where Debian and Ubuntu put PostgreSQL, the newest first.
fn packaged() -> Vec<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let root = Path::new("/usr/lib/postgresql");
    versions
        .into_iter()
        .map(|version| root.join(version.to_string()).join("bin"))
        .collect()
}

/// A password: whoever may log in as `postgres` can run programs under the
/// server's account, and any user of the machine can reach its port.
fn random_word() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
