//! The data directory that every cluster starts as, made once for each
//! version of PostgreSQL and kept for the next process.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{BOOTSTRAP, StackError, account::Account, scratch::run};

const INITDB: [&str; 7] = [
    "--username=supabase_admin",
    "--auth=trust",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync",
    "--no-instructions",
    // A segment of 1 MB instead of 16, which every copy would carry along.
    "--wal-segsize=1",
];

/// Quick, and safe against every crash but the operating system's own.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
shared_buffers = 64MB
jit = off
# In the data directory, so that a killed server leaves nothing in /dev/shm.
dynamic_shared_memory_type = mmap
timezone = 'UTC'
";

/// Only who may open the private directory comes in over the socket without a
/// password.
const ACCESS: &str = "
local all all trust
host all all 127.0.0.1/32 scram-sha-256
";

/// A cluster of one database has a third of the files, and their number is
/// what a copy costs.
const ONE_DATABASE: &str = "

update pg_database set datistemplate = false where datname <> 'postgres';

drop database template0;

drop database template1;
";

/// Puts a fresh data directory at `directory/data`.
pub(crate) fn copy(
    account: &Account,
    binaries: &Path,
    version: &str,
    directory: &Path,
) -> Result<(), StackError> {
    let template = cache(account)?.join(format!("{version}-{:016x}", fingerprint()));
    if !template.is_dir() {
        // Built inside the scratch directory, which is sure to be removed, and
        // moved in one step: another process sees all of it or nothing.
        let built = directory.join("template");
        build(account, binaries, &built)?;
        match fs::rename(&built, &template) {
            Err(_) if template.is_dir() => (),
            renamed => renamed?,
        }
    }
    copy_of(account, &template, directory)
}

/// Puts a copy of a stopped server's data directory at `directory/data`.
pub(crate) fn copy_of(account: &Account, data: &Path, directory: &Path) -> Result<(), StackError> {
    run(account
        .command("cp")
        .arg("-a")
        .args([data, &directory.join("data")]))
}

fn build(account: &Account, binaries: &Path, data: &Path) -> Result<(), StackError> {
    run(account
        .command(binaries.join("initdb"))
        .args(INITDB)
        .arg("-D")
        .arg(data))?;
    fs::OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))?
        .write_all(SETTINGS.as_bytes())?;
    fs::write(data.join("pg_hba.conf"), ACCESS)?;

    // A server for one session, on the standard input: no port, no socket, and
    // a clean shutdown at its end. An empty line ends a statement.
    let mut postgres = account
        .command(binaries.join("postgres"))
        .args(["--single", "-j", "-c", "exit_on_error=on", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = postgres.stdin.take() {
        input.write_all(BOOTSTRAP.as_bytes())?;
        input.write_all(ONE_DATABASE.as_bytes())?;
    }
    let output = postgres.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(StackError::Program {
        program: "postgres --single".to_owned(),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The directory of the templates. It belongs to the account alone, since a
/// cluster runs what lies in it.
fn cache(account: &Account) -> Result<PathBuf, StackError> {
    let path = env::temp_dir().join(format!("ctx0-templates-{}", account.uid()));
    run(account
        .command("mkdir")
        .args(["-p", "-m", "700"])
        .arg(&path))?;
    let found = fs::symlink_metadata(&path)?;
    if found.is_dir() && found.uid() == account.uid() && found.permissions().mode() & 0o077 == 0 {
        return Ok(path);
    }
    Err(StackError::Io(io::Error::other(format!(
        "{} does not belong to this user alone: remove it",
        path.display()
    ))))
}

/// Changes with everything that goes into a template.
fn fingerprint() -> u64 {
    let mut hasher = DefaultHasher::new();
    (BOOTSTRAP, ONE_DATABASE, INITDB, SETTINGS, ACCESS).hash(&mut hasher);
    hasher.finish()
}
