//! Writes the text that is pasted into the SQL editor once, to the terminal or to a file.
//!
//! ```text
//! cargo run --example install_sql                      # to the terminal
//! cargo run --example install_sql -- ctx0-install.sql  # to a file
//! cargo run --example install_sql -- --uninstall       # the text that takes it away again
//! ```

use std::{env, fs, process::ExitCode};

use ctx0_schema::{install_sql, uninstall_sql};

const USAGE: &str = "usage: install_sql [--uninstall] [FILE]";

fn main() -> ExitCode {
    if env::args()
        .skip(1)
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let mut text = install_sql();
    let mut file = None;
    for argument in env::args().skip(1) {
        if argument == "--uninstall" {
            text = uninstall_sql();
        } else if argument.starts_with('-') || file.replace(argument).is_some() {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let Some(file) = file else {
        print!("{text}");
        return ExitCode::SUCCESS;
    };
    if let Err(error) = fs::write(&file, text) {
        eprintln!("{file} cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    println!("{file} is written: paste its whole text into the SQL editor and run it");
    ExitCode::SUCCESS
}
