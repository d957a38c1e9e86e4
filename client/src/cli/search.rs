//! Znodes by name, and by what is in them.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use super::flags::Format;
use super::output::{self, Table};
use super::walk::{Znode, walk};
use crate::wire::zk::path;
use crate::zk::Coordinator;

/// Which znodes to find.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    pub(super) data: Option<String>,
    pub(super) ephemeral: bool,
}

impl Wanted {
    fn includes(&self, znode: &Znode) -> bool {
        let text = |wanted: &String| {
            wanted.is_empty() || znode.data.windows(wanted.len()).any(|part| part == wanted.as_bytes())
        };
        self.name.as_ref().is_none_or(|pattern| matches(pattern, path::name(&znode.path)))
            && self.data.as_ref().is_none_or(text)
            && (!self.ephemeral || znode.stat.ephemeral_owner != 0)
    }
}

/// Whether a name matches a pattern in which `*` stands for any text and `?` for any character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last star stood, and how much of the name it stands for.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

pub(super) async fn find(zk: &Coordinator, path: &str, wanted: &Wanted, format: Format) -> Result<()> {
    let mut found = Vec::new();
    walk(zk, path, u32::MAX, |znode| {
        if wanted.includes(&znode) {
            found.push(znode.path);
        }
        Ok(())
    })
    .await?;
    found.sort();
    print_paths(&found, format)
}

/// Prints the lines of data with a text in them, or only the znodes that have some. Whether there were any.
pub(super) async fn grep(
    zk: &Coordinator,
    root: &str,
    text: &str,
    ignore_case: bool,
    paths_only: bool,
    format: Format,
) -> Result<bool> {
    let folded = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
    let wanted = folded(text);
    let mut found: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    walk(zk, root, u32::MAX, |znode| {
        let data = String::from_utf8_lossy(&znode.data);
        let lines = data.lines().enumerate().filter(|(_, line)| folded(line).contains(&wanted));
        let lines: Vec<_> = lines.map(|(at, line)| (at + 1, line.to_owned())).collect();
        if !lines.is_empty() {
            found.insert(znode.path, lines);
        }
        Ok(())
    })
    .await?;
    let any = !found.is_empty();
    if paths_only {
        print_paths(&found.into_keys().collect::<Vec<_>>(), format)?;
        return Ok(any);
    }
    if format == Format::Table {
        let mut out = std::io::stdout().lock();
        for (path, lines) in &found {
            for (number, line) in lines {
                writeln!(out, "{path}:{number}: {}", output::one_line(line))?;
            }
        }
        return Ok(any);
    }
    let mut table = Table::new(&["path", "line", "text"]);
    for (path, lines) in found {
        for (number, line) in lines {
            table.row([path.clone().into(), number.into(), line.into()]);
        }
    }
    table.print(format)?;
    Ok(any)
}

fn print_paths(paths: &[String], format: Format) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(paths)?)?;
        return Ok(());
    }
    for path in paths {
        writeln!(out, "{path}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("lock-*", "lock-0000000001", true),
            ("lock-*", "block-1", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "ż", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("**x", "x", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
