//! What operators do to the members of a real ensemble: they change them, limits, and who knows a session.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::zk::{Coordinator, CreateMode, Reconfig};
use testkit::process::{Ensemble, Kind, Options};

async fn connect(ensemble: &Ensemble, member: usize) -> Coordinator {
    let address = ensemble.member(member).address().to_string();
    Coordinator::builder(address).connect().await.expect("a session")
}

/// The file with the members to which a member's configuration points, once it does.
fn members_file(home: &Path) -> PathBuf {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(home.join("zoo.cfg")).expect("a configuration");
        if let Some(path) = text.lines().find_map(|line| line.strip_prefix("dynamicConfigFile=")) {
            assert!(!text.contains("server."), "members stand in one file only:\n{text}");
            return PathBuf::from(path);
        }
        assert!(Instant::now() < deadline, "nothing was written down:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn changed_members_are_written_down_and_read_again() {
    let options = Options { in_file: true, ..Options::for_tests().key("skipACL", "yes") };
    let mut ensemble = Ensemble::start_new(Kind::Coordinator, 3, options).expect("three members");
    let zk = connect(&ensemble, 0).await;
    let (config, _) =
        zk.reconfig(Reconfig::change(Vec::<String>::new(), ["3"])).await.expect("a quorum is there");
    let config = String::from_utf8(config.to_vec()).expect("text");
    let (servers, version) = config.rsplit_once("\nversion=").expect("a version");
    for member in 0..2 {
        let path = members_file(ensemble.member(member).home());
        assert!(path.to_string_lossy().ends_with(&format!("zoo.cfg.dynamic.{version}")), "{path:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("the members"), format!("{servers}\n"));
    }
    // A member that lost its data finds the others by the file, and does not go back to the members of the past.
    ensemble.member_mut(2).kill().expect("killed");
    ensemble.member_mut(1).kill().expect("killed");
    std::fs::remove_dir_all(ensemble.member(1).data_dir()).expect("its data");
    ensemble.member_mut(1).launch().expect("started");
    ensemble.member_mut(1).await_serving(Duration::from_secs(30)).expect("in step again");
    let zk = connect(&ensemble, 1).await;
    zk.sync("/").await.expect("a quorum");
    assert_eq!(&*zk.config().await.expect("the members").0, config.as_bytes());
}

/// bugs.md 19: what was written under a larger limit shuts nobody out after a restart with a smaller one.
#[tokio::test]
async fn a_smaller_limit_shuts_nobody_out() {
    let mut ensemble =
        Ensemble::start_new(Kind::Coordinator, 3, Options::for_tests()).expect("three members");
    let large = vec![7; 900_000];
    let zk = connect(&ensemble, 0).await;
    zk.create("/large", &large, CreateMode::Persistent).await.expect("it fits");
    for number in 0..2_000 {
        let path = format!("/large/a-child-with-quite-a-long-name-{number:080}");
        zk.create(&path, b"", CreateMode::Persistent).await.expect("it fits");
    }
    drop(zk);
    for member in 0..3 {
        ensemble.member_mut(member).stop().expect("stopped");
        ensemble
            .member_mut(member)
            .options_mut()
            .keys
            .insert("jute.maxbuffer".to_owned(), "100000".to_owned());
    }
    // One has to be given all of it by the others.
    std::fs::remove_dir_all(ensemble.member(0).data_dir()).expect("its data");
    ensemble.start().expect("all serve again");
    for member in 0..3 {
        let zk = connect(&ensemble, member).await;
        zk.sync("/").await.expect("a quorum");
        let (data, stat) = zk.get("/large").await.expect("it is still there");
        assert_eq!((data.len(), stat.num_children), (large.len(), 2_000));
        assert_eq!(zk.children("/large").await.expect("all of them").0.len(), 2_000);
    }
    let zk = connect(&ensemble, 1).await;
    zk.set("/large", &large[..90_000], None).await.expect("it can be made small");
    assert!(zk.set("/large", &large[..200_000], None).await.is_err(), "not beyond the limit");
    let zk = connect(&ensemble, 2).await;
    zk.set("/large", b"small", None).await.expect("others are served");
}

/// What a member's `mntr` says under a name.
fn measured(ensemble: &Ensemble, member: usize, name: &str) -> Option<u16> {
    let text = ensemble.member(member).four_letter("mntr").ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t')?.parse().ok())
}

/// The feature level that a member has heard of.
fn feature_level(ensemble: &Ensemble, member: usize) -> Option<u16> {
    measured(ensemble, member, "zk_rookery_feature_level")
}

fn await_feature_level(ensemble: &Ensemble, level: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    for member in 0..ensemble.size() {
        while feature_level(ensemble, member) != Some(level) {
            assert!(Instant::now() < deadline, "member {} is not at feature level {level}", member + 1);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test]
async fn the_feature_level_rises_when_every_member_supports_it_and_never_falls() {
    let key = "rookery.featureLevelMax";
    let mut ensemble =
        Ensemble::prepare(Kind::Coordinator, 3, 0, Options::for_tests(), None).expect("members");
    ensemble.member_mut(1).options_mut().keys.insert(key.to_owned(), "0".to_owned());
    ensemble.start().expect("all serve");
    ensemble.await_whole(Duration::from_secs(20)).expect("all in step");
    let zk = connect(&ensemble, 0).await;
    zk.create("/work-goes-on", b"", CreateMode::Persistent).await.expect("a quorum is there");
    await_feature_level(&ensemble, 0);

    ensemble.member_mut(1).stop().expect("stopped");
    assert!(feature_level(&ensemble, 0) == Some(0), "who is away may support less");
    ensemble.member_mut(1).options_mut().keys.remove(key);
    ensemble.member_mut(1).launch().expect("started");
    await_feature_level(&ensemble, 1);

    ensemble.member_mut(1).stop().expect("stopped");
    ensemble.member_mut(1).options_mut().keys.insert(key.to_owned(), "0".to_owned());
    ensemble.member_mut(1).launch().expect("a process");
    assert!(ensemble.member_mut(1).await_serving(Duration::from_secs(20)).is_err(), "it must not serve");
    let said = ensemble.member(1).log_tail(4096);
    assert!(said.contains("allowed are 1 to 1"), "{said}");
}

#[tokio::test]
async fn a_local_session_stays_with_its_member_and_may_become_everybodys() {
    for upgrading in [false, true] {
        let options = Options::for_tests()
            .key("localSessionsEnabled", true)
            .key("localSessionsUpgradingEnabled", upgrading);
        let mut ensemble = Ensemble::start_new(Kind::Coordinator, 3, options).expect("three members");
        await_feature_level(&ensemble, 1);
        let known = |ensemble: &Ensemble, name: &str| -> Vec<Option<u16>> {
            (0..3).map(|member| measured(ensemble, member, name)).collect()
        };
        let leader = ensemble.await_leader(Duration::from_secs(10)).expect("a leader");
        let (here, there) = ((leader + 1) % 3, (leader + 2) % 3);
        let global = known(&ensemble, "zk_global_sessions");
        let zk = connect(&ensemble, here).await;
        zk.create("/kept", b"1", CreateMode::Persistent).await.expect("a write of a local session");
        zk.set("/kept", b"2", None).await.expect("another");
        assert_eq!(measured(&ensemble, here, "zk_local_sessions"), Some(1));
        assert_eq!(known(&ensemble, "zk_global_sessions"), global, "nobody else heard of it");

        let ephemeral = zk.create("/mine", b"", CreateMode::Ephemeral).await;
        if !upgrading {
            assert!(matches!(ephemeral, Err(client::zk::Error::EphemeralOnLocalSession)), "{ephemeral:?}");
            zk.set("/kept", b"3", None).await.expect("the session goes on");
            continue;
        }
        ephemeral.expect("it is everybody's now");
        let addresses = [here, there].map(|member| ensemble.member(member).address().to_string());
        let mover = Coordinator::builder(addresses.join(",")).connect().await.expect("a session");
        mover.create("/moves", b"", CreateMode::Ephemeral).await.expect("it is everybody's now");
        let session = mover.session_id();
        ensemble.member_mut(here).kill().expect("killed");
        let deadline = Instant::now() + Duration::from_secs(20);
        while mover.get("/moves").await.is_err() {
            assert!(Instant::now() < deadline, "it did not go on elsewhere");
        }
        assert_eq!(mover.session_id(), session, "what everybody knows goes on elsewhere");
    }
}
