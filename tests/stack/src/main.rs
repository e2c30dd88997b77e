//! Starts a stand-in Supabase to poke at by hand, until Ctrl-C or the end of
//! the standard input.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use ctx0_stack::{SECRET_KEY, Stack, StackError};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let started = match arguments[..] {
        [] => Stack::embedded().await,
        ["--postgres"] => Stack::postgres().await,
        _ => {
            eprintln!("usage: ctx0-stack [--postgres]");
            return ExitCode::FAILURE;
        }
    };
    match run(started).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(started: Result<Stack, StackError>) -> Result<(), StackError> {
    let stack = started?;
    announce(&stack)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        ended = end_of_input() => ended?,
    }
    Ok(())
}

/// Prints what a client needs, as lines for a shell or an `.env` file.
fn announce(stack: &Stack) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "SUPABASE_URL={}", stack.url())?;
    writeln!(output, "SUPABASE_SERVICE_ROLE_KEY={}", stack.service_key())?;
    writeln!(output, "SUPABASE_SECRET_KEY={SECRET_KEY}")?;
    if let Some(url) = stack.database_url() {
        writeln!(output, "DATABASE_URL={url}")?;
    }
    writeln!(output, "SUPABASE_ANON_KEY={}", stack.key("anon"))
}

async fn end_of_input() -> io::Result<()> {
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 1024];
    while input.read(&mut buffer).await? > 0 {}
    Ok(())
}
