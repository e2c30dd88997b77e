//! A directory that cannot outlive the process that made it.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::account::Account;

/// Waits for the end of its standard input, runs the farewell command and
/// removes the directory.
const WATCHDOG: &str = r#"cat >/dev/null; "$@" >/dev/null 2>&1; rm -rf "$0""#;

/// A temporary directory with a watchdog: a shell that holds the other end of
/// a pipe. The pipe ends with this value, and with the process however that
/// ends, `kill -9` included; then the directory goes.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    watchdog: Child,
}

impl Scratch {
    /// Creates the directory for `account`; `farewell`, given the directory,
    /// names the command to run before it is removed.
    pub(crate) fn new<A: AsRef<OsStr>>(
        account: &Account,
        farewell: impl FnOnce(&Path) -> Vec<A>,
    ) -> io::Result<Scratch> {
        // The name stays short because the path of a Unix socket may have no
        // more than 103 bytes.
        let directory = tempfile::Builder::new().prefix("ctx0-").tempdir()?;
        chown(directory.path(), Some(account.uid()), Some(account.gid()))?;
        let watchdog = account
            .command("sh")
            .args(["-c", WATCHDOG])
            .arg(directory.path())
            .args(farewell(directory.path()))
            .current_dir("/")
            // A group of its own, so that Ctrl-C in a terminal does not end
            // the watchdog together with what it watches.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Scratch {
            path: directory.keep(),
            watchdog,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        if self.watchdog.wait().is_err() {
            // Without its watchdog the directory is removed from here.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Runs a command to its end and turns a failure into what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<(), crate::StackError> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(crate::StackError::Program {
        program: command.get_program().to_string_lossy().into_owned(),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
