//! The example daemon, as a process of its own.

use std::{path::PathBuf, process::Stdio, sync::OnceLock};

use ctx0_schema::{ENV_KEY, ENV_URL};
use ctx0_stack::Port;
use ctx0_stack::{program, project::Project};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::project::Folder;

/// A key that no daemon would choose by itself.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How a daemon is started.
pub(crate) struct Start(Command);

impl Start {
    /// On a database of its own.
    pub(crate) fn temporary() -> Self {
        let mut command = Command::new(binary());
        command
            .arg("--until-stdin-closes")
            .env_remove(ENV_URL)
            .env_remove(ENV_KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Self(command)
    }

    pub(crate) fn on(project: &Project) -> Self {
        Self::at(project.stack.url(), project.stack.service_key())
    }

    /// On a project that is not there.
    pub(crate) fn nowhere() -> Self {
        Self::at("http://127.0.0.1:1", ctx0_stack::SECRET_KEY)
    }

    fn at(url: &str, key: &str) -> Self {
        let Self(mut command) = Self::temporary();
        command.env(ENV_URL, url).env(ENV_KEY, key);
        Self(command)
    }

    pub(crate) fn migrations(mut self, folder: &Folder) -> Self {
        self.0.arg("--migrations").arg(folder.path());
        self
    }

    /// Offers only what the manifest at this address has.
    pub(crate) fn follow(mut self, url: &str) -> Self {
        self.0.args(["--follow", url]);
        self
    }

    pub(crate) fn interval(mut self, seconds: u32) -> Self {
        self.0.args(["--interval", &seconds.to_string()]);
        self
    }

    /// Where an earlier daemon was, or a later one will be.
    pub(crate) fn port(mut self, port: &Port) -> Self {
        self.0.args(["--port", &port.number().to_string()]);
        self
    }

    pub(crate) fn token(mut self, token: &str) -> Self {
        self.0.env("CTX0_DESKTOP_TOKEN", token);
        self
    }

    pub(crate) async fn start(mut self) -> Daemon {
        let mut process = self.0.spawn().expect("the daemon starts");
        let output = process.stdout.take().expect("it is piped");
        let line = BufReader::new(output)
            .lines()
            .next_line()
            .await
            .expect("its output");
        let line = line.expect("the daemon says where it is");
        let address = line
            .strip_prefix("ctx0 is at ")
            .expect("an address")
            .to_owned();
        Daemon { process, address }
    }
}

pub(crate) struct Daemon {
    process: Child,
    /// With the key, and a slash at its end.
    pub(crate) address: String,
}

impl Daemon {
    /// Its host, with the port.
    pub(crate) fn host(&self) -> &str {
        self.address.split('/').nth(2).expect("a host")
    }

    /// As a crash or a power failure would end it.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.expect("it can be killed");
    }

    /// As the app that started it would end it.
    pub(crate) async fn stop(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().await.expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// The example as the sources have it now: of the targets of a single suite, it is none.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    // With other arguments than those of `tests/run`, dependencies would be built again, and again after that.
    let arguments = "--workspace --all-features --example desktop";
    BINARY.get_or_init(|| program::build(arguments).expect("the example desktop builds"))
}
