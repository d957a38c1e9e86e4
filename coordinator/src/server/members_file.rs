//! Where operators look for the members after clients have changed them: in `<configuration>.dynamic.<version>`, to which the
//! configuration then points, as with ZooKeeper.
//!
//! What counts is in the log. The files are for people, for tools, and for a member that lost its data.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The configuration file of a server, and which version of the members it points to.
#[derive(Debug, Clone)]
pub(super) struct MembersFile {
    config: PathBuf,
    written: Arc<Mutex<u64>>,
}

impl MembersFile {
    /// `version` is what the file says now.
    pub(super) fn new(config: &Path, version: u64) -> MembersFile {
        MembersFile { config: config.to_owned(), written: Arc::new(Mutex::new(version)) }
    }

    /// Writes down who the members are since `version`, on a thread of its own: a disk that hangs stops no member.
    pub(super) fn keep(&self, version: u64, members: &str) {
        let file = self.clone();
        let members = members.to_owned();
        let keep = move || file.keep_now(version, &members);
        if let Err(error) = std::thread::Builder::new().name("members-file".into()).spawn(keep) {
            tracing::warn!(%error, "the members have changed, but no thread could write that down");
        }
    }

    /// The same at once; threads may come here in any order.
    fn keep_now(&self, version: u64, members: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if version <= *written {
            return;
        }
        *written = version;
        match write(&self.config, version, members) {
            Ok(path) => tracing::info!(file = %path.display(), "the members were written down"),
            Err(error) => tracing::warn!(
                config = %self.config.display(),
                %error,
                "the members have changed, but the configuration cannot be; this server finds them in its data"
            ),
        }
    }
}

/// The new file first, then the one that points to it.
fn write(config: &Path, version: u64, members: &str) -> io::Result<PathBuf> {
    let config = fs::canonicalize(config)?;
    let mut name = config.clone().into_os_string();
    name.push(format!(".dynamic.{version:x}"));
    let dynamic = PathBuf::from(name);
    let servers: Vec<&str> = members.lines().filter(|line| !line.starts_with("version=")).collect();
    replace(&dynamic, &format!("{}\n", servers.join("\n")), None)?;
    let text = fs::read_to_string(&config)?;
    let permissions = fs::metadata(&config)?.permissions();
    replace(&config, &pointing_to(&text, &dynamic), Some(permissions))?;
    Ok(dynamic)
}

/// A file with this content takes the place of what was there, whole or not at all.
fn replace(path: &Path, text: &str, permissions: Option<fs::Permissions>) -> io::Result<()> {
    let mut name = path.to_owned().into_os_string();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let written = File::create(&temporary).and_then(|mut file| {
        permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // Half a file helps nobody; that it cannot be removed either is the smaller trouble.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The configuration without its members, and with the name of the file that has them. Everything else stays as it is.
fn pointing_to(text: &str, dynamic: &Path) -> String {
    let mut kept = String::new();
    let (mut continues, mut dropping) = (false, false);
    for line in text.lines() {
        if !continues {
            let key = line.trim_start().split(|c: char| c == '=' || c == ':' || c.is_whitespace()).next();
            dropping = key.is_some_and(names_members);
        }
        let is_comment = !continues && line.trim_start().starts_with(['#', '!']);
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        continues = !is_comment && backslashes % 2 == 1;
        if !dropping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    let path = dynamic.display().to_string().replace('\\', "\\\\");
    kept + &format!("dynamicConfigFile={path}\n")
}

fn names_members(key: &str) -> bool {
    let is_numbered = |prefix| {
        key.strip_prefix(prefix).is_some_and(|number: &str| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    matches!(key, "dynamicConfigFile" | "version")
        || is_numbered("server.")
        || is_numbered("group.")
        || is_numbered("weight.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: &str =
        "server.1=a:1:2:participant;0.0.0.0:2181\nserver.4=d:1:2:observer\nversion=100000007";

    #[test]
    fn the_configuration_points_to_the_members_and_keeps_everything_else() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("zoo.cfg");
        let text = "# ours\ntickTime=2000\nserver.1=a:1:2\n server.2 = b:1:\\\n  2\nserver.principal=x\n\
                    group.1=1:2\nweight.1=1\ninitLimit=10";
        fs::write(&config, text).unwrap();
        let dynamic = write(&config, 0x1_0000_0007, MEMBERS).unwrap();
        assert!(dynamic.ends_with("zoo.cfg.dynamic.100000007"), "{dynamic:?}");
        let servers = fs::read_to_string(&dynamic).unwrap();
        assert_eq!(servers, "server.1=a:1:2:participant;0.0.0.0:2181\nserver.4=d:1:2:observer\n");
        let kept = "# ours\ntickTime=2000\nserver.principal=x\ninitLimit=10\n";
        let expected = |path: &Path| format!("{kept}dynamicConfigFile={}\n", path.display());
        assert_eq!(fs::read_to_string(&config).unwrap(), expected(&dynamic));

        let later = write(&config, 0x1_0000_0009, MEMBERS).unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), expected(&later));
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["zoo.cfg", "zoo.cfg.dynamic.100000007", "zoo.cfg.dynamic.100000009"]);
    }

    #[test]
    fn an_older_version_does_not_take_the_place_of_a_later_one() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("zoo.cfg");
        fs::write(&config, "tickTime=2000\n").unwrap();
        let file = MembersFile::new(&config, 8);
        let says = || fs::read_to_string(&config).unwrap();
        file.keep_now(8, MEMBERS);
        assert_eq!(says(), "tickTime=2000\n");
        file.keep_now(10, MEMBERS);
        file.keep_now(9, MEMBERS);
        assert!(says().ends_with(".dynamic.a\n"), "{}", says());
    }
}
