//! TLS for clients.

use rustls::crypto::ring;

/// The cipher suites that can be offered, by their standard names.
pub fn cipher_suite_names() -> Vec<String> {
    ring::ALL_CIPHER_SUITES.iter().map(|suite| standard_name(*suite)).collect()
}

/// Those of `names` that cannot be offered.
pub fn unknown_cipher_suites(names: &[String]) -> Vec<&str> {
    let known = cipher_suite_names();
    names.iter().filter(|name| !known.contains(name)).map(String::as_str).collect()
}

/// The name Java and the standards use; the library marks suites of TLS 1.3 in its own way.
fn standard_name(suite: rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}
