//! Who clients are, and how they prove it.

use super::*;

impl Reader<'_> {
    pub(super) fn auth(&mut self) -> AuthConfig {
        let skip_acl = self.flag("skipACL", false);
        if skip_acl {
            self.warnings.push("skipACL=yes: every client may read and change everything".to_owned());
        }
        let digest_enabled = self.flag("DigestAuthenticationProvider.enabled", true);
        let algorithm = self.digest_algorithm();
        let super_digest = self.text("DigestAuthenticationProvider.superDigest").map(Secret::new);
        if super_digest.as_ref().is_some_and(|digest| digest.reveal().matches(':').count() != 1) {
            self.wrong(
                "DigestAuthenticationProvider.superDigest",
                "must be name:digest with exactly one colon",
            );
        }
        let sasl = self.sasl();
        let require_sasl = self.flag("sessionRequireClientSASLAuth", false);
        self.auth_providers(sasl.is_some());
        let mut required_schemes = Vec::new();
        if self.flag("enforce.auth.enabled", false) {
            required_schemes = self.list("enforce.auth.schemes");
            let known = ["digest", "x509", "sasl", "ip", "ensemble"];
            if required_schemes.is_empty()
                || required_schemes.iter().any(|scheme| !known.contains(&scheme.as_str()))
            {
                let allowed = format!("must name one or more of {}", known.join(", "));
                self.wrong("enforce.auth.schemes", &allowed);
            }
        }
        if sasl.is_none() && (require_sasl || required_schemes.iter().any(|scheme| scheme == "sasl")) {
            self.problems.push(
                "SASL is required of clients, but java.security.auth.login.config names no accounts"
                    .to_owned(),
            );
        }
        let ensemble_names = self.list("ensembleAuthName");
        AuthConfig {
            skip_acl,
            digest: digest_enabled.then_some(DigestConfig { algorithm, super_digest }),
            x509_super_user: self.text("X509AuthenticationProvider.superUser").map(str::to_owned),
            sasl,
            require_sasl,
            allow_sasl_failed: self.flag("allowSaslFailedClients", false),
            required_schemes,
            ensemble_names: (!ensemble_names.is_empty()).then_some(ensemble_names),
        }
    }

    pub(super) fn digest_algorithm(&mut self) -> DigestAlgorithm {
        use DigestAlgorithm::{Sha1, Sha256, Sha512};
        let choices = [("SHA1", Sha1), ("SHA-256", Sha256), ("SHA-512", Sha512), ("SHA-1", Sha1)];
        self.choice("DigestAuthenticationProvider.digestAlg", Sha1, &choices)
    }

    pub(super) fn sasl(&mut self) -> Option<SaslConfig> {
        let section = self.text("sasl.serverconfig").unwrap_or("Server").to_owned();
        let mut super_users: Vec<String> =
            self.settings.with_prefix("superUser").map(|(_, setting)| setting.value.clone()).collect();
        // The account called "super" is the super user of DIGEST-MD5 without being named one.
        super_users.push("super".to_owned());
        let super_password = self.text("SASLAuthenticationProvider.superPassword").map(Secret::new);
        let path = self.text("java.security.auth.login.config")?.to_owned();
        let text = match read_bounded(Path::new(&path)) {
            Ok(bytes) if bytes.len() > limits::CONFIG_FILE_BYTES_MAX => {
                self.wrong(
                    "java.security.auth.login.config",
                    "the file is too big to be a login configuration",
                );
                return None;
            }
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                self.wrong("java.security.auth.login.config", &format!("cannot be read: {error}"));
                return None;
            }
        };
        match jaas::users(&text, &section) {
            Ok(mut users) => {
                if let Some(password) = super_password {
                    users.insert("super".to_owned(), password);
                }
                Some(SaslConfig { users, super_users })
            }
            // Files that only configure the client side of a tool are common.
            Err(JaasError::NoSection(_)) if !self.is_set("sasl.serverconfig") => None,
            Err(error) => {
                self.wrong("java.security.auth.login.config", &error.to_string());
                None
            }
        }
    }

    pub(super) fn auth_providers(&mut self, sasl: bool) {
        let built_in = [
            ("SASLAuthenticationProvider", "java.security.auth.login.config"),
            ("X509AuthenticationProvider", ""),
            ("DigestAuthenticationProvider", ""),
            ("IPAuthenticationProvider", ""),
            ("EnsembleAuthenticationProvider", ""),
        ];
        let providers: Vec<_> = self
            .settings
            .with_prefix("authProvider.")
            .map(|(n, s)| (n.to_owned(), s.value.clone()))
            .collect();
        for (suffix, class) in providers {
            let short = class.rsplit('.').next().unwrap_or_default();
            match built_in.iter().find(|(name, _)| *name == short) {
                Some(("SASLAuthenticationProvider", key)) if !sasl => self.warnings.push(format!(
                    "authProvider.{suffix}: SASL is offered only when {key} names accounts"
                )),
                Some(_) => {}
                None => self.wrong(
                    &format!("authProvider.{suffix}"),
                    "Java classes cannot be loaded here; built in are the SASL, X509, Digest, IP and Ensemble providers",
                ),
            }
        }
    }
}
