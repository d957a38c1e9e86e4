//! `coordinator config check`: what would be served, and what is wrong with it.

use crate::config::{Config, Effect, KEYS, Loaded, Settings, Sources, find_key};
use std::fmt::Write;
use std::process::ExitCode;

/// Prints settings to standard output, warnings and errors to standard error.
pub(super) fn run(sources: &Sources) -> ExitCode {
    match sources.load() {
        Ok(Loaded { config, warnings, settings }) => {
            print!("{}", report(&config, &settings));
            warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            println!("# The configuration can be used.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            error.problems.iter().for_each(|problem| eprintln!("error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

/// A file that says the same as all sources together, each line with who says it.
fn report(config: &Config, settings: &Settings) -> String {
    let mut text = String::new();
    let listen = |name: &str, address: Option<std::net::SocketAddr>| match address {
        Some(address) => format!("# {name}: {address}\n"),
        None => format!("# {name}: none\n"),
    };
    text.push_str(&listen("plain clients", config.listen.client));
    text.push_str(&listen("TLS clients", config.listen.secure));
    text.push_str(&listen("operations", config.admin.as_ref().map(|admin| admin.listen)));
    text.push_str(&listen("metrics", config.metrics));
    let (data, log) = (config.storage.data_dir.display(), config.storage.log_dir.display());
    let _ = writeln!(text, "# data: {data}, log: {log}, server id: {}", config.server_id);
    for (key, setting) in settings.iter() {
        let Some((known, _)) = find_key(key) else { continue };
        let value = if known.secret { "***" } else { setting.value.as_str() };
        let effect = if known.effect == Effect::Honoured { "" } else { ", changes nothing" };
        let _ = writeln!(text, "{key}={value}  # {}{effect}", setting.origin);
    }
    for key in KEYS.iter().filter(|key| key.effect == Effect::Honoured && settings.get(key.name).is_none()) {
        if !key.default.is_empty() && !key.is_pattern() {
            let _ = writeln!(text, "# {}={}  (default)", key.name, key.default);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_shows_values_origins_and_no_secrets() {
        let flags = [
            ("tickTime", "1000"),
            ("DigestAuthenticationProvider.superDigest", "super:geheim"),
            ("initLimit", "5"),
        ];
        let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let loaded = Sources { flags, ..Sources::default() }.load().unwrap();
        let text = report(&loaded.config, &loaded.settings);
        for line in [
            "# plain clients: 127.0.0.1:2181",
            "tickTime=1000  # command line",
            "DigestAuthenticationProvider.superDigest=***  # command line",
            "initLimit=5  # command line, changes nothing",
            "# maxClientCnxns=60  (default)",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
        }
        assert!(!text.contains("geheim"));
    }
}
