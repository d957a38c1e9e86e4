//! What stands before zkCli's command.

use std::path::PathBuf;
use std::time::Duration;

use crate::properties;
use crate::zk::Tls;

/// zkCli's flags, and the command behind them if there is one.
#[derive(Debug)]
pub(super) struct Flags {
    pub(super) server: String,
    pub(super) timeout: Duration,
    pub(super) read_only: bool,
    pub(super) tls: Option<Tls>,
    pub(super) command: Vec<String>,
}

impl Flags {
    pub(super) fn parse(arguments: Vec<String>) -> Result<Flags, String> {
        let mut flags = Flags {
            server: "localhost:2181".to_owned(),
            timeout: Duration::from_secs(30),
            read_only: false,
            tls: None,
            command: Vec::new(),
        };
        let (mut secure, mut keys) = (false, Keys::default());
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().ok_or_else(|| format!("Error: no argument found for option {argument}"));
            match argument.as_str() {
                "-server" => flags.server = value()?,
                "-timeout" => {
                    let text = value()?;
                    let ms = text.parse().map_err(|_| format!("For input string: \"{text}\""))?;
                    flags.timeout = Duration::from_millis(ms);
                }
                "-r" => flags.read_only = true,
                "-secure" => secure = true,
                "-client-configuration" => keys = Keys::load(&value()?)?,
                // -waitforconnection is what we do in any case; what is not known is passed over, as zkCli does.
                option if option.starts_with('-') => {}
                _ => {
                    flags.command = std::iter::once(argument).chain(arguments).collect();
                    break;
                }
            }
        }
        if secure || keys.secure {
            flags.tls = Some(keys.tls()?);
        }
        Ok(flags)
    }
}

/// The keys of a client's configuration file that concern us.
#[derive(Debug, Default)]
struct Keys {
    secure: bool,
    trust: Option<PathBuf>,
    identity: Option<PathBuf>,
}

impl Keys {
    fn load(path: &str) -> Result<Keys, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let mut keys = Keys::default();
        for entry in properties::parse(&bytes).map_err(|error| format!("{path}: {error}"))? {
            match entry.key.as_str() {
                "zookeeper.client.secure" => keys.secure = entry.value == "true",
                "zookeeper.ssl.trustStore.location" => keys.trust = Some(entry.value.into()),
                "zookeeper.ssl.keyStore.location" => keys.identity = Some(entry.value.into()),
                _ => {}
            }
        }
        Ok(keys)
    }

    /// Stores must be PEM files.
    fn tls(&self) -> Result<Tls, String> {
        let trust = self.trust.as_ref().ok_or(
            "a secure connection needs -client-configuration with zookeeper.ssl.trustStore.location, a PEM file",
        )?;
        let tls = Tls::new(trust);
        Ok(match &self.identity {
            Some(identity) => tls.identity(identity, identity),
            None => tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_where_the_command_begins() {
        let parse = |line: &str| Flags::parse(line.split(' ').map(str::to_owned).collect());
        let flags = parse("-server a:1 -timeout 500 -r -waitforconnection ls -s /").unwrap();
        assert_eq!((flags.server.as_str(), flags.timeout), ("a:1", Duration::from_millis(500)));
        assert!(flags.read_only && flags.tls.is_none());
        assert_eq!(flags.command, ["ls", "-s", "/"]);
        assert_eq!(parse("-server").unwrap_err(), "Error: no argument found for option -server");
        assert!(parse("-secure ls /").unwrap_err().contains("trustStore"));
    }
}
