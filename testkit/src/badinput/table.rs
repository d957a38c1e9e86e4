//! The table itself.

use crate::raw::{Body, Hello, op};

use super::{Input, Outcome, Row};

/// The largest frame a server takes when nothing else is configured.
const FRAME_BYTES_MAX: i32 = 0xf_ffff;

/// Session timeouts of a server with half-second ticks and no limits of its own: 2 and 20 ticks.
const TIMEOUT_MIN: i32 = 1000;
const TIMEOUT_MAX: i32 = 10_000;

/// The xid of requests that are not matched with others.
const XID: i32 = 7;

fn first(name: &str, bytes: impl Into<Vec<u8>>, ours: Outcome) -> Row {
    Row { name: name.to_owned(), input: Input::First(bytes.into()), ours, control: None }
}

fn later(name: impl Into<String>, body: &Body, ours: Outcome) -> Row {
    Row { name: name.into(), input: Input::Later(vec![body.frame()]), ours, control: None }
}

/// A request with its record, after a session was made.
fn request(name: impl Into<String>, opcode: i32, record: &Body, ours: Outcome) -> Row {
    later(name, &Body::request(XID, opcode).raw(&record.0), ours)
}

impl Row {
    fn control(mut self, outcome: Outcome) -> Row {
        self.control = Some(outcome);
        self
    }
}

/// Every row. The server must run with half-second ticks, the default limits, and TTL nodes on.
pub fn table() -> Vec<Row> {
    let mut rows = first_frames();
    rows.extend(frame_lengths());
    rows.extend(paths());
    rows.extend(records());
    rows.extend(access_lists());
    rows.extend(operations());
    rows.extend(multis());
    rows
}

fn first_frames() -> Vec<Row> {
    use Outcome::{Closes, Session, SessionGone};
    let hello = |change: fn(&mut Hello)| {
        let mut hello = Hello::default();
        change(&mut hello);
        hello.frame()
    };
    let password_length = |length: i32| {
        let body = Body::new().int(0).long(0).int(10_000).long(0).int(length).raw([0; 17]);
        body.frame()
    };
    // The start of a TLS 1.2 ClientHello: record type, version, length, handshake type and length.
    let tls = [0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03];
    vec![
        first("first frame of length -1", (-1i32).to_be_bytes(), Closes),
        first("first frame of length 0", 0i32.to_be_bytes(), Closes),
        first("first frame of length -2^31", i32::MIN.to_be_bytes(), Closes),
        first("first frame over the limit", (FRAME_BYTES_MAX + 1).to_be_bytes(), Closes),
        first("connect request of 4 bytes", Body::new().int(0).frame(), Closes),
        first("connect request: password longer than the frame", password_length(1000), Closes),
        first("connect request: password of 2^31-1 bytes", password_length(i32::MAX), Closes),
        first("connect request: password of length -7", password_length(-7), Closes),
        first("an HTTP request", *b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Closes),
        first("a TLS handshake", tls, Closes),
        first("protocol version 99", hello(|h| h.version = 99), Session { timeout: 10_000 }),
        first("no read-only byte", hello(|h| h.read_only = None), Session { timeout: 10_000 }),
        first("empty password", hello(|h| h.password = Vec::new()), Session { timeout: 10_000 }),
        first("unknown session id", hello(|h| h.session = 0x0123_4567_89ab_cdef), SessionGone),
        first("negative session id", hello(|h| h.session = -2), SessionGone),
        first("zxid ahead of the server", hello(|h| h.last_zxid = i64::MAX), Closes),
        first("session timeout 1", hello(|h| h.timeout = 1), Session { timeout: TIMEOUT_MIN }),
        first("session timeout -5", hello(|h| h.timeout = -5), Session { timeout: TIMEOUT_MIN }),
        first("session timeout 2^31-1", hello(|h| h.timeout = i32::MAX), Session { timeout: TIMEOUT_MAX }),
    ]
}

fn frame_lengths() -> Vec<Row> {
    use Outcome::{Closes, Code};
    let raw = |name: &str, bytes: Vec<u8>| Row {
        name: name.to_owned(),
        input: Input::Later(vec![bytes]),
        ours: Closes,
        control: None,
    };
    let data = |length: usize| Body::new().create("/badinput-large", &vec![b'x'; length], 0);
    let oversize =
        request("data that overflows the frame by its header", op::CREATE, &data(0xf_ffff), Closes);
    vec![
        raw("later frame of length -1", (-1i32).to_be_bytes().to_vec()),
        raw("later frame of length 0", 0i32.to_be_bytes().to_vec()),
        raw("later frame over the limit", (FRAME_BYTES_MAX + 1).to_be_bytes().to_vec()),
        raw("header of 4 bytes", Body::new().int(XID).frame()),
        request("data of 1,000,000 bytes", op::CREATE, &data(1_000_000), Code(0)),
        oversize,
    ]
}

fn paths() -> Vec<Row> {
    use Outcome::Code;
    let create = |name: &str, path: &[u8], code: i32| {
        let record = Body::new().bytes(path).bytes(b"").open_acl().int(0);
        request(format!("create {name}"), op::CREATE, &record, Code(code))
    };
    let mut rows = vec![
        create("with a relative path", b"abc", -8),
        create("with an empty path", b"", -8),
        create("with NUL in the path", b"/a\0b", -8),
        create("with U+0001 in the path", b"/a\x01b", -8),
        create("with U+007F in the path", b"/a\x7fb", -8),
        create("with U+F8FF in the path", "/a\u{f8ff}b".as_bytes(), -8),
        create("with U+FFF0 in the path", "/a\u{fff0}b".as_bytes(), -8),
        create("with invalid UTF-8 in the path", b"/a\xff\xfeb", -8),
        create("of /abc/ (its parent /abc is missing)", b"/abc/", -101),
        create("of /a//b (its parent /a/ is missing)", b"/a//b", -101),
        create("of /a/../b (its parent is missing)", b"/a/../b", -101),
        create("of //", b"//", -8),
        create("of /.", b"/.", -8),
        create("of /..", b"/..", -8),
        create("of the root", b"/", -110),
    ];
    let read = |name: &str, opcode: i32, path: &[u8], code: i32| {
        request(name, opcode, &Body::new().bytes(path).bool(false), Code(code))
    };
    rows.extend([
        read("getData of a relative path", op::GET_DATA, b"abc", -101),
        read("getData of /a//b", op::GET_DATA, b"/a//b", -101),
        read("exists with NUL in the path", op::EXISTS, b"/a\0b", -8),
        read("getChildren of an empty path", op::GET_CHILDREN, b"", 0).control(Code(0)),
        request("delete of the root", op::DELETE, &Body::new().bytes("/").int(-1), Code(-8)),
        request("delete of /zookeeper", op::DELETE, &Body::new().bytes("/zookeeper").int(-1), Code(-8)),
        request("delete of a relative path", op::DELETE, &Body::new().bytes("abc").int(-1), Code(-8)),
        request(
            "setData with version -7",
            op::SET_DATA,
            &Body::new().bytes("/zookeeper").bytes("").int(-7),
            Code(-103),
        ),
        request(
            "setData of a relative path",
            op::SET_DATA,
            &Body::new().bytes("abc").bytes("").int(-1),
            Code(-8),
        ),
        request(
            "create at depth 3,000",
            op::CREATE,
            &Body::new().create(&"/d".repeat(3000), b"", 0),
            Code(-101),
        ),
    ]);
    rows
}

fn records() -> Vec<Row> {
    use Outcome::{Closes, Code};
    let path_then = |count: i32| Body::new().bytes("/badinput-vector").bytes("").int(count);
    let watches = |count: i32| Body::new().long(0).int(count);
    vec![
        request("create with an empty record", op::CREATE, &Body::new(), Code(-5)),
        request(
            "create with a null path",
            op::CREATE,
            &Body::new().null().bytes("").open_acl().int(0),
            Code(-5),
        ),
        request("getData with a null path", op::GET_DATA, &Body::new().null().bool(false), Code(-5)),
        request("create cut inside the path length", op::CREATE, &Body::new().raw([0, 0]), Code(-5)),
        request("create cut inside the path", op::CREATE, &Body::new().int(10).raw("/abc"), Code(-5)),
        request("create with a path length of 2^31-1", op::CREATE, &Body::new().int(i32::MAX), Code(-5)),
        request("create with a path length of -2", op::CREATE, &Body::new().int(-2), Code(-5)),
        request("create cut after the data", op::CREATE, &Body::new().bytes("/cut").bytes("x"), Code(-5)),
        request(
            "create with a data length past the frame",
            op::CREATE,
            &Body::new().bytes("/cut").int(1000).open_acl().int(0),
            Code(-5),
        ),
        request("create with 2^31-1 ACL entries", op::CREATE, &path_then(i32::MAX), Code(-5)),
        request("create with 1,000,000 ACL entries", op::CREATE, &path_then(1_000_000), Code(-5)),
        request("create with -2 ACL entries", op::CREATE, &path_then(-2), Code(-5)),
        request("setWatches with 2^31-1 paths", op::SET_WATCHES, &watches(i32::MAX), Code(-5)),
        request("setWatches with null vectors", op::SET_WATCHES, &watches(-1).null().null(), Code(-5)),
        request("setWatches cut after the zxid", op::SET_WATCHES, &Body::new().long(0), Code(-5)),
        request("addWatch with mode 9", op::ADD_WATCH, &Body::new().bytes("/").int(9), Code(-5)),
        request("auth with an empty record", op::AUTH, &Body::new(), Code(-5)).control(Closes),
        request("multi with an empty record", op::MULTI, &Body::new(), Code(-5)),
        request(
            "trailing bytes after a whole exists",
            op::EXISTS,
            &Body::new().bytes("/").bool(false).raw([9; 100]),
            Code(0),
        ),
        request("setWatches with 60,000 paths", op::SET_WATCHES, &many_watches(60_000), Code(0)),
    ]
}

/// The record of a setWatches with exists-watches on missing nodes, of which no event comes back. The paths are
/// as short as the frame limit wants.
fn many_watches(count: i32) -> Body {
    let mut body = Body::new().long(i64::MAX >> 8).int(0).int(count);
    for index in 0..count {
        body = body.bytes(format!("/w{index:05}"));
    }
    body.int(0)
}

fn access_lists() -> Vec<Row> {
    use Outcome::{Code, CodeThenCloses};
    let create = |name: &str, acl: Body, code: i32| {
        let record = Body::new().bytes("/badinput-acl-").bytes("").raw(acl.0).int(2);
        request(format!("create with {name}"), op::CREATE, &record, Code(code))
    };
    let auth = |name: &str, scheme: &str, value: Option<&str>, ours: Outcome| {
        let record = Body::new().int(0).bytes(scheme);
        let record = match value {
            Some(value) => record.bytes(value),
            None => record.null(),
        };
        later(name, &Body::request(-4, op::AUTH).raw(record.0), ours)
    };
    let ordinary = Body::new().int(0).bytes("digest").bytes("user:password");
    vec![
        // go-zookeeper numbers auth packets like any request and waits for that number.
        request("auth digest with an ordinary xid", op::AUTH, &ordinary, Code(0)),
        create("an empty ACL", Body::new().int(0), -114),
        create("a null ACL", Body::new().null(), -114),
        create("an unknown ACL scheme", Body::new().acl(31, "nonsense", "x"), -114),
        create("world and an id that is not anyone", Body::new().acl(31, "world", "someone"), -114),
        create("a digest id without a colon", Body::new().acl(31, "digest", "user"), -114),
        create("an ip id that is no address", Body::new().acl(31, "ip", "300.1.2.3"), -114),
        create("auth and no identity", Body::new().acl(31, "auth", ""), -114),
        create("permissions 0", Body::new().acl(0, "world", "anyone"), 0),
        create("permissions -1", Body::new().acl(-1, "world", "anyone"), 0),
        request(
            "setACL with an empty ACL",
            op::SET_ACL,
            &Body::new().bytes("/zookeeper").int(0).int(-1),
            Code(-114),
        ),
        auth("auth with an unknown scheme", "nonsense", Some("x"), CodeThenCloses(-115)),
        auth("auth digest with null", "digest", None, CodeThenCloses(-115)),
        auth("auth digest without a colon", "digest", Some("user"), Code(0)),
    ]
}

fn operations() -> Vec<Row> {
    use Outcome::{Code, CodeThenCloses};
    let create = |flags: i32| Body::new().create("/badinput-flags", b"", flags);
    let check = Body::new().bytes("/").int(-1);
    let session = Body::new().int(10_000);
    let ttl =
        |flags: i32, ttl: i64| Body::new().bytes("/badinput-ttl").bytes("").open_acl().int(flags).long(ttl);
    vec![
        request("create with flags 99", op::CREATE, &create(99), Code(-8)),
        request("create with flags -1", op::CREATE, &create(-1), Code(-8)),
        request("create with the TTL flag", op::CREATE, &create(5), Code(-8)),
        request("createTTL with flags 0", 21, &ttl(0, 1000), Code(-8)),
        request("createTTL with TTL 0", 21, &ttl(5, 0), Code(-8)),
        request("createTTL with TTL -1", 21, &ttl(5, -1), Code(-8)),
        request("createTTL with TTL 2^40", 21, &ttl(5, 1 << 40), Code(-8)),
        request("opcode 9999", 9999, &Body::new(), CodeThenCloses(-6)),
        request("opcode -1", -1, &Body::new(), CodeThenCloses(-6)),
        request("check outside a multi", op::CHECK, &check, CodeThenCloses(-6)),
        request("createSession on a live session", op::CREATE_SESSION, &session, CodeThenCloses(-6))
            .control(Outcome::MalformedReply),
        request("deleteContainer of a missing node", 20, &Body::new().bytes("/badinput-none"), Code(-101)),
    ]
}

fn multis() -> Vec<Row> {
    use Outcome::Code;
    let end = |body: Body| body.multi_header(-1, true, -1);
    let check = |body: Body, path: &str| body.multi_header(op::CHECK, false, -1).bytes(path).int(-1);
    let nested = Body::new().multi_header(op::MULTI, false, -1).multi_header(-1, true, -1);
    let mut checks = Body::new();
    for _ in 0..10_000 {
        checks = check(checks, "/");
    }
    let read = Body::new().multi_header(op::GET_DATA, false, -1).bytes("/").bool(false);
    vec![
        request("empty multi", op::MULTI, &end(Body::new()), Code(0)),
        request("multi without a terminator", op::MULTI, &check(Body::new(), "/"), Code(-5)),
        request(
            "multi cut inside a sub-operation",
            op::MULTI,
            &end(check(Body::new(), "/")).cut(12),
            Code(-5),
        ),
        request("multi inside a multi", op::MULTI, &end(nested), Code(-5)),
        request("multi with a read", op::MULTI, &end(read), Code(-5)),
        request(
            "multi with an unknown operation",
            op::MULTI,
            &end(Body::new().multi_header(77, false, -1)),
            Code(-5),
        ),
        request("multi of 10,000 checks", op::MULTI, &end(checks), Code(0)),
        request("failing multi", op::MULTI, &end(check(Body::new(), "/badinput-none")), Code(0)),
    ]
}

impl Body {
    /// Without the last `count` bytes.
    fn cut(mut self, count: usize) -> Body {
        self.0.truncate(self.0.len().saturating_sub(count));
        self
    }
}

/// Proper requests of every kind, as ground for random damage.
pub(super) fn valid_requests() -> Vec<Body> {
    let path = |opcode: i32| Body::request(XID, opcode).bytes("/badinput-valid").bool(false);
    vec![
        Body::request(XID, op::CREATE).create("/badinput-valid", b"data", 0),
        Body::request(XID, op::CREATE).create("/badinput-seq-", b"data", 3),
        Body::request(XID, op::DELETE).bytes("/badinput-valid").int(-1),
        path(op::EXISTS),
        path(op::GET_DATA),
        path(op::GET_CHILDREN),
        path(op::GET_CHILDREN2),
        Body::request(XID, op::SET_DATA).bytes("/badinput-valid").bytes("data").int(-1),
        Body::request(XID, op::SET_ACL).bytes("/badinput-valid").open_acl().int(-1),
        Body::request(XID, 6).bytes("/badinput-valid"),
        Body::request(XID, op::SYNC).bytes("/"),
        Body::request(XID, op::MULTI)
            .multi_header(op::CREATE, false, -1)
            .create("/badinput-valid", b"data", 0)
            .multi_header(op::CHECK, false, -1)
            .bytes("/")
            .int(-1)
            .multi_header(-1, true, -1),
        Body::request(XID, 22)
            .multi_header(op::GET_DATA, false, -1)
            .bytes("/")
            .bool(false)
            .multi_header(-1, true, -1),
        Body::request(-8, op::SET_WATCHES).long(0).int(1).bytes("/badinput-valid").int(0).int(0),
        Body::request(-8, 105).long(0).int(0).int(0).int(0).int(1).bytes("/").int(1).bytes("/"),
        Body::request(XID, op::ADD_WATCH).bytes("/").int(1),
        Body::request(-4, op::AUTH).int(0).bytes("digest").bytes("user:password"),
        Body::request(XID, 103).bytes("/"),
        Body::request(XID, 104).bytes("/"),
        Body::request(XID, 107),
        Body::request(XID, 17).bytes("/badinput-valid").int(3),
        Body::request(XID, 18).bytes("/badinput-valid").int(3),
        Body::request(XID, 15).create("/badinput-valid", b"data", 1),
        Body::request(XID, 19).create("/badinput-container", b"", 4),
        Body::request(XID, 21).create("/badinput-ttl", b"", 5).long(1000),
        Body::request(XID, 102).bytes(""),
    ]
}
