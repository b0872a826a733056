//! From request headers to a [`Caller`].

use std::path::Path;
use std::str::FromStr;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use ring::{hmac, rand};

use super::{Caller, IdSource, Peer, Trust, token};

/// Longer names are refused: they would make the event, the Kafka key and every table unwieldy.
const ID_BYTES_MAX: usize = 128;
/// Two secrets are active while one is being replaced by the other.
const SECRETS_MAX: usize = 2;
/// Hex digits of a hashed API key: 48 bits, enough to tell callers apart and too few to search.
const KEY_HASH_BYTES: usize = 6;

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const SHARED_SECRET: HeaderName = HeaderName::from_static("x-tokenweir-auth");
const SUBSCRIPTION_ID: HeaderName = HeaderName::from_static("x-apim-subscription-id");
const PRODUCT_ID: HeaderName = HeaderName::from_static("x-apim-product-id");
const USER_ID: HeaderName = HeaderName::from_static("x-apim-user-id");
const API_ID: HeaderName = HeaderName::from_static("x-apim-api-id");
const OPERATION_ID: HeaderName = HeaderName::from_static("x-apim-operation-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-apim-request-id");
const ATTEMPT: HeaderName = HeaderName::from_static("x-apim-attempt");

/// Headers that the gateway sets for the sidecar; they never go on to the service.
pub const fn gateway_headers() -> [HeaderName; 8] {
    [SUBSCRIPTION_ID, PRODUCT_ID, USER_ID, API_ID, OPERATION_ID, REQUEST_ID, ATTEMPT, SHARED_SECRET]
}

/// Where a caller's id may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerSource {
    /// `x-apim-subscription-id`.
    ApimSubscription,
    /// A header of the operator's choice.
    Header(HeaderName),
    /// Claim `azp` or `appid` of the bearer token.
    EntraApp,
    /// A keyed hash of the `api-key` header.
    ApiKey,
}

/// A caller source that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no caller source; allowed: apim-subscription, header:NAME, entra-app, api-key")]
pub struct ParseSourceError(String);

impl FromStr for CallerSource {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSourceError(text.to_owned());
        match text {
            "apim-subscription" => Ok(CallerSource::ApimSubscription),
            "entra-app" => Ok(CallerSource::EntraApp),
            "api-key" => Ok(CallerSource::ApiKey),
            _ => {
                let name = text.strip_prefix("header:").ok_or_else(error)?;
                name.parse().map(CallerSource::Header).map_err(|_| error())
            }
        }
    }
}

/// The key of the API-key hashes.
#[derive(Clone, Debug)]
pub struct HashKey(hmac::Key);

/// The key of the API-key hashes could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file.
    #[error("{path}: {source}")]
    File {
        /// The file that could not be read or written.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system's source of randomness.
    #[error("no random bytes to be had from the system")]
    Random,
}

impl HashKey {
    /// The key with these bytes.
    pub fn new(bytes: &[u8]) -> HashKey {
        HashKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key kept in a file of 32 random bytes, which is made (0600) if it is not there.
    pub fn load_or_create(path: &Path) -> Result<HashKey, SecretError> {
        let error = |source| SecretError::File { path: path.display().to_string(), source };
        match std::fs::read(path) {
            Ok(bytes) => return Ok(HashKey::new(&bytes)),
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(error(source)),
            Err(_) => {}
        }
        let random: [u8; 32] =
            rand::generate(&rand::SystemRandom::new()).map_err(|_| SecretError::Random)?.expose();
        create_private(path, &random).map_err(error)?;
        Ok(HashKey::new(&random))
    }

    fn hash(&self, api_key: &[u8]) -> String {
        let tag = hmac::sign(&self.0, api_key);
        let hex: String =
            tag.as_ref().iter().take(KEY_HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        format!("key-{hex}")
    }
}

fn create_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// How callers are told apart.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// Asked in order.
    pub sources: Vec<CallerSource>,
    /// Secrets of the gateway: any of them proves the hop. `None`: no hop is asked for proof.
    pub shared_secrets: Option<Vec<String>>,
    /// Applications that are the gateway itself.
    pub gateway_app_ids: Vec<String>,
    /// The key of the API-key hashes.
    pub hash_key: HashKey,
}

/// Tells who pays for a request.
#[derive(Clone, Debug)]
pub struct Resolver {
    config: ResolverConfig,
    /// Compares secrets in constant time, by comparing their tags under a random key.
    compare: hmac::Key,
    secrets: Option<Vec<hmac::Tag>>,
}

/// What one source says.
enum Found {
    Nobody,
    Name(String),
    /// There is a value but it is no name.
    Malformed,
}

impl Resolver {
    /// A resolver. Fails only if the system has no random bytes.
    pub fn new(config: ResolverConfig) -> Result<Resolver, SecretError> {
        let compare = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| SecretError::Random)?;
        let tags = |all: &Vec<String>| {
            all.iter().take(SECRETS_MAX).map(|secret| hmac::sign(&compare, secret.as_bytes())).collect()
        };
        let secrets = config.shared_secrets.as_ref().map(tags);
        Ok(Resolver { config, compare, secrets })
    }

    /// The headers that must not go on to the service: the gateway's, and each configured one.
    pub fn removed_headers(&self) -> Vec<HeaderName> {
        let configured = self.config.sources.iter().filter_map(|source| match source {
            CallerSource::Header(name) => Some(name.clone()),
            _ => None,
        });
        gateway_headers().into_iter().chain(configured).collect()
    }

    /// Who pays for a request with these headers, that came from this hop.
    pub fn resolve(&self, headers: &HeaderMap, _peer: &Peer) -> Caller {
        let trust = if self.secrets.is_some() { Trust::SharedSecret } else { Trust::None };
        if !self.is_trusted(headers) {
            return Caller::unattributed(Trust::None);
        }
        let mut caller = Caller::unattributed(trust);
        caller.apim_subscription_id = plain(headers, &SUBSCRIPTION_ID);
        caller.apim_product_id = plain(headers, &PRODUCT_ID);
        caller.apim_user_id = plain(headers, &USER_ID);
        caller.apim_api_id = plain(headers, &API_ID);
        caller.apim_operation_id = plain(headers, &OPERATION_ID);
        caller.entra_app_id = self.entra_app(headers);
        self.name(&mut caller, headers);
        caller
    }

    fn name(&self, caller: &mut Caller, headers: &HeaderMap) {
        let mut winner: Option<String> = None;
        for source in &self.config.sources {
            match (self.ask(source, headers), &winner) {
                (Found::Nobody, _) => {}
                (Found::Malformed, None) => return,
                (Found::Name(id), None) => {
                    caller.id.clone_from(&id);
                    caller.id_source = source.kind();
                    winner = Some(id);
                }
                // An API key is as often the service's as the caller's: it contradicts nobody.
                (Found::Name(_) | Found::Malformed, Some(_)) if *source == CallerSource::ApiKey => {}
                (Found::Name(id), Some(first)) => caller.conflict |= id != *first,
                (Found::Malformed, Some(_)) => caller.conflict = true,
            }
        }
    }

    fn ask(&self, source: &CallerSource, headers: &HeaderMap) -> Found {
        match source {
            CallerSource::ApimSubscription => single(headers, &SUBSCRIPTION_ID),
            CallerSource::Header(name) => single(headers, name),
            CallerSource::EntraApp => self.entra_app(headers).map_or(Found::Nobody, checked),
            CallerSource::ApiKey => match headers.get(&API_KEY) {
                Some(key) if !key.is_empty() => Found::Name(self.config.hash_key.hash(key.as_bytes())),
                _ => Found::Nobody,
            },
        }
    }

    fn entra_app(&self, headers: &HeaderMap) -> Option<String> {
        let id = token::application_id(headers.get(AUTHORIZATION)?.to_str().ok()?)?;
        (is_name(&id) && !self.config.gateway_app_ids.contains(&id)).then_some(id)
    }

    fn is_trusted(&self, headers: &HeaderMap) -> bool {
        let Some(secrets) = &self.secrets else { return true };
        let mut given = headers.get_all(&SHARED_SECRET).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let value = value.as_bytes();
        // Every secret is tried: how long this takes says nothing about which one matched.
        secrets
            .iter()
            .fold(false, |found, tag| found | hmac::verify(&self.compare, value, tag.as_ref()).is_ok())
    }
}

impl CallerSource {
    fn kind(&self) -> IdSource {
        match self {
            CallerSource::ApimSubscription => IdSource::ApimSubscription,
            CallerSource::Header(_) => IdSource::Header,
            CallerSource::EntraApp => IdSource::EntraApp,
            CallerSource::ApiKey => IdSource::ApiKey,
        }
    }
}

/// The one value of a header. An empty one is what a gateway policy writes for "none".
fn single(headers: &HeaderMap, name: &HeaderName) -> Found {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Found::Nobody,
        (Some(_), Some(_)) => Found::Malformed,
        (Some(value), None) => match value.to_str().map(str::trim) {
            Ok("") => Found::Nobody,
            Ok(text) => checked(text.to_owned()),
            Err(_) => Found::Malformed,
        },
    }
}

fn plain(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    match single(headers, name) {
        Found::Name(text) => Some(text),
        _ => None,
    }
}

fn checked(id: String) -> Found {
    if is_name(&id) { Found::Name(id) } else { Found::Malformed }
}

fn is_name(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::super::UNATTRIBUTED;
    use super::*;

    fn resolver(sources: &str, secrets: Option<&[&str]>) -> Resolver {
        Resolver::new(ResolverConfig {
            sources: sources.split(',').map(|s| s.parse().unwrap()).collect(),
            shared_secrets: secrets.map(|all| all.iter().map(|s| (*s).to_owned()).collect()),
            gateway_app_ids: vec!["the-gateway".to_owned()],
            hash_key: HashKey::new(b"test"),
        })
        .unwrap()
    }

    fn peer() -> Peer {
        Peer::new(std::net::Ipv4Addr::LOCALHOST.into(), None)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn bearer(app: &str) -> String {
        use base64::Engine;
        let claims = format!(r#"{{"appid":"{app}"}}"#);
        format!("Bearer e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims))
    }

    const DEFAULT: &str = "apim-subscription,entra-app,api-key";

    #[test]
    fn the_first_source_that_names_somebody_wins() {
        let resolver = resolver(DEFAULT, None);
        let token = bearer("app-7");
        let both = headers(&[("x-apim-subscription-id", "team-a"), ("authorization", &token)]);
        let caller = resolver.resolve(&both, &peer());
        assert_eq!((caller.id.as_str(), caller.id_source), ("team-a", IdSource::ApimSubscription));
        assert!(caller.conflict);
        assert_eq!(caller.entra_app_id.as_deref(), Some("app-7"));

        let caller = resolver.resolve(&headers(&[("authorization", &token)]), &peer());
        assert_eq!((caller.id.as_str(), caller.id_source), ("app-7", IdSource::EntraApp));
        assert!(!caller.conflict);

        let caller = resolver.resolve(&headers(&[("api-key", "0123456789abcdef")]), &peer());
        assert_eq!(caller.id_source, IdSource::ApiKey);
        assert!(caller.id.starts_with("key-") && caller.id.len() == 16, "{}", caller.id);
        assert!(!caller.id.contains("0123456789"));
    }

    #[test]
    fn the_gateways_own_application_is_no_caller() {
        let caller =
            resolver(DEFAULT, None).resolve(&headers(&[("authorization", &bearer("the-gateway"))]), &peer());
        assert_eq!(caller.id, UNATTRIBUTED);
        assert_eq!(caller.entra_app_id, None);
    }

    #[test]
    fn a_malformed_name_is_nobody_and_not_the_next_source() {
        let long = "x".repeat(ID_BYTES_MAX + 1);
        let resolver = resolver(DEFAULT, None);
        for bad in [
            &[("x-apim-subscription-id", "a"), ("x-apim-subscription-id", "b"), ("api-key", "k")][..],
            &[("x-apim-subscription-id", long.as_str()), ("api-key", "k")],
            &[("x-apim-subscription-id", "caf\u{e9}"), ("api-key", "k")],
        ] {
            assert_eq!(resolver.resolve(&headers(bad), &peer()).id, UNATTRIBUTED, "{bad:?}");
        }
        let empty = headers(&[("x-apim-subscription-id", ""), ("api-key", "k")]);
        assert_eq!(resolver.resolve(&empty, &peer()).id_source, IdSource::ApiKey);
    }

    #[test]
    fn a_hop_without_the_secret_names_nobody() {
        let resolver = resolver(DEFAULT, Some(&["new", "old"]));
        for secret in ["new", "old"] {
            let good = headers(&[("x-apim-subscription-id", "a"), ("x-tokenweir-auth", secret)]);
            let caller = resolver.resolve(&good, &peer());
            assert_eq!((caller.id.as_str(), caller.trust), ("a", Trust::SharedSecret));
        }
        for bad in [
            &[("x-apim-subscription-id", "a")][..],
            &[("x-apim-subscription-id", "a"), ("x-tokenweir-auth", "ne")],
            &[("x-apim-subscription-id", "a"), ("x-tokenweir-auth", "new"), ("x-tokenweir-auth", "new")],
        ] {
            let caller = resolver.resolve(&headers(bad), &peer());
            assert_eq!((caller.id.as_str(), caller.trust), (UNATTRIBUTED, Trust::None), "{bad:?}");
            assert_eq!(caller.apim_subscription_id, None);
        }
    }

    #[test]
    fn a_configured_header_is_a_source_and_is_removed() {
        let resolver = resolver("header:x-team,apim-subscription", None);
        let caller =
            resolver.resolve(&headers(&[("x-team", "blue"), ("x-apim-subscription-id", "blue")]), &peer());
        assert_eq!(
            (caller.id.as_str(), caller.id_source, caller.conflict),
            ("blue", IdSource::Header, false)
        );
        assert!(resolver.removed_headers().contains(&HeaderName::from_static("x-team")));
        assert!(resolver.removed_headers().contains(&SHARED_SECRET));
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = HashKey::load_or_create(&path).unwrap().hash(b"k");
        assert_eq!(HashKey::load_or_create(&path).unwrap().hash(b"k"), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(HashKey::new(b"other").hash(b"k"), first);
    }
}
