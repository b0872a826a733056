//! Any headers, from any hop, under any settings, name the caller that the rules name, read here in the
//! plainest way: a hop that fails its test names nobody, what is doubled or malformed is charged to
//! nobody else, and the order of the headers says nothing. A certificate names only what stands in it.
#![no_main]

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use metering::caller::{
    Caller, CallerMap, CallerSource, CallerTag, Certificate, FromFile, HashKey, HopTest, IdSource, Network, Peer,
    Reload, Resolver, ResolverConfig, Trust, UserIds,
};
use ring::hmac;
use rustls::pki_types::CertificateDer;
use smol_str::SmolStr;
use tokenweir_fuzz::{Members, spelled};

/// For inputs of some kilobytes; they take microseconds.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A caller as it stands in an event.
const CALLER_BYTES_MAX: usize = 4096;

const NAME_BYTES_MAX: usize = 128;
const TOKEN_BYTES_MAX: usize = 16 * 1024;

const CERTIFICATE_NAMES_MAX: usize = 100;
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

const HASH_KEY: &[u8] = b"test";
const GATEWAY: &str = "the-gateway";
const GATEWAY_NAMES: [&str; 2] = ["gw.bank", "spiffe://bank/gw"];

/// The call begins on one of these days, and the map changes on the second.
const DAYS: [&str; 2] = ["2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z"];
const MAP: &str = "caller,from,department\nteam-a,,Old\nteam-a,2026-03-01,New\nunattributed,,Nobody\n";

/// What a nibble of an input stands for; others for no source.
const SOURCES: [&str; 7] = [
    "apim-subscription",
    "header:x-team",
    "entra-app",
    "entra-user",
    "client-cert",
    "api-key",
    "header:x-desk:whole",
];

/// What the first letter of a line stands for. Any other is a header that nobody reads.
const HEADERS: [(u8, &str); 12] = [
    (b's', "x-apim-subscription-id"),
    (b't', "x-team"),
    (b'd', "x-desk"),
    (b'p', "x-apim-product-id"),
    (b'u', "x-apim-user-id"),
    (b'i', "x-apim-api-id"),
    (b'o', "x-apim-operation-id"),
    (b'k', "api-key"),
    (b'x', "x-api-key"),
    (b'w', "x-tokenweir-auth"),
    (b'a', "authorization"),
    (b'b', "authorization"), // the line holds the claims
];

/// What the first control characters stand for.
const WORDS: [&str; 19] = [
    "{\"azp\":\"app-7\"}",
    "\"azp\":\"app-7\",",
    "\"appid\":\"app-7\",",
    "\"azp\":\"The-Gateway\",",
    "\"tid\":\"t\",",
    "\"oid\":\"o\",",
    "\"sub\":\"o\",",
    "\"idtyp\":\"app\",",
    "\"scp\":\"s\",",
    "\"scp\":null,",
    "\"oid\":",
    "\"\\u0061zp\":\"app-8\",",
    "null",
    "\"\\ud800\"",
    "team-a",
    "the-gateway",
    "unattributed",
    "                                                                ",
    "bearer e30.eyJhenAiOiJhcHAtNyJ9.c2ln",
];

/// Tags: hashed and plain, of headers that name callers too.
const TAGS: [(&str, &str, bool); 2] = [("team", "x-team", false), ("desk", "x-desk", true)];

/// Secrets of the gateway, as the seeds have them.
const NEW: &str = "new-0c6f9ab2d7e1483f";
const OLD: &str = "old-q8Zt3Vw1Lr6B";

static SECRETS: LazyLock<HopTest> =
    LazyLock::new(|| HopTest::SharedSecret(Arc::new(Reload::fixed(&format!("{NEW},{OLD}")).unwrap())));
static CALLERS: LazyLock<Arc<Reload<CallerMap>>> = LazyLock::new(|| Arc::new(Reload::fixed(MAP).unwrap()));

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first_chunk::<6>() else { return };
    let der_bytes = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let (der, lines) = rest.split_at(rest.len().min(der_bytes));
    let begun = Instant::now();
    certificate_carries_what_stands_in_it(der);
    lines.split(|byte| *byte == b'\n').for_each(settings_are_taken_or_refused);
    let call = Call::new(head, der, lines);
    let resolver = call.resolver();
    let resolved = resolver.resolve(&call.headers(|_| {}), &call.peer, call.at);
    assert_eq!(resolved.trusted, call.trust().is_some());
    assert!(serde_json::to_string(&resolved.caller).unwrap().len() < CALLER_BYTES_MAX);
    if let Some(expected) = call.caller() {
        assert_eq!(resolved.caller, expected);
    }
    let turned = call.headers(|fields| fields.reverse());
    assert_eq!(resolver.resolve(&turned, &call.peer, call.at), resolved);
    let more = call.headers(|fields| fields.insert(0, (HeaderName::from_static("x-more"), b"a".to_vec())));
    assert_eq!(resolver.resolve(&more, &call.peer, call.at), resolved);
    assert!(begun.elapsed() < TIME_MAX, "{:?}", begun.elapsed());
});

/// What an operator may write; `|` stands for a line end.
fn settings_are_taken_or_refused(line: &[u8]) {
    let text = String::from_utf8_lossy(line).replace('|', "\n");
    if let Ok(network) = text.parse::<Network>() {
        assert!(text.split('/').next().unwrap().parse().is_ok_and(|ip: IpAddr| network.contains(ip)));
    }
    if let Ok(source) = text.parse::<CallerSource>() {
        let credentials =
            ["header:api-key", "header:x-api-key", "header:authorization", "header:x-tokenweir-auth"];
        assert!(!credentials.contains(&text.to_ascii_lowercase().as_str()), "{source:?}");
    }
    if let Ok(tag) = text.parse::<CallerTag>() {
        let credentials = ["api-key", "x-api-key", "authorization", "x-tokenweir-auth"];
        assert!(!credentials.contains(&tag.header.as_str()), "{tag:?}");
        let plain = if tag.plain { ":plain" } else { "" };
        let written = format!("{}={}{plain}", tag.name, tag.header);
        assert!(written.eq_ignore_ascii_case(&text) && !tag.name.contains(['=', ':', ',', ' ']), "{tag:?}");
    }
    if text.starts_with("caller,") {
        _ = CallerMap::parse(&text);
    }
}

fn certificate_carries_what_stands_in_it(der: &[u8]) {
    let certificate = Certificate::from_der(der);
    let names = names(der);
    match certificate.id() {
        Some(id) if names.is_empty() => assert!(has_common_name(der, id), "{id:?}"),
        id => assert_eq!(id, names.first().map(String::as_str)),
    }
    assert!(!certificate.carries_any(&[]));
    let all = names.iter().map(String::as_str).chain(certificate.id());
    assert!(all.clone().all(|name| certificate.carries_any(&[name.to_owned()])));
    let [dns, uri] = GATEWAY_NAMES;
    assert_eq!(
        certificate.carries_any(&[dns.to_owned()]),
        all.clone().any(|name| name.eq_ignore_ascii_case(dns))
    );
    assert_eq!(certificate.carries_any(&[uri.to_owned()]), all.clone().any(|name| name == uri));
}

/// The alternative names that webpki finds.
fn names(der: &[u8]) -> Vec<String> {
    let der = CertificateDer::from(der);
    let Ok(parsed) = webpki::EndEntityCert::try_from(&der) else { return Vec::new() };
    let names = parsed.valid_dns_names().chain(parsed.valid_uri_names());
    names.take(CERTIFICATE_NAMES_MAX).map(str::to_owned).collect()
}

/// This text stands behind the object id of a common name, 2.5.4.3.
fn has_common_name(der: &[u8], text: &str) -> bool {
    let is_it = |at: usize| {
        let behind = &der[at + COMMON_NAME.len()..];
        // A tag, and one to three bytes that say how long it is.
        (2..=4).any(|head| behind.get(head..).is_some_and(|rest| rest.starts_with(text.as_bytes())))
    };
    (0..der.len()).any(|at| der[at..].starts_with(COMMON_NAME) && is_it(at))
}

/// A request, where it came from, and the settings that it meets.
struct Call {
    config: ResolverConfig,
    fields: Vec<(HeaderName, Vec<u8>)>,
    peer: Peer,
    der: Vec<u8>,
    at: Timestamp,
    day: usize,
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Name(SmolStr),
    Wrong,
}

/// What `Authorization` says.
enum Token {
    Nothing,
    Wrong,
    Claims(Claims),
}

/// Claims by name, and whether there is a `scp`.
struct Claims(Vec<(&'static str, String)>, bool);

impl Call {
    fn new(head: &[u8; 6], der: &[u8], lines: &[u8]) -> Call {
        let [first, second, more, hop, ..] = *head;
        let nibbles = [first >> 4, first & 15, second >> 4, second & 15];
        let sources = nibbles.iter().filter_map(|nibble| SOURCES.get(usize::from(*nibble)));
        let trust = match hop % 5 {
            0 => HopTest::None,
            1 => SECRETS.clone(),
            2 => HopTest::Mtls(Vec::new()),
            3 => HopTest::Mtls(GATEWAY_NAMES.map(str::to_owned).into()),
            _ => HopTest::Network(["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into()),
        };
        let config = ResolverConfig {
            sources: sources.map(|source| source.parse().unwrap()).collect(),
            tags: if more & 64 == 0 { tags() } else { Vec::new() },
            trust,
            gateway_app_ids: if more & 8 == 0 { vec![GATEWAY.to_owned()] } else { Vec::new() },
            user_ids: [UserIds::Plain, UserIds::Hash, UserIds::Drop][usize::from(more % 4).min(2)],
            hash_key: HashKey::new(HASH_KEY),
            map: (more & 16 == 0).then(|| Arc::clone(&CALLERS)),
        };
        let ip = ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "192.0.2.1"][usize::from(hop / 5 % 4)];
        let peer = Peer::new(ip.parse().unwrap(), (!der.is_empty()).then_some(der));
        let day = usize::from(more & 32 != 0);
        let fields = lines.split(|byte| *byte == b'\n').filter_map(field).collect();
        Call { config, fields, peer, der: der.to_vec(), at: DAYS[day].parse().unwrap(), day }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(self.config.clone())
    }

    fn headers(&self, change: impl Fn(&mut Vec<(HeaderName, Vec<u8>)>)) -> HeaderMap {
        let mut fields = self.fields.clone();
        change(&mut fields);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    }

    /// How the hop has proved itself, if it has.
    fn trust(&self) -> Option<Trust> {
        let carries =
            |wanted: &[String]| wanted.is_empty() || Certificate::from_der(&self.der).carries_any(wanted);
        let (trust, passes) = match &self.config.trust {
            HopTest::None => (Trust::None, true),
            HopTest::SharedSecret(_) => {
                let shown = self.values("x-tokenweir-auth");
                let known = |value: &[u8]| [NEW.as_bytes(), OLD.as_bytes()].contains(&value);
                (Trust::SharedSecret, matches!(shown[..], [value] if known(value)))
            }
            HopTest::Mtls(wanted) => (Trust::Mtls, !self.der.is_empty() && carries(wanted)),
            HopTest::Network(_) => (Trust::Network, self.peer.ip.to_string() != "192.0.2.1"),
        };
        passes.then_some(trust)
    }

    /// The caller that the rules name; `None` if claims cannot be judged here.
    fn caller(&self) -> Option<Caller> {
        let trust = self.trust();
        let mut caller = Caller::unattributed(trust.unwrap_or_default());
        if trust.is_some() {
            let token = match self.token()? {
                Token::Claims(claims) if self.is_gateway(claims.application()) => Token::Nothing,
                token => token,
            };
            self.describe(&mut caller, &token);
            self.name(&mut caller, &token);
        }
        if let Some(map) = &self.config.map {
            caller.map_version = Some(map.current().version().into());
            caller.department = match &*caller.id {
                "team-a" => Some(["Old", "New"][self.day].into()),
                "unattributed" => Some("Nobody".into()),
                _ => None,
            };
        }
        Some(caller)
    }

    fn describe(&self, caller: &mut Caller, token: &Token) {
        let header = |name: &str| self.header(name).name();
        caller.apim_subscription_id = header("x-apim-subscription-id");
        caller.apim_product_id = header("x-apim-product-id");
        caller.apim_user_id = header("x-apim-user-id").and_then(|id| self.person(id));
        caller.apim_api_id = header("x-apim-api-id");
        caller.apim_operation_id = header("x-apim-operation-id");
        let tags = TAGS.iter().filter(|_| !self.config.tags.is_empty());
        caller.tags = tags
            .filter_map(|(name, header, plain)| {
                let value = self.header(header).name()?;
                let hash = |value: &str| stand_in("tag-", &format!("tag\0{name}\0{value}"));
                Some((SmolStr::new(name), if *plain { value } else { hash(&value) }))
            })
            .collect();
        if let Token::Claims(claims) = token {
            caller.entra_app_id = checked(claims.application().as_bytes()).name();
            caller.entra_oid = checked(claims.person().as_bytes()).name().and_then(|id| self.person(id));
            caller.entra_tid = checked(claims.get("tid").as_bytes()).name();
        }
    }

    /// The first source that says anything decides. Those behind it may contradict.
    fn name(&self, caller: &mut Caller, token: &Token) {
        let all = self.config.sources.iter().map(|source| (source, self.ask(source, token)));
        let mut said = all.filter(|(_, said)| *said != Said::Nothing);
        let Some((first, Said::Name(id))) = said.next() else { return };
        let of_token =
            |source: &CallerSource| matches!(source, CallerSource::EntraApp | CallerSource::EntraUser);
        let others = said
            .filter(|(source, _)| **source != CallerSource::ApiKey && !(of_token(first) && of_token(source)));
        caller.conflict = others.map(|(_, said)| said).any(|said| said != Said::Name(id.clone()));
        caller.id = id;
        caller.id_source = match first {
            CallerSource::ApimSubscription => IdSource::ApimSubscription,
            CallerSource::Header { .. } => IdSource::Header,
            CallerSource::EntraApp => IdSource::EntraApp,
            CallerSource::EntraUser => IdSource::EntraUser,
            CallerSource::ClientCert => IdSource::ClientCert,
            CallerSource::ApiKey => IdSource::ApiKey,
        };
    }

    fn ask(&self, source: &CallerSource, token: &Token) -> Said {
        let said = match (source, token) {
            (CallerSource::ApimSubscription, _) => self.header("x-apim-subscription-id"),
            (CallerSource::Header { name, whole }, _) => self.field(name.as_str(), *whole),
            (CallerSource::ClientCert, _) => {
                let certificate = Certificate::from_der(&self.der);
                checked(certificate.id().unwrap_or_default().as_bytes())
            }
            (CallerSource::ApiKey, _) => match self.key() {
                Said::Name(key) => Said::Name(stand_in("key-", &key)),
                said => said,
            },
            (_, Token::Nothing) => Said::Nothing,
            (_, Token::Wrong) => Said::Wrong,
            (CallerSource::EntraApp, Token::Claims(claims)) => checked(claims.application().as_bytes()),
            (CallerSource::EntraUser, Token::Claims(claims)) => self.user(claims.get("tid"), claims.person()),
        };
        match said {
            Said::Name(id) if self.is_gateway(&id) => Said::Nothing,
            said => said,
        }
    }

    fn user(&self, tenant: &str, person: &str) -> Said {
        if tenant.is_empty() || person.is_empty() {
            return Said::Nothing;
        }
        match checked(format!("{tenant}/{person}").as_bytes()) {
            Said::Name(id) => self.person(id).map_or(Said::Nothing, Said::Name),
            said => said,
        }
    }

    fn person(&self, id: SmolStr) -> Option<SmolStr> {
        match self.config.user_ids {
            UserIds::Plain => Some(id),
            UserIds::Hash => Some(stand_in("user-", &format!("user:{id}"))),
            UserIds::Drop => None,
        }
    }

    fn is_gateway(&self, id: &str) -> bool {
        !self.config.gateway_app_ids.is_empty() && id.eq_ignore_ascii_case(GATEWAY)
    }

    fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(given, _)| given == name);
        named.map(|(_, value)| &value[..]).collect()
    }

    /// Both names of a key name one, or none.
    fn key(&self) -> Said {
        match (self.header("api-key"), self.header("x-api-key")) {
            (key, Said::Nothing) | (Said::Nothing, key) => key,
            (one, other) if one == other => one,
            _ => Said::Wrong,
        }
    }

    fn header(&self, name: &str) -> Said {
        self.field(name, false)
    }

    /// A field whose value may have commas in it, or must not, since it would be two.
    fn field(&self, name: &str, whole: bool) -> Said {
        match self.values(name)[..] {
            [] => Said::Nothing,
            [value] if whole || !value.contains(&b',') => checked(value),
            _ => Said::Wrong,
        }
    }

    fn token(&self) -> Option<Token> {
        let value = match self.values("authorization")[..] {
            [] => return Some(Token::Nothing),
            [value] if value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e)) => value,
            _ => return Some(Token::Wrong),
        };
        let value = std::str::from_utf8(value).unwrap();
        let bearer = |part: &str| part.trim_start().split(' ').next().unwrap().eq_ignore_ascii_case("bearer");
        if value.contains(',') && value.split(',').any(bearer) {
            return Some(Token::Wrong);
        }
        let Some((scheme, token)) = value.split_once(' ') else { return Some(Token::Nothing) };
        let parts: Vec<&str> = token.trim().split('.').collect();
        let [head, claims, signature] = parts[..] else { return Some(Token::Nothing) };
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().contains(' ') {
            return Some(Token::Nothing);
        }
        if token.trim().len() > TOKEN_BYTES_MAX {
            return Some(Token::Wrong);
        }
        let json = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).unwrap_or_default();
        if !json.trim_ascii_start().starts_with(b"{") {
            return Some(Token::Nothing);
        }
        if head.is_empty() || signature.is_empty() {
            return Some(Token::Wrong);
        }
        // In what is passed over it may be no Unicode: `Members` is stricter there.
        std::str::from_utf8(&json).ok()?;
        Some(Claims::read(&json).map_or(Token::Wrong, Token::Claims))
    }
}

impl Said {
    fn name(self) -> Option<SmolStr> {
        if let Said::Name(name) = self { Some(name) } else { None }
    }
}

impl Claims {
    /// Each text at most once; `null` is none. No claim has half of a pair of characters in its name.
    fn read(json: &[u8]) -> Option<Claims> {
        let members = Members::of(json)?;
        let is_text = |text: &str| serde_json::from_str::<String>(text).is_ok();
        let mut claims = Vec::new();
        for name in ["azp", "appid", "tid", "oid", "idtyp", "sub"] {
            match members.named(name)[..] {
                [] | ["null"] => {}
                [text] => claims.push((name, serde_json::from_str(text).ok()?)),
                _ => return None,
            }
        }
        let scopes = members.named("scp");
        let fits = scopes.len() < 2 && members.0.iter().all(|(name, _)| is_text(name.get()));
        fits.then(|| Claims(claims, scopes.iter().any(|scope| *scope != "null")))
    }
}

impl Claims {
    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(claim, _)| *claim == name).map(|(_, text)| text.as_str())
    }

    fn get(&self, name: &str) -> &str {
        trimmed(self.find(name).unwrap_or_default())
    }

    fn application(&self) -> &str {
        trimmed(self.find("azp").or(self.find("appid")).unwrap_or_default())
    }

    /// Empty for an application that acts for nobody: its token says so, or is about itself.
    fn person(&self) -> &str {
        let is_app = match self.find("idtyp") {
            Some(kind) => kind == "app",
            None => !self.1 && self.find("sub").map(trimmed) == Some(self.get("oid")),
        };
        if is_app { "" } else { self.get("oid") }
    }
}

fn tags() -> Vec<CallerTag> {
    let written = |(name, header, plain): &(&str, &str, bool)| {
        format!("{name}={header}{}", if *plain { ":plain" } else { "" })
    };
    TAGS.iter().map(|tag| written(tag).parse().unwrap()).collect()
}

/// A header that HTTP lets pass, from a line.
fn field(line: &[u8]) -> Option<(HeaderName, Vec<u8>)> {
    let (letter, rest) = line.split_first()?;
    let mut value = spelled(rest, &WORDS);
    if *letter == b'b' {
        value = format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(&value)).into_bytes();
    }
    let known = HEADERS.iter().find(|(known, _)| known == letter).map_or("x-other", |(_, name)| name);
    HeaderValue::from_bytes(&value).ok()?;
    Some((HeaderName::from_static(known), value))
}

fn checked(name: &[u8]) -> Said {
    match trimmed(std::str::from_utf8(name).unwrap_or("\u{7f}")).as_bytes() {
        [] => Said::Nothing,
        name if name.len() > NAME_BYTES_MAX => Said::Wrong,
        name if name.iter().all(|byte| (0x20..=0x7e).contains(byte)) => {
            Said::Name(std::str::from_utf8(name).unwrap().into())
        }
        _ => Said::Wrong,
    }
}

/// Without the blanks that HTTP takes off a field, and that JSON leaves in a claim.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn stand_in(kind: &str, secret: &str) -> SmolStr {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, HASH_KEY), secret.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}{}", &hex[..12]).into()
}
