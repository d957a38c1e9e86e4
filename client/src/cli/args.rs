//! What the flags mean: what was typed goes before the environment, that before the profile, and that before what is usual.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use super::flags::{Format, Global, seconds};
use super::places;
use crate::properties::{self, distance};
use crate::zk::{Coordinator, Tls};

/// Whoever looks on is told what takes longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a profile may say, named as the flags are.
const PROFILE_KEYS: &[&str] =
    &["server", "timeout", "auth", "sasl", "tls-ca", "tls-identity", "read-only", "admin", "output"];

/// How to reach the servers, and how to print what they say.
#[derive(Debug)]
pub(super) struct Args {
    pub(super) server: String,
    pub(super) timeout: Duration,
    /// Schemes and tokens.
    auth: Vec<(String, String)>,
    /// Name and password.
    sasl: Option<(String, String)>,
    tls_ca: Option<PathBuf>,
    tls_identity: Option<PathBuf>,
    read_only: bool,
    pub(super) admin: Option<String>,
    pub(super) format: Format,
    /// Commands come one after the other, and so does what they print.
    pub(super) in_shell: bool,
}

impl Args {
    pub(super) fn of(global: Global) -> Result<Args> {
        let profile = match &global.profile {
            Some(name) => Profile::load(name)?,
            None => Profile::default(),
        };
        let auth = if global.auth.is_empty() { profile.words("auth") } else { global.auth };
        let auth = auth.iter().map(|identity| pair(identity, "auth", "scheme:token"));
        let sasl = global.sasl.or_else(|| profile.text("sasl"));
        let args = Args {
            server: global
                .server
                .or_else(|| profile.text("server"))
                .unwrap_or_else(|| "localhost:2181".to_owned()),
            timeout: match global.timeout {
                Some(timeout) => timeout,
                None => profile.value("timeout", seconds)?.unwrap_or(Duration::from_secs(10)),
            },
            auth: auth.collect::<Result<_>>()?,
            sasl: sasl.map(|sasl| pair(&sasl, "sasl", "name:password")).transpose()?,
            tls_ca: global.tls_ca.or_else(|| profile.text("tls-ca").map(PathBuf::from)),
            tls_identity: global.tls_identity.or_else(|| profile.text("tls-identity").map(PathBuf::from)),
            read_only: global.read_only || profile.value("read-only", truth)?.unwrap_or(false),
            admin: global.admin.or_else(|| profile.text("admin")),
            format: match global.output {
                Some(format) => format,
                None => {
                    profile.value("output", |text| Format::from_str(text, false))?.unwrap_or(Format::Table)
                }
            },
            in_shell: false,
        };
        ensure!(args.tls_identity.is_none() || args.tls_ca.is_some(), "--tls-identity needs --tls-ca");
        Ok(args)
    }

    /// A session with these servers.
    pub(super) async fn connect(&self, server: &str) -> Result<Coordinator> {
        let mut builder = Coordinator::builder(server)
            .session_timeout(self.timeout)
            .connect_timeout(self.timeout)
            .read_only(self.read_only);
        for (scheme, token) in &self.auth {
            builder = builder.auth(scheme, token.as_bytes());
        }
        if let Some((name, password)) = &self.sasl {
            builder = builder.sasl_digest_md5(name, password);
        }
        if let Some(authorities) = &self.tls_ca {
            let tls = Tls::new(authorities);
            builder = builder.tls(match &self.tls_identity {
                Some(identity) => tls.identity(identity, identity),
                None => tls,
            });
        }
        let mut connecting = std::pin::pin!(builder.connect());
        let outcome = match tokio::time::timeout(PATIENCE, &mut connecting).await {
            Ok(outcome) => outcome,
            Err(_) => {
                if std::io::stderr().is_terminal() {
                    eprintln!("Waiting for {server}, for at most {} seconds.", self.timeout.as_secs());
                }
                connecting.await
            }
        };
        outcome.with_context(|| format!("no session with {server}"))
    }
}

fn pair(text: &str, flag: &str, form: &str) -> Result<(String, String)> {
    let (name, secret) = text.split_once(':').with_context(|| format!("--{flag} needs {form}"))?;
    Ok((name.to_owned(), secret.to_owned()))
}

fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false is needed".to_owned())
}

/// Flags that somebody has written down once.
#[derive(Debug, Default)]
struct Profile {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl Profile {
    fn load(name: &str) -> Result<Profile> {
        ensure!(!name.is_empty() && !name.contains(['/', '\0']), "{name:?} is no name of a profile");
        let path = places::profiles()?.join(format!("{name}.properties"));
        let bytes = std::fs::read(&path).with_context(|| format!("profile {name}: {}", path.display()))?;
        Profile::parse(path.clone(), &bytes).with_context(|| path.display().to_string())
    }

    fn parse(path: PathBuf, bytes: &[u8]) -> Result<Profile> {
        let mut values = BTreeMap::new();
        for entry in properties::parse(bytes)? {
            if !PROFILE_KEYS.contains(&entry.key.as_str()) {
                let near = PROFILE_KEYS.iter().min_by_key(|key| distance(key, &entry.key));
                let near = near.expect("there are keys");
                bail!("line {}: there is no flag {}; is {near} meant?", entry.line, entry.key);
            }
            values.insert(entry.key, entry.value);
        }
        Ok(Profile { path, values })
    }

    fn text(&self, key: &str) -> Option<String> {
        self.values.get(key).cloned()
    }

    /// What may be said several times, with blanks between.
    fn words(&self, key: &str) -> Vec<String> {
        self.values
            .get(key)
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    fn value<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>> {
        let Some(text) = self.values.get(key) else { return Ok(None) };
        match parse(text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => bail!("{}: {key}: {error}", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_say_what_flags_say_and_nothing_else() {
        let profile =
            Profile::parse(PathBuf::new(), b"server = a:1,b:2/x\ntimeout=2.5\nauth=digest:u:p x:y\n");
        let profile = profile.unwrap();
        assert_eq!(profile.text("server").as_deref(), Some("a:1,b:2/x"));
        assert_eq!(profile.value("timeout", seconds).unwrap(), Some(Duration::from_millis(2500)));
        assert_eq!(profile.words("auth"), ["digest:u:p", "x:y"]);
        let wrong = Profile::parse(PathBuf::new(), b"\nsevrer=a").unwrap_err().to_string();
        assert_eq!(wrong, "line 2: there is no flag sevrer; is server meant?");
        let wrong = Profile::parse("p".into(), b"read-only=perhaps").unwrap();
        let wrong = wrong.value("read-only", truth).unwrap_err().to_string();
        assert_eq!(wrong, "p: read-only: true or false is needed");
    }
}
