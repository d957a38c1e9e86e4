//! The Java login configuration, as far as a server needs it: the user names and passwords of the DIGEST-MD5 login module
//! in the section `Server`.

use super::Secret;
use std::collections::BTreeMap;

/// The module whose `user_<name>="<password>"` options are the accounts.
const DIGEST_MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";

/// What is wrong with a login configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JaasError {
    /// The text does not follow the format.
    #[error("line {line}: expected {expected}")]
    Syntax {
        /// Where, counted from 1.
        line: usize,
        /// What should have stood there.
        expected: &'static str,
    },
    /// The section the server uses is missing.
    #[error("there is no section \"{0}\"")]
    NoSection(String),
    /// The section is there, but has no accounts for DIGEST-MD5.
    #[error("section \"{section}\" has no {DIGEST_MODULE} with a user_<name>=\"<password>\" option")]
    NoUsers {
        /// The section that was looked at.
        section: String,
    },
    /// The section is there, but says not who this member is.
    #[error(
        "section \"{section}\" has no {DIGEST_MODULE} with username=\"<name>\" and password=\"<password>\""
    )]
    NoLogin {
        /// The section that was looked at.
        section: String,
    },
    /// Kerberos needs a key tab and a realm; only DIGEST-MD5 is offered.
    #[error("section \"{section}\" uses {module}; only {DIGEST_MODULE} is supported")]
    OtherModule {
        /// The section that was looked at.
        section: String,
        /// The class it names.
        module: String,
    },
}

/// Who a member says it is.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
}

/// Reads the accounts of `section`.
pub(super) fn users(text: &str, section: &str) -> Result<BTreeMap<String, Secret>, JaasError> {
    let mut users = options(text, section)?;
    users = users.into_iter().filter_map(|(k, v)| Some((k.strip_prefix("user_")?.to_owned(), v))).collect();
    if users.is_empty() { Err(JaasError::NoUsers { section: section.to_owned() }) } else { Ok(users) }
}

/// Reads user and password of `section`.
pub(super) fn login(text: &str, section: &str) -> Result<Login, JaasError> {
    let mut options = options(text, section)?;
    match (options.remove("username"), options.remove("password")) {
        (Some(user), Some(password)) => Ok(Login { user: user.reveal().to_owned(), password }),
        _ => Err(JaasError::NoLogin { section: section.to_owned() }),
    }
}

/// The options of the DIGEST-MD5 module in `section`.
fn options(text: &str, section: &str) -> Result<BTreeMap<String, Secret>, JaasError> {
    let mut tokens = Tokens { rest: text, line: 1 };
    let mut found = false;
    let mut other = None;
    let mut ours = false;
    let mut options = BTreeMap::new();
    while let Some(name) = tokens.next()? {
        let wanted = name == section;
        found |= wanted;
        tokens.expect("{")?;
        loop {
            let module = tokens.required("a login module or }")?;
            if module == "}" {
                break;
            }
            tokens.required("required, requisite, sufficient or optional")?;
            match (wanted, module == DIGEST_MODULE) {
                (true, true) => ours = true,
                (true, false) => other = Some(module.clone()),
                (false, _) => {}
            }
            loop {
                let option = tokens.required("an option or ;")?;
                if option == ";" {
                    break;
                }
                tokens.expect("=")?;
                let value = tokens.required("a value")?;
                if wanted && module == DIGEST_MODULE {
                    options.insert(option, Secret::new(value));
                }
            }
        }
        tokens.expect(";")?;
    }
    match (found, other, ours) {
        (false, ..) => Err(JaasError::NoSection(section.to_owned())),
        (true, Some(module), false) => Err(JaasError::OtherModule { section: section.to_owned(), module }),
        (true, _, _) => Ok(options),
    }
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn syntax(&self, expected: &'static str) -> JaasError {
        JaasError::Syntax { line: self.line, expected }
    }

    fn take(&mut self, bytes: usize) -> &str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), JaasError> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            let comment = if self.rest.starts_with("//") || self.rest.starts_with('#') {
                self.rest.find('\n').unwrap_or(self.rest.len())
            } else if self.rest.starts_with("/*") {
                self.rest
                    .find("*/")
                    .map(|end| end + 2)
                    .ok_or_else(|| self.syntax("*/ at the end of a comment"))?
            } else {
                return Ok(());
            };
            self.take(comment);
        }
    }

    fn next(&mut self) -> Result<Option<String>, JaasError> {
        self.skip_blanks_and_comments()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if "{};=".contains(first) {
            return Ok(Some(self.take(1).to_owned()));
        }
        if first == '"' {
            let mut value = String::new();
            let mut escaped = false;
            for (index, c) in self.rest.char_indices().skip(1) {
                match c {
                    _ if escaped => {
                        value.push(c);
                        escaped = false;
                    }
                    '\\' => escaped = true,
                    '"' => {
                        self.take(index + 1);
                        return Ok(Some(value));
                    }
                    _ => value.push(c),
                }
            }
            return Err(self.syntax("a closing quote"));
        }
        let ends = |c: char| c.is_whitespace() || "{};=\"".contains(c);
        let length = self.rest.find(ends).unwrap_or(self.rest.len());
        Ok(Some(self.take(length).to_owned()))
    }

    fn required(&mut self, expected: &'static str) -> Result<String, JaasError> {
        self.next()?.ok_or_else(|| self.syntax(expected))
    }

    fn expect(&mut self, token: &'static str) -> Result<(), JaasError> {
        if self.next()?.as_deref() == Some(token) { Ok(()) } else { Err(self.syntax(token)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"
        // for members of an ensemble
        QuorumServer { org.apache.zookeeper.server.auth.DigestLoginModule required user_q="q"; };
        QuorumLearner {
            org.apache.zookeeper.server.auth.DigestLoginModule required username="q" password="geheim";
        };
        Server {
            org.apache.zookeeper.server.auth.DigestLoginModule required
            user_super="adminsecret"
            /* two
               people */
            user_bob="with \"quotes\" and ; {"
            other=true;
        };
    "#;

    #[test]
    fn accounts_of_the_named_section() {
        let users = users(FILE, "Server").unwrap();
        let plain: Vec<_> = users.iter().map(|(name, secret)| (name.as_str(), secret.reveal())).collect();
        assert_eq!(plain, [("bob", "with \"quotes\" and ; {"), ("super", "adminsecret")]);
        assert!(!format!("{users:?}").contains("adminsecret"));
    }

    #[test]
    fn login_of_a_member() {
        let login = login(FILE, "QuorumLearner").unwrap();
        assert_eq!((login.user.as_str(), login.password.reveal()), ("q", "geheim"));
        assert_eq!(
            super::login(FILE, "Server").unwrap_err(),
            JaasError::NoLogin { section: "Server".into() }
        );
        assert!(matches!(users(FILE, "QuorumLearner"), Err(JaasError::NoUsers { .. })));
    }

    #[test]
    fn errors_name_the_place() {
        assert_eq!(users(FILE, "Other"), Err(JaasError::NoSection("Other".into())));
        assert_eq!(
            users("Server { x required", "Server"),
            Err(JaasError::Syntax { line: 1, expected: "an option or ;" })
        );
        assert_eq!(users("\n\nServer x", "Server"), Err(JaasError::Syntax { line: 3, expected: "{" }));
        let kerberos = users("Server { com.sun.security.auth.module.Krb5LoginModule required; };", "Server");
        assert!(matches!(kerberos, Err(JaasError::OtherModule { .. })), "{kerberos:?}");
        let empty = users(&format!("Server {{ {DIGEST_MODULE} required; }};"), "Server");
        assert!(matches!(empty, Err(JaasError::NoUsers { .. })), "{empty:?}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z{};=\"/*\\\\ \n]{0,80}") {
            let _ = users(&text, "Server");
        }
    }
}
