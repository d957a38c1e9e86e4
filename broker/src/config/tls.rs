//! How do SSL listeners prove who they are, and whom do they trust?

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Listeners, Problems, Protocol, Values};

/// What one listener uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    pub key_store: PathBuf,
    pub trust_store: Option<PathBuf>,
    pub client_auth: ClientAuth,
}

/// Whether clients must prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Requested,
    Required,
}

/// What the SSL listeners use with these settings, by their names; or what is wrong with that.
pub fn tls_configs(values: &Values, listeners: &Listeners) -> Result<BTreeMap<String, TlsConfig>, String> {
    let mut problems = Problems::default();
    let configs = resolve(values, listeners, &mut problems);
    match problems.errors.first() {
        None => Ok(configs),
        Some(problem) => Err(problem.text.clone()),
    }
}

/// The setting that `name` is for one of the listeners, if it is one: `ssl.keystore.location` of
/// `listener.name.external.ssl.keystore.location`.
pub fn of_listener<'a>(name: &'a str, listeners: &Listeners) -> Option<&'a str> {
    listeners.bind.iter().find_map(|listener| name.strip_prefix(&prefix(&listener.name)))
}

fn prefix(listener: &str) -> String {
    format!("listener.name.{}.", listener.to_ascii_lowercase())
}

pub(super) fn resolve(
    values: &Values,
    listeners: &Listeners,
    problems: &mut Problems,
) -> BTreeMap<String, TlsConfig> {
    let mut configs = BTreeMap::new();
    for listener in listeners.bind.iter().filter(|listener| listener.protocol == Protocol::Ssl) {
        if let Some(config) = one(values, &listener.name, problems) {
            configs.insert(listener.name.clone(), config);
        }
    }
    configs
}

fn one(values: &Values, listener: &str, problems: &mut Problems) -> Option<TlsConfig> {
    // What is said of this listener goes before what is said of all.
    let own = |name: &str| format!("{}{name}", prefix(listener));
    let said = |name: &str| match values.explicit(&own(name)) {
        Some(value) => (own(name), Some(value)),
        None => (name.to_owned(), values.explicit(name)),
    };
    let (name, Some(key_store)) = said("ssl.keystore.location") else {
        let what = "an SSL listener needs it: a PEM file with the key and the certificates";
        values.complain("ssl.keystore.location", what, problems);
        return None;
    };
    if key_store.is_empty() {
        values.complain(&name, "the name of a file is wanted", problems);
    }
    for store in ["ssl.keystore.type", "ssl.truststore.type"] {
        if let (name, Some(kind)) = said(store)
            && kind != "PEM"
        {
            values.complain(&name, "this release reads PEM", problems);
        }
    }
    let client_auth = match said("ssl.client.auth") {
        (_, Some("required")) => ClientAuth::Required,
        (_, Some("requested")) => ClientAuth::Requested,
        (_, Some("none") | None) => ClientAuth::None,
        (name, Some(_)) => {
            values.complain(&name, "none, requested or required is allowed", problems);
            ClientAuth::None
        }
    };
    let (_, trust_store) = said("ssl.truststore.location");
    if trust_store.is_none() && client_auth != ClientAuth::None {
        values.complain("ssl.truststore.location", "ssl.client.auth needs it", problems);
    }
    let (key_store, trust_store) = (PathBuf::from(key_store), trust_store.map(PathBuf::from));
    Some(TlsConfig { key_store, trust_store, client_auth })
}

#[cfg(test)]
mod tests {
    use super::super::Listener;
    use super::*;

    #[test]
    fn a_listener_may_have_a_file_of_its_own() {
        let ssl = |name: &str| Listener {
            name: name.to_owned(),
            protocol: Protocol::Ssl,
            host: String::new(),
            port: 0,
        };
        let listeners = Listeners { bind: vec![ssl("SSL"), ssl("OUTSIDE")], ..Listeners::default() };
        let set = |pairs: &[(&str, &str)]| {
            let set = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            tls_configs(&Values::default().overlaid(&set), &listeners)
        };
        let both =
            [("ssl.keystore.location", "a.pem"), ("listener.name.outside.ssl.keystore.location", "b.pem")];
        let found = set(&both).expect("enough");
        assert_eq!(found["SSL"].key_store, PathBuf::from("a.pem"));
        assert_eq!(found["OUTSIDE"].key_store, PathBuf::from("b.pem"));
        assert!(set(&both[1..]).is_err(), "the other listener has none");
        assert!(set(&[both[0], ("listener.name.outside.ssl.client.auth", "required")]).is_err());
        assert_eq!(of_listener(both[1].0, &listeners), Some(both[0].0));
        assert_eq!(of_listener("listener.name.other.ssl.client.auth", &listeners), None);
    }
}
