//! The layers hold: cores touch nothing outside, and imports point only where the design lets them.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files that decide and touch nothing.
const CORES: &[&str] = &[
    "client/src/wire",
    "client/src/zk/session.rs",
    "client/src/zk/session",
    "client/src/zk/registry.rs",
    "client/src/zk/state.rs",
    "client/src/zk/sasl.rs",
    "client/src/zk/random.rs",
    "coordinator/src/request",
    "coordinator/src/tree",
    "coordinator/src/zab",
    "coordinator/src/member",
    "coordinator/src/auth",
    "broker/src/cluster",
    "broker/src/controller",
    "broker/src/group",
    "broker/src/partition",
    "broker/src/quota",
];

/// What reaches outside, or differs from run to run.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os",
    "std::process",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "RandomState",
    "collections::HashMap",
    "collections::HashSet",
    "tokio",
    "rustix",
    "socket2",
    "rand::",
    "getrandom",
];

/// A core file that reads and writes memory through `std::io`'s traits, because its libraries speak them.
const MEMORY_AS_STREAMS: &str = "client/src/wire/kafka/compression.rs";

/// Who must not import whom: a folder, and the modules it stays away from.
const NEIGHBOURS: &[(&str, &[&str])] = &[
    ("client/src/wire", &["crate::zk", "crate::kafka", "crate::cli"]),
    (
        "coordinator/src/tree",
        &["crate::request", "crate::store", "crate::net", "crate::server", "crate::config"],
    ),
    (
        "coordinator/src/request",
        &["crate::store", "crate::net", "crate::server", "crate::cli", "crate::zab", "crate::member"],
    ),
    (
        "coordinator/src/zab",
        &[
            "crate::tree",
            "crate::request",
            "crate::store",
            "crate::net",
            "crate::server",
            "crate::config",
            "crate::member",
        ],
    ),
    ("coordinator/src/member", &["crate::store", "crate::net", "crate::server", "crate::cli"]),
    (
        "coordinator/src/store",
        &["crate::tree", "crate::request", "crate::net", "crate::server", "crate::config"],
    ),
    (
        "broker/src/log",
        &[
            "crate::api",
            "crate::controller",
            "crate::group",
            "crate::net",
            "crate::partition",
            "crate::registry",
            "crate::replicate",
            "crate::server",
            "crate::txn",
        ],
    ),
    (
        "coordinator/src/auth",
        &["crate::request", "crate::net", "crate::server", "crate::store", "crate::tree"],
    ),
    ("broker/src/cluster", BROKER_SHELLS),
    ("broker/src/controller", BROKER_SHELLS),
    ("broker/src/group", BROKER_SHELLS),
    ("broker/src/partition", BROKER_SHELLS),
    ("broker/src/quota", BROKER_SHELLS),
    ("broker/src/log", &["crate::net", "crate::api", "crate::server", "crate::registry", "crate::replicas"]),
];

/// What the broker's cores stay away from.
const BROKER_SHELLS: &[&str] = &[
    "crate::api",
    "crate::cli",
    "crate::config",
    "crate::log",
    "crate::net",
    "crate::registry",
    "crate::replicas",
    "crate::server",
];

#[test]
fn cores_touch_nothing_outside() {
    complain(CORES.iter().flat_map(|core| violations(core, OUTSIDE)).collect());
}

#[test]
fn imports_point_where_the_design_lets_them() {
    complain(NEIGHBOURS.iter().flat_map(|(folder, others)| violations(folder, others)).collect());
}

#[test]
fn crates_depend_downwards_only() {
    for (manifest, forbidden) in [
        ("client", &["broker", "coordinator", "testkit"][..]),
        ("coordinator", &["broker", "testkit"][..]),
        ("broker", &["testkit"][..]),
    ] {
        let text = fs::read_to_string(root().join(manifest).join("Cargo.toml")).unwrap();
        for name in forbidden {
            let depends = text.lines().any(|line| line.starts_with(name) && line.contains(['=', '.']));
            assert!(!depends, "{manifest} must not depend on {name}");
        }
    }
}

/// The check itself finds what it looks for.
#[test]
fn a_violation_is_found() {
    let source = "use std::fs;\n// use std::net::TcpStream;\nlet now = Instant::now();\n#[cfg(test)]\nmod tests {\nuse std::thread;\n}\n";
    assert_eq!(found(source, OUTSIDE), ["1: std::fs", "3: Instant::now"]);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in the workspace").to_path_buf()
}

fn complain(violations: Vec<String>) {
    assert!(violations.is_empty(), "layers are broken:\n{}", violations.join("\n"));
}

fn violations(folder: &str, forbidden: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "{folder} has source files");
    let mut all = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let found = found(&source, forbidden).into_iter();
        let allowed = |what: &String| name == MEMORY_AS_STREAMS && what.ends_with(": std::io");
        all.extend(found.filter(|what| !allowed(what)).map(|what| format!("{name}:{what}")));
    }
    all
}

/// Source files, tests left out: they may do what they like.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    if folder.is_file() {
        return files.push(folder.to_path_buf());
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            files.push(path);
        }
    }
}

fn found(source: &str, forbidden: &[&str]) -> Vec<String> {
    source
        .lines()
        .take_while(|line| {
            !line.trim_start().starts_with("#[cfg(test)]") || !source_ends_in_tests(source, line)
        })
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(at, line)| {
            forbidden
                .iter()
                .filter(|what| line.contains(**what))
                .map(move |what| format!("{}: {what}", at + 1))
        })
        .collect()
}

/// A test module in the file itself ends the part that counts; `mod tests;` at its top does not.
fn source_ends_in_tests(source: &str, line: &str) -> bool {
    let mut lines = source.lines().skip_while(|other| *other != line).skip(1);
    lines.next().is_some_and(|next| next.trim_start().starts_with("mod tests {"))
}
