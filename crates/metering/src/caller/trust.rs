//! Decides whether a hop may name the caller.

use ring::{hmac, rand};

use super::fields::SHARED_SECRET;
use super::identity::Trust;
use super::network::Network;
use super::peer::Peer;
use super::reload::{FromFile, Reload};
use super::strength::is_weak;
use http::header::HeaderMap;
use std::sync::Arc;

/// Two secrets are active while one is being replaced by the other.
const SECRETS_MAX: usize = 2;

/// How the hop that names the caller proves itself.
#[derive(Clone, Debug)]
pub enum HopTest {
    /// It need not: every hop passes.
    None,
    /// It knows one of these secrets (header `x-tokenweir-auth`).
    SharedSecret(Arc<Reload<Secrets>>),
    /// Its connection has a verified certificate, with one of these names if there are any.
    Mtls(Vec<String>),
    /// Its address is in one of these networks.
    Network(Vec<Network>),
}

impl HopTest {
    /// How the hop has proved itself; `None` if it has not.
    pub(super) fn ask(&self, headers: &HeaderMap, peer: &Peer) -> Option<Trust> {
        let (trust, passes) = match self {
            HopTest::None => (Trust::None, true),
            HopTest::SharedSecret(secrets) => (Trust::SharedSecret, secrets.current().admit(headers)),
            HopTest::Mtls(names) => {
                let shown = peer.certificate.as_ref();
                let fits = shown.is_some_and(|shown| names.is_empty() || shown.carries_any(names));
                (Trust::Mtls, fits)
            }
            HopTest::Network(networks) => {
                (Trust::Network, networks.iter().any(|network| network.contains(peer.ip)))
            }
        };
        passes.then_some(trust)
    }
}

/// The active secrets of the gateway. They themselves are not kept: only their tags under a random key.
pub struct Secrets {
    key: hmac::Key,
    tags: Vec<hmac::Tag>,
}

impl Secrets {
    /// It knows a secret: the header is there once and holds one of them.
    ///
    /// The time that this takes says nothing about the secrets. The value that was sent is not
    /// compared with them; its HMAC-SHA-256 under a random key is compared with theirs: whoever sends it can foresee no
    /// byte of that, so how many bytes agree means nothing (and `ring` compares tags in constant time
    /// anyway). The HMAC itself takes as long as what was sent is, not as a secret is. Every secret is
    /// tried, also behind one that matched.
    fn admit(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(&SHARED_SECRET).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let value = value.as_bytes();
        self.tags
            .iter()
            .fold(false, |found, tag| found | hmac::verify(&self.key, value, tag.as_ref()).is_ok())
    }
}

impl FromFile for Secrets {
    const BYTES_MAX: u64 = 64 * 1024;

    /// Secrets separated by commas or line ends. Those that can be guessed are refused (`strength`).
    fn parse(text: &str) -> Result<Secrets, String> {
        let secrets: Vec<&str> =
            text.split([',', '\n']).map(str::trim).filter(|secret| !secret.is_empty()).collect();
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            return Err(format!("holds {} secrets; allowed: 1 to {SECRETS_MAX}", secrets.len()));
        }
        if !secrets.iter().all(|secret| secret.bytes().all(|byte| (0x20..0x7f).contains(&byte))) {
            return Err("holds a secret that no header can carry; allowed: printable ASCII".to_owned());
        }
        if secrets.iter().any(|secret| is_weak(secret)) {
            return Err("holds a secret that is too easy to guess; allowed: 64 bits or more, as its length and its kinds \
                        of characters go, where repetitions, runs and common words count for next to nothing; \
                        `openssl rand -hex 32` makes one"
                .to_owned());
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| "cannot be used: no random bytes to be had from the system".to_owned())?;
        let tags = secrets.iter().map(|secret| hmac::sign(&key, secret.as_bytes())).collect();
        Ok(Secrets { key, tags })
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("active", &self.tags.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "new-0c6f9ab2d7e1483f";
    const OLD: &str = "old-q8Zt3Vw1Lr6B";

    #[test]
    fn one_or_two_secrets_are_active() {
        for (text, needle) in [
            ("", "0 secrets"),
            (" \n,", "0 secrets"),
            ("a,b\nc", "3 secrets"),
            ("caf\u{e9}", "ASCII"),
            ("hunter2", "openssl rand"),
            (&format!("{NEW},hunter2"), "openssl rand"),
        ] {
            let error = Secrets::parse(text).unwrap_err();
            assert!(error.contains(needle) && !error.contains("hunter2"), "{text:?}: {error}");
        }
        assert_eq!(Secrets::parse(&format!("{NEW}\r\n{OLD}\n")).unwrap().tags.len(), 2);
        assert!(!format!("{:?}", Secrets::parse(NEW).unwrap()).contains(NEW));
    }

    #[test]
    fn only_the_whole_secret_given_once_passes() {
        let both = format!("{NEW},{OLD}");
        let secrets = Secrets::parse(&both).unwrap();
        let admits = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SHARED_SECRET, value.parse().unwrap());
            }
            secrets.admit(&headers)
        };
        assert!(admits(&[NEW]) && admits(&[OLD]));
        let (shorter, longer, upper) = (&NEW[1..], format!("{NEW}r"), NEW.to_uppercase());
        for bad in [&[][..], &[""], &[shorter], &[&longer], &[&upper], &[&both], &[NEW, NEW]] {
            assert!(!admits(bad), "{bad:?}");
        }
    }
}
