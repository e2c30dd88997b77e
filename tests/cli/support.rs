//! Runs the program on a project, with or without a terminal.

use std::{env, path::Path, process::Stdio, time::Duration};

use ctx0_stack::project::Project;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// The program of this build, or another one, such as a script that runs the Windows program with Wine.
fn program() -> String {
    env::var("CTX0_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_ctx0-schema").to_owned())
}

/// Whether a variable of this name changes what the program does or how it shows it. `CI` makes it
/// use colours on every terminal.
fn is_setting(name: &str) -> bool {
    let name = name.to_uppercase();
    ["CI", "NO_COLOR"].contains(&&*name)
        || ["CLICOLOR", "CTX0_", "SUPABASE_"]
            .iter()
            .any(|start| name.starts_with(start))
        || name.ends_with("_PROXY")
}

/// Longer than anything here takes. Nothing waits for it unless something is wrong.
const TOO_LONG: Duration = Duration::from_secs(60);

/// The program in a folder of its own, with the settings of a project.
pub(crate) struct Cli {
    pub(crate) folder: TempDir,
    url: String,
    key: String,
}

/// What a run left.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Whether this is on standard error, in one line or several.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.err
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains(text)
    }
}

impl Cli {
    pub(crate) fn on(project: &Project) -> Self {
        Self::with(project.stack.url(), project.stack.service_key())
    }

    pub(crate) fn with(url: &str, key: &str) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            url: url.to_owned(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes migrations with these names and texts, numbered from 1, and uses them.
    pub(crate) fn migrations(&self, files: &[(&str, &str)]) -> &str {
        let folder = self.path().join("migrations");
        std::fs::create_dir_all(&folder).expect("a folder");
        let entries: Vec<_> = (1..)
            .zip(files)
            .map(|(version, (name, sql))| {
                std::fs::write(folder.join(format!("{name}.sql")), sql).expect("a file");
                serde_json::json!({
                    "version": version, "name": name, "description": format!("About {name}"), "file": format!("{name}.sql"),
                })
            })
            .collect();
        let manifest = serde_json::json!({"currentVersion": files.len(), "migrations": entries});
        std::fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a file");
        "--migrations=migrations"
    }

    /// Sets a field of a version in the manifest.
    pub(crate) fn declare(&self, version: usize, field: &str, value: Value) {
        let path = self.path().join("migrations/manifest.json");
        let text = std::fs::read_to_string(&path).expect("a manifest");
        let mut manifest: Value = serde_json::from_str(&text).expect("JSON");
        manifest["migrations"][version - 1][field] = value;
        std::fs::write(&path, manifest.to_string()).expect("a file");
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.path())
            .env("SUPABASE_URL", &self.url)
            .env("SUPABASE_SERVICE_ROLE_KEY", &self.key)
            .env("TERM", "xterm-256color")
            .kill_on_drop(true);
        command
    }

    /// Runs it as a script does.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, |_| {}).await
    }

    pub(crate) async fn run_with(
        &self,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Ended {
        let mut command = self.command(&program(), arguments);
        change(&mut command);
        Self::end(command).await
    }

    /// Runs a script of a shell that finds the program by its name.
    pub(crate) async fn run_script(&self, script: &str, variables: &[(String, String)]) -> Ended {
        let mut command = self.command("sh", &["-euc", script]);
        let mut folders = vec![Path::new(&program()).parent().expect("a folder").to_owned()];
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        command.env("PATH", env::join_paths(folders).expect("a path"));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Self::end(command).await
    }

    async fn end(mut command: Command) -> Ended {
        command.stdin(Stdio::null());
        let output = timeout(TOO_LONG, command.output())
            .await
            .expect("it ends")
            .expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ended {
            code: output.status.code().expect("a code"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Starts it and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str], variables: &[(String, String)]) -> Child {
        let mut command = self.command(&program(), arguments);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("it starts")
    }

    /// Runs it and checks its exit code.
    pub(crate) async fn expect(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments).await;
        assert_eq!(
            ended.code, code,
            "{arguments:?}\n{}\n{}",
            ended.out, ended.err
        );
        ended
    }

    /// Starts it on a terminal of this width.
    pub(crate) fn terminal(&self, columns: u16, arguments: &[&str]) -> Terminal {
        self.terminal_with(columns, arguments, &[])
    }

    pub(crate) fn terminal_with(
        &self,
        columns: u16,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Terminal {
        let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/terminal.py");
        let columns_text = columns.to_string();
        let program = program();
        let mut all = vec![helper, &columns_text, "50", &program];
        all.extend(arguments);
        let mut child = self
            .command("python3", &all)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3, for its module pty");
        Terminal {
            typing: child.stdin.take().expect("a pipe"),
            output: child.stdout.take().expect("a pipe"),
            screen: vt100::Parser::new(50, columns, 1000),
            raw: Vec::new(),
            child,
        }
    }
}

/// A terminal with someone in front of it.
pub(crate) struct Terminal {
    typing: ChildStdin,
    output: ChildStdout,
    screen: vt100::Parser,
    /// What was written to it.
    pub(crate) raw: Vec<u8>,
    child: Child,
}

impl Terminal {
    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// What is to be seen.
    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Waits until this is to be seen.
    pub(crate) async fn see(&mut self, text: &str) {
        let seen = timeout(TOO_LONG, async {
            while !self.text().contains(text) {
                assert!(
                    self.read().await,
                    "it ended without {text:?}:\n{}",
                    self.text()
                );
            }
        });
        if seen.await.is_err() {
            panic!("{text:?} is not to be seen:\n{}", self.text());
        }
    }

    /// Enter, `\n` here, is sent as a keyboard does.
    pub(crate) async fn press(&mut self, keys: &str) {
        self.typing
            .write_all(keys.replace('\n', "\r").as_bytes())
            .await
            .expect("it reads");
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> i32 {
        let ended = timeout(TOO_LONG, async {
            while self.read().await {}
            self.child.wait().await.expect("a child")
        });
        ended.await.expect("it ends").code().expect("a code")
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let number = self.output.read(&mut bytes).await.expect("a pipe");
        self.screen.process(&bytes[..number]);
        self.raw.extend_from_slice(&bytes[..number]);
        number > 0
    }
}
