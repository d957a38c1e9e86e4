//! The command line: flags as typed become a [`Request`], as meant; `main` carries it out.
//!
//! Every key of the configuration is a flag under its own name and in kebab case (`--clientPort`, `--client-port`), taken
//! from the one table of keys.

mod check;
mod healthcheck;

use crate::config::{Effect, KEYS, Key, Sources, find_key_loosely};
use crate::import::ImportOptions;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags worth a line in the short help.
const COMMON: &[&str] = &[
    "clientPort",
    "clientPortAddress",
    "dataDir",
    "dataLogDir",
    "secureClientPort",
    "admin.serverPort",
    "4lw.commands.whitelist",
    "rookery.memoryLimit",
    "rookery.log",
];

const EXAMPLES: &str = "\
Examples:
  coordinator                                  serve this machine on port 2181
  coordinator zoo.cfg                          as ZooKeeper would with this file
  coordinator --clientPort 2182 --data-dir d   the same keys as flags
  coordinator config check --config zoo.cfg    what would happen, and what is wrong
  coordinator healthcheck --server host:2181   exit code 0 when it serves
  coordinator import --from /var/lib/zookeeper take over what Apache ZooKeeper kept

Precedence: flag, then variable (ZOO_* of the official container image, ROOKERY_*), then file, then default.";

/// Parses the command line of the process and carries it out.
pub fn main() -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(request) => request.carry_out(),
        Err(error) => {
            // Help and version come this way too, and are no errors.
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()))
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Serve.
    Run(Sources),
    /// Show what would be served, and what is wrong with it.
    Check(Sources),
    /// Ask a server whether it serves.
    Healthcheck {
        /// Its client port; by default the one this configuration names.
        server: Option<String>,
        /// Its operations port, asked instead when given.
        admin: Option<String>,
        /// Where the default comes from.
        sources: Sources,
    },
    /// Read a data directory of Apache ZooKeeper into ours.
    Import {
        /// ZooKeeper's `dataDir`.
        from: PathBuf,
        /// ZooKeeper's `dataLogDir`.
        logs_from: Option<PathBuf>,
        /// Ours; by default the configured one.
        data_dir: Option<PathBuf>,
        /// Our `dataLogDir`; by default the configured one if `data_dir` is, else `data_dir`.
        data_log_dir: Option<PathBuf>,
        /// Only look.
        dry_run: bool,
        /// Where the default comes from.
        sources: Sources,
    },
    /// Print completions for a shell.
    Completions(Shell),
    /// Print the manual page.
    Man,
}

/// Reads a command line, its first word being the program.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let matches = command().try_get_matches_from(spell_out(arguments.into_iter().collect()))?;
    Ok(match matches.subcommand() {
        None => Request::Run(sources(&matches)),
        Some(("config", config)) => match config.subcommand() {
            Some((_, check)) => Request::Check(sources(check)),
            None => unreachable!("clap demands a subcommand here"),
        },
        Some(("healthcheck", check)) => Request::Healthcheck {
            server: check.get_one::<String>("server").cloned(),
            admin: check.get_one::<String>("admin").cloned(),
            sources: Sources::of_process(check.get_one::<PathBuf>("config").cloned(), Vec::new()),
        },
        Some(("import", import)) => Request::Import {
            from: import.get_one::<PathBuf>("from").cloned().unwrap_or_default(),
            logs_from: import.get_one::<PathBuf>("logs-from").cloned(),
            data_dir: import.get_one::<PathBuf>("data-dir").cloned(),
            data_log_dir: import.get_one::<PathBuf>("data-log-dir").cloned(),
            dry_run: import.get_flag("dry-run"),
            sources: Sources::of_process(import.get_one::<PathBuf>("config").cloned(), Vec::new()),
        },
        Some(("completions", shell)) => match shell.get_one::<Shell>("shell") {
            Some(shell) => Request::Completions(*shell),
            None => unreachable!("clap demands a shell here"),
        },
        Some(_) => Request::Man,
    })
}

/// Flags as people write them become flags as they are defined: `--client-port` is `--clientPort`, and names that stand
/// for no single flag (`--server.1 …`, `--zookeeper.skipACL …`) become `--set key=value`.
fn spell_out(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut spelled = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().and_then(|text| text.strip_prefix("--"));
        let (name, value) = match text.map(|text| text.split_once('=')) {
            Some(Some((name, value))) => (name, Some(value.to_owned())),
            _ => (text.unwrap_or_default(), None),
        };
        let Some((key, full)) = find_key_loosely(name).filter(|(key, _)| key.name != "version") else {
            spelled.push(argument);
            continue;
        };
        if !is_flag(key) {
            let value = value.map(OsString::from).or_else(|| arguments.next()).unwrap_or_default();
            let mut setting = OsString::from(format!("{full}="));
            setting.push(value);
            spelled.extend(["--set".into(), setting]);
        } else {
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            spelled.push(format!("--{full}{value}").into());
        }
    }
    spelled
}

fn command() -> Command {
    let check =
        Command::new("check").about("Show the effective settings, warnings and errors, without serving");
    let config = Command::new("config")
        .about("Look at the configuration")
        .subcommand_required(true)
        .subcommand(with_settings(check));
    let healthcheck = Command::new("healthcheck")
        .about("Ask a server whether it serves; exit code 0 means it does")
        .arg(
            Arg::new("server")
                .long("server")
                .value_name("HOST:PORT")
                .help("Its client port [default: the configured one on this machine]"),
        )
        .arg(
            Arg::new("admin")
                .long("admin")
                .value_name("HOST:PORT")
                .conflicts_with("server")
                .help("Its operations port, for servers without a plain client port"),
        )
        .arg(config_file().help("Where to read the client port from"));
    let directory = |name: &'static str| {
        let path = Arg::new(name).long(name).value_name("DIR").value_parser(value_parser!(PathBuf));
        path.value_hint(ValueHint::DirPath)
    };
    let import = Command::new("import")
        .about("Read a data directory of Apache ZooKeeper 3.5 to 3.9 into an empty one of ours")
        .arg(directory("from").required(true).help("ZooKeeper's dataDir; its server must be stopped"))
        .arg(directory("logs-from").help("ZooKeeper's dataLogDir, if it had one"))
        .arg(directory("data-dir").alias("dataDir").help("Where to [default: the configured dataDir]"))
        .arg(directory("data-log-dir").alias("dataLogDir").help(
            "Where our logs will be, if not there [default: with the configured dataDir, its dataLogDir]",
        ))
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Read and report, write nothing"),
        )
        .arg(config_file().help("Where to read dataDir and dataLogDir from"));
    let completions = Command::new("completions")
        .about("Print completions for a shell")
        .arg(Arg::new("shell").required(true).value_name("SHELL").value_parser(value_parser!(Shell)));
    with_settings(Command::new("coordinator"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("A coordination service that speaks ZooKeeper's client protocol")
        .after_help(EXAMPLES)
        .args_conflicts_with_subcommands(true)
        .subcommands([
            config,
            healthcheck,
            import,
            completions,
            Command::new("man").about("Print the manual page"),
        ])
}

fn config_file() -> Arg {
    Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::FilePath)
        .help("Configuration in zoo.cfg format [default: $ZOO_CONF_DIR/zoo.cfg if there is one]")
}

/// Adds the file and a flag for every key.
fn with_settings(command: Command) -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::FilePath)
        .conflicts_with("config")
        .help("The same as --config FILE");
    let set = Arg::new("set")
        .long("set")
        .value_name("KEY=VALUE")
        .action(ArgAction::Append)
        .help("Any key; for those without a flag of their own, such as server.1");
    command.arg(file).arg(config_file()).arg(set).args(flags().map(flag))
}

fn flags() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| is_flag(key))
}

/// Is the key a flag of its own? `version` stands in membership files, and is another flag; a secret on the command line is
/// refused with a reason, and not suggested.
fn is_flag(key: &Key) -> bool {
    !key.is_pattern() && !matches!(key.name, "version" | "rookery.peerSecret")
}

fn flag(key: &'static Key) -> Arg {
    let default = match key.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let flag = Arg::new(key.name)
        .long(key.name)
        .value_name("VALUE")
        .allow_hyphen_values(true)
        .help(format!("{}{default}", key.help))
        .help_heading("Settings, all of them also keys of zoo.cfg")
        .hide(key.effect != Effect::Honoured)
        .hide_short_help(!COMMON.contains(&key.name));
    match key.name {
        "rookery.log" => flag.visible_alias("log-level"),
        "rookery.log.format" => flag.visible_alias("log-format"),
        _ => flag,
    }
}

fn sources(matches: &ArgMatches) -> Sources {
    let file = matches.get_one::<PathBuf>("config").or_else(|| matches.get_one::<PathBuf>("file"));
    let set = matches.get_many::<String>("set").into_iter().flatten();
    let set = set.map(|setting| setting.split_once('=').unwrap_or((setting, "")));
    let flags = flags().filter_map(|key| Some((key.name, matches.get_one::<String>(key.name)?.as_str())));
    let settings = set.chain(flags).map(|(key, value)| (key.to_owned(), value.to_owned()));
    Sources::of_process(file.cloned(), settings.collect())
}

impl Request {
    /// Does it, and says how it went.
    pub fn carry_out(self) -> ExitCode {
        let outcome = match self {
            Request::Run(sources) => run(&sources),
            Request::Check(sources) => return check::run(&sources),
            Request::Healthcheck { server, admin, sources } => healthcheck::run(server, admin, &sources),
            Request::Import { from, logs_from, data_dir, data_log_dir, dry_run, sources } => {
                destination(data_dir, data_log_dir, &sources).and_then(|(data_dir, log_dir)| {
                    crate::import::run(&ImportOptions { from, logs_from, data_dir, log_dir, dry_run })
                })
            }
            Request::Completions(shell) => {
                clap_complete::generate(shell, &mut command(), "coordinator", &mut std::io::stdout());
                Ok(())
            }
            Request::Man => {
                clap_mangen::Man::new(command()).render(&mut std::io::stdout()).map_err(Into::into)
            }
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("coordinator: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

fn run(sources: &Sources) -> anyhow::Result<()> {
    let loaded = sources.load().map_err(|error| {
        for warning in &error.warnings {
            eprintln!("coordinator: warning: {warning}");
        }
        anyhow::anyhow!("the configuration cannot be used:\n{error}")
    })?;
    crate::logging::start(&loaded.config.log).map_err(anyhow::Error::msg)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    crate::server::run(loaded.config)
}

/// Where imported data goes, and where logs will be if not there: what was told, or what is configured.
fn destination(
    data_dir: Option<PathBuf>,
    log_dir: Option<PathBuf>,
    sources: &Sources,
) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    if let Some(data_dir) = data_dir {
        return Ok((data_dir, log_dir));
    }
    let loaded =
        sources.load().map_err(|error| anyhow::anyhow!("the configuration cannot be used:\n{error}"))?;
    let storage = loaded.config.storage;
    let configured = (storage.log_dir != storage.data_dir).then_some(storage.log_dir);
    Ok((storage.data_dir, log_dir.or(configured)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, clap::Error> {
        parse(format!("coordinator {line}").split_whitespace().map(OsString::from))
    }

    #[track_caller]
    fn check(line: &str, file: Option<&str>, flags: &[(&str, &str)]) {
        let sources = match parsed(line) {
            Ok(Request::Run(sources) | Request::Check(sources)) => sources,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(sources.file, file.map(PathBuf::from), "{line}");
        let expected: Vec<_> =
            flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(sources.flags, expected, "{line}");
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn keys_are_flags_in_every_spelling() {
        check("", None, &[]);
        check("zoo.cfg", Some("zoo.cfg"), &[]);
        check("--config zoo.cfg --clientPort 2182", Some("zoo.cfg"), &[("clientPort", "2182")]);
        check("--client-port=2182", None, &[("clientPort", "2182")]);
        check("--log-level debug", None, &[("rookery.log", "debug")]);
        check(
            "--admin.serverPort 0 --largeRequestThreshold -1",
            None,
            &[("largeRequestThreshold", "-1"), ("admin.serverPort", "0")],
        );
        check("--server.1=a:1:2;3", None, &[("server.1", "a:1:2;3")]);
        check("--server.1 a:1:2;3 x.cfg", Some("x.cfg"), &[("server.1", "a:1:2;3")]);
        check("--zookeeper.skipACL yes", None, &[("skipACL", "yes")]);
        check("--autopurge-snap-retain-count 5", None, &[("autopurge.snapRetainCount", "5")]);
        check("--set weight.1=2", None, &[("weight.1", "2")]);
        check("config check --tickTime 1 zoo.cfg", Some("zoo.cfg"), &[("tickTime", "1")]);
    }

    #[test]
    fn import_takes_directories() {
        for spelling in ["--data-dir", "--dataDir"] {
            match parsed(&format!("import --from zk {spelling} ours --dry-run")) {
                Ok(Request::Import { from, logs_from: None, data_dir, dry_run: true, .. }) => {
                    assert_eq!((from, data_dir), (PathBuf::from("zk"), Some(PathBuf::from("ours"))));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (line, part) in [
            ("--clientPrt 1", "clientPort"),
            ("a.cfg --config b.cfg", "cannot be used with"),
            ("config", "subcommand"),
            ("import --data-dir x", "--from"),
            ("completions klingon", "invalid value"),
            ("--clientPort", "value is required"),
        ] {
            let error = parsed(line).expect_err(line).to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn help_names_every_setting_and_short_help_the_common_ones() {
        let (short, long) = (command().render_help().to_string(), command().render_long_help().to_string());
        for key in flags().filter(|key| key.effect == Effect::Honoured) {
            assert!(long.contains(&format!("--{} ", key.name)), "{}", key.name);
            assert_eq!(
                short.contains(&format!("--{} ", key.name)),
                COMMON.contains(&key.name),
                "{}",
                key.name
            );
        }
        assert!(short.contains("coordinator zoo.cfg"));
    }
}
