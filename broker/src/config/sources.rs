//! Where settings come from, in rising precedence: the defaults, a file, the environment, flags.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use client::properties::{self, FILE_BYTES_MAX};

use super::settings::{self, Effect, Kind};
use super::{Problem, Problems};

/// The raw material of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// Variables of the process, ours or not.
    pub environment: Vec<(String, String)>,
    /// Settings of the command line.
    pub flags: Vec<(String, String)>,
}

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf, usize),
    Environment(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "variable {name}"),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

/// What somebody set, by name; asked for a setting that nobody set, it gives the default.
#[derive(Debug, Clone, Default)]
pub struct Values {
    set: BTreeMap<String, (String, Option<Origin>)>,
}

impl Values {
    /// The value that holds.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.set.get(name) {
            Some((value, _)) => Some(value),
            None => settings::find(name)?.default,
        }
    }

    /// The value that somebody set.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(|(value, _)| value.as_str())
    }

    /// Whatever was set, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(name, (value, _))| (name.as_str(), value.as_str()))
    }

    /// These values, and the given ones instead where both are set.
    pub fn overlaid(&self, over: &BTreeMap<String, String>) -> Values {
        let mut values = self.clone();
        for (name, value) in over {
            values.set.insert(name.clone(), (value.clone(), None));
        }
        values
    }

    pub(super) fn set(&mut self, name: &str, value: &str, origin: Origin) {
        self.set.insert(name.to_owned(), (value.trim().to_owned(), Some(origin)));
    }

    /// Notes what is wrong with a value, with the place where it was set.
    pub(super) fn complain(&self, name: &str, what: impl fmt::Display, problems: &mut Problems) {
        let origin = self.set.get(name).and_then(|(_, origin)| origin.clone());
        let shown = match settings::find(name).map(|setting| setting.kind) {
            Some(Kind::Password) => "***",
            _ => self.get(name).unwrap_or_default(),
        };
        let text = format!("{name}={shown}: {what}");
        problems.errors.push(Problem { text, origin });
    }

    /// A number between two bounds; the default, and a complaint, if it is none.
    pub(super) fn number(&self, name: &str, min: i64, max: i64, problems: &mut Problems) -> i64 {
        let fallback = settings::find(name).and_then(|setting| setting.default?.parse().ok()).unwrap_or(min);
        let Some(text) = self.get(name) else { return fallback };
        match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.complain(name, format_args!("a whole number from {min} to {max} is allowed"), problems);
                fallback
            }
        }
    }

    pub(super) fn boolean(&self, name: &str, problems: &mut Problems) -> bool {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(_) => {
                self.complain(name, "true or false is allowed", problems);
                false
            }
        }
    }

    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let parts = self.get(name).unwrap_or_default().split(',');
        parts.map(str::trim).filter(|part| !part.is_empty()).collect()
    }
}

/// Variables that begin as settings do and mean something else.
const OTHER_VARIABLES: &[&str] = &[
    "HEAP_OPTS",
    "JMX_OPTS",
    "JMX_PORT",
    "JMX_HOSTNAME",
    "OPTS",
    "VERSION",
    "HOME",
    "CREATE_TOPICS",
    "CREATE_TOPICS_SEPARATOR",
    "GC_LOG_OPTS",
    "JVM_PERFORMANCE_OPTS",
    "DEBUG",
    "DEBUG_FLAG",
    "LOG_DIR",
    "ADVERTISED_HOST_NAME",
    "ADVERTISED_PORT",
    "HOST_NAME",
    "PORT",
];

impl Sources {
    /// The sources of this process.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Sources {
        // Variables that are no UTF-8 cannot be meant for us.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Sources { file, environment, flags }
    }

    pub(super) fn gather(&self, problems: &mut Problems) -> Values {
        let mut values = Values::default();
        if let Some(path) = &self.file {
            self.gather_file(path, &mut values, problems);
        }
        for (name, value) in &self.environment {
            if let Some(setting) = setting_of_variable(name)
                && !value.trim().is_empty()
            {
                values.set(&setting, value, Origin::Environment(name.clone()));
            }
        }
        self.old_advertised_host(&mut values);
        for (name, value) in &self.flags {
            values.set(name, value, Origin::Flag);
        }
        self.judge_names(&values, problems);
        values
    }

    fn gather_file(&self, path: &Path, values: &mut Values, problems: &mut Problems) {
        let entries = match read_bounded(path) {
            Ok(bytes) => properties::parse(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match entries {
            Ok(entries) => {
                for entry in entries {
                    values.set(&entry.key, &entry.value, Origin::File(path.to_owned(), entry.line));
                }
            }
            Err(error) => {
                let text = format!("cannot read {}: {error}", path.display());
                problems.errors.push(Problem { text, origin: None });
            }
        }
    }

    /// Tutorials with old images name a host and a port instead of a listener.
    fn old_advertised_host(&self, values: &mut Values) {
        let variable = |name: &str| {
            let found = self.environment.iter().find(|(known, value)| known == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let host = variable("KAFKA_ADVERTISED_HOST_NAME");
        let host = host.or_else(|| values.explicit("advertised.host.name").map(str::to_owned));
        let Some(host) = host else { return };
        if values.explicit("advertised.listeners").is_some() {
            return;
        }
        let bound = variable("KAFKA_PORT").unwrap_or_else(|| "9092".into());
        let port = variable("KAFKA_ADVERTISED_PORT").unwrap_or_else(|| bound.clone());
        let origin = Origin::Environment("KAFKA_ADVERTISED_HOST_NAME".into());
        values.set("advertised.listeners", &format!("PLAINTEXT://{host}:{port}"), origin.clone());
        if values.explicit("listeners").is_none() {
            values.set("listeners", &format!("PLAINTEXT://0.0.0.0:{bound}"), origin);
        }
    }

    /// Names that nobody knows, and settings that do nothing here, are said once.
    fn judge_names(&self, values: &Values, problems: &mut Problems) {
        for (name, (_, origin)) in &values.set {
            let said = match settings::find(name).map(|setting| setting.effect) {
                Some(Effect::Honoured) => continue,
                Some(Effect::Idle(why)) => format!("{name} is accepted and changes nothing: {why}"),
                None if name.starts_with("listener.name.") => continue,
                None => match settings::nearest(name) {
                    Some(near) => format!("{name} is not known; did you mean {near}?"),
                    None => format!("{name} is not known"),
                },
            };
            problems.warnings.push(Problem { text: said, origin: origin.clone() });
        }
    }

    /// `KAFKA_CREATE_TOPICS`: topics to make at the first start.
    pub(super) fn create_topics(&self) -> Option<&str> {
        let found = self.environment.iter().find(|(name, _)| name == "KAFKA_CREATE_TOPICS");
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }
}

/// `KAFKA_LOG_DIRS` and Bitnami's `KAFKA_CFG_LOG_DIRS` are `log.dirs`; two underscores are one, three a hyphen.
fn setting_of_variable(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_CFG_").or_else(|| variable.strip_prefix("KAFKA_"))?;
    if rest.is_empty() || OTHER_VARIABLES.contains(&rest) || rest.starts_with("LOG4J") {
        return None;
    }
    Some(
        rest.to_ascii_lowercase()
            .replace("___", "-")
            .replace("__", "\0")
            .replace('_', ".")
            .replace('\0', "_"),
    )
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_settings_in_capitals() {
        for (variable, setting) in [
            ("KAFKA_LOG_DIRS", Some("log.dirs")),
            ("KAFKA_CFG_BROKER_ID", Some("broker.id")),
            ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", Some("auto.create.topics.enable")),
            ("KAFKA_A__B_C___D", Some("a_b.c-d")),
            ("KAFKA_HEAP_OPTS", None),
            ("KAFKA_LOG4J_ROOT_LOGLEVEL", None),
            ("PATH", None),
        ] {
            assert_eq!(setting_of_variable(variable).as_deref(), setting, "{variable}");
        }
    }
}
