//! `coordctl man`: manual pages, made from the flags.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::Man;

use super::flags::Flags;

/// Prints the page of the tool itself, or writes the pages of all its commands.
pub(super) fn pages(directory: Option<&Path>) -> Result<()> {
    match directory {
        None => {
            let mut page = Vec::new();
            Man::new(Flags::command()).render(&mut page)?;
            Ok(std::io::stdout().write_all(&page)?)
        }
        Some(directory) => {
            clap_mangen::generate_to(Flags::command().disable_help_subcommand(true), directory)
                .with_context(|| directory.display().to_string())
        }
    }
}
