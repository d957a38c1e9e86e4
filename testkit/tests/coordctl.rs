//! The command line, as people and scripts use it, against our coordinator.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::process::{JavaProject, Need, Options, Server, java_command, scratch, skip_or_fail, workspace};

#[path = "support/shell.rs"]
mod shell;

use shell::{Shell, binary};

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
    assert_eq!(
        shell.fails(&["delete", "/a"]),
        (1, "coordctl: /a: the znode has children; -r deletes them too".to_owned())
    );
    shell.ok(&["delete", "-r", "/a"]);
    assert_eq!(shell.ok(&["ls", "/"]), "zookeeper\n");
    assert_eq!(shell.fails(&["get", "/a"]), (1, "coordctl: /a: no such znode".to_owned()));
    for (line, complaint) in [
        (&["get", "a"][..], "coordctl: \"a\" is no path: a path must start with /"),
        (
            &["create", "/no/such", "x"],
            "coordctl: /no/such: there is no znode above it; -p creates what is missing",
        ),
        (&["lock", "a", "--", "true"], "coordctl: \"a\" is no path: a path must start with /"),
        (
            &["semaphore", "--leases", "1", "a", "--", "true"],
            "coordctl: \"a\" is no path: a path must start with /",
        ),
        (
            &["barrier", "--members", "2", "a", "--", "true"],
            "coordctl: \"a\" is no path: a path must start with /",
        ),
        (&["queue", "put", "a", "x"], "coordctl: \"a\" is no path: a path must start with /"),
        (
            &["register", "a/b", "--port", "1", "--", "true"],
            "coordctl: /services/a/b: bad option: \"a/b\" is no name of a service or an instance",
        ),
    ] {
        assert_eq!(shell.fails(line), (1, complaint.to_owned()));
    }
    let chrooted = format!("{}/none", shell.server.connect_string());
    for line in [&["ls"][..], &["create", "/b"]] {
        let complaint = shell.fails(&[&["--server", &chrooted], line].concat()).1;
        assert_eq!(
            complaint,
            format!("coordctl: /none, which {chrooted} puts before every path, does not exist")
        );
    }
    shell.ok(&["create", "/number", "-1"]);
    shell.ok(&["set", "/number", "-5"]);
    // In the shell each answer has a line of its own.
    let said = shell.run_with(&["shell"], b"get /number\nls /zookeeper/quota\nget /number\n");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "-5\n-5\n");
    let said = shell.run_with(&[], b"create --ephemeral /gone x\nfind --ephemeral\n");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "/gone\n/gone\n");
    assert_eq!(shell.fails(&["get", "/gone"]).0, 1, "it has gone with the shell");
    assert_eq!(shell.fails(&["nonsense"]).0, 2);
    shell.ok(&["create", "/full", "of text"]);
    assert_eq!(shell.fails(&["quota", "/"]), (1, "coordctl: / cannot have limits".to_owned()));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
    let lost = shell.command(&["get", "/full"]).stdout(full).output().expect("coordctl starts");
    assert!(!lost.status.success(), "what could not be written was not told");
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
    let (path, acl) = ("copies", "world:anyone:r");
    let line = format!("{{\"path\":\"{path}\",\"data\":\"x\",\"acl\":\"{acl}\"}}\n");
    let relative = shell.run_with(&["import", "--overwrite"], line.as_bytes());
    assert_eq!(relative.status.code(), Some(1), "it would be the root");
    let nonsense = shell
        .run_with(&["import"], b"{\"path\":\"/x\",\"data\":\"\",\"acl\":\"world:anyone:r\"}\nnonsense\n");
    assert!(String::from_utf8_lossy(&nonsense.stderr).contains("line 2"));

    let other = Shell::new();
    shell.ok(&["cp", "/a", "/from-afar", "--to", &other.server.connect_string()]);
    assert_eq!(other.ok(&["export", "/from-afar"]), export);
}

#[test]
fn many_znodes_are_written_at_a_time() {
    let shell = Shell::new();
    let line = |path: &str, data: &str, acl: &str| {
        format!("{{\"path\":\"{path}\",\"data\":\"{data}\",\"acl\":\"{acl}\"}}\n")
    };
    let open = |path: &str, data: &str| line(path, data, "world:anyone:cdrwa");
    let counts = |arguments: &[&str], input: &str| {
        String::from_utf8(shell.run_with(arguments, input.as_bytes()).stderr).expect("text")
    };
    // Far more than are under way at once; every tenth is deeper, and comes before its parent.
    let mut input = String::new();
    for number in 0..1000 {
        if number % 10 == 0 {
            input += &open(&format!("/n{number}/deep"), "d");
        }
        input += &open(&format!("/n{number}"), &number.to_string());
    }
    let imported = counts(&["import", "--at", "/many/of"], &input);
    let [created, rest] = imported.splitn(2, ' ').collect::<Vec<_>>()[..] else { panic!("{imported}") };
    assert!(created.parse().is_ok_and(|created: u32| (1000..=1100).contains(&created)), "{imported}");
    assert!(rest.starts_with("created, 0 replaced, "), "{imported}");
    assert_eq!(
        counts(&["import", "--overwrite", "--at", "/many/of"], &input),
        "0 created, 1100 replaced, 0 left as they were\n"
    );
    let export = shell.ok(&["export", "/many/of"]);
    let mut lines: Vec<&str> = export.lines().skip(1).collect();
    let mut expected: Vec<&str> = input.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    shell.ok(&["cp", "/many", "/again"]);
    assert_eq!(shell.ok(&["diff", "/many", "/again"]), "");

    shell.ok(&["acl", "-R", "/many", "world:anyone:rwa"]);
    let closed = shell.ok(&["export", "/many"]);
    assert_eq!(closed.lines().filter(|line| line.contains("\"world:anyone:rwa\"")).count(), 1102);
    assert_eq!(
        shell.fails(&["delete", "-r", "/many/of/n0"]).1,
        "coordctl: /many/of/n0/deep: not allowed by the access control list"
    );
    shell.ok(&["acl", "-R", "/many", "world:anyone:cdrwa"]);
    shell.ok(&["delete", "-r", "/many"]);
    assert_eq!(shell.fails(&["get", "/many"]).0, 1);

    // What a line says of access is true before the next line.
    shell.ok(&["create", "-p", "/narrow/p", "--acl", "world:anyone:rwa"]);
    let input = open("/p", "wide") + &open("/p/c", "");
    assert_eq!(
        counts(&["import", "--overwrite", "--at", "/narrow"], &input),
        "1 created, 1 replaced, 0 left as they were\n"
    );
    // Whoever may not write at the top may still write where they may.
    shell.ok(&["acl", "/narrow", "world:anyone:ra"]);
    assert_eq!(
        counts(&["import", "--at", "/narrow/p/q/r"], &open("/s", "")),
        "1 created, 0 replaced, 0 left as they were\n"
    );
    shell.ok(&["create", "-p", "/narrow/p/x/y"]);
    assert!(shell.fails(&["create", "-p", "/narrow/other/y"]).1.starts_with("coordctl: /narrow/other: "));
    // What stands before a line that cannot be is written.
    let complaint = counts(&["import"], &(open("/before", "1") + "{}\n" + &open("/after", "1")));
    assert!(complaint.starts_with("coordctl: line 2: "), "{complaint}");
    assert_eq!(shell.ok(&["get", "/before"]), "1");
    assert_eq!(shell.fails(&["get", "/after"]).0, 1);
}

#[test]
fn a_slow_input_does_not_cost_the_session() {
    let shell = Shell::new();
    shell.ok(&["create", "/slow"]);
    for arguments in [&["set", "/slow", "-"][..], &["import", "--overwrite"]] {
        let mut child = shell.command(&["--timeout", "1"]).args(arguments).spawn().expect("coordctl starts");
        std::thread::sleep(Duration::from_millis(2500));
        let mut input = child.stdin.take().expect("standard input is piped");
        input
            .write_all(b"{\"path\":\"/slow\",\"data\":\"x\",\"acl\":\"world:anyone:cdrwa\"}\n")
            .expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(shell.ok(&["get", "/slow"]), "x");
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
    let alone = "coordctl: the server is alone: it belongs to no ensemble, and has no members";
    let config = shell.run_with(&["config"], b"");
    assert!(config.status.success() && config.stdout.is_empty());
    assert_eq!(String::from_utf8_lossy(&config.stderr).trim_end(), alone);
    assert!(shell.fails(&["reconfig"]).1.contains("nothing to change"));
    assert!(shell.fails(&["reconfig", "--remove", "3"]).1.starts_with(alone));

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
    // Once nobody stands in line the lock's container is reaped, and the list fails.
    let line = || String::from_utf8(shell.run_with(&["ls", "/l"], b"").stdout).expect("text");
    let znode = loop {
        if let Some(name) = line().lines().next() {
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
    assert_eq!(line(), "", "nobody left a znode behind");
}

/// Waits until a znode has so many children.
fn await_children(shell: &Shell, path: &str, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while shell.run_with(&["ls", path], b"").stdout.split(|byte| *byte == b'\n').count() != count + 1 {
        assert!(Instant::now() < deadline, "never {count} below {path}");
    }
}

/// A command that hears every signal, also where whoever runs the tests is deaf to some, as what a script starts in the
/// background is.
fn hearing(shell: &Shell, line: &[&str]) -> Command {
    let command = shell.command(line);
    let mut hearing = Command::new("env");
    hearing.arg("--default-signal=INT,TERM,HUP").arg(command.get_program()).args(command.get_args());
    hearing.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    hearing
}

#[test]
fn whoever_is_interrupted_leaves_nothing_behind() {
    let shell = Shell::with(Options::for_tests().admin());
    let admin = shell.server.admin_address().expect("it was asked for").to_string();
    let sessions = || shell.ok(&["session", "list", "--admin", &admin, "-o", "plain"]).lines().count();
    shell.fails(&["get", "/none"]);
    assert_eq!(sessions(), 0, "what fails says good-bye as well");
    let mut holder = hearing(&shell, &["lock", "/l", "--", "sleep", "60"]).spawn().expect("it starts");
    await_children(&shell, "/l", 1);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut waiter = hearing(&shell, &["lock", "/l", "--", "true"]).spawn().expect("it starts");
        await_children(&shell, "/l", 2);
        let id = waiter.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().expect("it runs").success());
        assert_eq!(waiter.wait().expect("it ends").code(), Some(code));
        assert_eq!(shell.ok(&["ls", "/l"]).lines().count(), 1, "it does not wait for its session's end");
    }
    // Unless whoever started it has made it deaf, as nohup does.
    let mut deaf = Command::new("sh");
    deaf.args(["-c", "trap '' HUP; exec \"$0\" lock /l -- true"]).arg(binary());
    deaf.env("COORDCTL_SERVER", shell.server.connect_string());
    let mut deaf = deaf.spawn().expect("it starts");
    await_children(&shell, "/l", 2);
    for signal in ["HUP", "TERM"] {
        let id = deaf.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().expect("it runs").success());
        // It would have ended by then.
        std::thread::sleep(Duration::from_millis(500));
        if signal == "HUP" {
            assert!(deaf.try_wait().expect("it is ours").is_none(), "it did not hear it");
        }
    }
    assert_eq!(deaf.wait().expect("it ends").code(), Some(143));
    let id = holder.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().expect("it runs").success());
    assert_eq!(holder.wait().expect("it ends").code(), Some(143), "the command was asked to end");
    assert_eq!(sessions(), 0);
}

#[test]
fn a_server_that_is_killed_holds_up_nobody() {
    let mut shell = Shell::new();
    let mut lines: Vec<_> = [
        (&["--timeout", "2", "lock", "/l", "--", "sleep", "60"][..], Some(125)),
        (&["--timeout", "2", "lock", "/m", "--", "sh", "-c", "read line; exit 3"], Some(3)),
    ]
    .map(|(line, code)| (shell.command(line).spawn().expect("it starts"), code))
    .into();
    await_children(&shell, "/l", 1);
    await_children(&shell, "/m", 1);
    shell.server.kill().expect("it runs");
    // This command ends while nobody can be told.
    drop(lines[1].0.stdin.take());
    let since = Instant::now();
    for (mut child, code) in lines {
        let ended = child.wait().expect("it ends").code();
        assert!(ended == code || ended == Some(125), "{ended:?}");
    }
    assert!(since.elapsed() < Duration::from_secs(40), "{:?}", since.elapsed());
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

#[test]
fn data_is_searched_and_edited() {
    let shell = Shell::new();
    shell.ok(&["create", "-p", "/a/b", "one\ntwo\nThree"]);
    shell.ok(&["create", "/a/c", "\x1b[2Jtwo"]);
    assert_eq!(shell.ok(&["grep", "two"]), "/a/b:2: two\n/a/c:1: \\u{1b}[2Jtwo\n");
    assert_eq!(shell.ok(&["grep", "-il", "three", "/a"]), "/a/b\n");
    assert_eq!(shell.ok(&["grep", "-o", "plain", "one"]), "/a/b\t1\tone\n");
    assert_eq!(shell.fails(&["grep", "three"]), (1, String::new()));

    let edit = |editor: &str| {
        let mut command = shell.command(&["edit", "/a/b"]);
        command.env("EDITOR", editor).env_remove("VISUAL").output().expect("it runs")
    };
    assert!(edit("sed -i s/two/2/").status.success());
    assert_eq!(shell.ok(&["get", "/a/b"]), "one\n2\nThree");
    assert_eq!(String::from_utf8_lossy(&edit("true").stderr), "/a/b is as it was\n");
    // Somebody else is faster: the text is not lost, and neither is theirs.
    let late = edit(&format!("{} set /a/b theirs && sed -i s/2/ours/", binary().display()));
    assert_eq!(late.status.code(), Some(1));
    let complaint = String::from_utf8(late.stderr).expect("text");
    let (said, file) =
        complaint.trim_end().split_once("; your text is in ").expect("it says where the text is");
    assert_eq!(said, "coordctl: /a/b: somebody else has changed it meanwhile");
    assert_eq!(std::fs::read_to_string(file).expect("the file is there"), "one\nours\nThree");
    std::fs::remove_file(file).expect("it can be removed");
    assert_eq!(shell.ok(&["get", "/a/b"]), "theirs");
}

#[test]
fn subtrees_are_moved_compared_and_made_alike() {
    let (shell, other) = (Shell::new(), Shell::new());
    let there = other.server.connect_string();
    shell.ok(&["create", "-p", "/a/b/c", "text"]);
    shell.ok(&["acl", "/a/b", "world:anyone:cdrwa,ip:127.0.0.1:r"]);
    let export = shell.ok(&["export", "/a"]);
    shell.ok(&["mv", "/a", "/new/place"]);
    assert_eq!(shell.ok(&["export", "/new/place"]), export);
    assert_eq!(shell.fails(&["get", "/a"]).0, 1);
    shell.ok(&["create", "/occupied"]);
    let refused = shell.fails(&["mv", "/new/place", "/occupied"]);
    assert_eq!(refused, (1, "coordctl: nothing was moved: /occupied: the znode exists already".to_owned()));
    assert!(shell.fails(&["mv", "/new", "/new/place/below"]).1.contains("is inside of /new"));
    assert_eq!(shell.ok(&["export", "/new/place"]), export);

    let plan = shell.ok(&["mirror", "--dry-run", "/new", "/copy", "--to", &there]);
    assert_eq!(plan, "- .\n- place\n- place/b\n- place/b/c\n");
    assert_eq!(other.ok(&["ls"]), "zookeeper\n");
    shell.ok(&["mirror", "/new", "/copy", "--to", &there]);
    assert_eq!(shell.ok(&["diff", "/new", "/copy", "--to", &there]), "");
    other.ok(&["create", "/copy/more"]);
    other.ok(&["set", "/copy/place/b/c", "other"]);
    other.ok(&["acl", "/copy/place", "world:anyone:cdr"]);
    let differences = shell.run_with(&["diff", "/new", "/copy", "--to", &there], b"");
    assert_eq!(differences.status.code(), Some(1));
    let expected = "+ more\n~ place (acl)\n~ place/b/c (data)\n";
    assert_eq!(String::from_utf8_lossy(&differences.stdout), expected);
    other.ok(&["delete", "-r", "/copy"]);

    let mut follower = shell.command(&["mirror", "--delete", "--follow", "/new", "/copy", "--to", &there]);
    let mut follower = follower.spawn().expect("it starts");
    let alike = |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        let copy = || String::from_utf8(other.run_with(&["export", "/copy"], b"").stdout).expect("text");
        while copy() != shell.ok(&["export", "/new"]) {
            assert!(Instant::now() < deadline, "never: {what}");
        }
    };
    alike("what was there");
    shell.ok(&["create", "/new/later", "1"]);
    alike("a new znode");
    shell.ok(&["delete", "-r", "/new/place"]);
    alike("without those that were deleted");
    assert_eq!(other.ok(&["ls", "/copy"]), "later\n");
    follower.kill().expect("it runs");
    follower.wait().expect("it ends");
}

#[test]
fn commands_run_under_other_recipes() {
    let shell = Shell::new();
    let mut holder = shell.command(&["semaphore", "--leases", "1", "/s", "--", "sh", "-c", "echo held; cat"]);
    let mut holder = holder.spawn().expect("it starts");
    let mut out = std::io::BufReader::new(holder.stdout.take().expect("standard output is piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
    assert_eq!(line, "held\n");
    let full = shell.fails(&["semaphore", "--leases", "1", "--wait", "0", "/s", "--", "true"]);
    assert_eq!(full, (124, "coordctl: somebody else has /s".to_owned()));
    drop(holder.stdin.take());
    assert!(holder.wait().expect("it ends").success());
    shell.ok(&["semaphore", "--leases", "1", "--wait", "0", "/s", "--", "true"]);

    shell.ok(&["create", "/gate"]);
    assert_eq!(shell.fails(&["barrier", "--wait", "0.2", "/gate", "--", "true"]).0, 124);
    let waiting = shell.command(&["barrier", "/gate", "--", "echo", "open"]).spawn().expect("it starts");
    shell.ok(&["delete", "/gate"]);
    assert_eq!(waiting.wait_with_output().expect("it ends").stdout, b"open\n");
    let lonely = ["barrier", "--members", "2", "--wait", "0.2", "/lonely", "--", "true"];
    assert_eq!(shell.fails(&lonely).0, 124);
    let meet = |word| ["barrier", "--members", "2", "/m", "--", "echo", word];
    let one = shell.command(&meet("one")).spawn().expect("it starts");
    assert_eq!(shell.ok(&meet("two")), "two\n");
    assert_eq!(one.wait_with_output().expect("it ends").stdout, b"one\n");

    assert_eq!(shell.fails(&["queue", "take", "--wait", "0", "/q"]).0, 124);
    shell.ok(&["queue", "put", "/q", "later"]);
    shell.ok(&["queue", "put", "--priority", "1", "/q", "first"]);
    assert_eq!(
        shell.fails(&["queue", "take", "/q", "--", "sh", "-c", "cat >&2; exit 7"]),
        (7, "first".to_owned())
    );
    assert_eq!(shell.ok(&["queue", "take", "/q", "--", "cat"]), "first", "what failed is there again");
    assert_eq!(shell.ok(&["queue", "take", "/q"]), "later\n");

    let look = format!("{} get $COORDCTL_ZNODE", binary().display());
    let shown =
        shell.ok(&["register", "billing", "--port", "80", "--payload", "[1]", "--", "sh", "-c", &look]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((shown["name"].as_str(), shown["port"].as_u64()), (Some("billing"), Some(80)));
    assert_eq!(shown["payload"], serde_json::json!([1]));
    assert!(!shell.ok(&["ls", "-R", "/services"]).contains(shown["id"].as_str().expect("an id")));
}

#[test]
fn sessions_profiles_and_manual_pages() {
    let shell = Shell::with(Options::for_tests().admin());
    let admin = shell.server.admin_address().expect("it was asked for").to_string();
    let mut watcher = shell.command(&["watch", "-R", "/"]).spawn().expect("it starts");
    while !shell.ok(&["fourlw", "wchs"]).contains("Total watches:1") {}
    let sessions = shell.ok(&["session", "list", "--admin", &admin, "-o", "plain"]);
    let fields: Vec<&str> = sessions.trim_end().split('\t').collect();
    assert!(fields[0].starts_with("0x") && fields[1].contains("127.0.0.1"), "{sessions}");
    assert_eq!(fields[2], "10000");
    watcher.kill().expect("it runs");
    watcher.wait().expect("it ends");
    assert!(shell.fails(&["session", "list", "--admin", "127.0.0.1:1"]).1.contains("127.0.0.1:1"));

    let home = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(home.path().join("coordctl")).expect("a directory");
    let with_profile = |text: &str| {
        std::fs::write(home.path().join("coordctl/test.properties"), text).expect("it can be written");
        let mut command = shell.command(&["--profile", "test", "ls", "/"]);
        command.env_remove("COORDCTL_SERVER").env("XDG_CONFIG_HOME", home.path()).output().expect("it runs")
    };
    let output = with_profile(&format!("server={}\noutput=json\n", shell.server.connect_string()));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[\n  \"zookeeper\"\n]\n");
    let output = with_profile("sevrer=x\n");
    assert!(String::from_utf8_lossy(&output.stderr).ends_with("there is no flag sevrer; is server meant?\n"));

    shell.ok(&["man", "--directory", home.path().to_str().expect("text")]);
    let page = std::fs::read_to_string(home.path().join("coordctl-lock.1")).expect("a page");
    assert!(page.contains("COORDCTL_FENCE") && shell.ok(&["man"]).contains(".SH NAME"), "{page}");
}

/// What is asked of both shells, ours and that of Apache ZooKeeper.
const ZKCLI: &str = r#"create /cli one
get /cli
get -s /cli
set /cli two
set -v 0 /cli three
stat /cli
create /cli
create -s /cli/s- x
create -e /cli/e x
create -c /cli/c
get /cli/c
create -t 100000 /cli/t x
create -c -e /cli/no
ls /
ls -s /cli
ls -R /cli
delete /cli
get /none
getAcl -s /cli
addauth digest jack:pass
setAcl /cli/c auth:jack:pass:cdrwa
whoami
getAllChildrenNumber /cli
getEphemerals /
setquota -n 100 /cli/t
listquota /cli/t
delquota -n /cli/t
listquota /cli/t
delquota /cli/t
delquota /cli/t
listquota /cli/t
config
sync /cli
get -x /cli
get -b /cli
ls -w /cli
create /cli/new
get -w /cli
set /cli "three words"
get /cli
addWatch /cli
set /cli/new 5
removewatches /cli
removewatches /cli
frob
ls
ls -q /
printwatches
printwatches off
redo 1
deleteall /cli
stat /cli
deleteall /cli
get cli
ls /cli/
close
ls /
quit
"#;

/// Both streams and the exit code of a shell that is given the script, without what differs from run to run.
fn zkcli_says(mut command: Command, server: &Server) -> (String, String, Option<i32>) {
    command.args(["-server", &server.connect_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("standard input is piped").write_all(ZKCLI.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let settled = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(&server.connect_string(), "SERVER");
        let settled = text.lines().map(|line| match (line.split_once(" = "), line.split_once(" zxid: ")) {
            (Some((name, _)), _) if name.ends_with("xid") || name.ends_with("time") => format!("{name} = …"),
            (_, Some((event, zxid))) if zxid != "-1" => format!("{event} zxid: …"),
            _ => line.to_owned(),
        });
        // When a notice comes between two lines is up to the machine.
        let mut lines: Vec<String> = settled.filter(|line| !line.is_empty()).collect();
        lines.sort();
        lines.join("\n")
    };
    (settled(&output.stdout), settled(&output.stderr), output.status.code())
}

#[test]
fn under_the_name_of_zkcli_it_says_what_zkcli_says() {
    if !skip_or_fail("a comparison with zkCli", &[Need::Java, Need::Maven]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let link = folder.path().join("zkCli.sh");
    std::os::unix::fs::symlink(binary(), &link).expect("a link");
    let class_path = JavaProject::new("client-3.9").class_path().expect("jars");
    let mut java = java_command(&class_path, &scratch("java").expect("a directory"));
    java.arg("org.apache.zookeeper.ZooKeeperMain");
    let start = || Server::coordinator(Options::for_tests()).expect("start the server");
    let (theirs, ours) = (zkcli_says(java, &start()), zkcli_says(Command::new(&link), &start()));
    assert_eq!(ours, theirs);
}

#[test]
fn it_can_be_used_at_a_terminal() {
    if !skip_or_fail("a pseudo-terminal", &[Need::Python]) {
        return;
    }
    let shell = Shell::new();
    shell.ok(&["create", "-p", "/config/limits", "100"]);
    let home = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("python3");
    command.arg(workspace().join("testkit/interop/python/terminal.py"));
    command.arg(binary()).arg(shell.server.connect_string());
    command.env("XDG_STATE_HOME", home.path()).env_remove("COORDCTL_SERVER");
    let output = command.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
