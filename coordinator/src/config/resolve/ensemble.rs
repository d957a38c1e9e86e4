//! Members, their quorums, and how they reach each other.

use super::super::ensemble::{is_loopback, is_wildcard};
use super::*;
use crate::tree::command::FEATURE_LEVEL;
use std::collections::BTreeSet;

/// A secret that members prove to each other over a wire that others may listen to must not be guessable.
const PEER_SECRET_CHARACTERS_MIN: usize = 16;

/// What the `server.N`, `group.N` and `weight.N` lines say, and whether they make an ensemble.
pub(super) struct Lines {
    pub(super) membership: Membership,
    pub(super) is_ensemble: bool,
}

impl Reader<'_> {
    pub(super) fn lines(&mut self) -> Lines {
        let mut members = Vec::new();
        for (id, setting) in self.settings.with_prefix("server.") {
            // Keys such as server.principal share the prefix.
            if !id.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            match Member::parse(id, &setting.value) {
                Ok(member) => members.push(member),
                Err(error) => {
                    self.problems
                        .push(format!("server.{id}={} ({}): {error}", setting.value, setting.origin));
                }
            }
        }
        members.sort_by_key(|member| member.id);
        let voters = members.iter().filter(|member: &&Member| member.is_voter()).count();
        let standalone_enabled = self.flag("standaloneEnabled", true);
        let is_ensemble = !standalone_enabled || voters > 1;
        if voters == 0 && !members.is_empty() {
            self.problems.push(
                "every server.N line is an observer; at least one member must be a participant".to_owned(),
            );
        } else if voters == 0 && !standalone_enabled {
            self.problems.push(
                "standaloneEnabled=false: there is no server.N line; an ensemble needs at least this server's own"
                    .to_owned(),
            );
        } else if !is_ensemble && members.len() > 1 {
            self.problems.push(
                "observers with a single participant: set standaloneEnabled=false to run it as an ensemble of one, or add \
                 participants"
                    .to_owned(),
            );
        }
        self.shared_places(&members);
        let mut membership = Membership {
            groups: BTreeMap::new(),
            weights: BTreeMap::new(),
            version: self.membership_version(),
            members,
        };
        self.quorums(&mut membership);
        if is_ensemble && voters > 0 {
            if voters <= 2 {
                self.warnings.push(format!(
                    "{voters} voting member{}: no server may fail; three are the least that survive a failure",
                    if voters == 1 { "" } else { "s" }
                ));
            } else if voters % 2 == 0 && membership.groups.is_empty() {
                self.warnings.push(format!(
                    "{voters} voting members survive no more failures than {}; an odd number is better",
                    voters - 1
                ));
            }
        }
        Lines { membership, is_ensemble }
    }

    /// Two lines for one member, or one place for two.
    fn shared_places(&mut self, members: &[Member]) {
        for pair in members.windows(2).filter(|pair| pair[0].id == pair[1].id) {
            self.problems.push(format!("two server.N lines name member {}", pair[0].id));
        }
        let mut places = BTreeMap::new();
        for member in members {
            for address in &member.addresses {
                for port in [address.quorum_port, address.election_port] {
                    let place = (address.host.to_ascii_lowercase(), port);
                    let Some(other) = places.insert(place, member.id) else { continue };
                    let who = match other == member.id {
                        true => format!("server.{other} names it twice"),
                        false => format!("server.{other} and server.{} both name it", member.id),
                    };
                    self.problems.push(format!(
                        "{}:{port}: {who}; every member needs two ports of its own for each address",
                        address.host
                    ));
                }
            }
        }
    }

    fn membership_version(&mut self) -> u64 {
        if !self.members_are_in_files() {
            return 0;
        }
        if let Some(text) = self.text("version") {
            return u64::from_str_radix(text, 16).unwrap_or_else(|_| {
                self.wrong("version", "must be a hexadecimal number");
                0
            });
        }
        // As in ZooKeeper, the name of a membership file may end in its version.
        let name = self.text("dynamicConfigFile").unwrap_or_default();
        name.rsplit_once('.').and_then(|(_, ending)| u64::from_str_radix(ending, 16).ok()).unwrap_or(0)
    }

    fn quorums(&mut self, membership: &mut Membership) {
        let mut problems = Vec::new();
        let known = |id: u8| membership.members.iter().any(|member| member.id == id);
        let votes = |id: u8| membership.members.iter().any(|member| member.id == id && member.is_voter());
        let mut grouped = BTreeSet::new();
        for (group, setting) in self.settings.with_prefix("group.") {
            let at = format!("group.{group}={} ({})", setting.value, setting.origin);
            let ids: Option<BTreeSet<u8>> =
                setting.value.split(':').map(|id| id.trim().parse::<u8>().ok()).collect();
            let (Ok(group), Some(ids)) = (group.parse::<u32>(), ids) else {
                problems.push(format!("{at}: must be a number and ids of members, such as group.1=1:2:3"));
                continue;
            };
            for id in &ids {
                match (known(*id), votes(*id), grouped.insert(*id)) {
                    (false, ..) => problems.push(format!("{at}: there is no server.{id}")),
                    (true, false, _) => {
                        problems.push(format!("{at}: server.{id} is an observer and has no vote"))
                    }
                    (true, true, false) => {
                        problems.push(format!("{at}: server.{id} is in another group already"))
                    }
                    (true, true, true) => {}
                }
            }
            membership.groups.insert(group, ids);
        }
        for (id, setting) in self.settings.with_prefix("weight.") {
            let at = format!("weight.{id}={} ({})", setting.value, setting.origin);
            match (id.parse::<u8>(), setting.value.parse::<u32>()) {
                (Ok(id), Ok(weight)) if known(id) => {
                    membership.weights.insert(id, weight);
                }
                (Ok(id), Ok(_)) => problems.push(format!("{at}: there is no server.{id}")),
                _ => problems.push(format!("{at}: must be a whole number between 0 and {}", u32::MAX)),
            }
        }
        if !membership.groups.is_empty() || !membership.weights.is_empty() {
            for member in membership.members.iter().filter(|m| m.is_voter() && !grouped.contains(&m.id)) {
                problems.push(format!(
                    "server.{} is in no group; with group.N or weight.N lines every voting member must be in one",
                    member.id
                ));
            }
            if problems.is_empty() && membership.voters().all(|voter| membership.weight(voter.id) == 0) {
                problems.push("every voting member has weight 0, so there could be no quorum".to_owned());
            }
        }
        self.problems.append(&mut problems);
    }

    /// Which member this server is.
    pub(super) fn server_id(&mut self, data_dir: &Path, lines: &Lines) -> u8 {
        let path = data_dir.join("myid");
        let kept = match read_bounded(&path) {
            Ok(bytes) => {
                Some((String::from_utf8_lossy(&bytes).trim().to_owned(), path.display().to_string()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                self.problems.push(format!("cannot read {}: {error}", path.display()));
                return 0;
            }
        };
        let told = self.settings.get("myid").filter(|setting| !setting.value.is_empty());
        let told = told.or(self.settings.my_id.as_ref());
        let members = &lines.membership.members;
        let (value, origin) = match (kept, told) {
            (Some((value, origin)), Some(other)) if value != other.value => {
                self.warnings.push(format!(
                    "myid={} ({}) changes nothing: {origin} says {value}",
                    other.value, other.origin
                ));
                (value, origin)
            }
            (Some(kept), _) => kept,
            (None, Some(told)) => (told.value.clone(), told.origin.to_string()),
            (None, None) if lines.is_ensemble && members.len() != 1 => {
                self.problems.push(format!(
                    "which member is this server? Write its number into {}, or set ZOO_MY_ID",
                    path.display()
                ));
                return 0;
            }
            (None, None) => return members.first().map_or(0, |member| member.id),
        };
        let id = match value.parse::<u8>() {
            Ok(id) if id <= 254 => id,
            _ => {
                let shown: String = value.chars().take(20).collect();
                self.problems
                    .push(format!("myid={shown} ({origin}): must be a whole number between 0 and 254"));
                return 0;
            }
        };
        if !members.is_empty() && lines.membership.member(id).is_none() {
            let known: Vec<_> = members.iter().map(|member| format!("server.{}", member.id)).collect();
            self.problems
                .push(format!("myid={id} ({origin}): there is no server.{id}, only {}", known.join(", ")));
        }
        id
    }

    pub(super) fn ensemble(&mut self, lines: Lines, my_id: u8, tick: Duration) -> Option<EnsembleConfig> {
        let ticks = |count: u32| tick * count;
        let init_limit = ticks(self.number("initLimit", 10, 1..=100_000));
        let sync_limit = ticks(self.number("syncLimit", 5, 1..=100_000));
        let handshake_timeout = self.millis("cnxTimeout", limits::PEER_HANDSHAKE_MILLIS_DEFAULT, 1..=600_000);
        let () = self.choice("electionAlg", (), &[("3", ())]);
        let bind_attempts = self.number("electionPortBindRetry", 3, 0..=1_000_000u32.into());
        let ping = self.millis("rookery.pingMs", 150, 10..=60_000);
        let leader_silence = self.millis("rookery.leaderSilenceMs", 1500, 100..=600_000);
        if leader_silence < ping * 3 {
            self.wrong(
                "rookery.leaderSilenceMs",
                "must be at least three times rookery.pingMs, or one lost ping would cost a leader its place",
            );
        }
        let links = LinkConfig {
            listen_everywhere: self.flag("quorumListenOnAllIPs", false),
            bind_attempts_max: (bind_attempts > 0).then_some(bind_attempts),
            handshake_timeout,
            secret: self.peer_secret(),
            tls: self.peer_tls(lines.is_ensemble, handshake_timeout),
        };
        let config = EnsembleConfig {
            my_id,
            membership: lines.membership,
            members_file: self.settings.file.clone().filter(|_| self.members_are_in_files()),
            init_limit,
            sync_limit,
            ping,
            leader_silence,
            leader_serves: self.flag("leaderServes", true),
            log_permille: self.snapshot_size_factor(),
            recent_entries_max: self.number("commitLogCount", 500, 1..=10_000_000),
            feature_level_max: self.number(
                "rookery.featureLevelMax",
                FEATURE_LEVEL,
                0..=FEATURE_LEVEL.into(),
            ),
            links,
        };
        self.own_role(&config.membership, my_id);
        if !lines.is_ensemble {
            return None;
        }
        self.strangers(&config);
        Some(config)
    }

    /// In thousandths.
    fn snapshot_size_factor(&mut self) -> Option<u64> {
        let key = "snapshotSizeFactor";
        let Some(text) = self.text(key) else { return Some(330) };
        match text.parse::<f64>() {
            Ok(factor) if factor < 0.0 => None,
            Ok(factor) if factor <= 1000.0 => Some((factor * 1000.0) as u64),
            _ => {
                self.wrong(key, "must be a number up to 1000, such as 0.33; a negative one is for never");
                None
            }
        }
    }

    /// Not if variables or flags say who the members are: they would say it again at the next start.
    fn members_are_in_files(&self) -> bool {
        let mut servers = self
            .settings
            .with_prefix("server.")
            .filter(|(id, _)| id.starts_with(|c: char| c.is_ascii_digit()));
        servers.all(|(_, setting)| matches!(setting.origin, Origin::File(..)))
    }

    fn own_role(&mut self, membership: &Membership, my_id: u8) {
        let told = self.choice(
            "peerType",
            None,
            &[("participant", Some(Role::Participant)), ("observer", Some(Role::Observer))],
        );
        let role = membership.member(my_id).map_or(Role::Participant, |member| member.role);
        if let Some(told) = told.filter(|told| *told != role) {
            self.warnings.push(format!(
                "peerType={told} changes nothing: by the server.N lines this server is a{} {role}",
                if role == Role::Observer { "n" } else { "" }
            ));
        }
    }

    /// What lets strangers in, or keeps members out.
    fn strangers(&mut self, config: &EnsembleConfig) {
        let others = || config.membership.members.iter().filter(|member| member.id != config.my_id);
        let hosts = |member: &Member| -> Vec<String> {
            member.addresses.iter().map(|address| address.host.clone()).collect()
        };
        for member in others() {
            for host in hosts(member).iter().filter(|host| is_wildcard(host)) {
                self.problems.push(format!(
                    "server.{}: {host} is no address to connect to; only a member's own line may say so",
                    member.id
                ));
            }
        }
        let everywhere = config.links.listen_everywhere;
        let exposed = config.membership.members.iter().flat_map(hosts).any(|host| !is_loopback(&host));
        if !config.links.is_authenticated() && (exposed || everywhere) {
            self.warnings.push(
                "members are NOT AUTHENTICATED: whoever reaches their ports can change all data; set rookery.peerSecretFile \
                 to a file that all members have, or sslQuorum=true"
                    .to_owned(),
            );
        }
    }

    // ---- Who a peer is ----

    fn peer_secret(&mut self) -> Option<Secret> {
        let from_sasl = self.quorum_sasl();
        let path = self.text("rookery.peerSecretFile").map(PathBuf::from);
        let (key, secret) = match (self.text("rookery.peerSecret").map(Secret::new), path) {
            (Some(_), Some(_)) => {
                self.wrong("rookery.peerSecretFile", "rookery.peerSecret is set too; one of them is enough");
                return None;
            }
            (Some(secret), None) => ("rookery.peerSecret", secret),
            (None, Some(path)) => match read_bounded(&path).map(String::from_utf8) {
                Ok(Ok(text)) => ("rookery.peerSecretFile", Secret::new(text.trim())),
                Ok(Err(_)) => {
                    self.wrong("rookery.peerSecretFile", "the file is no text");
                    return None;
                }
                Err(error) => {
                    self.wrong("rookery.peerSecretFile", &format!("cannot be read: {error}"));
                    return None;
                }
            },
            (None, None) => return from_sasl,
        };
        if secret.reveal().chars().count() < PEER_SECRET_CHARACTERS_MIN {
            self.wrong(
                key,
                &format!(
                    "the secret must have at least {PEER_SECRET_CHARACTERS_MIN} characters; make one with: openssl rand -hex 32"
                ),
            );
        }
        Some(secret)
    }

    /// The user and password with which ZooKeeper's members log in at each other are a secret they all know.
    fn quorum_sasl(&mut self) -> Option<Secret> {
        let (enabled, learner, server) =
            ("quorum.auth.enableSasl", "quorum.auth.learnerRequireSasl", "quorum.auth.serverRequireSasl");
        let enable = self.flag(enabled, false);
        let learner_requires = self.flag(learner, false);
        let server_requires = self.flag(server, false);
        if learner_requires && !enable {
            self.wrong(learner, &format!("needs {enabled}=true"));
        }
        if server_requires && !learner_requires {
            self.wrong(
                server,
                &format!("needs {learner}=true, or this member could not join its own ensemble"),
            );
        }
        let learner_section =
            self.text("quorum.auth.learner.saslLoginContext").unwrap_or("QuorumLearner").to_owned();
        let server_section =
            self.text("quorum.auth.server.saslLoginContext").unwrap_or("QuorumServer").to_owned();
        if !enable {
            return None;
        }
        let key = "java.security.auth.login.config";
        let Some(path) = self.text(key).map(PathBuf::from) else {
            self.wrong(enabled, &format!("needs {key}, a file with the section {learner_section}"));
            return None;
        };
        let text = match read_bounded(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // Reading it for clients has said so already.
            Err(_) => return None,
        };
        let login = match jaas::login(&text, &learner_section) {
            Ok(login) => login,
            Err(error) => {
                self.wrong(key, &error.to_string());
                return None;
            }
        };
        match jaas::users(&text, &server_section) {
            Ok(accounts) if accounts.get(&login.user) == Some(&login.password) => {}
            Ok(_) => {
                self.wrong(
                    key,
                    &format!(
                        "section \"{server_section}\" has no account of \"{}\" with the password that section \
                         \"{learner_section}\" gives",
                        login.user
                    ),
                );
            }
            Err(error) => self.wrong(key, &error.to_string()),
        }
        Some(Secret::new(format!("{}:{}", login.user, login.password.reveal())))
    }

    fn peer_tls(&mut self, is_ensemble: bool, handshake_timeout: Duration) -> Option<PeerTlsConfig> {
        let stores = self.tls_stores("ssl.quorum");
        for key in ["ssl.quorum.crl", "ssl.quorum.ocsp"] {
            self.only_false(key);
        }
        let () = self.choice("ssl.quorum.clientAuth", (), &[("need", ())]);
        let (dial, either) = (self.flag("sslQuorum", false), self.flag("portUnification", false));
        let reload = self.flag("sslQuorumReloadCertFiles", false);
        let verify_host = self.flag("ssl.quorum.hostnameVerification", true);
        let verify_dialer_host = self.flag("ssl.quorum.clientHostnameVerification", verify_host);
        // Whoever accepts both must be able to do both, before the first member dials with TLS.
        if !(dial || either) || !is_ensemble {
            return None;
        }
        if either && dial {
            self.warnings.push(
                "portUnification=true: members that come without TLS are let in; switch it off once all have changed over"
                    .to_owned(),
            );
        }
        let (Some(key_store), Some(trust_store)) = (stores.key_store, stores.trust_store) else {
            self.problems.push(
                "TLS between members needs ssl.quorum.keyStore.location and ssl.quorum.trustStore.location, PEM files with \
                 this member's certificate and key, and with the authorities of all members"
                    .to_owned(),
            );
            return None;
        };
        Some(PeerTlsConfig {
            tls: TlsConfig {
                key_store,
                trust_store: Some(trust_store),
                client_auth: ClientAuth::Need,
                tls12: stores.tls12,
                tls13: stores.tls13,
                cipher_suites: stores.cipher_suites,
                reload,
                handshake_timeout,
                handshakes_max: limits::PEER_HANDSHAKES_MAX as u32,
            },
            dial,
            accept_plain: either || !dial,
            verify_acceptor_host: verify_host,
            verify_dialer_host: verify_host && verify_dialer_host,
        })
    }
}
