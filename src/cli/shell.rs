//! `completions` and `man`: what belongs to an installation of the program.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use serde_json::json;

use super::{
    Output,
    args::Arguments,
    exit::{Exit, Failure},
};

pub(super) fn completions(shell: Shell) -> Output {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "ctx0-schema", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = json!({"shell": shell.to_string(), "script": script});
    Output::verbatim(script, &json)
}

/// The manual page on standard output, or the pages of all commands in a folder.
pub(super) fn man(folder: Option<&Path>) -> Result<Output, Failure> {
    let mut command = Arguments::command();
    command.build();
    let Some(folder) = folder else {
        let page = page(command).map_err(|error| Failure::io("the page cannot be made", &error))?;
        let json = json!({ "page": page });
        return Ok(Output::verbatim(page, &json));
    };
    let commands = command.get_subcommands().cloned().collect::<Vec<_>>();
    let mut files = Vec::new();
    for command in std::iter::once(command).chain(commands) {
        let name = command
            .get_display_name()
            .unwrap_or(command.get_name())
            .to_owned();
        let path = folder.join(format!("{name}.1"));
        write(&path, command).map_err(|error| {
            Failure::io(
                format!("{} cannot be written: check the folder", path.display()),
                &error,
            )
        })?;
        files.push(path);
    }
    let text = files
        .iter()
        .map(|path| format!("{}\n", path.display()))
        .collect();
    Ok(Output::new(Exit::Done, text, &json!({ "files": files })))
}

fn write(path: &PathBuf, command: clap::Command) -> io::Result<()> {
    fs::write(path, page(command)?)
}

fn page(command: clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}
