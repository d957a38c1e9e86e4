//! [core] What zkCli understands: commands, their options, and what it says of those that make no sense.

use std::collections::BTreeMap;

use super::Failure;

/// A command of zkCli.
#[derive(Debug)]
pub(super) struct Syntax {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    /// Its options, with `:` behind those that have a value.
    options: &'static str,
    /// How many words there must be behind the name.
    needs: usize,
}

const fn syntax(name: &'static str, usage: &'static str, options: &'static str, needs: usize) -> Syntax {
    Syntax { name, usage, options, needs }
}

pub(super) const COMMANDS: &[Syntax] = &[
    syntax(
        "addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE",
        "m:",
        1,
    ),
    syntax("addauth", "scheme auth", "", 1),
    syntax("close", "", "", 0),
    syntax("config", "[-c] [-w] [-s]", "s w c", 0),
    syntax("connect", "host:port", "", 0),
    syntax("create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]", "e s c t:", 1),
    syntax("delete", "[-v version] path", "v:", 1),
    syntax("deleteall", "path [-b batch size]", "b:", 1),
    syntax("delquota", "[-n|-b|-N|-B] path", "n b N B", 1),
    syntax("get", "[-s] [-w] [-b] [-x] path", "s w b x", 1),
    syntax("getAcl", "[-s] path", "s", 1),
    syntax("getAllChildrenNumber", "path", "", 1),
    syntax("getEphemerals", "path", "", 0),
    syntax("history", "", "", 0),
    syntax("listquota", "path", "", 1),
    syntax("ls", "[-s] [-w] [-R] path", "? s w R", 1),
    syntax("printwatches", "on|off", "", 0),
    syntax("quit", "", "", 0),
    syntax(
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        "s v: file: members: add: remove:",
        0,
    ),
    syntax("redo", "cmdno", "", 0),
    syntax("removewatches", "path [-c|-d|-a] [-l]", "c d p r a l", 1),
    syntax("set", "path data [-s] [-v version] [-b]", "s v: b", 2),
    syntax("setAcl", "[-s] [-v version] [-R] path acl", "s v: R", 2),
    syntax("setquota", "-n|-b|-N|-B val path", "n: b: N: B:", 1),
    syntax("stat", "[-w] path", "w", 1),
    syntax("sync", "path", "", 1),
    syntax("version", "", "", 0),
    syntax("whoami", "", "", 0),
];

/// A command with what was said to it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) name: &'static str,
    options: BTreeMap<&'static str, String>,
    words: Vec<String>,
}

impl Parsed {
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    pub(super) fn value(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    /// A number behind an option.
    pub(super) fn number<T: std::str::FromStr>(&self, option: &str) -> Result<Option<T>, Failure> {
        self.value(option)
            .map(|text| text.parse().map_err(|_| Failure::new(format!("For input string: \"{text}\""))))
            .transpose()
    }

    /// The word at this place behind the name, which [`Syntax::needs`] may promise.
    pub(super) fn word(&self, at: usize) -> Option<&str> {
        self.words.get(at).map(String::as_str)
    }

    /// The first word, of commands that need one.
    pub(super) fn path(&self) -> &str {
        self.word(0).unwrap_or("/")
    }
}

/// Everything that can be typed, sorted as zkCli sorts it.
pub(super) fn usage() -> String {
    let mut text = "ZooKeeper -server host:port -client-configuration properties-file cmd args".to_owned();
    for Syntax { name, usage, .. } in COMMANDS {
        text.push_str(&format!("\n\t{name} {usage}"));
    }
    text
}

/// Reads a command and its options, which may stand anywhere.
pub(super) fn parse(words: &[String]) -> Result<Parsed, Failure> {
    let [name, rest @ ..] = words else { return Err(Failure::new(usage())) };
    let Some(syntax) = COMMANDS.iter().find(|syntax| syntax.name == name) else {
        let message = format!("{}\nCommand not found: Command not found {name}", usage());
        return Err(Failure { message, code: 127 });
    };
    let known = |option: &str| {
        syntax.options.split(' ').find_map(|known| {
            let bare = known.trim_end_matches(':');
            (!bare.is_empty() && bare == option).then_some((bare, known.ends_with(':')))
        })
    };
    let mut parsed = Parsed { name: syntax.name, options: BTreeMap::new(), words: Vec::new() };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        let option =
            word.strip_prefix('-').filter(|option| !option.is_empty() && option.parse::<f64>().is_err());
        let Some(option) = option.filter(|_| !syntax.options.is_empty()) else {
            parsed.words.push(word.clone());
            continue;
        };
        if let Some((name, has_value)) = known(option) {
            let value = if has_value { rest.next() } else { Some(word) };
            let Some(value) = value else {
                return Err(Failure::new(format!(
                    "org.apache.commons.cli.MissingArgumentException: Missing argument for option: {option}"
                )));
            };
            parsed.options.insert(name, value.clone());
            continue;
        }
        // Several at once: -sR.
        for letter in option.chars() {
            match known(letter.encode_utf8(&mut [0; 4])) {
                Some((name, false)) => drop(parsed.options.insert(name, String::new())),
                Some((_, true)) | None => {
                    return Err(Failure::new(format!(
                        "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: {word}"
                    )));
                }
            }
        }
    }
    if parsed.words.len() < syntax.needs {
        return Err(Failure::new(format!("{} {}", syntax.name, syntax.usage)));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::shell::split;

    fn parsed(line: &str) -> Result<Parsed, Failure> {
        parse(&split(line).unwrap())
    }

    #[test]
    fn options_stand_anywhere() {
        let set = parsed("set /a -v 3 'two words' -s").unwrap();
        assert_eq!((set.name, set.path(), set.word(1)), ("set", "/a", Some("two words")));
        assert_eq!((set.number::<i32>("v").unwrap(), set.has("s"), set.has("b")), (Some(3), true, false));
        assert!(parsed("ls -sR /").unwrap().has("R"));
        assert_eq!(parsed("create /a -5").unwrap().word(1), Some("-5"));
    }

    #[test]
    fn nonsense_is_refused_in_its_words() {
        for (line, code, words) in [
            ("frobnicate", 127, "Command not found: Command not found frobnicate"),
            ("ls", 1, "ls [-s] [-w] [-R] path"),
            ("ls -q /", 1, "Unrecognized option: -q"),
            ("set /a b -v", 1, "Missing argument for option: v"),
        ] {
            let failure = parsed(line).unwrap_err();
            assert!(failure.code == code && failure.message.contains(words), "{line}: {failure:?}");
        }
        let odd = parsed("delete -v x /a").unwrap().number::<i32>("v").unwrap_err();
        assert_eq!(odd.message, "For input string: \"x\"");
    }
}
