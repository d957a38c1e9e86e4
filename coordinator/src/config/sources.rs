//! Where settings come from, in rising precedence: a file, the environment, flags.

use super::keys::{self, Effect, Key};
use super::{Config, ConfigError, Loaded};
use crate::limits::CONFIG_FILE_BYTES_MAX;
use client::properties;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The raw material of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// Variables of the process, ours or not.
    pub environment: Vec<(String, String)>,
    /// Settings of the command line: a key in any spelling, and its value.
    pub flags: Vec<(String, String)>,
}

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable.
    Environment(String),
    /// The command line.
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

/// One value that somebody set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As written, without the blanks around it.
    pub value: String,
    /// Who set it.
    pub origin: Origin,
}

/// What was set, by the key's full name.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, Setting>,
    /// The configuration file that was read, if any.
    pub file: Option<PathBuf>,
    /// `ZOO_MY_ID`.
    pub my_id: Option<Setting>,
    /// `ZOO_LOG_DIR`.
    pub log_dir: Option<PathBuf>,
}

impl Settings {
    /// The value of a key, by its full name.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.values.get(key)
    }

    /// All values whose key begins with `prefix`, with what follows it.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Setting)> {
        self.values.iter().filter_map(move |(key, setting)| Some((key.strip_prefix(prefix)?, setting)))
    }

    /// Every value, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.values.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    fn set(&mut self, key: String, value: &str, origin: Origin) {
        self.values.insert(key, Setting { value: value.trim().to_owned(), origin });
    }
}

/// The variables of the official container image that are plain keys.
const VARIABLES: &[(&str, &str)] = &[
    ("ZOO_DATA_DIR", "dataDir"),
    ("ZOO_DATA_LOG_DIR", "dataLogDir"),
    ("ZOO_TICK_TIME", "tickTime"),
    ("ZOO_INIT_LIMIT", "initLimit"),
    ("ZOO_SYNC_LIMIT", "syncLimit"),
    ("ZOO_AUTOPURGE_PURGEINTERVAL", "autopurge.purgeInterval"),
    ("ZOO_AUTOPURGE_SNAPRETAINCOUNT", "autopurge.snapRetainCount"),
    ("ZOO_MAX_CLIENT_CNXNS", "maxClientCnxns"),
    ("ZOO_STANDALONE_ENABLED", "standaloneEnabled"),
    ("ZOO_ADMINSERVER_ENABLED", "admin.enableServer"),
    ("ZOO_4LW_COMMANDS_WHITELIST", "4lw.commands.whitelist"),
    // Not a variable of the image, but what people try.
    ("ZOO_CLIENT_PORT", "clientPort"),
];

/// Variables of the image that say something else than a key.
const OTHER_VARIABLES: &[&str] = &[
    "ZOO_MY_ID",
    "ZOO_SERVERS",
    "ZOO_CFG_EXTRA",
    "ZOO_CONF_DIR",
    "ZOO_LOG_DIR",
    "ZOO_LOG4J_PROP",
    "ZOO_USER",
];

impl Sources {
    /// The sources of this process: the given command line and the environment.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Sources {
        // Variables that are no UTF-8 cannot be meant for us.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Sources { file, environment, flags }
    }

    /// Reads and validates everything.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut gathering = Gathering::default();
        gathering.file(self);
        gathering.environment(self);
        gathering.flags(self);
        let Gathering { settings, warnings, problems } = gathering;
        Config::resolve(settings, warnings, problems)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        // An empty variable is how containers say "unset".
        self.environment
            .iter()
            .find(|(n, v)| n == name && !v.trim().is_empty())
            .map(|(_, value)| value.trim())
    }
}

#[derive(Default)]
struct Gathering {
    settings: Settings,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Gathering {
    fn file(&mut self, sources: &Sources) {
        let path = match (&sources.file, sources.variable("ZOO_CONF_DIR")) {
            (Some(path), _) => path.clone(),
            (None, Some(dir)) => {
                let path = Path::new(dir).join("zoo.cfg");
                if !path.exists() {
                    return;
                }
                path
            }
            (None, None) => return,
        };
        self.settings.file = Some(path.clone());
        self.properties_file(&path, |_| true);
        let dynamic = self.settings.get("dynamicConfigFile").filter(|setting| !setting.value.is_empty());
        let Some(dynamic) = dynamic.cloned() else { return };
        // As in ZooKeeper, a membership file replaces the members of the main file and holds nothing else.
        let own_members = self.settings.values.keys().any(|key| is_membership(key) && key != "version");
        if own_members {
            self.problems.push(format!(
                "{}: server.N, group.N and weight.N lines must stand in dynamicConfigFile ({}) only",
                path.display(),
                dynamic.value
            ));
        }
        let dynamic = path.parent().unwrap_or(Path::new(".")).join(&dynamic.value);
        self.properties_file(&dynamic, is_membership);
    }

    fn properties_file(&mut self, path: &Path, belongs: impl Fn(&str) -> bool) {
        let entries = match read_bounded(path).map(|bytes| properties::parse(&bytes)) {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => return self.problems.push(format!("{}: {error}", path.display())),
            Err(error) => return self.problems.push(format!("cannot read {}: {error}", path.display())),
        };
        for entry in entries {
            let origin = Origin::File(path.to_owned(), entry.line);
            if !belongs(entry.key.strip_prefix("zookeeper.").unwrap_or(&entry.key)) {
                self.problems.push(format!(
                    "{} ({origin}): only server.N, group.N, weight.N and version belong here",
                    entry.key
                ));
                continue;
            }
            if let Some(earlier) = keys::find(&entry.key).and_then(|(_, name)| self.settings.get(&name)) {
                self.warnings
                    .push(format!("{} ({origin}) replaces the value of {}", entry.key, earlier.origin));
            }
            self.exact(&entry.key, &entry.value, origin);
        }
    }

    fn environment(&mut self, sources: &Sources) {
        // Settings of the Java virtual machine first: the image's own variables are the more specific ones.
        for variable in ["JVMFLAGS", "SERVER_JVMFLAGS"] {
            for option in sources.variable(variable).unwrap_or_default().split_whitespace() {
                self.jvm_option(option, variable);
            }
        }
        for (variable, key) in VARIABLES {
            if let Some(value) = sources.variable(variable) {
                self.exact(key, value, Origin::Environment((*variable).to_owned()));
            }
        }
        if let Some(servers) = sources.variable("ZOO_SERVERS") {
            // It is the whole list: a member that only the file knows would be somebody whom the others do not count.
            let is_member = |key: &str| {
                key.strip_prefix("server.").is_some_and(|id| id.starts_with(|c: char| c.is_ascii_digit()))
            };
            self.settings.values.retain(|key, _| !is_member(key));
            for server in servers.split_whitespace() {
                match server.split_once('=') {
                    Some((key, value)) if key.starts_with("server.") => {
                        self.exact(key, value, Origin::Environment("ZOO_SERVERS".to_owned()));
                    }
                    _ => self.problems.push(format!(
                        "ZOO_SERVERS: \"{server}\" is not server.N=host:quorumPort:electionPort[:role][;clientPort]"
                    )),
                }
            }
        }
        for line in sources.variable("ZOO_CFG_EXTRA").unwrap_or_default().split_whitespace() {
            match line.split_once('=') {
                Some((key, value)) => self.exact(key, value, Origin::Environment("ZOO_CFG_EXTRA".to_owned())),
                None => self.problems.push(format!("ZOO_CFG_EXTRA: \"{line}\" is not key=value")),
            }
        }
        self.settings.my_id = sources.variable("ZOO_MY_ID").map(|value| Setting {
            value: value.to_owned(),
            origin: Origin::Environment("ZOO_MY_ID".to_owned()),
        });
        self.settings.log_dir = sources.variable("ZOO_LOG_DIR").map(PathBuf::from);
        for (name, value) in sources.environment.iter().filter(|(name, _)| !is_service_link(name)) {
            let known = VARIABLES.iter().any(|(variable, _)| variable == name)
                || OTHER_VARIABLES.contains(&name.as_str());
            if name.starts_with("ZOO_") && !known {
                self.warnings.push(format!("variable {name} is not known and changes nothing"));
            }
            if name.starts_with("ROOKERY_") && !value.trim().is_empty() {
                match keys::find_loosely(name) {
                    Some((key, full)) if key.name.starts_with("rookery.") => {
                        self.settings.set(full, value, Origin::Environment(name.clone()));
                    }
                    _ => self.warnings.push(format!("variable {name} is not known and changes nothing")),
                }
            }
        }
    }

    /// `-Dzookeeper.x=y` sets a key; other system properties count when they are known, the rest is the virtual machine's.
    fn jvm_option(&mut self, option: &str, variable: &str) {
        let origin = Origin::Environment(variable.to_owned());
        match option.strip_prefix("-D").and_then(|property| property.split_once('=')) {
            Some((key, value)) if key.starts_with("zookeeper.") || keys::find(key).is_some() => {
                self.exact(key, value, origin);
            }
            _ => self
                .warnings
                .push(format!("{variable}: {option} is for a Java virtual machine and changes nothing")),
        }
    }

    fn flags(&mut self, sources: &Sources) {
        for (name, value) in &sources.flags {
            match keys::find_loosely(name) {
                // Whoever may list processes reads their command lines.
                Some((_, full)) if full == "rookery.peerSecret" => self.problems.push(format!(
                    "--{name}: a command line is no place for a secret; use rookery.peerSecretFile, the variable \
                     ROOKERY_PEER_SECRET or the configuration file"
                )),
                Some((key, full)) => self.known(key, full, value, Origin::Flag),
                None => self.problems.push(format!("--{name} is not known{}", did_you_mean(name))),
            }
        }
    }

    fn exact(&mut self, name: &str, value: &str, origin: Origin) {
        match keys::find(name) {
            Some((key, full)) => self.known(key, full, value, origin),
            None => self
                .warnings
                .push(format!("{name} ({origin}) is not known and changes nothing{}", did_you_mean(name))),
        }
    }

    fn known(&mut self, key: &Key, full: String, value: &str, origin: Origin) {
        match key.effect {
            Effect::Honoured => {}
            Effect::Inert(why) => self.warnings.push(format!("{full} ({origin}) changes nothing: {why}")),
        }
        self.settings.set(full, value, origin);
    }
}

/// Kubernetes tells every container about services: one called `zoo` sets `ZOO_PORT`, `ZOO_PORT_2181_TCP_ADDR`,
/// `ZOO_SERVICE_HOST` and more, which are no settings.
fn is_service_link(name: &str) -> bool {
    let rest = name.strip_prefix("ZOO_").or_else(|| name.strip_prefix("ROOKERY_")).unwrap_or_default();
    rest == "PORT" || rest.starts_with("PORT_") || rest.contains("SERVICE_")
}

fn is_membership(key: &str) -> bool {
    key.starts_with("server.") || key.starts_with("group.") || key.starts_with("weight.") || key == "version"
}

fn did_you_mean(name: &str) -> String {
    keys::nearest(name).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// Reads a small file; one byte more than is allowed is enough to know that it is too big.
pub(super) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(CONFIG_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
