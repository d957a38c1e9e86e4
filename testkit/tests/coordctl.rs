//! The command line, as people and scripts use it, against our coordinator.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use testkit::process::{Options, Server, command_output, workspace};

/// `COORDCTL_BIN` if set; otherwise built now with this test's profile.
fn binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("COORDCTL_BIN") {
                return std::path::absolute(path).expect("COORDCTL_BIN");
            }
            let (profile, folder) =
                if cfg!(debug_assertions) { ("dev", "debug") } else { ("release", "release") };
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.current_dir(workspace()).args(["build", "--quiet", "--package", "client"]);
            build.args(["--features", "cli", "--bin", "coordctl", "--profile", profile]);
            command_output(&mut build).expect("build coordctl");
            let target = std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| workspace().join("target"), PathBuf::from);
            target.join(folder).join(format!("coordctl{}", std::env::consts::EXE_SUFFIX))
        })
        .clone()
}

struct Shell {
    server: Server,
}

impl Shell {
    fn new() -> Shell {
        Shell { server: Server::coordinator(Options::for_tests()).expect("start the server") }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env("COORDCTL_SERVER", self.server.connect_string()).args(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run_with(&self, line: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(line).spawn().expect("coordctl starts");
        child.stdin.take().expect("standard input is piped").write_all(input).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    /// What a command prints when it works.
    fn ok(&self, line: &[&str]) -> String {
        let output = self.run_with(line, b"");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line:?} ended with {}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Exit code and complaint of a command that does not.
    fn fails(&self, line: &[&str]) -> (i32, String) {
        let output = self.run_with(line, b"");
        (
            output.status.code().expect("an exit code"),
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )
    }
}

#[test]
fn znodes_come_change_and_go() {
    let shell = Shell::new();
    assert_eq!(shell.ok(&["create", "-p", "/a/b/c", "hello"]), "/a/b/c\n");
    assert_eq!(shell.ok(&["create", "--sequential", "/a/s-"]), "/a/s-0000000001\n");
    assert_eq!(shell.fails(&["create", "/a"]), (1, "coordctl: /a: the znode exists already".to_owned()));
    assert_eq!(shell.ok(&["ls", "/a"]), "b\ns-0000000001\n");
    assert_eq!(shell.ok(&["ls", "-R", "/a"]), "/a\n/a/b\n/a/b/c\n/a/s-0000000001\n");
    assert_eq!(shell.ok(&["ls", "-o", "json", "/a/b"]), "[\n  \"c\"\n]\n");
    assert_eq!(shell.ok(&["get", "/a/b/c"]), "hello");
    assert_eq!(
        shell.ok(&["get", "-o", "json", "/a/b/c"]),
        "{\"data\":\"hello\",\"path\":\"/a/b/c\",\"version\":0}\n"
    );
    assert!(shell.run_with(&["set", "/a/b", "-"], &[0xff, 0]).status.success());
    assert_eq!(
        shell.ok(&["get", "-o", "json", "/a/b"]),
        "{\"data_base64\":\"/wA=\",\"path\":\"/a/b\",\"version\":1}\n"
    );
    assert_eq!(
        shell.fails(&["set", "--if-version", "0", "/a/b", "x"]),
        (1, "coordctl: /a/b: the version is not the expected one".to_owned())
    );
    assert_eq!(shell.ok(&["tree", "/a"]), "/a\n├── b  2 bytes\n│   └── c  5 bytes\n└── s-0000000001\n");
    assert_eq!(shell.ok(&["find", "/", "--name", "s-*"]), "/a/s-0000000001\n");
    assert_eq!(shell.ok(&["find", "/a", "--data", "ell"]), "/a/b/c\n");
    assert_eq!(shell.ok(&["find", "--ephemeral"]), "");
    assert_eq!(shell.ok(&["du", "-o", "plain", "/a"]), "/a/b\t2\t7\n/a/s-0000000001\t1\t0\n/a\t4\t7\n");
    let stat = shell.ok(&["stat", "-o", "plain", "/a/b"]);
    let fields: Vec<&str> = stat.split('\t').collect();
    assert_eq!(fields[..7], ["/a/b", "1", "1", "0", "1", "2", "-"]);
    assert_eq!(shell.fails(&["delete", "/a"]), (1, "coordctl: /a: the znode has children".to_owned()));
    shell.ok(&["delete", "-r", "/a"]);
    assert_eq!(shell.ok(&["ls", "/"]), "zookeeper\n");
    assert_eq!(shell.fails(&["get", "/a"]), (1, "coordctl: /a: no such znode".to_owned()));
    assert_eq!(shell.fails(&["get", "a"]).0, 1);
    assert_eq!(shell.fails(&["nonsense"]).0, 2);
    let (code, complaint) = shell.fails(&["--server", "127.0.0.1:1", "--timeout", "0.3", "ls"]);
    assert_eq!(code, 1);
    assert!(complaint.contains("127.0.0.1:1") && complaint.contains("refused"), "{complaint}");
}

#[test]
fn subtrees_are_copied_and_survive_an_export() {
    let shell = Shell::new();
    shell.ok(&["create", "-p", "/a/b/c", "text"]);
    assert!(shell.run_with(&["set", "/a/b", "-"], &[0, 0xff]).status.success());
    shell.ok(&["acl", "/a/b/c", "world:anyone:cdrwa,ip:127.0.0.1:r"]);
    shell.ok(&["cp", "/a", "/copies/one"]);
    let export = shell.ok(&["export", "/a"]);
    assert_eq!(export.lines().count(), 3);
    assert_eq!(shell.ok(&["export", "/copies/one"]), export);
    let import = shell.run_with(&["import", "--at", "/copies/two"], export.as_bytes());
    assert_eq!(String::from_utf8_lossy(&import.stderr), "3 created, 0 replaced, 0 left as they were\n");
    assert_eq!(shell.ok(&["export", "/copies/two"]), export);
    shell.ok(&["set", "/copies/two/b/c", "other"]);
    assert_eq!(shell.ok(&["acl", "/copies/two/b/c"]), "world:anyone:cdrwa,ip:127.0.0.1:r\n");
    assert!(shell.run_with(&["import", "--at", "/copies/two"], export.as_bytes()).status.success());
    assert_eq!(shell.ok(&["get", "/copies/two/b/c"]), "other", "what exists is left");
    shell.ok(&["cp", "--overwrite", "/a", "/copies/two"]);
    assert_eq!(shell.ok(&["export", "/copies/two"]), export);
    let nonsense = shell
        .run_with(&["import"], b"{\"path\":\"/x\",\"data\":\"\",\"acl\":\"world:anyone:r\"}\nnonsense\n");
    assert!(String::from_utf8_lossy(&nonsense.stderr).contains("line 2"));

    let other = Shell::new();
    shell.ok(&["cp", "/a", "/from-afar", "--to", &other.server.connect_string()]);
    assert_eq!(other.ok(&["export", "/from-afar"]), export);
}

#[test]
fn limits_members_and_identities() {
    let shell = Shell::new();
    shell.ok(&["create", "/a", "xyz"]);
    assert!(shell.fails(&["quota", "/a"]).1.contains("no limits"));
    shell.ok(&["quota", "/a", "--count", "10"]);
    shell.ok(&["quota", "/a", "--hard-bytes", "100"]);
    assert_eq!(shell.ok(&["quota", "-o", "plain", "/a"]), "count\t1\t10\t-\nbytes\t3\t-\t100\n");
    shell.ok(&["create", "/a/b"]);
    assert!(shell.fails(&["quota", "/a/b", "--count", "1"]).1.contains("/a has limits already"));
    shell.ok(&["quota", "/a", "--remove"]);
    assert_eq!(shell.ok(&["ls", "/zookeeper/quota"]), "");

    let who = shell.ok(&["--auth", "digest:ann:secret", "whoami", "-o", "plain"]);
    assert!(who.contains("digest\tann\n"), "{who}");
    shell.ok(&["config"]);
    assert!(shell.fails(&["reconfig"]).1.contains("nothing to change"));
    assert!(shell.fails(&["reconfig", "--remove", "3"]).1.starts_with("coordctl: "));

    let status = shell.ok(&["status", "-o", "plain"]);
    assert!(status.starts_with(&format!("{}\tstandalone\t0x", shell.server.connect_string())), "{status}");
    let both = format!("{},127.0.0.1:1", shell.server.connect_string());
    let output = shell.run_with(&["--server", &both, "status"], b"");
    assert_eq!(output.status.code(), Some(1), "not all serve");
    assert_eq!(shell.ok(&["fourlw", "ruok"]), "imok\n");
    assert_eq!(shell.fails(&["fourlw", "hello"]).0, 1);
    for shell_name in ["bash", "zsh", "fish"] {
        assert!(shell.ok(&["completions", shell_name]).contains("coordctl"));
    }
}

#[test]
fn a_command_runs_under_a_lock() {
    let shell = Shell::new();
    let output = shell.run_with(&["lock", "/l", "--", "sh", "-c", "echo $COORDCTL_FENCE; exit 7"], b"");
    assert_eq!(output.status.code(), Some(7));
    let first: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a fence");
    let mut holder =
        shell.command(&["lock", "--name", "me", "/l", "--", "sleep", "60"]).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    let znode = loop {
        let names = shell.ok(&["ls", "/l"]);
        if let Some(name) = names.lines().next() {
            break format!("/l/{name}");
        }
        assert!(Instant::now() < deadline, "nobody holds the lock");
    };
    assert_eq!(shell.ok(&["get", &znode]), "me");
    let (code, complaint) = shell.fails(&["lock", "--wait", "0", "/l", "--", "true"]);
    assert_eq!((code, complaint.as_str()), (124, "coordctl: somebody else has /l"));
    assert_eq!(shell.fails(&["elect", "--wait", "0.1", "/l", "--", "true"]).0, 124);
    // Somebody takes the lock away: the command is ended long before its minute is over.
    shell.ok(&["delete", &znode]);
    assert_eq!(holder.wait().expect("it ends").code(), Some(125));
    assert!(Instant::now() < deadline);
    let fence = shell.ok(&["elect", "/l", "--", "sh", "-c", "echo $COORDCTL_FENCE"]);
    assert!(fence.trim().parse::<u64>().expect("a fence") > first);
    assert_eq!(shell.fails(&["lock", "/l", "--", "/no/such/command"]).0, 126);
    assert_eq!(shell.ok(&["ls", "/l"]), "", "nobody left a znode behind");
}

#[test]
fn changes_are_printed_as_they_happen() {
    let shell = Shell::new();
    let mut watcher = shell.command(&["watch", "-R", "/", "-o", "plain"]).spawn().expect("it starts");
    let out = std::io::BufReader::new(watcher.stdout.take().expect("standard output is piped"));
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(out).map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    // The watch is there when the server has one.
    while !shell.ok(&["fourlw", "wchs"]).contains("Total watches:1") {}
    shell.ok(&["create", "/w"]);
    shell.ok(&["set", "/w", "x"]);
    shell.ok(&["delete", "/w"]);
    for expected in ["created\t/w\t0x", "changed\t/w\t0x", "deleted\t/w\t0x"] {
        let line = lines.recv_timeout(Duration::from_secs(20)).expect("a line in time");
        assert!(line.starts_with(expected), "{line}");
    }
    watcher.kill().expect("it runs");
    watcher.wait().expect("it ends");
}
