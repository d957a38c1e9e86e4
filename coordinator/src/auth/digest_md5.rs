//! The server's side of SASL DIGEST-MD5 (RFC 2831), with the realm, protocol and leniency of ZooKeeper's Java server.
//!
//! The client sends an empty token, gets a challenge, sends its response, and gets `rspauth`, which shows that the server
//! knows the password too. What a Java server accepts was tried out: quality of protection `auth` only, stated or not;
//! optional `maxbuf` and `charset`; the digest URI in any case; the nonce count is taken to be one whatever it says; an
//! authorization id takes part in the digest and changes nothing else.

use crate::limits::SASL_TOKEN_BYTES_MAX;
use md5::{Digest, Md5};
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// The realm every ZooKeeper server names, which clients also expect as its host name.
const REALM: &str = "zk-sasl-md5";
/// What clients must ask for: protocol and host.
const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";
/// A nonce may be used for one response only, so this is its count.
const NONCE_COUNT: &str = "00000001";

/// One exchange with one client.
#[derive(Debug)]
pub struct DigestMd5 {
    nonce: String,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Challenged,
    Over,
}

/// What to do after a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this and wait for the next token.
    Challenge(Vec<u8>),
    /// Send this; the client is this user.
    Done {
        /// The server's own proof.
        token: Vec<u8>,
        /// Who it is.
        user: String,
    },
    /// The client is nobody. The text is for the log.
    Failed(&'static str),
}

impl DigestMd5 {
    /// A fresh exchange. `random` must be unpredictable and new for each; the nonce is made of it.
    pub fn new(random: [u8; 32]) -> DigestMd5 {
        DigestMd5 { nonce: hex(&random), state: State::Fresh }
    }

    /// Takes a token of the client. `password` looks up a user's password.
    pub fn step<'p>(&mut self, token: &[u8], password: impl Fn(&str) -> Option<&'p str>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            // Java clients send an empty token first; what else might be in it is not looked at.
            State::Fresh => {
                self.state = State::Challenged;
                let nonce = &self.nonce;
                let challenge =
                    format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
                Step::Challenge(challenge.into_bytes())
            }
            State::Challenged => self.verify(token, password),
            State::Over => Step::Failed("the exchange is over"),
        }
    }

    fn verify<'p>(&self, token: &[u8], password: impl Fn(&str) -> Option<&'p str>) -> Step {
        if token.len() > SASL_TOKEN_BYTES_MAX {
            return Step::Failed("the response is too long");
        }
        let response = match Response::parse(token) {
            Ok(response) => response,
            Err(reason) => return Step::Failed(reason),
        };
        if response.nonce != self.nonce {
            return Step::Failed("the nonce is not the one of the challenge");
        }
        if response.realm != REALM {
            return Step::Failed("the realm is not the one of the challenge");
        }
        if !response.digest_uri.eq_ignore_ascii_case(DIGEST_URI) {
            return Step::Failed("the digest URI names another service");
        }
        if response.qop.as_deref().is_some_and(|qop| qop != "auth") {
            return Step::Failed("only authentication is offered, not integrity or confidentiality");
        }
        // An unknown user takes the same time as a wrong password.
        let known = password(&response.username);
        let secret = response.secret(known.unwrap_or_default());
        let expected = response.digest(&secret, "AUTHENTICATE:");
        let equal = bool::from(expected.as_bytes().ct_eq(response.response.as_bytes()));
        if !equal || known.is_none() {
            return Step::Failed("the user or the password is wrong");
        }
        let token = format!("rspauth={}", response.digest(&secret, ":"));
        Step::Done { token: token.into_bytes(), user: response.username }
    }
}

#[derive(Debug, Default)]
struct Response {
    username: String,
    realm: String,
    nonce: String,
    cnonce: String,
    digest_uri: String,
    response: String,
    qop: Option<String>,
    authzid: Option<String>,
}

impl Response {
    fn parse(token: &[u8]) -> Result<Response, &'static str> {
        let text = std::str::from_utf8(token).map_err(|_| "the response is no UTF-8")?;
        let mut response = Response::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in directives(text)? {
            if seen.contains(&name) {
                return Err("a directive is repeated");
            }
            match name.as_str() {
                "username" => response.username = value,
                "realm" => response.realm = value,
                "nonce" => response.nonce = value,
                "cnonce" => response.cnonce = value,
                "digest-uri" => response.digest_uri = value,
                "response" => response.response = value,
                "qop" => response.qop = Some(value),
                "authzid" => response.authzid = Some(value),
                // charset, maxbuf, nc, and whatever later standards add.
                _ => {}
            }
            seen.push(name);
        }
        let needed = ["username", "nonce", "cnonce", "digest-uri", "response"];
        if needed.iter().any(|name| !seen.iter().any(|seen| seen == name)) {
            return Err("a directive is missing");
        }
        Ok(response)
    }

    /// The session's secret, A1.
    fn secret(&self, password: &str) -> Vec<u8> {
        let user: Vec<u8> =
            [latin1(&self.username), latin1(&self.realm), latin1(password)].join(b":".as_slice());
        let mut secret = Md5::digest(user).to_vec();
        for part in [Some(&self.nonce), Some(&self.cnonce), self.authzid.as_ref()].into_iter().flatten() {
            secret.push(b':');
            secret.extend_from_slice(part.as_bytes());
        }
        secret
    }

    fn digest(&self, secret: &[u8], purpose: &str) -> String {
        let secret = hex(&Md5::digest(secret));
        let purpose = hex(&Md5::digest(format!("{purpose}{}", self.digest_uri)));
        let (nonce, cnonce) = (&self.nonce, &self.cnonce);
        hex(&Md5::digest(format!("{secret}:{nonce}:{NONCE_COUNT}:{cnonce}:auth:{purpose}")))
    }
}

/// The standard hashes a text that fits Latin-1 in that form, any other as UTF-8.
fn latin1(text: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Splits `name=value,name="quoted \"value\""`, blanks around anything allowed.
fn directives(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("a directive has no value")?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), &after[end..])
            }
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return Err("something follows a quoted value"),
        };
    }
    Ok(found)
}

fn unquote(quoted: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[index + 1..])),
            '\\' => value.push(chars.next().ok_or("a quoted value has no end")?.1),
            _ => value.push(c),
        }
    }
    Err("a quoted value has no end")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn password(user: &str) -> Option<&'static str> {
        match user {
            "bob" => Some("bobsecret"),
            "jürgen" => Some("größe"),
            _ => None,
        }
    }

    /// Recorded from a run of a Java 17 server (Apache ZooKeeper 3.9.4) with a client of our own.
    #[test]
    fn the_proof_is_what_java_computes() {
        let mut exchange = DigestMd5 { nonce: NONCE.to_owned(), state: State::Challenged };
        let token = RECORDED.replace("NONCE", NONCE);
        let expected = Step::Done { token: RSPAUTH.as_bytes().to_vec(), user: "bob".to_owned() };
        assert_eq!(exchange.step(token.as_bytes(), password), expected);
    }

    const NONCE: &str = "+74E0v9UBhSn7PQoue2p+W+RqFh0sv2amANgP+Ny";
    const RECORDED: &str = "charset=utf-8,username=\"bob\",realm=\"zk-sasl-md5\",nonce=\"NONCE\",nc=00000001,cnonce=\"abc\",digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,response=4639f9c2d2f2a9e4828bf5abd80f7d10,qop=auth";
    const RSPAUTH: &str = "rspauth=b6c3d29679671e4afb13459a087a83af";

    /// The response of a well-behaved client, with fields a test may change before the digest is computed.
    fn client(user: &str, password: &str, change: impl Fn(&mut Response)) -> (DigestMd5, String) {
        let mut exchange = DigestMd5::new([7; 32]);
        let Step::Challenge(challenge) = exchange.step(b"", |_| None) else { panic!("no challenge") };
        let challenge = directives(std::str::from_utf8(&challenge).unwrap()).unwrap();
        let value = |name: &str| challenge.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let mut response = Response {
            username: user.to_owned(),
            realm: value("realm"),
            nonce: value("nonce"),
            cnonce: "abc".to_owned(),
            digest_uri: DIGEST_URI.to_owned(),
            ..Response::default()
        };
        change(&mut response);
        response.response = response.digest(&response.secret(password), "AUTHENTICATE:");
        let Response { username, realm, nonce, cnonce, digest_uri, response, .. } = response;
        let token = format!(
            "charset=utf-8,username=\"{username}\",realm=\"{realm}\",nonce=\"{nonce}\",nc=00000001,cnonce=\"{cnonce}\",\
             digest-uri=\"{digest_uri}\",maxbuf=65536,response={response},qop=auth"
        );
        (exchange, token)
    }

    fn outcome(
        change: impl Fn(&mut Response),
        edit: impl Fn(String) -> String,
    ) -> Result<String, &'static str> {
        let (mut exchange, token) = client("bob", "bobsecret", change);
        match exchange.step(edit(token).as_bytes(), password) {
            Step::Done { user, .. } => Ok(user),
            Step::Failed(reason) => Err(reason),
            Step::Challenge(_) => panic!("a second challenge"),
        }
    }

    // Each verdict is the one the Java server gave to the same change.
    #[test]
    fn as_lenient_as_the_java_server() {
        let same = |_: &mut Response| {};
        let bob = Ok("bob".to_owned());
        assert_eq!(outcome(same, |token| token), bob);
        assert_eq!(outcome(same, |token| token.replace(",qop=auth", "")), bob);
        assert_eq!(outcome(same, |token| token.replace("qop=auth", "qop=\"auth\"")), bob);
        assert_eq!(outcome(same, |token| token.replace("maxbuf=65536,", "")), bob);
        assert_eq!(outcome(same, |token| token.replace("charset=utf-8,", "")), bob);
        assert_eq!(outcome(same, |token| token.replace("00000001", "00000002")), bob);
        assert_eq!(outcome(same, |token| token.replace(',', " , ")), bob);
        assert_eq!(outcome(same, |token| token + ",foo=bar"), bob);
        assert_eq!(outcome(|r| r.digest_uri = "ZooKeeper/zk-sasl-md5".to_owned(), |token| token), bob);
        assert_eq!(outcome(|r| r.authzid = Some("eve".to_owned()), |token| token + ",authzid=\"eve\""), bob);
    }

    #[test]
    fn as_strict_as_the_java_server() {
        let same = |_: &mut Response| {};
        let refused = |result: Result<String, &'static str>, part: &str| {
            let reason = result.expect_err(part);
            assert!(reason.contains(part), "{reason}");
        };
        refused(outcome(|r| r.digest_uri = "zookeeper/other".to_owned(), |token| token), "another service");
        refused(outcome(|r| r.realm = "other".to_owned(), |token| token), "realm");
        refused(outcome(same, |token| token.replace("realm=\"zk-sasl-md5\",", "")), "realm");
        refused(outcome(|r| r.nonce = "other".to_owned(), |token| token), "nonce");
        refused(outcome(same, |token| token.replace("qop=auth", "qop=auth-conf")), "only authentication");
        refused(outcome(same, |token| token + ",username=\"bob\""), "repeated");
        refused(outcome(same, |_| String::new()), "missing");
        refused(outcome(same, |token| token.replace("bob", "eve")), "user or the password");
        let (mut exchange, token) = client("bob", "wrong", same);
        assert_eq!(
            exchange.step(token.as_bytes(), password),
            Step::Failed("the user or the password is wrong")
        );
        assert_eq!(exchange.step(token.as_bytes(), password), Step::Failed("the exchange is over"));
        let (mut exchange, token) = client("eve", "", same);
        assert_eq!(
            exchange.step(token.as_bytes(), password),
            Step::Failed("the user or the password is wrong")
        );
    }

    #[test]
    fn names_beyond_ascii() {
        let (mut exchange, token) = client("jürgen", "größe", |_| {});
        assert!(
            matches!(exchange.step(token.as_bytes(), password), Step::Done { user, .. } if user == "jürgen")
        );
        assert_eq!(latin1("größe"), b"gr\xf6\xdfe");
        assert_eq!(latin1("日本"), "日本".as_bytes());
    }

    proptest! {
        #[test]
        fn no_token_panics(token: Vec<u8>, text in "[a-z=\",\\\\ ]{0,60}") {
            for token in [token.as_slice(), text.as_bytes()] {
                let mut exchange = DigestMd5::new([0; 32]);
                exchange.step(b"", |_| None);
                prop_assert!(matches!(exchange.step(token, |_| Some("")), Step::Failed(_)));
            }
        }
    }
}
