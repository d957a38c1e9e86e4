//! The four-letter words: what a connection may send instead of a handshake, and the text it gets before it is closed.
//!
//! Tools read these texts with regular expressions, so they are ZooKeeper's to the byte; the tests hold what a 3.9.4
//! server printed.

use crate::calendar::Date;
use crate::config::{Config, EnsembleConfig, Member, MemberAddress};
use crate::limits::LISTING_BYTES_MAX;
use crate::metrics::{ProcessView, Report, fraction};
use crate::view::{
    Answer, ConnectionView, EnsembleView, Expiring, Mode, Query, ServerView, SessionNumber, SessionsView,
    WatchSummary, directory_size, version_line,
};
use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// What is said instead of an answer while nobody is served.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

macro_rules! words {
    ($( $(#[doc = $doc:literal])* $variant:ident = $text:literal, )*) => {
        /// A word that is known, whether or not it may be used.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Word { $( $(#[doc = $doc])* $variant, )* }

        impl Word {
            /// Every word.
            pub const ALL: &[Word] = &[ $( Word::$variant, )* ];

            /// The four letters.
            pub const fn name(self) -> &'static str {
                match self { $( Word::$variant => $text, )* }
            }
        }
    };
}

words! {
    /// Settings.
    Conf = "conf",
    /// Connections, in full.
    Cons = "cons",
    /// Forget the counters of connections.
    Crst = "crst",
    /// Sizes of the data directories.
    Dirs = "dirs",
    /// Sessions and ephemeral nodes.
    Dump = "dump",
    /// The environment.
    Envi = "envi",
    /// ZooKeeper's trace mask, which means nothing here.
    Gtmk = "gtmk",
    /// Digests of the tree.
    Hash = "hash",
    /// Read-only or not.
    Isro = "isro",
    /// Every metric.
    Mntr = "mntr",
    /// Are you there?
    Ruok = "ruok",
    /// Forget counters and latencies.
    Srst = "srst",
    /// The server in ten lines.
    Srvr = "srvr",
    /// The same with connections.
    Stat = "stat",
    /// Sets the trace mask, which means nothing here.
    Stmk = "stmk",
    /// Watches by session.
    Wchc = "wchc",
    /// Watches by path.
    Wchp = "wchp",
    /// Watches, counted.
    Wchs = "wchs",
}

impl Word {
    /// The word a new connection begins with, if it does.
    pub fn parse(first: [u8; 4]) -> Option<Word> {
        Word::ALL.iter().copied().find(|word| word.name().as_bytes() == first)
    }

    /// What has to be asked to answer it.
    fn query(self) -> Option<Query> {
        Some(match self {
            Word::Conf | Word::Dirs | Word::Srvr | Word::Isro => Query::Server,
            Word::Cons | Word::Stat => Query::Connections,
            Word::Crst => Query::ResetConnectionStats,
            Word::Srst => Query::ResetStats,
            Word::Dump => Query::Sessions,
            Word::Hash => Query::Digests,
            Word::Mntr => Query::Metrics,
            Word::Wchc => Query::WatchesBySession,
            Word::Wchp => Query::WatchesByPath,
            Word::Wchs => Query::WatchSummary,
            Word::Envi | Word::Gtmk | Word::Ruok | Word::Stmk => return None,
        })
    }

    /// The whole answer. `ask` puts a question to the core; it says [`Answer::NotServing`] while nobody is served.
    pub fn reply(self, config: &Config, ask: impl FnOnce(Query) -> Answer) -> String {
        if !config.four_letter.allows(self.name()) {
            return format!("{} is not executed because it is not in the whitelist.\n", self.name());
        }
        let answer = match self.query() {
            Some(query) => ask(query),
            None => Answer::Done,
        };
        let text = match (self, answer) {
            (Word::Ruok, _) => "imok".to_owned(),
            (Word::Gtmk | Word::Stmk, _) => "0".to_owned(),
            (Word::Envi, _) => envi(),
            (Word::Isro, Answer::Server(server)) => match server.mode {
                Some(Mode::ReadOnly) => "ro".to_owned(),
                Some(_) => "rw".to_owned(),
                None => "null".to_owned(),
            },
            (Word::Isro, _) => "null".to_owned(),
            (Word::Conf, Answer::Server(_)) => conf(config),
            (Word::Dirs, Answer::Server(_)) => dirs(config),
            (Word::Srvr, Answer::Server(server)) => {
                format!("Zookeeper version: {}\n{}", version_line(), srvr(&server))
            }
            (Word::Stat, Answer::Connections(server, connections)) => stat(&server, &connections),
            (Word::Cons, Answer::Connections(_, connections)) => cons(&connections),
            (Word::Mntr, Answer::Metrics(server, metrics)) => {
                Report { server: &server, metrics: &metrics, process: ProcessView::read() }.mntr()
            }
            (Word::Dump, Answer::Sessions(sessions)) => dump(&sessions),
            (Word::Hash, Answer::Digests(digests)) => {
                digests.iter().map(|digest| format!("{:x}: {}\n", digest.zxid, digest.digest)).collect()
            }
            (Word::Wchs, Answer::WatchSummary(summary)) => wchs(&summary),
            (Word::Wchc, Answer::WatchesBySession(watches)) => by_heading(&watches),
            (Word::Wchp, Answer::WatchesByPath(watches)) => by_heading(&watches),
            (Word::Srst, Answer::Done) => "Server stats reset.\n".to_owned(),
            (Word::Crst, Answer::Done) => "Connection stats reset.\n".to_owned(),
            _ => format!("{NOT_SERVING}\n"),
        };
        bounded(text)
    }
}

/// A listing of millions of watches would stall the connection that asked; it ends with a line that says so instead.
fn bounded(mut text: String) -> String {
    if text.len() > LISTING_BYTES_MAX {
        let mut end = LISTING_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("\n(cut here: the listing is too long)\n");
    }
    text
}

fn srvr(server: &ServerView) -> String {
    let latency = server.latency;
    let mode = server.mode.map_or_else(|| "initializing".to_owned(), |mode| mode.to_string());
    let mut text = format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: 0x{:x}\nMode: {mode}\n\
         Node count: {}\n",
        latency.min_ms,
        fraction(latency.avg_ms),
        latency.max_ms,
        server.packets_received,
        server.packets_sent,
        server.connections,
        server.outstanding,
        server.zxid,
        server.node_count,
    );
    if let Some(EnsembleView { led_ms: Some(_), proposal_size: size, .. }) = &server.ensemble {
        text += &format!("Proposal sizes last/min/max: {}/{}/{}\n", size.last, size.min, size.max);
    }
    text
}

fn stat(server: &ServerView, connections: &[ConnectionView]) -> String {
    let mut text = format!("Zookeeper version: {}\nClients:\n", version_line());
    for connection in connections {
        text.push_str(&brief(connection));
        text.push_str(")\n");
    }
    text.push('\n');
    text.push_str(&srvr(server));
    text
}

fn cons(connections: &[ConnectionView]) -> String {
    let mut text = String::new();
    for connection in connections {
        text.push_str(&brief(connection));
        if let Some(session) = connection.session {
            let _ = write!(
                text,
                ",sid={session},lop={},est={},to={}",
                connection.last_operation, connection.established_ms, connection.timeout_ms
            );
            if connection.last_cxid >= 0 {
                let _ = write!(text, ",lcxid=0x{:x}", connection.last_cxid);
            }
            let _ = write!(
                text,
                ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
                connection.last_zxid,
                connection.last_response_ms,
                connection.last_latency_ms,
                connection.latency.min_ms,
                connection.latency.avg_ms as u64,
                connection.latency.max_ms
            );
        }
        text.push_str(")\n");
    }
    text.push('\n');
    text
}

/// ` /address:port[1](queued=0,recved=1,sent=1`, without the closing parenthesis.
fn brief(connection: &ConnectionView) -> String {
    format!(
        " /{}[{}](queued={},recved={},sent={}",
        connection.peer,
        interest(connection),
        connection.outstanding,
        connection.received,
        connection.sent
    )
}

/// What the server waits for, as Java counts it: 1 to read, 4 to write.
pub fn interest(connection: &ConnectionView) -> u8 {
    u8::from(connection.reading) + 4 * u8::from(connection.writing)
}

fn conf(config: &Config) -> String {
    let port = |address: Option<SocketAddr>| address.map_or(-1, |address| i32::from(address.port()));
    let storage = &config.storage;
    let mut text = format!(
        "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\ntickTime={}\n\
         maxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\nserverId={}\n",
        port(config.listen.client),
        port(config.listen.secure),
        absolute(&storage.data_dir),
        directory_size(&storage.data_dir),
        absolute(&storage.log_dir),
        directory_size(&storage.log_dir),
        config.session.tick.as_millis(),
        config.limits.connections_per_address.unwrap_or(0),
        config.session.timeout_min.as_millis(),
        config.session.timeout_max.as_millis(),
        config.listen.backlog,
        config.server_id,
    );
    if let Some(ensemble) = &config.ensemble {
        let own = ensemble.membership.member(ensemble.my_id).map(|member| &member.addresses[0]);
        let number = |of: fn(&MemberAddress) -> u16| own.map(of).unwrap_or_default();
        text.push_str(&format!(
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={}\nmembership: \n{}\n\
             version={:x}\n",
            ticks(ensemble.init_limit, config),
            ticks(ensemble.sync_limit, config),
            number(|address| address.election_port),
            number(|address| address.quorum_port),
            u8::from(!is_voter(ensemble)),
            ensemble.membership.text(),
            ensemble.membership.version,
        ));
    }
    text
}

/// A time in ticks, as it is configured.
pub fn ticks(time: Duration, config: &Config) -> u64 {
    (time.as_millis() / config.session.tick.as_millis().max(1)) as u64
}

/// Whether this server's own line gives it a voice.
pub fn is_voter(ensemble: &EnsembleConfig) -> bool {
    ensemble.membership.member(ensemble.my_id).is_some_and(Member::is_voter)
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).display().to_string()
}

fn dirs(config: &Config) -> String {
    let (data, log) = (directory_size(&config.storage.data_dir), directory_size(&config.storage.log_dir));
    format!("datadir_size: {data}\nlogdir_size: {log}\n")
}

/// The environment as pairs, for this and for the operations port.
pub fn environment() -> Vec<(&'static str, String)> {
    let kernel = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let directory = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    vec![
        ("zookeeper.version", version_line()),
        ("host.name", kernel("hostname")),
        ("os.name", "Linux".to_owned()),
        ("os.arch", std::env::consts::ARCH.to_owned()),
        ("os.version", kernel("osrelease")),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", directory),
    ]
}

fn envi() -> String {
    let lines = environment().into_iter().map(|(key, value)| format!("{key}={value}\n"));
    std::iter::once("Environment:\n".to_owned()).chain(lines).collect()
}

fn wchs(summary: &WatchSummary) -> String {
    let WatchSummary { connections, paths, total } = summary;
    format!("{connections} connections watching {paths} paths\nTotal watches:{total}\n")
}

/// Each heading on a line, what belongs to it below, indented; a blank line ends it all.
fn by_heading(groups: &[(impl Display, Vec<impl Display>)]) -> String {
    let mut text = String::new();
    for (heading, items) in groups {
        let _ = writeln!(text, "{heading}");
        for item in items {
            let _ = writeln!(text, "\t{item}");
        }
    }
    text.push('\n');
    text
}

fn dump(view: &SessionsView) -> String {
    let mut text = String::from("SessionTracker dump:\n");
    sets(&mut text, "Session", &view.sessions, SessionNumber::to_string);
    let _ = writeln!(text, "ephemeral nodes dump:\nSessions with Ephemerals ({}):", view.ephemerals.len());
    for (session, paths) in &view.ephemerals {
        let _ = writeln!(text, "{session}:");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    text.push_str("Connections dump:\n");
    sets(&mut text, "Connections", &view.connections, |(peer, session)| {
        format!("ip: /{peer} sessionId: {}", session.unwrap_or(SessionNumber(0)))
    });
    text
}

fn sets<T>(text: &mut String, name: &str, sets: &[Expiring<T>], show: impl Fn(&T) -> String) {
    let all: usize = sets.iter().map(|set| set.what.len()).sum();
    let _ = writeln!(text, "{name} Sets ({})/({all}):", sets.len());
    for set in sets {
        let _ = writeln!(text, "{} expire at {}:", set.what.len(), Date::of(set.at_ms).java());
        for item in &set.what {
            let _ = writeln!(text, "\t{}", show(item));
        }
    }
}

/// How `cons` names the operation of a request.
pub const fn operation_code(opcode: i32) -> &'static str {
    match opcode {
        -10 => "SESS",
        -11 => "CLOS",
        1 | 15 | 19 | 21 => "CREA",
        2 | 20 => "DELE",
        3 => "EXIS",
        4 => "GETD",
        5 => "SETD",
        6 => "GETA",
        7 => "SETA",
        8 | 12 => "GETC",
        9 => "SYNC",
        11 => "PING",
        13 => "CHEC",
        14 => "MULT",
        16 => "RECO",
        17 => "CHKW",
        18 => "REMW",
        22 => "MLTR",
        101 => "SETW",
        103 => "GETE",
        104 => "GETACN",
        105 => "STW2",
        106 => "ADDW",
        107 => "HOMI",
        _ => "NA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::view::{DigestView, LatencyView};

    fn config(whitelist: &str) -> Config {
        let flags = vec![
            ("4lw.commands.whitelist".to_owned(), whitelist.to_owned()),
            ("clientPort".to_owned(), "12181".to_owned()),
            ("dataDir".to_owned(), "/no/such/data".to_owned()),
        ];
        Sources { flags, ..Sources::default() }.load().unwrap().config
    }

    fn server() -> Box<ServerView> {
        Box::new(ServerView {
            mode: Some(Mode::Standalone),
            zxid: 5,
            node_count: 8,
            connections: 2,
            packets_received: 14,
            packets_sent: 13,
            latency: LatencyView { min_ms: 1, avg_ms: 6.54545, max_ms: 26 },
            ..ServerView::default()
        })
    }

    fn connections() -> Vec<ConnectionView> {
        let fresh = ConnectionView {
            peer: "127.0.0.1:33924".parse().unwrap(),
            secure: false,
            reading: false,
            writing: false,
            outstanding: 0,
            received: 1,
            sent: 0,
            session: None,
            last_operation: "NA",
            established_ms: 1_795_275_288_583,
            timeout_ms: 0,
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            last_latency_ms: 0,
            latency: LatencyView::default(),
        };
        let used = ConnectionView {
            peer: "127.0.0.1:33876".parse().unwrap(),
            reading: true,
            received: 12,
            sent: 13,
            session: Some(SessionNumber(0x100_001c_da67_0000)),
            last_operation: operation_code(5),
            timeout_ms: 10_000,
            last_cxid: 10,
            last_zxid: 5,
            last_response_ms: 1_932_932,
            last_latency_ms: 6,
            latency: LatencyView { min_ms: 0, avg_ms: 6.7, max_ms: 26 },
            ..fresh.clone()
        };
        vec![fresh, used]
    }

    const SESSION: SessionNumber = SessionNumber(0x100_001c_da67_0000);

    fn core(query: Query) -> Answer {
        match query {
            Query::Server => Answer::Server(server()),
            Query::Metrics => Answer::Metrics(server(), Box::default()),
            Query::Connections => Answer::Connections(server(), connections()),
            Query::Sessions => Answer::Sessions(SessionsView {
                sessions: vec![Expiring { at_ms: 1_795_275_299_000, what: vec![SESSION] }],
                ephemerals: vec![(SESSION, vec!["/a/e-0000000001".to_owned()])],
                connections: vec![Expiring {
                    at_ms: 1_795_275_305_000,
                    what: vec![
                        ("127.0.0.1:33876".parse().unwrap(), Some(SESSION)),
                        ("127.0.0.1:33988".parse().unwrap(), None),
                    ],
                }],
            }),
            Query::WatchSummary => Answer::WatchSummary(WatchSummary { connections: 1, paths: 1, total: 1 }),
            Query::WatchesBySession => Answer::WatchesBySession(vec![(SESSION, vec!["/zz".to_owned()])]),
            Query::WatchesByPath => Answer::WatchesByPath(vec![("/zz".to_owned(), vec![SESSION])]),
            Query::Digests => Answer::Digests(vec![DigestView { zxid: 31, digest: 7, version: 2 }]),
            Query::ResetStats | Query::ResetConnectionStats => Answer::Done,
            other => panic!("no word asks {other:?}"),
        }
    }

    #[track_caller]
    fn check(word: &str, expected: &str) {
        let word = Word::parse(word.as_bytes().try_into().unwrap()).unwrap();
        assert_eq!(word.reply(&config("*"), core), expected);
    }

    // The texts are those of a 3.9.4 server, with our version, and our date where Java prints a local one.
    #[test]
    fn as_the_real_server_prints_them() {
        let figures = "Latency min/avg/max: 1/6.5455/26\nReceived: 14\nSent: 13\nConnections: 2\nOutstanding: 0\nZxid: 0x5\n\
                       Mode: standalone\nNode count: 8\n";
        let version = format!("Zookeeper version: {}\n", version_line());
        check("ruok", "imok");
        check("srvr", &format!("{version}{figures}"));
        check(
            "stat",
            &format!(
                "{version}Clients:\n /127.0.0.1:33924[0](queued=0,recved=1,sent=0)\n \
                 /127.0.0.1:33876[1](queued=0,recved=12,sent=13)\n\n{figures}"
            ),
        );
        check(
            "cons",
            " /127.0.0.1:33924[0](queued=0,recved=1,sent=0)\n \
             /127.0.0.1:33876[1](queued=0,recved=12,sent=13,sid=0x100001cda670000,lop=SETD,est=1795275288583,to=10000,\
             lcxid=0xa,lzxid=0x5,lresp=1932932,llat=6,minlat=0,avglat=6,maxlat=26)\n\n",
        );
        check(
            "conf",
            "clientPort=12181\nsecureClientPort=-1\ndataDir=/no/such/data\ndataDirSize=0\ndataLogDir=/no/such/data\n\
             dataLogSize=0\ntickTime=2000\nmaxClientCnxns=60\nminSessionTimeout=4000\nmaxSessionTimeout=40000\n\
             clientPortListenBacklog=1024\nserverId=0\n",
        );
        check("wchs", "1 connections watching 1 paths\nTotal watches:1\n");
        check("wchc", "0x100001cda670000\n\t/zz\n\n");
        check("wchp", "/zz\n\t0x100001cda670000\n\n");
        check(
            "dump",
            "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at Sat Nov 21 15:34:59 UTC 2026:\n\t0x100001cda670000\n\
             ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x100001cda670000:\n\t/a/e-0000000001\n\
             Connections dump:\nConnections Sets (1)/(2):\n2 expire at Sat Nov 21 15:35:05 UTC 2026:\n\
             \tip: /127.0.0.1:33876 sessionId: 0x100001cda670000\n\tip: /127.0.0.1:33988 sessionId: 0x0\n",
        );
        check("dirs", "datadir_size: 0\nlogdir_size: 0\n");
        check("isro", "rw");
        check("srst", "Server stats reset.\n");
        check("crst", "Connection stats reset.\n");
        check("hash", "1f: 7\n");
    }

    #[test]
    fn what_clients_look_for() {
        let envi = Word::Envi.reply(&config("*"), core);
        assert!(envi.starts_with("Environment:\nzookeeper.version=3.9."), "{envi}");
        assert!(Word::Mntr.reply(&config("*"), core).contains("\nzk_znode_count\t8\n"));
    }

    #[test]
    fn the_whitelist_decides() {
        let refused = "mntr is not executed because it is not in the whitelist.\n";
        assert_eq!(Word::Mntr.reply(&config("ruok"), |_| panic!("must not ask")), refused);
        assert_eq!(Word::Ruok.reply(&config("ruok"), core), "imok");
    }

    #[test]
    fn while_nobody_is_served() {
        for word in Word::ALL {
            let expected = match word {
                Word::Ruok => "imok",
                Word::Isro => "null",
                Word::Gtmk | Word::Stmk => "0",
                Word::Envi => continue,
                _ => "This ZooKeeper instance is not currently serving requests\n",
            };
            assert_eq!(word.reply(&config("*"), |_| Answer::NotServing), expected, "{word:?}");
        }
    }

    #[test]
    fn other_bytes_are_no_words() {
        for bytes in [*b"GET ", *b"RUOK", [0, 0, 0, 45], [22, 3, 1, 0]] {
            assert_eq!(Word::parse(bytes), None);
        }
    }

    #[test]
    fn long_listings_are_cut() {
        let many = |_| Answer::WatchesByPath(vec![("/ä".repeat(LISTING_BYTES_MAX), vec![SESSION])]);
        let text = Word::Wchp.reply(&config("*"), many);
        assert!(text.len() < LISTING_BYTES_MAX + 100 && text.ends_with("too long)\n"));
    }
}
