//! Jars from Maven Central, and Java programs compiled against them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tools::{command_output, scratch, workspace};

/// One folder below `testkit/interop/java` with a `pom.xml` that names jars, and perhaps Java sources.
#[derive(Debug, Clone)]
pub struct JavaProject {
    /// The folder's name.
    pub name: &'static str,
}

impl JavaProject {
    /// The project in `testkit/interop/java/NAME`.
    pub const fn new(name: &'static str) -> JavaProject {
        JavaProject { name }
    }

    fn folder(&self) -> PathBuf {
        workspace().join("testkit/interop/java").join(self.name)
    }

    /// The jars of the project's pom as a class path, fetched once and kept under `target/testkit`.
    ///
    /// Test programs run at the same time, so the jars are copied into a folder of their own and moved into
    /// place when complete.
    pub fn class_path(&self) -> Result<String> {
        let pom = std::fs::read_to_string(self.folder().join("pom.xml"))?;
        let home = scratch("java")?.join(self.name);
        let lib = home.join("lib");
        let stamp = home.join("pom.xml");
        if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&pom) {
            std::fs::create_dir_all(&home)?;
            let partial = home.join(format!("lib.{}", std::process::id()));
            command_output(
                Command::new("mvn")
                    .current_dir(self.folder())
                    .args(["--quiet", "--batch-mode"])
                    .arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies")
                    .arg(format!("-DoutputDirectory={}", partial.display())),
            )
            .with_context(|| format!("fetching the jars of testkit/interop/java/{}", self.name))?;
            let _ = std::fs::remove_dir_all(&lib);
            if std::fs::rename(&partial, &lib).is_err() {
                // Another process was faster; its jars are as good as ours.
                ensure!(lib.is_dir(), "cannot move jars into {}", lib.display());
                std::fs::remove_dir_all(&partial)?;
            }
            std::fs::write(&stamp, &pom)?;
        }
        Ok(format!("{}/*", lib.display()))
    }

    /// Compiles sources (paths relative to `testkit/interop/java`) against the project's jars, unless that was
    /// done before, and returns the class path that holds both.
    pub fn compile(&self, sources: &[&str]) -> Result<String> {
        let jars = self.class_path()?;
        let folder = workspace().join("testkit/interop/java");
        let home = scratch("java")?.join(self.name);
        let (classes, stamp) = (home.join("classes"), home.join("sources"));
        let mut text = std::fs::read_to_string(self.folder().join("pom.xml"))?;
        for source in sources {
            text += &std::fs::read_to_string(folder.join(source))?;
        }
        if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&text) {
            let _ = std::fs::remove_dir_all(&classes);
            std::fs::create_dir_all(&classes)?;
            let mut command = Command::new("javac");
            command.args(["-nowarn", "-encoding", "UTF-8", "-d"]).arg(&classes).args(["-cp", &jars]);
            command.args(sources.iter().map(|source| folder.join(source)));
            command_output(&mut command).with_context(|| format!("compiling {sources:?}"))?;
            std::fs::write(&stamp, text)?;
        }
        Ok(format!("{}:{jars}", classes.display()))
    }
}

/// `java` with the given class path, quiet about everything but what the program prints itself. The main class
/// and its arguments are the caller's to add.
pub fn java_command(class_path: &str, working_directory: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .current_dir(working_directory)
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        .args(["-cp", class_path]);
    command
}
