//! The program `ctx0-schema`: every operation of the manager for a terminal and for scripts.
//!
//! An action returns an `Output`; how it looks is decided by pure functions. Standard output has the
//! result only, as text or as one JSON object. Questions, progress and errors go to standard error.

mod args;
mod change;
mod check;
mod exit;
mod files;
mod fleet;
mod lint;
mod new;
mod progress;
mod read;
mod repair;
mod settings;
mod setup;
mod shell;
mod table;
mod terminal;
mod text;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};
use serde_json::Value;

use self::{
    args::{Arguments, Command},
    exit::{Exit, Failure},
    terminal::Terminal,
};

/// What a command found or did.
#[derive(Debug)]
struct Output {
    exit: Exit,
    text: String,
    /// Whether the text is for a program, and is printed as it is.
    verbatim: bool,
    json: Value,
}

impl Output {
    fn new(exit: Exit, text: String, json: &impl serde::Serialize) -> Self {
        let json = serde_json::to_value(json).expect("results are plain values");
        Self {
            exit,
            text,
            verbatim: false,
            json,
        }
    }

    /// A result that is complete, of a command that failed to write it to a file.
    fn and_failed(mut self, failure: Failure) -> Self {
        let mut failure = failure.into_output();
        self.text = format!("{}\n{}", self.text.trim_end(), failure.text);
        self.json["error"] = failure.json["error"].take();
        Self {
            exit: failure.exit,
            ..self
        }
    }

    /// SQL, a script or a page.
    fn verbatim(text: String, json: &impl serde::Serialize) -> Self {
        Self {
            verbatim: true,
            ..Self::new(Exit::Done, text, json)
        }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let global = &arguments.global;
    global.color.write_global();
    let terminal = Terminal::new(global.json);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(run(&arguments, &terminal)),
        Err(error) => Err(Failure::io("the program cannot start", error)),
    };
    if let Ok(runtime) = runtime {
        // Without waiting for a question that nobody answers any more.
        runtime.shutdown_background();
    }
    let output = result.unwrap_or_else(|failure| failure.into_output());
    show(&output, &terminal).into()
}

/// Prints a result and says how the program ends. What had failed before keeps its exit code.
fn show(output: &Output, terminal: &Terminal) -> Exit {
    let otherwise = match output.json.get("error") {
        Some(_) => output.exit,
        None => Exit::Failed,
    };
    written(terminal.show(output), output.exit, otherwise)
}

/// How the program ends once its result was written, or could not be.
fn written(shown: io::Result<()>, exit: Exit, otherwise: Exit) -> Exit {
    match shown {
        Ok(()) => exit,
        // Who closes a pipe early, such as `head`, has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => {
            let failure = Failure::io("the result cannot be written to standard output", &error);
            let _ = write!(anstream::stderr(), "{}", failure.into_output().text);
            otherwise
        }
    }
}

/// Shows the help or the version, or says what is wrong with the arguments.
fn refuse(error: &clap::Error) -> ExitCode {
    let mut flags = env::args_os().skip(1).take_while(|flag| flag != "--");
    let json = flags.any(|flag| flag == "--json");
    let exit = if error.use_stderr() {
        show(&wrong_usage(error), &Terminal::new(json))
    } else {
        let shown = error.print().and_then(|()| io::stdout().flush());
        written(shown, Exit::Done, Exit::Failed)
    };
    exit.into()
}

fn wrong_usage(error: &clap::Error) -> Output {
    let said = error.render().to_string();
    let failure = |message: &str| Failure::usage(message).into_output();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Output {
            text: said,
            verbatim: true,
            ..failure("a command is missing: --help lists them")
        };
    }
    let said = said.trim_start_matches("error: ");
    let (message, rest) = said.split_once("\n\n").unwrap_or((said, ""));
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    Output {
        text: format!("{}\n{rest}", text::error(message)),
        ..failure(&words)
    }
}

async fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Output, Failure> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Status => check::status(global, terminal).await,
        Command::Plan { sql } => check::plan(global, terminal, *sql).await,
        Command::Doctor => check::doctor(global, terminal).await,
        Command::Verify => check::verify(global, terminal).await,
        Command::History => check::history(global, terminal).await,
        Command::Preview { to, budget } => change::preview(global, terminal, *to, *budget).await,
        Command::Apply(consent) => change::apply(global, terminal, consent).await,
        Command::Rollback { version, consent } => {
            change::rollback(global, terminal, *version, consent).await
        }
        Command::Baseline {
            version,
            accept_differences,
            record,
        } => repair::baseline(global, terminal, *version, *accept_differences, record).await,
        Command::Repair {
            kind,
            version,
            record,
        } => repair::repair(global, terminal, *kind, *version, record).await,
        Command::Fleet(fleet) => fleet::fleet(global, terminal, fleet).await,
        Command::Cancel => change::cancel(global, terminal).await,
        Command::Install(options) => setup::install(global, terminal, options).await,
        Command::Uninstall(options) => setup::uninstall(global, terminal, options).await,
        Command::New { name, description } => new::new(global, name, description.as_deref()),
        Command::Lint => lint::lint(global, terminal),
        Command::Checksum => files::checksum(global),
        Command::Completions { shell } => Ok(shell::completions(*shell)),
        Command::Man { output } => shell::man(output.as_deref()),
    }
}
