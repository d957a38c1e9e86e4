//! What a machine must have beyond Rust, and what happens when it does not.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A tool that some suites need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A Java 11 or newer development kit (`java` and `javac`).
    Java,
    /// Maven, to fetch jars from Maven Central.
    Maven,
    /// Python 3.8 or newer with `venv`.
    Python,
    /// The Go tool chain.
    Go,
    /// Node 18 or newer with npm.
    Node,
    /// libfaketime and the command that comes with it.
    Faketime,
}

impl Need {
    fn probe(self) -> &'static [&'static [&'static str]] {
        match self {
            Need::Java => &[&["java", "-version"], &["javac", "-version"]],
            Need::Maven => &[&["mvn", "--version"]],
            Need::Python => &[&["python3", "-c", "import venv, ensurepip"]],
            Need::Go => &[&["go", "version"]],
            Need::Node => &[&["node", "--version"], &["npm", "--version"]],
            Need::Faketime => &[&["faketime", "-f", "+0", "true"]],
        }
    }

    /// Whether the tool starts on this machine.
    pub fn present(self) -> bool {
        self.probe().iter().all(|command| {
            Command::new(command[0])
                .args(&command[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Need::Java => "a Java development kit (java and javac)",
            Need::Maven => "Maven (mvn)",
            Need::Python => "Python 3 with venv",
            Need::Go => "Go",
            Need::Node => "Node with npm",
            Need::Faketime => "libfaketime (faketime)",
        })
    }
}

/// The tools a suite lacks.
#[derive(Debug)]
pub struct Missing(pub Vec<Need>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, need) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{need}")?;
        }
        Ok(())
    }
}

/// Whether a missing tool is a failure: `TESTKIT_REQUIRE=all`.
pub fn everything_is_required() -> bool {
    std::env::var("TESTKIT_REQUIRE").is_ok_and(|value| value == "all")
}

/// Decides whether a test that needs these tools runs.
///
/// Foreign clients are fetched from public registries, so they run only where somebody asked for them: with
/// `TESTKIT_REQUIRE=all` everything must be there and a missing tool is a failure; with
/// `TESTKIT_REQUIRE=available` what is there is used. Otherwise the test says that it was skipped and why.
/// Returns `true` when the test should go on.
pub fn skip_or_fail(test: &str, needs: &[Need]) -> bool {
    let wanted = std::env::var("TESTKIT_REQUIRE").unwrap_or_default();
    if !matches!(wanted.as_str(), "all" | "available") {
        println!(
            "SKIPPED {test}: needs {} and the network; set TESTKIT_REQUIRE=all",
            Missing(needs.to_vec())
        );
        return false;
    }
    has_or_fails(test, needs)
}

/// Whether the tools are there that a test needs and nothing else; with `TESTKIT_REQUIRE=all` a missing one is a failure.
pub fn has_or_fails(test: &str, needs: &[Need]) -> bool {
    let missing: Vec<Need> = needs.iter().copied().filter(|need| !need.present()).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = Missing(missing);
    assert!(!everything_is_required(), "{test} needs {missing}, and TESTKIT_REQUIRE=all forbids skipping it");
    println!("SKIPPED {test}: needs {missing}");
    false
}

/// The folder of the workspace's root manifest.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("testkit lies one level below the workspace").to_path_buf()
}

/// A folder below `target/testkit` that survives between runs: fetched jars, virtual environments, caches.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let path = target.join("testkit").join(name);
    std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// Runs a command to its end and returns what it printed; a failure carries the end of its error output.
pub fn command_output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let tail: Vec<&str> = text.lines().rev().take(30).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("{command:?} ended with {}:\n{}", output.status, tail.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
