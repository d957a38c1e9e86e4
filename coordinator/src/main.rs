//! The coordinator's program: flags and files become a configuration, and the server runs with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::cli::main()
}
