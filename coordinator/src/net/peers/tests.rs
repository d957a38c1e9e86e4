use super::door::{hear, say};
use super::greeting::{End, Exchange, Greeting, GreetingError, Refusal};
use super::transport::Transport;
use super::*;
use crate::config::{ClientAuth, PeerTlsConfig, Secret, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_bytes::ByteArray;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

const PATIENCE: Duration = Duration::from_secs(20);

/// A loopback address that no other test of this process and hardly one of another uses.
fn fresh_host() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [_, _, a, b] = std::process::id().to_be_bytes();
    format!("127.{}.{}.{}", 16 + (a ^ high) % 200, b, low.max(1))
}

fn member(id: u8, host: &str) -> Member {
    Member::parse(&id.to_string(), &format!("{host}:2888:3888")).unwrap()
}

fn members(ids: &[u8]) -> Vec<Member> {
    ids.iter().map(|id| member(*id, &fresh_host())).collect()
}

fn links() -> LinkConfig {
    LinkConfig {
        listen_everywhere: false,
        bind_attempts_max: Some(1),
        handshake_timeout: Duration::from_secs(5),
        secret: None,
        tls: None,
    }
}

fn with_secret(secret: &str) -> LinkConfig {
    LinkConfig { secret: Some(Secret::new(secret)), ..links() }
}

/// One member with what its links have reported and nobody has looked at.
struct Peer {
    peers: Peers,
    events: Rc<RefCell<VecDeque<PeerEvent>>>,
}

fn start(settings: PeerSettings, id: u8, members: &[Member]) -> Result<Peer, PeersError> {
    let events: Rc<RefCell<VecDeque<PeerEvent>>> = Rc::default();
    let seen = Rc::clone(&events);
    let peers =
        Peers::start(settings, MemberId(id), members, move |event| seen.borrow_mut().push_back(event))?;
    Ok(Peer { peers, events })
}

fn peer(links: LinkConfig, id: u8, members: &[Member]) -> Peer {
    start(PeerSettings::new(links, false), id, members).unwrap()
}

fn guest(links: LinkConfig, id: u8, members: &[Member]) -> Peer {
    start(PeerSettings::new(links, true), id, members).unwrap()
}

impl Peer {
    #[track_caller]
    fn next(&self) -> impl Future<Output = PeerEvent> {
        let at = std::panic::Location::caller();
        async move {
            let begin = Instant::now();
            loop {
                if let Some(event) = self.events.borrow_mut().pop_front() {
                    return event;
                }
                assert!(begin.elapsed() < PATIENCE, "{at}: nothing happened");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    async fn expect(&self, expected: impl IntoIterator<Item = PeerEvent>) {
        for event in expected {
            assert_eq!(self.next().await, event);
        }
    }

    async fn expect_nothing(&self, time: Duration) {
        tokio::time::sleep(time).await;
        assert_eq!(self.events.borrow().iter().collect::<Vec<_>>(), Vec::<&PeerEvent>::new());
    }
}

fn up(id: u8) -> PeerEvent {
    PeerEvent::Up(MemberId(id))
}

fn down(id: u8) -> PeerEvent {
    PeerEvent::Down(MemberId(id))
}

fn frame(id: u8, body: &'static [u8]) -> PeerEvent {
    PeerEvent::Frame(MemberId(id), Bytes::from_static(body))
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// A dialler of the test's own making, to say what no member would.
async fn knock(member: &Member) -> Transport {
    let address = (member.addresses[0].host.as_str(), member.addresses[0].quorum_port);
    Transport::new(TcpStream::connect(address).await.unwrap(), None)
}

fn hello(from: u8, to: u8, authenticates: bool) -> Greeting {
    Greeting::Hello {
        from: MemberId(from),
        to: MemberId(to),
        authenticates,
        challenge: ByteArray::new([1; 32]),
    }
}

// ---- Up, down, frames ----

#[test]
fn three_members_find_each_other_and_frames_keep_their_order() {
    run(async {
        let list = members(&[1, 2, 3]);
        let all: Vec<_> = [1, 2, 3].map(|id| peer(links(), id, &list)).into();
        for (id, peer) in (1..).zip(&all) {
            let others: std::collections::BTreeSet<_> = (1..=3).filter(|other| *other != id).collect();
            let mut seen = std::collections::BTreeSet::new();
            for _ in &others {
                let PeerEvent::Up(from) = peer.next().await else { panic!("only Up is due") };
                seen.insert(from.0);
            }
            assert_eq!(seen, others);
        }
        for number in 0..1000u32 {
            for (from, to) in [(0, 2), (2, 0), (1, 0)] {
                let body = Bytes::copy_from_slice(&number.to_be_bytes());
                assert!(all[from].peers.send(MemberId(to as u8 + 1), body));
            }
        }
        for (to, from) in [(0, vec![3, 2]), (2, vec![1])] {
            let mut counts = BTreeMap::new();
            for _ in 0..1000 * from.len() {
                let PeerEvent::Frame(from, body) = all[to].next().await else {
                    panic!("only frames are due")
                };
                let count: &mut u32 = counts.entry(from).or_default();
                assert_eq!(body.as_ref(), count.to_be_bytes());
                *count += 1;
            }
            assert_eq!(counts.keys().map(|id| id.0).collect::<Vec<_>>().len(), from.len());
        }
        assert!(!all[0].peers.send(MemberId(9), Bytes::new()), "there is no such link");
    });
}

#[test]
fn large_and_empty_frames_arrive_whole() {
    run(async {
        let list = members(&[1, 2]);
        let (low, high) = (peer(links(), 1, &list), peer(links(), 2, &list));
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
        let large: Bytes = (0..20 << 20).map(|n: u32| (n % 251) as u8).collect::<Vec<_>>().into();
        for body in [&large, &Bytes::new(), &large] {
            assert!(high.peers.send(MemberId(1), body.clone()));
        }
        assert!(high.peers.queued_bytes(MemberId(1)) > 40 << 20);
        for body in [&large, &Bytes::new(), &large] {
            assert_eq!(low.next().await, PeerEvent::Frame(MemberId(2), body.clone()));
        }
        assert_eq!(high.peers.queued_bytes(MemberId(1)), 0);
    });
}

#[test]
fn a_member_that_ends_is_noticed_at_once_and_comes_back() {
    run(async {
        let list = members(&[1, 2]);
        let low = peer(links(), 1, &list);
        let high = peer(links(), 2, &list);
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
        let gone = Instant::now();
        drop(high);
        low.expect([down(2)]).await;
        assert!(gone.elapsed() < Duration::from_secs(2), "{:?}", gone.elapsed());
        assert!(!low.peers.send(MemberId(2), Bytes::new()));
        let high = peer(links(), 2, &list);
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
        // And the other way: the acceptor ends, the dialler notices and dials again.
        drop(low);
        high.expect([down(1)]).await;
        let low = restarted(&list).await;
        high.expect([up(1)]).await;
        low.expect([up(2)]).await;
    });
}

/// Member 1 again, as soon as the thread of the one before has left its ports.
async fn restarted(list: &[Member]) -> Peer {
    for _ in 0..500 {
        match start(PeerSettings::new(links(), false), 1, list) {
            Ok(peer) => return peer,
            Err(PeersError::Bind { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the ports stayed taken");
}

#[test]
fn a_reset_link_comes_up_again() {
    run(async {
        let list = members(&[1, 2]);
        let (low, high) = (peer(links(), 1, &list), peer(links(), 2, &list));
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
        low.peers.reset(MemberId(2));
        assert!(!low.peers.send(MemberId(2), Bytes::new()), "nothing is queued on a link that is given up");
        low.expect([down(2), up(2)]).await;
        high.expect([down(1), up(1)]).await;
    });
}

#[test]
fn a_new_link_replaces_the_old_one_and_nothing_of_the_old_one_comes_later() {
    run(async {
        let list = members(&[1, 2]);
        let low = peer(links(), 1, &list);
        let mut first = greet(&list[0], 2).await;
        low.expect([up(2)]).await;
        tell(&mut first, b"from the first").await;
        low.expect([frame(2, b"from the first")]).await;
        let mut second = greet(&list[0], 2).await;
        low.expect([down(2), up(2)]).await;
        // The old connection may be closed already.
        let _ = say_raw(&mut first, &framed(b"too late")).await;
        tell(&mut second, b"from the second").await;
        low.expect([frame(2, b"from the second")]).await;
        low.expect_nothing(Duration::from_millis(50)).await;
        drop(first);
        low.expect_nothing(Duration::from_millis(50)).await;
    });
}

async fn greet(acceptor: &Member, as_id: u8) -> Transport {
    let mut transport = knock(acceptor).await;
    say(&mut transport, &hello(as_id, acceptor.id, false)).await.unwrap();
    assert!(matches!(hear(&mut transport).await, Ok(Greeting::Challenge { authenticates: false, .. })));
    say(&mut transport, &Greeting::Proof { proof: None }).await.unwrap();
    assert_eq!(hear(&mut transport).await.unwrap(), Greeting::Welcome { proof: None });
    transport
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&super::frame::header(body)[..], body].concat()
}

async fn say_raw(transport: &mut Transport, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        transport.writable().await?;
        match transport.try_write(&[io::IoSlice::new(bytes)]) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn tell(transport: &mut Transport, body: &[u8]) {
    say_raw(transport, &framed(body)).await.unwrap();
}

// ---- Members ----

#[test]
fn members_come_go_and_move_while_running() {
    run(async {
        let mut list = members(&[1, 2]);
        let low = peer(links(), 1, &list);
        let high = peer(links(), 2, &list);
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
        let third = member(3, &fresh_host());
        let wider = [list.clone(), vec![third.clone()]].concat();
        let new = peer(links(), 3, &wider);
        new.expect_nothing(Duration::from_millis(100)).await;
        low.peers.set_members(&wider);
        low.expect([up(3)]).await;
        new.expect([up(1)]).await;
        // Only member 1 was told, so member 2 does not let it in.
        high.expect_nothing(Duration::from_millis(50)).await;
        low.peers.set_members(&list);
        low.expect([down(3)]).await;
        new.expect([down(1)]).await;
        low.expect_nothing(Duration::from_millis(200)).await;
        // Who is added comes to those who were there.
        low.peers.add_members(&[third]);
        low.expect([up(3)]).await;
        new.expect([up(1)]).await;
        low.peers.set_members(&list);
        low.expect([down(3)]).await;
        new.expect([down(1)]).await;
        // Member 1 moves: it listens elsewhere, and member 2 looks for it there.
        list[0] = member(1, &fresh_host());
        low.peers.set_members(&list);
        high.peers.set_members(&list);
        high.expect([down(1), up(1)]).await;
        low.expect([down(2), up(2)]).await;
    });
}

#[test]
fn who_wants_to_join_is_let_in_as_a_guest_from_either_side() {
    run(async {
        let list = members(&[2, 4]);
        let (two, four) = (guest(links(), 2, &list), guest(links(), 4, &list));
        two.expect([up(4)]).await;
        four.expect([up(2)]).await;
        // Member 3 would be dialled by 4 and dial 2, but neither knows of it.
        let three = member(3, &fresh_host());
        let new = guest(links(), 3, &[list.clone(), vec![three]].concat());
        two.expect([up(3)]).await;
        four.expect([up(3)]).await;
        let mut seen = [new.next().await, new.next().await];
        seen.sort_by_key(|event| format!("{event:?}"));
        assert_eq!(seen, [up(2), up(4)]);
        assert!(four.peers.send(MemberId(3), Bytes::from_static(b"welcome")));
        new.expect([frame(4, b"welcome")]).await;
    });
}

#[test]
fn a_host_is_looked_up_anew_for_every_attempt() {
    run(async {
        let (old, new) = (fresh_host(), fresh_host());
        let place = Arc::new(std::sync::Mutex::new(old.clone()));
        let listed = vec![member(1, "one.example"), member(2, &fresh_host())];
        let resolver = |place: &Arc<std::sync::Mutex<String>>| -> Resolver {
            let place = Arc::clone(place);
            Arc::new(move |host, port| {
                assert_eq!(host, "one.example");
                let host = place.lock().unwrap().clone();
                match host.as_str() {
                    "" => Err(io::Error::other("no such host")),
                    host => Ok(vec![format!("{host}:{port}").parse().unwrap()]),
                }
            })
        };
        let settings = |place: &Arc<std::sync::Mutex<String>>| PeerSettings {
            resolver: resolver(place),
            ..PeerSettings::new(links(), false)
        };
        let here = |host: &str| settings(&Arc::new(std::sync::Mutex::new(host.to_owned())));
        let first = start(here(&old), 1, &listed).unwrap();
        let two = start(settings(&place), 2, &listed).unwrap();
        two.expect([up(1)]).await;
        *place.lock().unwrap() = String::new();
        drop(first);
        two.expect([down(1)]).await;
        // The same member at another address, first unknown to the name server, then known.
        let second = start(here(&new), 1, &listed).unwrap();
        two.expect_nothing(Duration::from_millis(150)).await;
        *place.lock().unwrap() = new;
        two.expect([up(1)]).await;
        second.expect([up(2)]).await;
    });
}

#[test]
fn either_port_will_do() {
    run(async {
        let host = fresh_host();
        let both = [member(1, &host), member(2, &fresh_host())];
        let low = peer(links(), 1, &both);
        // As seen through a firewall that lets only the election port through.
        let seen = [Member::parse("1", &format!("{host}:9:3888")).unwrap(), both[1].clone()];
        let high = peer(links(), 2, &seen);
        high.expect([up(1)]).await;
        low.expect([up(2)]).await;
    });
}

#[test]
fn a_port_that_is_taken_stops_the_start_with_its_name() {
    run(async {
        let list = members(&[1, 2]);
        let host = &list[0].addresses[0].host;
        let _taken = TcpListener::bind((host.as_str(), 3888)).await.unwrap();
        let Err(error) = start(PeerSettings::new(links(), false), 1, &list) else {
            panic!("it must not start")
        };
        assert!(error.to_string().contains(&format!("cannot listen on {host}:3888")), "{error}");
        assert!(matches!(
            start(PeerSettings::new(links(), false), 9, &list),
            Err(PeersError::NotListed(MemberId(9)))
        ));
        // When the ports may take for ever, the start does not wait for them.
        let patient = LinkConfig { bind_attempts_max: None, ..links() };
        let low = peer(patient, 1, &list);
        let high = peer(links(), 2, &list);
        high.expect([up(1)]).await;
        low.expect([up(2)]).await;
    });
}

// ---- Who is let in ----

#[test]
fn a_shared_secret_lets_in_who_knows_it() {
    run(async {
        let list = members(&[1, 2]);
        let secret = "correct horse battery staple";
        let (low, high) = (peer(with_secret(secret), 1, &list), peer(with_secret(secret), 2, &list));
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
        assert!(low.peers.send(MemberId(2), Bytes::from_static(b"hello")));
        high.expect([frame(1, b"hello")]).await;
    });
}

#[test]
fn a_wrong_secret_or_none_on_either_side_lets_nobody_in() {
    let secret = || with_secret("correct horse battery staple");
    for (low, high) in
        [(secret(), with_secret("incorrect horse battery staple")), (secret(), links()), (links(), secret())]
    {
        run(async {
            let list = members(&[1, 2]);
            let (low, high) = (peer(low, 1, &list), peer(high, 2, &list));
            low.expect_nothing(Duration::from_millis(400)).await;
            high.expect_nothing(Duration::ZERO).await;
        });
    }
}

#[test]
fn a_stranger_gets_no_proof_to_guess_on_and_none_of_ours_back() {
    run(async {
        let list = members(&[1, 2]);
        let secret = Secret::new("correct horse battery staple");
        let low = peer(with_secret(secret.reveal()), 1, &list);
        let exchange =
            |acceptors| Exchange { dialer: MemberId(2), acceptor: MemberId(1), dialers: [1; 32], acceptors };
        let wrong: [fn(&Exchange, &Secret) -> Option<ByteArray<32>>; 4] = [
            |_, _| None,
            |_, _| Some(ByteArray::new([0; 32])),
            |exchange, secret| Some(exchange.proof(End::Acceptor, secret)),
            |exchange, secret| Some(Exchange { acceptors: [0; 32], ..*exchange }.proof(End::Dialer, secret)),
        ];
        for proof in wrong {
            let mut transport = knock(&list[0]).await;
            say(&mut transport, &hello(2, 1, true)).await.unwrap();
            let Ok(Greeting::Challenge { authenticates: true, challenge }) = hear(&mut transport).await
            else {
                panic!("a challenge is due");
            };
            let proof = proof(&exchange(*challenge), &secret);
            say(&mut transport, &Greeting::Proof { proof }).await.unwrap();
            assert_eq!(
                hear(&mut transport).await.unwrap(),
                Greeting::Refused { reason: Refusal::WrongProof }
            );
            assert!(matches!(hear(&mut transport).await, Err(GreetingError::Ended)));
        }
        low.expect_nothing(Duration::from_millis(20)).await;
        // The same by who knows the secret.
        let mut transport = knock(&list[0]).await;
        say(&mut transport, &hello(2, 1, true)).await.unwrap();
        let Ok(Greeting::Challenge { challenge, .. }) = hear(&mut transport).await else {
            panic!("a challenge is due")
        };
        let exchange = exchange(*challenge);
        say(&mut transport, &Greeting::Proof { proof: Some(exchange.proof(End::Dialer, &secret)) })
            .await
            .unwrap();
        let Ok(Greeting::Welcome { proof: Some(proof) }) = hear(&mut transport).await else {
            panic!("it is right")
        };
        assert!(exchange.is_proof(End::Acceptor, &secret, &proof));
        low.expect([up(2)]).await;
    });
}

#[test]
fn a_claim_that_cannot_be_true_is_refused_with_its_reason() {
    run(async {
        let list = members(&[1, 2, 3]);
        let two = peer(links(), 2, &list);
        for (from, to, reason) in [
            (3, 1, Refusal::SomebodyElse(MemberId(2))),
            (2, 2, Refusal::Unknown),
            (9, 2, Refusal::Unknown),
            (1, 2, Refusal::WrongWay),
        ] {
            let mut transport = knock(&list[1]).await;
            say(&mut transport, &hello(from, to, false)).await.unwrap();
            assert_eq!(hear(&mut transport).await.unwrap(), Greeting::Refused { reason });
        }
        two.expect_nothing(Duration::from_millis(20)).await;
    });
}

#[test]
fn garbage_excess_and_damage_end_the_connection_and_nothing_else() {
    run(async {
        let list = members(&[1, 2]);
        let low = peer(links(), 1, &list);
        let mut damaged = framed(&hello(2, 1, false).encode());
        damaged[20] ^= 1;
        let too_long = vec![0; limits::PEER_GREETING_BYTES_MAX + 1];
        let garbage: [&[u8]; 6] = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"ruok",
            &[22, 3, 1, 0, 200, 1],
            &framed(b"no greeting"),
            &damaged,
            &framed(&too_long),
        ];
        for bytes in garbage {
            let mut stream = TcpStream::connect((list[0].addresses[0].host.as_str(), 2888)).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // A reset is as good as an end.
            let _ =
                tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
            assert_eq!(answer, b"", "{bytes:?}");
        }
        low.expect_nothing(Duration::from_millis(20)).await;
        // After the greeting: one frame that is right, then one that is not.
        for wrong in [
            &{
                let mut bytes = framed(b"bad");
                bytes[9] ^= 1;
                bytes
            },
            &[0xff; 8].to_vec(),
        ] {
            let mut transport = greet(&list[0], 2).await;
            tell(&mut transport, b"good").await;
            say_raw(&mut transport, wrong).await.unwrap();
            low.expect([up(2), frame(2, b"good"), down(2)]).await;
        }
    });
}

#[test]
fn strangers_who_say_nothing_neither_stay_nor_keep_members_out() {
    run(async {
        let list = members(&[1, 2]);
        let low = peer(LinkConfig { handshake_timeout: Duration::from_secs(3), ..links() }, 1, &list);
        let mut silent = Vec::new();
        for _ in 0..3 * limits::PEER_HANDSHAKES_MAX {
            silent.push(TcpStream::connect((list[0].addresses[0].host.as_str(), 3888)).await.unwrap());
        }
        // One more is let in at once although all places are taken.
        let begin = Instant::now();
        let high = peer(links(), 2, &list);
        high.expect([up(1)]).await;
        assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
        low.expect([up(2)]).await;
        for stream in &mut silent {
            let end =
                tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.expect("it is closed in time");
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
        low.expect_nothing(Duration::from_millis(20)).await;
    });
}

#[test]
fn a_slow_greeting_is_given_up() {
    run(async {
        let list = members(&[1, 2]);
        let low = peer(LinkConfig { handshake_timeout: Duration::from_millis(300), ..links() }, 1, &list);
        let mut transport = knock(&list[0]).await;
        let bytes = framed(&hello(2, 1, false).encode());
        let begin = Instant::now();
        let mut sent = 0;
        while begin.elapsed() < Duration::from_secs(5) {
            if say_raw(&mut transport, &bytes[sent..=sent]).await.is_err() {
                break;
            }
            sent += 1;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        assert!(sent < 60 && begin.elapsed() < Duration::from_secs(4), "{sent} bytes, {:?}", begin.elapsed());
        low.expect_nothing(Duration::ZERO).await;
    });
}

// ---- Full queues ----

#[test]
fn a_member_that_takes_nothing_loses_its_link_when_too_much_waits() {
    run(async {
        let list = members(&[1, 2]);
        let settings = PeerSettings { queue_bytes_max: 8 << 20, ..PeerSettings::new(links(), false) };
        let low = start(settings, 1, &list).unwrap();
        let _silent = greet(&list[0], 2).await;
        low.expect([up(2)]).await;
        let body = Bytes::from(vec![7; 1 << 20]);
        let mut taken = 0;
        while low.peers.send(MemberId(2), body.clone()) {
            taken += 1;
            assert!(low.peers.queued_bytes(MemberId(2)) <= 8 << 20);
            assert!(taken < 100, "it has to end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(taken >= 7);
        low.expect([down(2)]).await;
        assert_eq!(low.peers.queued_bytes(MemberId(2)), 0);
    });
}

#[test]
fn a_write_that_gets_nowhere_ends_the_link() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let link = Rc::new(Link::default());
        assert!(link.push(Bytes::from(vec![0; 32 << 20]), usize::MAX));
        let running = Rc::clone(&link);
        let task = tokio::task::spawn_local(async move {
            running.run(Transport::new(ours, None), Duration::from_millis(900), |_| {}).await
        });
        // As long as something is taken now and then, it goes on.
        let mut buffer = vec![0; 256 << 10];
        let mut taken = 0;
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for _ in 0..4 {
                taken += theirs.read(&mut buffer).await.unwrap();
            }
        }
        assert!(!task.is_finished() && taken > 0);
        let begin = Instant::now();
        assert_eq!(task.await.unwrap(), Ended::Stalled);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    });
}

// ---- TLS ----

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "members");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Settings of a member with a certificate for `host`, its files in `directory`.
    fn links(&self, directory: &Path, id: u8, host: &str) -> LinkConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let (store, trust) = (directory.join(format!("{id}.pem")), directory.join(format!("ca-{id}.pem")));
        std::fs::write(&store, format!("{certificate}{}", key.serialize_pem())).unwrap();
        std::fs::write(&trust, &self.pem).unwrap();
        let tls = TlsConfig {
            key_store: store,
            trust_store: Some(trust),
            client_auth: ClientAuth::Need,
            tls12: true,
            tls13: true,
            cipher_suites: Vec::new(),
            reload: true,
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 8,
        };
        let tls = PeerTlsConfig {
            tls,
            dial: true,
            accept_plain: false,
            verify_acceptor_host: true,
            verify_dialer_host: true,
        };
        LinkConfig { tls: Some(tls), ..links() }
    }
}

#[test]
fn certificates_of_the_same_authority_make_a_link() {
    run(async {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let list = members(&[1, 2]);
        let tls =
            |id: u8| authority.links(directory.path(), id, &list[usize::from(id) - 1].addresses[0].host);
        let (low, high) = (peer(tls(1), 1, &list), peer(tls(2), 2, &list));
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
        let large: Bytes = (0..5 << 20).map(|n: u32| (n % 253) as u8).collect::<Vec<_>>().into();
        for body in [&large, &Bytes::new(), &large] {
            assert!(low.peers.send(MemberId(2), body.clone()));
            assert!(high.peers.send(MemberId(1), body.clone()));
        }
        for body in [&large, &Bytes::new(), &large] {
            assert_eq!(high.next().await, PeerEvent::Frame(MemberId(1), body.clone()));
            assert_eq!(low.next().await, PeerEvent::Frame(MemberId(2), body.clone()));
        }
        drop(high);
        low.expect([down(2)]).await;
    });
}

#[test]
fn certificates_of_others_or_for_other_hosts_make_none() {
    let (directory, ours, theirs) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let directory = directory.path();
    let elsewhere = "elsewhere.example";
    type Make<'a> = &'a dyn Fn(&str) -> LinkConfig;
    let good = |id: u8| move |host: &str| (id, host.to_owned());
    let issue = |(id, host): (u8, String)| ours.links(directory, id, &host);
    let cases: [(&str, Make<'_>, Make<'_>); 4] = [
        ("the acceptor's authority is another", &|host| theirs.links(directory, 1, host), &|host| {
            issue(good(2)(host))
        }),
        ("the acceptor's host is another", &|_| ours.links(directory, 1, elsewhere), &|host| {
            issue(good(2)(host))
        }),
        ("the dialer's host is another", &|host| issue(good(1)(host)), &|_| {
            ours.links(directory, 2, elsewhere)
        }),
        ("the dialer does not encrypt", &|host| issue(good(1)(host)), &|_| links()),
    ];
    for (what, low, high) in cases {
        run(async {
            let list = members(&[1, 2]);
            let host = |id: usize| list[id].addresses[0].host.as_str();
            let (low, high) = (peer(low(host(0)), 1, &list), peer(high(host(1)), 2, &list));
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert_eq!((low.events.borrow().len(), high.events.borrow().len()), (0, 0), "{what}");
        });
    }
}

#[test]
fn hosts_need_not_match_when_that_is_switched_off() {
    run(async {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let list = members(&[1, 2]);
        let tls = |id: u8| {
            let mut links = authority.links(directory.path(), id, "elsewhere.example");
            let tls = links.tls.as_mut().unwrap();
            (tls.verify_acceptor_host, tls.verify_dialer_host) = (false, false);
            links
        };
        let (low, high) = (peer(tls(1), 1, &list), peer(tls(2), 2, &list));
        low.expect([up(2)]).await;
        high.expect([up(1)]).await;
    });
}

#[test]
fn an_ensemble_changes_over_to_tls_without_a_stop() {
    run(async {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let list = members(&[1, 2, 3]);
        let tls = |id: u8, dial: bool| {
            let host = &list[usize::from(id) - 1].addresses[0].host;
            let mut links = authority.links(directory.path(), id, host);
            let tls = links.tls.as_mut().unwrap();
            (tls.dial, tls.accept_plain) = (dial, true);
            links
        };
        // 1 accepts both; 2 does not encrypt yet, 3 does already.
        let one = peer(tls(1, false), 1, &list);
        let two = peer(tls(2, false), 2, &list);
        two.expect([up(1)]).await;
        one.expect([up(2)]).await;
        let three = peer(tls(3, true), 3, &list);
        one.expect([up(3)]).await;
        two.expect([up(3)]).await;
        assert!(three.peers.send(MemberId(1), Bytes::from_static(b"secretly")));
        one.expect([frame(3, b"secretly")]).await;
    });
}

#[test]
fn changed_certificates_are_used_for_the_next_link() {
    run(async {
        let (directory, first, second) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
        let list = members(&[1, 2]);
        let host = |id: usize| list[id].addresses[0].host.as_str();
        let low = peer(first.links(directory.path(), 1, host(0)), 1, &list);
        let high = peer(second.links(directory.path(), 2, host(1)), 2, &list);
        high.expect_nothing(Duration::from_millis(300)).await;
        // The same files, now of the other authority.
        second.links(directory.path(), 1, host(0));
        high.expect([up(1)]).await;
        low.expect([up(2)]).await;
    });
}
