//! The broker's program: flags and files become a configuration, and the broker runs with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    broker::cli::main()
}
