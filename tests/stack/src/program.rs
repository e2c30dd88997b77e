//! Programs of this workspace that are built when they are first needed.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::StackError;

/// Builds what the arguments of `cargo build` name, as the sources have it now, and returns the
/// program. What cargo has to say goes to standard error.
///
/// # Errors
///
/// When there is no cargo or the program does not build.
pub fn build(arguments: &str) -> Result<PathBuf, StackError> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or(OsString::from("cargo")));
    cargo
        .args(["build", "--locked"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(arguments.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // With what cargo tells a test of its package, dependencies would be built again, and again
    // after that.
    for (name, _) in env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let built = cargo.output()?;
    let program = String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .next_back();
    match program {
        Some(program) if built.status.success() => Ok(program),
        _ => Err(StackError::Build(format!("build {arguments}"))),
    }
}
