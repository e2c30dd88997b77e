//! Serves PostgreSQL 18 as WebAssembly, in memory, on a socket in a directory, until the standard
//! input ends. It prints a line when it can be connected to.

use std::{
    env,
    error::Error,
    ffi::OsStr,
    io::{self, Read},
    process::ExitCode,
};

use oliphaunt_pgwire_server::{OliphauntServer, ServerListen};
use oliphaunt_wasix::Extension;

fn main() -> ExitCode {
    let Some(directory) = env::args_os().nth(1) else {
        eprintln!("usage: ctx0-embedded DIRECTORY");
        return ExitCode::FAILURE;
    };
    match serve(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(directory: &OsStr) -> Result<(), Box<dyn Error>> {
    let mut server = OliphauntServer::builder()
        // Over TCP each answer that follows an error would be 40 ms late.
        .listen(ServerListen::unix(directory))
        .extensions([
            Extension::PGCRYPTO,
            Extension::UUID_OSSP,
            Extension::PG_TRGM,
        ])
        .start()?;
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(server.close()?)
}
