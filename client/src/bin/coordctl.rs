//! `coordctl`: what people and scripts do with a coordinator.

use std::process::ExitCode;

fn main() -> ExitCode {
    client::cli::coordctl()
}
