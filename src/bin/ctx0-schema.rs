//! The program `ctx0-schema`: see `src/cli.rs`.

fn main() -> std::process::ExitCode {
    ctx0_schema::cli::main()
}
