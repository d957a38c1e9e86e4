//! Reads data directories that Apache ZooKeeper wrote (`testkit/golden/zookeeper-data`), and compares with what the same
//! server told a client right before it was stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coordinator::import::{self, ImportError, ImportedTree, NodeKind};
use coordinator::store::{Disk, LogOptions, RealDisk, Recovery};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/zookeeper-data").join(name)
}

/// A tree as the client wrote it down: path, stat, ACL, data.
fn as_text(tree: &ImportedTree) -> BTreeMap<String, String> {
    let mut children: BTreeMap<&str, i32> = BTreeMap::new();
    for path in tree.nodes.keys().filter(|path| *path != "/") {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        *children.entry(if parent.is_empty() { "/" } else { parent }).or_default() += 1;
    }
    let mut lines = BTreeMap::new();
    for (path, node) in &tree.nodes {
        let stat = &node.stat;
        let children = children.get(path.as_str()).copied().unwrap_or(0);
        let acl: String = node
            .acl
            .iter()
            .map(|acl| format!("{}:{}:{},", acl.perms, acl.identity.scheme, acl.identity.id))
            .collect();
        // Clients see an owner only where it is a session.
        let owner = if stat.kind() == NodeKind::Ephemeral { stat.ephemeral_owner } else { 0 };
        let data = match &node.data {
            None => "null".to_owned(),
            Some(data) => data.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let line = format!(
            "{} {} {} {} {} {} {} {} {} {children}\t{acl}\t{data}",
            stat.czxid,
            stat.mzxid,
            stat.ctime,
            stat.mtime,
            stat.version,
            stat.cversion * 2 - children,
            stat.aversion,
            owner,
            stat.pzxid,
        );
        lines.insert(path.clone(), line);
    }
    lines
}

fn expected(directory: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(directory.join("expected.txt")).expect("a golden file");
    text.lines()
        .map(|line| line.split_once('\t').expect("path and rest"))
        .map(|(path, rest)| (path.to_owned(), rest.to_owned()))
        .collect()
}

/// Compares node by node, to tell the first difference only.
#[track_caller]
fn assert_same(found: &BTreeMap<String, String>, expected: &BTreeMap<String, String>, what: &str) {
    for path in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(path), expected.get(path), "{what}: {path}");
    }
}

fn check(name: &str) -> ImportedTree {
    let directory = golden(name);
    let tree = import::read(&directory, None).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_same(&as_text(&tree), &expected(&directory), name);
    assert_eq!(tree.report.nodes, tree.nodes.len());
    assert_eq!(tree.report.digest.first_mismatch, None, "{name}");
    // The client's three sessions, less the one that it closed.
    assert_eq!(tree.sessions.len(), 2, "{name}");
    assert!(tree.sessions.values().all(|&timeout| timeout == 30_000), "{name}");
    assert_eq!(tree.report.orphans, 0, "{name}");
    assert!(
        tree.report.transactions > 0 && tree.report.snapshot_zxid > 0,
        "{name}: both snapshot and log were read"
    );
    assert_eq!(tree.nodes["/container"].stat.kind(), NodeKind::Container);
    assert_eq!(tree.nodes["/ttl"].stat.kind(), NodeKind::Ttl { ttl_ms: 3_600_000 });
    tree
}

#[test]
fn plain_snapshots() {
    let tree = check("3.9.4-plain");
    assert!(tree.report.digest.compared > 20, "{:?}", tree.report);
    assert!(tree.report.ephemerals > 0);
}

#[test]
fn gzip_snapshots() {
    let tree = check("3.9.4-gzip");
    assert!(tree.report.digest.compared > 20, "{:?}", tree.report);
}

#[test]
fn snappy_snapshots() {
    let tree = check("3.9.4-snappy");
    assert!(tree.report.digest.compared > 20, "{:?}", tree.report);
}

#[test]
fn a_release_without_digests() {
    let tree = check("3.5.10-plain");
    assert_eq!(tree.report.digest.compared, 0);
}

#[test]
fn logs_have_a_directory_of_their_own_if_that_is_asked_for() {
    let ours = tempfile::tempdir().expect("temporary directory");
    let (data_dir, log_dir) = (ours.path().join("data"), ours.path().join("logs"));
    let options = import::ImportOptions {
        from: golden("3.9.4-plain"),
        logs_from: None,
        data_dir: data_dir.clone(),
        log_dir: Some(log_dir.clone()),
        dry_run: false,
    };
    import::run(&options).expect("an import");
    let disk = |path: &Path| -> Arc<dyn Disk> { Arc::new(RealDisk::open(path).expect("a directory")) };
    let mut recovery =
        Recovery::open(disk(&log_dir), disk(&data_dir), LogOptions::default()).expect("a recovery");
    assert!(recovery.snapshot().is_some(), "the snapshot is in the data directory, and the logs lead to it");
    assert!(recovery.next_record().expect("no log").is_none());
    drop(recovery);
    let names = |path: &Path| disk(path).list().expect("a list");
    assert!(names(&log_dir).iter().all(|name| !name.starts_with("snapshot.")), "{:?}", names(&log_dir));
    assert!(names(&data_dir).iter().all(|name| !name.starts_with("log.")), "{:?}", names(&data_dir));
    // Neither directory may hold data.
    let empty = ours.path().join("empty");
    for (data_dir, log_dir) in [(empty.clone(), data_dir.clone()), (data_dir, empty)] {
        let again = import::ImportOptions { data_dir, log_dir: Some(log_dir), ..options.clone() };
        let refused = import::run(&again).expect_err("a directory with data").to_string();
        assert!(refused.contains("already holds data"), "{refused}");
    }
}

/// A copy of a golden directory, to damage.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("temporary directory");
    let folder = copy.path().join("version-2");
    fs::create_dir(&folder).expect("folder");
    for entry in fs::read_dir(golden(name).join("version-2")).expect("golden directory") {
        let path = entry.expect("entry").path();
        fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("copy");
    }
    copy
}

/// The files of one kind, by rising zxid.
fn files(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory.join("version-2")).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
        let mut parts = name.split('.');
        if parts.next() == Some(prefix) {
            let zxid = parts.next().expect("a zxid");
            files.push((u64::from_str_radix(zxid, 16).expect("hexadecimal"), path));
        }
    }
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

#[test]
fn every_snapshot_leads_to_the_same_tree() {
    for name in ["3.9.4-plain", "3.9.4-gzip", "3.9.4-snappy", "3.5.10-plain"] {
        let directory = copy(name);
        let mut snapshots = files(directory.path(), "snapshot");
        assert!(snapshots.len() > 1);
        while let Some(newest) = snapshots.pop() {
            let tree = import::read(directory.path(), None).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_same(&as_text(&tree), &expected(&golden(name)), &format!("{name} from {newest:?}"));
            assert_eq!(tree.report.digest.first_mismatch, None, "{name} from {newest:?}");
            fs::remove_file(newest).expect("remove");
        }
        // And none at all, since the log is complete.
        let tree = import::read(directory.path(), None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut found = as_text(&tree);
        let mut expected = expected(&golden(name));
        // What the node holds was put into the snapshot by the server's start, not by a transaction.
        found.remove("/zookeeper/config");
        expected.remove("/zookeeper/config");
        assert_same(&found, &expected, &format!("{name} without any snapshot"));
    }
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one() {
    for name in ["3.9.4-plain", "3.9.4-gzip", "3.9.4-snappy", "3.5.10-plain"] {
        let directory = copy(name);
        let newest = files(directory.path(), "snapshot").pop().expect("a snapshot");
        let good = fs::read(&newest).expect("read");
        for at in (0..good.len()).step_by(37) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x04;
            fs::write(&newest, &damaged).expect("write");
            let tree = import::read(directory.path(), None)
                .unwrap_or_else(|error| panic!("{name}, byte {at}: {error}"));
            // A few bits mean nothing: the database id, the time and flags in gzip's header.
            assert_same(&as_text(&tree), &expected(&golden(name)), &format!("{name}, byte {at}"));
            fs::write(&newest, &good[..at]).expect("write");
            let tree = import::read(directory.path(), None)
                .unwrap_or_else(|error| panic!("{name}, cut at {at}: {error}"));
            assert_same(&as_text(&tree), &expected(&golden(name)), &format!("{name}, cut at {at}"));
        }
    }
}

#[test]
fn a_flipped_bit_in_the_log_is_refused_or_harmless_but_never_believed() {
    let directory = copy("3.9.4-plain");
    let logs = files(directory.path(), "log");
    let needed = logs.last().expect("a log");
    let good = fs::read(needed).expect("read");
    let whole = expected(&golden("3.9.4-plain"));
    let mut refused = 0;
    let used = good.iter().rposition(|&byte| byte != 0).expect("entries") + 100;
    for at in (0..used).step_by(3) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        fs::write(needed, &damaged).expect("write");
        match import::read(directory.path(), None) {
            // The unused database id in the header, and what looks like the torn beginning of another entry.
            Ok(tree) => assert_same(&as_text(&tree), &whole, &format!("byte {at}")),
            Err(ImportError::Damaged { file, offset, .. }) => {
                assert_eq!(&file, needed);
                assert!(offset <= at as u64);
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > used / 4, "{refused}");
}

#[test]
fn a_hole_in_the_log_is_refused() {
    let directory = copy("3.9.4-plain");
    let log = files(directory.path(), "log").pop().expect("a log");
    let mut content = fs::read(&log).expect("read");
    content[1024..1536].fill(0);
    fs::write(&log, &content).expect("write");
    let error = import::read(directory.path(), None).expect_err("a hole");
    assert!(matches!(&error, ImportError::Damaged { file, .. } if file == &log), "{error}");
}

#[test]
fn a_log_that_a_crash_cut_short_is_read_up_to_there() {
    let directory = copy("3.9.4-plain");
    let log = files(directory.path(), "log").pop().expect("a log");
    let content = fs::read(&log).expect("read");
    let used = content.iter().rposition(|&byte| byte != 0).expect("entries") + 1;
    let whole = import::read(directory.path(), None).expect("good");
    let mut cut = content[..used - 3].to_vec();
    cut.resize(content.len(), 0);
    for cut in [cut, content[..used - 3].to_vec()] {
        fs::write(&log, &cut).expect("write");
        let tree = import::read(directory.path(), None).expect("the last transaction is incomplete");
        assert_eq!(tree.last_zxid, whole.last_zxid - 1);
        assert_eq!(tree.report.warnings.len(), 1, "{:?}", tree.report.warnings);
    }
}

/// Renames a snapshot to an earlier zxid: it then shows effects of transactions later than it, as one does that was written
/// while the server went on.
fn make_fuzzy(snapshot: &Path, earlier_by: u64) -> PathBuf {
    let name = snapshot.file_name().and_then(|name| name.to_str()).expect("text");
    let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let zxid = u64::from_str_radix(&parts[1], 16).expect("hexadecimal");
    parts[1] = format!("{:x}", zxid - earlier_by);
    let renamed = snapshot.with_file_name(parts.join("."));
    fs::rename(snapshot, &renamed).expect("rename");
    renamed
}

#[test]
fn transactions_are_replayed_over_a_snapshot_that_shows_them_already() {
    for name in ["3.9.4-plain", "3.9.4-gzip", "3.9.4-snappy", "3.5.10-plain"] {
        for earlier_by in [1, 2, 5, 10, 20, 40, 60] {
            let directory = copy(name);
            let newest = files(directory.path(), "snapshot").pop().expect("a snapshot");
            make_fuzzy(&newest, earlier_by);
            let tree = import::read(directory.path(), None).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_same(
                &as_text(&tree),
                &expected(&golden(name)),
                &format!("{name}, earlier by {earlier_by}"),
            );
            assert_eq!(tree.report.digest.first_mismatch, None, "{name}, earlier by {earlier_by}");
            // The snapshot's own digest is compared once the tree is exact, then each transaction's.
            assert_eq!(tree.report.digest.compared > 0, name.starts_with("3.9"), "{name}");
        }
    }
}

#[test]
fn missing_files_are_noticed() {
    let directory = copy("3.9.4-plain");
    let folder = directory.path().join("version-2");
    let logs = files(directory.path(), "log");
    let newest_snapshot = files(directory.path(), "snapshot").pop().expect("a snapshot");
    let incomplete = |what: &str| match import::read(directory.path(), None) {
        Err(ImportError::Incomplete(text)) => text,
        other => panic!("{what}: {other:?}"),
    };

    // A snapshot that was written while the server went on is no tree that ever was, without the log.
    let newest_snapshot = make_fuzzy(&newest_snapshot, 3);
    let aside = tempfile::tempdir().expect("temporary directory");
    for log in &logs {
        fs::rename(log, aside.path().join(log.file_name().expect("a name"))).expect("rename");
    }
    assert!(incomplete("no logs").contains("dataLogDir"));
    let tree = import::read(directory.path(), Some(aside.path())).expect("the logs are elsewhere");
    assert_same(&as_text(&tree), &expected(&golden("3.9.4-plain")), "logs elsewhere");
    for log in &logs {
        fs::rename(aside.path().join(log.file_name().expect("a name")), log).expect("rename");
    }

    // A log between others, which no snapshot makes good.
    fs::remove_file(newest_snapshot).expect("remove");
    fs::remove_file(&logs[logs.len() - 2]).expect("remove");
    assert!(incomplete("a gap").contains("missing"));

    fs::remove_dir_all(folder).expect("remove");
    assert!(matches!(import::read(directory.path(), None), Err(ImportError::NoData(_))));
}

#[test]
fn noise_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut seed = 7u64;
    for round in 0..200 {
        let noise: Vec<u8> = (0..round * 3)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect();
        for (name, magic) in
            [("snapshot.5", "ZKSN"), ("snapshot.5.gz", ""), ("snapshot.5.snappy", ""), ("log.1", "ZKLG")]
        {
            let mut content = magic.as_bytes().to_vec();
            if !magic.is_empty() {
                content.extend_from_slice(&[0, 0, 0, 2]);
            }
            content.extend_from_slice(&noise);
            let file = directory.path().join(name);
            fs::write(&file, &content).expect("write");
            let read = import::read(directory.path(), None);
            if name != "log.1" {
                assert!(read.is_err(), "{name} of noise");
            }
            fs::remove_file(&file).expect("remove");
        }
    }
}
