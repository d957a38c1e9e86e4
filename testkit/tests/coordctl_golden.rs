//! What coordctl prints, word for word: every command's help, and what commands say of a fixed tree.
//!
//! After a change that is meant, `INSTA_UPDATE=always cargo test -p testkit --test coordctl_golden` writes the files in
//! `tests/snapshots` anew; their differences are what to look at.

#[path = "support/shell.rs"]
mod shell;

use shell::{Shell, binary};
use std::process::Command;

/// Hides what differs from run to run: addresses, zxids, sessions and times. A line in which something was hidden loses its
/// columns, whose widths depend on it.
fn masked(text: &str, address: &str) -> String {
    let line = |line: &str| {
        let line = line.replace(address, "SERVER");
        let words: Vec<String> = line.split(' ').map(masked_word).collect();
        let masked = words.join(" ");
        if masked == line && !line.contains("SERVER") {
            return line;
        }
        masked.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `2023-11-14T22:13:20Z`
fn is_date(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    word.len() == 20 && digits == 14 && word.ends_with('Z')
}

fn masked_word(word: &str) -> String {
    let fields: Vec<&str> = word.split('\t').collect();
    let masked = fields.iter().map(|field| {
        let core = field.trim_matches(|character: char| !character.is_ascii_alphanumeric());
        let is_time = core.len() == 13 && core.bytes().all(|byte| byte.is_ascii_digit());
        match core {
            _ if is_time || is_date(core) => field.replace(core, "TIME"),
            _ if core.starts_with("0x") => field.replace(core, "HEX"),
            _ => (*field).to_owned(),
        }
    });
    masked.collect::<Vec<_>>().join("\t")
}

/// A command in all formats.
fn all_formats(shell: &Shell, line: &[&str]) -> String {
    let said = |format: &str| {
        let output = shell.run_with(&[line, &["-o", format]].concat(), b"");
        let text = String::from_utf8(output.stdout).expect("text");
        format!("# {format}\n{}", masked(&text, &shell.server.connect_string()))
    };
    ["table", "plain", "json"].map(said).join("\n")
}

#[test]
fn commands_about_a_fixed_tree() {
    let shell = Shell::new();
    shell.ok(&["create", "/app", "version 1"]);
    shell.ok(&["create", "/app/limits", "memory=100\ncpu=2"]);
    shell.ok(&["create", "--acl", "world:anyone:r,ip:127.0.0.1:cdrwa", "/app/closed"]);
    assert!(shell.run_with(&["create", "/app/binary", "-"], &[0xff, 0]).status.success());
    shell.ok(&["create", "-p", "/other/app", "version 2"]);
    shell.ok(&["create", "/other/app/limits", "memory=100\ncpu=2"]);
    let golden = |name: &str, line: &[&str]| insta::assert_snapshot!(name, all_formats(&shell, line));
    golden("ls", &["ls", "/app"]);
    golden("ls-recursive", &["ls", "-R", "/app"]);
    golden("ls-stat", &["ls", "-s", "/app"]);
    golden("tree", &["tree", "/app"]);
    golden("get", &["get", "/app/limits"]);
    golden("stat", &["stat", "/app"]);
    golden("find", &["find", "/app", "--data", "memory"]);
    golden("grep", &["grep", "cpu", "/"]);
    golden("du", &["du", "/app"]);
    golden("acl", &["acl", "/app/closed"]);
    golden("diff", &["diff", "/app", "/other/app"]);
    golden("mirror-dry-run", &["mirror", "--delete", "--dry-run", "/app", "/other/app"]);
    golden("export", &["export", "/app"]);
    golden("whoami", &["whoami"]);
    golden("fourlw", &["fourlw", "ruok"]);
    shell.ok(&["quota", "/app", "--count", "10", "--hard-bytes", "1000"]);
    golden("quota", &["quota", "/app"]);
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let commands = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names =
        lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn help_of(command: &[String]) -> String {
    let output = Command::new(binary())
        .env("COLUMNS", "100")
        .args(command)
        .arg("--help")
        .env_remove("COORDCTL_SERVER")
        .output()
        .expect("it runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_help_text() {
    let mut left = vec![Vec::new()];
    let mut count = 0;
    while let Some(command) = left.pop() {
        let help = help_of(&command);
        let below = listed(&help);
        if below.is_empty() {
            let examples =
                help.lines().filter(|line| line.starts_with("  ") && line.contains("coordctl ")).count();
            assert!(examples >= 3, "{command:?} has {examples} examples");
        }
        let name = ["help".to_owned()].iter().chain(&command).cloned().collect::<Vec<_>>().join("-");
        insta::assert_snapshot!(name, help);
        left.extend(below.into_iter().map(|name| [&command[..], &[name]].concat()));
        count += 1;
    }
    assert!(count > 35, "{count} help texts");
}
