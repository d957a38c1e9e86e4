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
    text.push_str(&ensemble(config));
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

/// Who belongs to the ensemble, and how members know each other.
fn ensemble(config: &Config) -> String {
    let Some(ensemble) = &config.ensemble else {
        return "# ensemble: none, this server runs alone\n".to_owned();
    };
    let membership = &ensemble.membership;
    let voters = membership.voters().count();
    let observers = membership.members.len() - voters;
    let links = &ensemble.links;
    let known_by = match (&links.secret, &links.tls) {
        _ if !links.is_authenticated() => "nothing",
        (Some(_), Some(tls)) if tls.dial => "a secret and certificates",
        (Some(_), _) => "a secret",
        (None, _) => "certificates",
    };
    let mut text = format!(
        "# ensemble: member {} of {voters} voting and {observers} observing; members are known by {known_by}\n",
        ensemble.my_id
    );
    for member in &membership.members {
        let addresses: Vec<_> = member
            .addresses
            .iter()
            .map(|at| format!("{} ports {} and {}", at.host, at.quorum_port, at.election_port))
            .collect();
        let _ = writeln!(text, "#   {} {}: {}", member.role, member.id, addresses.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_shows_the_ensemble() {
        let flags = [
            ("server.1", "a:1:2"),
            ("server.2", "b:3:4:observer"),
            ("standaloneEnabled", "no"),
            ("myid", "2"),
        ];
        let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let environment = vec![("ROOKERY_PEER_SECRET".to_owned(), "correct horse battery".to_owned())];
        let loaded = Sources { flags, environment, ..Sources::default() }.load().unwrap();
        let text = report(&loaded.config, &loaded.settings);
        for line in [
            "# ensemble: member 2 of 1 voting and 1 observing; members are known by a secret",
            "#   participant 1: a ports 1 and 2",
            "#   observer 2: b ports 3 and 4",
            "rookery.peerSecret=***  # variable ROOKERY_PEER_SECRET",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn the_report_shows_values_origins_and_no_secrets() {
        let flags = [
            ("tickTime", "1000"),
            ("DigestAuthenticationProvider.superDigest", "super:geheim"),
            ("initLimit", "5"),
            ("jmx.port", "1"),
        ];
        let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let loaded = Sources { flags, ..Sources::default() }.load().unwrap();
        let text = report(&loaded.config, &loaded.settings);
        for line in [
            "# plain clients: 127.0.0.1:2181",
            "tickTime=1000  # command line",
            "DigestAuthenticationProvider.superDigest=***  # command line",
            "initLimit=5  # command line",
            "jmx.port=1  # command line, changes nothing",
            "# ensemble: none, this server runs alone",
            "# maxClientCnxns=60  (default)",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
        }
        assert!(!text.contains("geheim"));
    }
}
