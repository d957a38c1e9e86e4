use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

/// A throw-away authority with what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key of `name`, in one PEM text.
    fn issue(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(name);
        change(&mut params);
        format!("{}{}", params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn self_signed(name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    format!("{}{}", leaf(name).self_signed(&key).unwrap().pem(), key.serialize_pem())
}

struct Server {
    directory: tempfile::TempDir,
    authority: Authority,
    address: SocketAddr,
    gate: TlsGate,
    established: Receiver<Established>,
}

fn config(directory: &Path) -> TlsConfig {
    TlsConfig {
        key_store: directory.join("server.pem"),
        trust_store: Some(directory.join("ca.pem")),
        client_auth: ClientAuth::Need,
        tls12: true,
        tls13: true,
        cipher_suites: Vec::new(),
        reload: false,
        handshake_timeout: Duration::from_secs(5),
        handshakes_max: 8,
    }
}

/// A gate behind a listener on loopback; `change` adapts its settings.
fn server(change: impl Fn(&mut TlsConfig)) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("our authority");
    std::fs::write(directory.path().join("ca.pem"), &authority.pem).unwrap();
    std::fs::write(directory.path().join("server.pem"), authority.issue("server", |_| {})).unwrap();
    let mut config = config(directory.path());
    change(&mut config);
    let (sender, established) = channel();
    let gate = TlsGate::spawn(config, move |connection| drop(sender.send(connection))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let door = gate.clone();
    std::thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            door.accept(stream, peer, &[]);
        }
    });
    Server { directory, authority, address, gate, established }
}

fn client_config(
    authority: &str,
    identity: Option<&str>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap())
                .unwrap()
        }
    }
}

type Client = StreamOwned<ClientConnection, TcpStream>;

impl Server {
    fn connect(&self, identity: Option<&str>) -> io::Result<(Client, Established)> {
        self.connect_with(client_config(&self.authority.pem, identity, rustls::ALL_VERSIONS))
    }

    /// Both ends of a connection, after the server has accepted the client. In TLS 1.3 a client learns of a refused
    /// certificate only when it reads.
    fn connect_with(&self, config: ClientConfig) -> io::Result<(Client, Established)> {
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut client = StreamOwned::new(connection, socket);
        client.write_all(b"early")?;
        client.sock.set_read_timeout(Some(Duration::from_millis(20)))?;
        loop {
            if let Ok(established) = self.established.recv_timeout(Duration::from_millis(10)) {
                client.sock.set_read_timeout(Some(Duration::from_secs(10)))?;
                return Ok((client, established));
            }
            match client.read(&mut [0]) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
                Ok(_) => panic!("the server must not answer"),
            }
        }
    }

    #[track_caller]
    fn refuses(&self, identity: Option<&str>, reason: &str) {
        let error = self.connect(identity).expect_err("must be refused").to_string();
        assert!(error.contains(reason), "{error}");
        self.wait_for_failures(1);
    }

    /// A socket closes a moment before its failure is counted.
    #[track_caller]
    fn wait_for_failures(&self, count: u64) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while self.gate.counts().failed.load(Ordering::Relaxed) < count {
            assert!(std::time::Instant::now() < deadline, "the failure is never counted");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Repeats a non-blocking step until it is done.
fn until_ready<T>(mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match step() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1))
            }
            other => return other,
        }
    }
}

#[test]
fn a_client_with_a_certificate_has_an_identity() {
    let server = server(|_| {});
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let identity = server.authority.issue("client", |_| {});
        let config = client_config(&server.authority.pem, Some(&identity), &[version]);
        let (mut client, mut established) = server.connect_with(config).unwrap();
        assert_eq!(established.identities, [("x509".to_owned(), "CN=client,O=Example\\, Inc.".to_owned())]);
        assert_eq!(established.peer, client.sock.local_addr().unwrap());

        let mut buffer = [0; 64];
        let (tls, mut socket) = (&mut established.tls, &established.stream);
        let count = until_ready(|| tls.try_read(&mut socket, &mut buffer)).unwrap();
        assert_eq!(&buffer[..count], b"early");
        assert_eq!(tls.try_read(&mut socket, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        // More than any buffer between the two ends holds, so that both sides have to wait.
        let sent: Vec<u8> = (0..8 << 20).map(|index| (index % 251) as u8).collect();
        let expected = sent.clone();
        let mut rest = sent.as_slice();
        loop {
            match tls.try_write(&mut socket, rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!rest.is_empty() && tls.wants_write(), "nobody reads yet");
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; expected.len()];
            client.read_exact(&mut received).unwrap();
            assert!(received == expected);
            client.conn.send_close_notify();
            client.flush().unwrap();
        });
        while !rest.is_empty() {
            let taken = until_ready(|| tls.try_write(&mut socket, rest)).unwrap();
            rest = &rest[taken..];
        }
        until_ready(|| tls.try_flush(&mut socket)).unwrap();
        assert!(!tls.wants_write());
        reader.join().unwrap();
        assert_eq!(until_ready(|| tls.try_read(&mut socket, &mut buffer)).unwrap(), 0, "a goodbye");
    }
}

#[test]
fn a_cut_is_not_a_goodbye() {
    let server = server(|config| config.client_auth = ClientAuth::None);
    let (client, mut established) = server.connect(None).unwrap();
    assert_eq!(established.identities, []);
    drop(client);
    let mut buffer = [0; 64];
    let mut socket = &established.stream;
    assert_eq!(until_ready(|| established.tls.try_read(&mut socket, &mut buffer)).unwrap(), 5);
    let error = until_ready(|| established.tls.try_read(&mut socket, &mut buffer)).unwrap_err();
    assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{error}");
}

#[test]
fn a_certificate_is_needed_wanted_or_ignored() {
    server(|_| {}).refuses(None, "CertificateRequired");
    let wanted = server(|config| config.client_auth = ClientAuth::Want);
    assert_eq!(wanted.connect(None).unwrap().1.identities, []);
    wanted.refuses(Some(&Authority::new("other").issue("client", |_| {})), "UnknownCA");
}

#[test]
fn bad_certificates_are_refused() {
    let server = server(|_| {});
    let expired = server.authority.issue("client", |params| params.not_after = date_time_ymd(2020, 1, 1));
    server.refuses(Some(&expired), "CertificateExpired");
    server.refuses(Some(&Authority::new("other").issue("client", |_| {})), "UnknownCA");
    server.refuses(Some(&self_signed("client")), "UnknownCA");
    // An authority of the same name is still another one.
    server.refuses(Some(&Authority::new("our authority").issue("client", |_| {})), "received fatal alert");
}

#[test]
fn versions_and_suites_are_limited() {
    let only12 = server(|config| {
        (config.client_auth, config.tls13) = (ClientAuth::None, false);
        config.cipher_suites = vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned()];
    });
    let (_, established) = only12.connect(None).unwrap();
    assert_eq!(established.tls.description(), "TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    let tls13 = client_config(&only12.authority.pem, None, &[&rustls::version::TLS13]);
    let error = only12.connect_with(tls13).expect_err("must be refused").to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
}

#[test]
fn old_versions_and_other_protocols_are_closed() {
    let server = server(|config| config.handshake_timeout = Duration::from_millis(300));
    // A ClientHello of TLS 1.1 with one cipher suite and no extensions.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    for first in [record.as_slice(), b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 45, 0, 0], b""] {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.write_all(first).unwrap();
        // At most an alert comes back, then the end.
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    server.wait_for_failures(4);
    assert_eq!(server.gate.counts().failed.load(Ordering::Relaxed), 4);
    assert_eq!(server.gate.counts().under_way.load(Ordering::Relaxed), 0);
    assert!(server.established.try_recv().is_err());
}

#[test]
fn silent_clients_do_not_keep_others_out() {
    let server = server(|config| {
        config.client_auth = ClientAuth::None;
        config.handshakes_max = 2;
        config.handshake_timeout = Duration::from_secs(1);
    });
    let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.connect(None).unwrap();
    assert!(server.gate.counts().exceeded.load(Ordering::Relaxed) > 0);
    drop(silent);
}

#[test]
fn bytes_already_read_are_not_lost() {
    let server = server(|config| config.client_auth = ClientAuth::None);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = client_config(&server.authority.pem, None, rustls::ALL_VERSIONS);
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
        client.write_all(b"hello").unwrap();
        client
    });
    let (mut stream, peer) = listener.accept().unwrap();
    let mut first = [0; 20];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(begins_tls(&first), Some(true));
    server.gate.accept(stream, peer, &first);
    let mut established = server.established.recv_timeout(Duration::from_secs(10)).unwrap();
    let mut buffer = [0; 8];
    let mut socket = &established.stream;
    assert_eq!(until_ready(|| established.tls.try_read(&mut socket, &mut buffer)).unwrap(), 5);
    client.join().unwrap();
}

#[test]
fn tls_is_told_from_the_client_protocol() {
    for (first, expected) in [
        (&b""[..], None),
        (&[22], None),
        (&[22, 3, 1], Some(true)),
        (&[0, 0, 0, 45], Some(false)),
        (&b"ruok"[..], Some(false)),
        (&[22, 9], Some(false)),
    ] {
        assert_eq!(begins_tls(first), expected, "{first:?}");
    }
}

#[test]
fn changed_certificates_are_used_without_a_restart() {
    let server = server(|config| {
        config.client_auth = ClientAuth::None;
        config.reload = true;
    });
    server.connect(None).unwrap();
    let fresh = Authority::new("next authority");
    let store = server.directory.path().join("server.pem");
    std::fs::write(&store, "not a certificate").unwrap();
    std::thread::sleep(RELOAD_INTERVAL * 2);
    server.connect(None).expect("the certificate before stays in use");
    std::fs::write(&store, fresh.issue("server", |_| {})).unwrap();
    let deadline = Instant::now() + RELOAD_INTERVAL * 5;
    loop {
        let config = client_config(&fresh.pem, None, rustls::ALL_VERSIONS);
        match server.connect_with(config) {
            Ok(_) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn stores_that_cannot_be_used_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let check = |part: &str| {
        let error = server_config(&config(directory.path())).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    check("ca.pem: No such file");
    write("ca.pem", "nothing");
    check("ca.pem: there is no PEM certificate in it");
    write("ca.pem", &authority.pem);
    check("server.pem: No such file");
    let good = authority.issue("server", |_| {});
    write("server.pem", good.split("-----BEGIN PRIVATE").next().unwrap());
    check("server.pem: there is no private key in it");
    write("server.pem", &good.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    check("its private key is encrypted");
    let other = authority.issue("server", |_| {});
    let key = &other[other.find("-----BEGIN PRIVATE").unwrap()..];
    write("server.pem", &format!("{}{key}", good.split("-----BEGIN PRIVATE").next().unwrap()));
    check("server.pem: ");
    write("server.pem", &good);
    server_config(&config(directory.path())).unwrap();
}
