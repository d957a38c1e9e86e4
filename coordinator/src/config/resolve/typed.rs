//! Values of every type a setting can have, and what is said when one is wrong.

use super::*;

impl Reader<'_> {
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        debug_assert!(
            keys::find(key).is_some_and(|(k, _)| k.effect == Effect::Honoured),
            "{key} is not in the table"
        );
        self.settings.get(key).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.settings.get(key).is_some()
    }

    pub(super) fn wrong(&mut self, key: &str, allowed: &str) {
        let (value, origin) = match self.settings.get(key) {
            Some(Setting { value, origin }) => (value.as_str(), origin.to_string()),
            None => ("", "not set".to_owned()),
        };
        let shown = if keys::find(key).is_some_and(|(key, _)| key.secret) { "***" } else { value };
        self.problems.push(format!("{key}={shown} ({origin}): {allowed}"));
    }

    pub(super) fn number_or_none(&mut self, key: &str, allowed: RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(key)?;
        match text.parse::<i64>() {
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => {
                let (low, high) = allowed.into_inner();
                self.wrong(key, &format!("must be a whole number between {low} and {high}"));
                None
            }
        }
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        default: T,
        allowed: RangeInclusive<i64>,
    ) -> T {
        match self.number_or_none(key, allowed) {
            // A range that T cannot hold is a mistake in the call, found by the first test that sets the key.
            Some(number) => T::try_from(number).unwrap_or(default),
            None => default,
        }
    }

    pub(super) fn millis(&mut self, key: &str, default: u64, allowed: RangeInclusive<i64>) -> Duration {
        Duration::from_millis(self.number(key, default, allowed))
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "yes") => true,
            Some("false" | "no") => false,
            Some(_) => {
                self.wrong(key, "must be true or false (or yes or no)");
                default
            }
        }
    }

    /// A switch for a protection that is not built: whoever asks for it must not get less without noticing.
    pub(super) fn only_false(&mut self, key: &str) {
        if self.flag(key, false) {
            self.wrong(key, "is not supported; only false is allowed");
        }
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(key) else { return default };
        match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                self.wrong(key, &format!("must be {}", names.join(" or ")));
                default
            }
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let items = self.text(key).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn port(&mut self, key: &str) -> Option<u16> {
        self.number_or_none(key, 0..=65535).map(|port| port as u16)
    }

    pub(super) fn address(&mut self, key: &str, default: IpAddr) -> IpAddr {
        let Some(text) = self.text(key) else { return default };
        match resolve_host(text) {
            Some(address) => address,
            None => {
                self.wrong(key, "must be an address of this machine or a name that resolves to one");
                default
            }
        }
    }
}

pub(super) fn resolve_host(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    // All IPv4 addresses and all addresses are the same wish, and the second serves both.
    if bare == "0.0.0.0" || bare == "*" {
        return Some(EVERYWHERE);
    }
    bare.parse().ok().or_else(|| Some((bare, 0).to_socket_addrs().ok()?.next()?.ip()))
}
