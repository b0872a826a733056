//! Who pays, for headers that are right, forged, doubled and malformed.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use proptest::prelude::*;

use super::super::fields::{ID_BYTES_MAX, SHARED_SECRET};
use super::super::{IdSource, Network, Secrets, Trust, UNATTRIBUTED};
use super::*;

/// Secrets of the gateway.
const NEW: &str = "new-0c6f9ab2d7e1483f";
const OLD: &str = "old-q8Zt3Vw1Lr6B";

const DEFAULT: &str = "apim-subscription,entra-app,api-key";

fn config(sources: &str, trust: HopTest) -> ResolverConfig {
    ResolverConfig {
        sources: sources.split(',').map(|s| s.parse().unwrap()).collect(),
        tags: Vec::new(),
        trust,
        gateway_app_ids: vec!["the-gateway".to_owned()],
        user_ids: UserIds::Hash,
        hash_key: HashKey::new(b"test"),
        map: None,
    }
}

fn secrets(text: &str) -> HopTest {
    HopTest::SharedSecret(Arc::new(Reload::<Secrets>::fixed(text).unwrap()))
}

fn peer() -> Peer {
    Peer::new(std::net::Ipv4Addr::LOCALHOST.into(), None)
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

fn resolve(config: ResolverConfig, pairs: &[(&str, &str)]) -> Caller {
    Resolver::new(config).resolve(&headers(pairs), &peer(), Timestamp::UNIX_EPOCH).caller
}

fn resolve_default(pairs: &[(&str, &str)]) -> Caller {
    resolve(config(DEFAULT, HopTest::None), pairs)
}

fn bearer(claims: &str) -> String {
    format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn app(id: &str) -> String {
    bearer(&format!(r#"{{"appid":"{id}"}}"#))
}

#[test]
fn the_first_source_that_names_somebody_wins() {
    let token = app("app-7");
    let caller = resolve_default(&[("x-apim-subscription-id", "team-a"), ("authorization", &token)]);
    assert_eq!((caller.id.as_str(), caller.id_source), ("team-a", IdSource::ApimSubscription));
    assert!(caller.conflict);
    assert_eq!(caller.entra_app_id.as_deref(), Some("app-7"));

    let malformed =
        [("x-apim-subscription-id", "team-a"), ("authorization", token.as_str()), ("authorization", &token)];
    let caller = resolve_default(&malformed);
    assert!(caller.id == "team-a" && caller.conflict, "what is malformed agrees with nobody");

    let caller = resolve_default(&[("authorization", &token)]);
    assert_eq!((caller.id.as_str(), caller.id_source), ("app-7", IdSource::EntraApp));
    assert!(!caller.conflict);

    let caller = resolve_default(&[("api-key", "0123456789abcdef")]);
    assert_eq!(caller.id_source, IdSource::ApiKey);
    assert!(caller.id.starts_with("key-") && caller.id.len() == 16, "{}", caller.id);
    assert!(!caller.id.contains("0123456789"));
    let of_anthropic = [("x-api-key", "0123456789abcdef")];
    assert_eq!(resolve_default(&of_anthropic), caller, "a key has two names");
    assert_eq!(resolve_default(&[of_anthropic[0], ("api-key", "0123456789abcdef")]), caller);
}

#[test]
fn the_gateways_own_application_is_no_caller() {
    let token = bearer(r#"{"azp":"The-Gateway","tid":"t","oid":"o"}"#);
    for sources in [DEFAULT, "entra-user", "header:x-app"] {
        let caller =
            resolve(config(sources, HopTest::None), &[("authorization", &token), ("x-app", "the-gateway")]);
        assert_eq!(caller.id, UNATTRIBUTED);
        assert_eq!((caller.entra_app_id, caller.entra_oid, caller.entra_tid), (None, None, None));
    }
}

#[test]
fn a_malformed_name_is_nobody_and_not_the_next_source() {
    let long = "x".repeat(ID_BYTES_MAX + 1);
    let (token, wrong) = (app("a"), bearer(r#"{"appid":7}"#));
    for bad in [
        &[("x-apim-subscription-id", "a"), ("x-apim-subscription-id", "b"), ("api-key", "k")][..],
        &[("x-apim-subscription-id", long.as_str()), ("api-key", "k")],
        &[("x-apim-subscription-id", "caf\u{e9}"), ("api-key", "k")],
        &[("x-apim-subscription-id", "a\tb"), ("api-key", "k")],
        &[("x-apim-subscription-id", "a, b"), ("api-key", "k")],
        &[("x-apim-subscription-id", "a,"), ("api-key", "k")],
        &[("authorization", &format!("{token}, {token}")), ("api-key", "k")],
        &[("authorization", &format!("Basic eDp5,{token}")), ("api-key", "k")],
        &[("api-key", "k, k")],
        &[("authorization", &app(&long)), ("api-key", "k")],
        &[("authorization", &token), ("authorization", &token), ("api-key", "k")],
        &[("authorization", &wrong), ("api-key", "k")],
        &[("api-key", "k"), ("api-key", "k")],
        &[("api-key", "k"), ("x-api-key", "other")],
        &[("x-api-key", "k"), ("x-api-key", "k")],
        &[("api-key", &long)],
    ] {
        let caller = resolve_default(bad);
        assert_eq!((caller.id.as_str(), caller.id_source), (UNATTRIBUTED, IdSource::None), "{bad:?}");
    }
    let empty = [("x-apim-subscription-id", ""), ("api-key", "k")];
    assert_eq!(resolve_default(&empty).id_source, IdSource::ApiKey);
    let longest = "x".repeat(ID_BYTES_MAX);
    assert_eq!(resolve_default(&[("x-apim-subscription-id", &longest)]).id, longest);
}

#[test]
fn a_list_in_one_field_is_two_fields_unless_the_operator_says_otherwise() {
    let (list, subject) = ("mallory, alice", "CN=a,O=b");
    let of = |sources: &str, pairs: &[(&str, &str)]| {
        let found = Resolver::new(config(sources, HopTest::None)).resolve(
            &headers(pairs),
            &peer(),
            Timestamp::UNIX_EPOCH,
        );
        (found.caller.id.to_string(), found.unattributed)
    };
    let nobody = (UNATTRIBUTED.to_owned(), Some(UnattributedReason::Malformed));
    for value in [list, subject, ",", "alice,", ",alice", "alice,mallory"] {
        assert_eq!(of("header:x-team,api-key", &[("x-team", value), ("api-key", "k")]), nobody, "{value}");
        assert_eq!(of(DEFAULT, &[("x-apim-subscription-id", value), ("api-key", "k")]), nobody, "{value}");
    }
    assert_eq!(of("header:x-team:whole", &[("x-team", subject)]), (subject.to_owned(), None));
    assert_eq!(of("header:x-team:whole", &[("x-team", subject), ("x-team", "b")]), nobody);
    let semicolon = "a;b"; // stands within one value, as in `text/plain; q=1`
    assert_eq!(of("header:x-team", &[("x-team", semicolon)]), (semicolon.to_owned(), None));
    let removed = Resolver::new(config("header:x-team:whole", HopTest::None)).removed_headers();
    assert!(removed.contains(&HeaderName::from_static("x-team")));
    let caller = resolve_default(&[("x-apim-subscription-id", "a"), ("x-apim-user-id", "jane, joe")]);
    assert_eq!((caller.id.as_str(), caller.apim_user_id), ("a", None));
    let caller = resolve(
        config("apim-subscription,header:x-team", HopTest::None),
        &[("x-apim-subscription-id", "a"), ("x-team", "a, b")],
    );
    assert!(caller.id == "a" && caller.conflict, "a list agrees with nobody");
}

#[test]
fn blanks_around_a_name_are_none_of_it_wherever_it_stands() {
    for value in ["alice", "alice ", " alice\t", "\t alice  "] {
        let token = bearer(&serde_json::json!({"azp": value, "tid": value, "oid": value}).to_string());
        for (sources, name) in
            [("entra-app", "alice"), ("entra-user", "alice/alice"), ("header:x-team", "alice")]
        {
            let config = ResolverConfig { user_ids: UserIds::Plain, ..config(sources, HopTest::None) };
            let caller = resolve(config, &[("authorization", &token), ("x-team", value)]);
            assert_eq!(caller.id, name, "{sources} {value:?}");
            assert_eq!(caller.entra_app_id.as_deref(), Some("alice"));
        }
    }
    let blank = bearer(r#"{"azp":"  "}"#);
    assert_eq!(resolve(config("entra-app", HopTest::None), &[("authorization", &blank)]).id, UNATTRIBUTED);
    let gateway = bearer(r#"{"azp":"the-gateway "}"#);
    assert_eq!(resolve(config("entra-app", HopTest::None), &[("authorization", &gateway)]).id, UNATTRIBUTED);
    // Other white space is no blank, and no name.
    for odd in ["alice\n", "\u{a0}alice", "alice\u{200b}"] {
        let token = bearer(&serde_json::json!({"azp": odd}).to_string());
        let caller = resolve(
            config("entra-app,api-key", HopTest::None),
            &[("authorization", &token), ("api-key", "k")],
        );
        assert_eq!(caller.id, UNATTRIBUTED, "{odd:?}");
    }
}

#[test]
fn a_hop_without_the_secret_names_nobody() {
    let token = bearer(r#"{"azp":"app","tid":"t","oid":"o"}"#);
    let resolve = |pairs: &[(&str, &str)]| {
        let resolver = Resolver::new(config(DEFAULT, secrets(&format!("{NEW},{OLD}"))));
        resolver.resolve(&headers(pairs), &peer(), Timestamp::UNIX_EPOCH)
    };
    for secret in [NEW, OLD] {
        let found = resolve(&[("x-apim-subscription-id", "a"), ("x-tokenweir-auth", secret)]);
        assert_eq!((found.caller.id.as_str(), found.caller.trust), ("a", Trust::SharedSecret));
        assert!(found.trusted);
    }
    let name = ("x-apim-subscription-id", "a");
    for bad in [
        &[name, ("authorization", &token), ("api-key", "k")][..],
        &[name, ("x-tokenweir-auth", &NEW[1..])],
        &[name, ("x-tokenweir-auth", NEW), ("x-tokenweir-auth", NEW)],
    ] {
        let found = resolve(bad);
        assert!(!found.trusted);
        assert_eq!(found.caller, Caller::unattributed(Trust::None), "{bad:?}");
    }
}

#[test]
fn a_certificate_or_a_network_proves_the_hop() {
    let shown = certificate("gw.bank");
    let at = |ip: &str, certificate: Option<&[u8]>| Peer::new(ip.parse::<IpAddr>().unwrap(), certificate);
    let names = |names: &[&str]| HopTest::Mtls(names.iter().map(|name| (*name).to_owned()).collect());
    let networks =
        || HopTest::Network(["10.0.0.0/8", "fd00::/8"].map(|n| n.parse::<Network>().unwrap()).into());
    for (test, peer, trust) in [
        (names(&[]), at("10.0.0.1", Some(&shown)), Some(Trust::Mtls)),
        (names(&["x", "GW.bank"]), at("10.0.0.1", Some(&shown)), Some(Trust::Mtls)),
        (names(&["x"]), at("10.0.0.1", Some(&shown)), None),
        (names(&[]), at("10.0.0.1", None), None),
        (networks(), at("::ffff:10.0.0.1", None), Some(Trust::Network)),
        (networks(), at("fd12::1", None), Some(Trust::Network)),
        (networks(), at("11.0.0.1", Some(&shown)), None),
    ] {
        let resolver = Resolver::new(config(DEFAULT, test.clone()));
        let found =
            resolver.resolve(&headers(&[("x-apim-subscription-id", "a")]), &peer, Timestamp::UNIX_EPOCH);
        let expected = (if trust.is_some() { "a" } else { UNATTRIBUTED }, trust.unwrap_or_default());
        assert_eq!((found.caller.id.as_str(), found.caller.trust), expected, "{test:?} {peer:?}");
        assert_eq!(found.trusted, trust.is_some());
    }
}

fn certificate(dns: &str) -> Vec<u8> {
    let params = rcgen::CertificateParams::new(vec![dns.to_owned()]).unwrap();
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn a_certificate_names_its_owner() {
    let resolver = Resolver::new(config("client-cert,api-key", HopTest::Mtls(Vec::new())));
    let peer = Peer::new(std::net::Ipv4Addr::LOCALHOST.into(), Some(&certificate("team-a.bank")));
    let caller = resolver.resolve(&headers(&[("api-key", "k")]), &peer, Timestamp::UNIX_EPOCH).caller;
    assert_eq!((caller.id.as_str(), caller.id_source), ("team-a.bank", IdSource::ClientCert));
    assert!(!caller.conflict, "a key contradicts nobody");
}

#[test]
fn a_configured_header_is_a_source_and_is_removed() {
    let config = config("header:x-team,apim-subscription", HopTest::None);
    let caller = resolve(config.clone(), &[("x-team", "blue"), ("x-apim-subscription-id", "blue")]);
    assert_eq!((caller.id.as_str(), caller.id_source, caller.conflict), ("blue", IdSource::Header, false));
    let removed = Resolver::new(config).removed_headers();
    assert!(removed.contains(&HeaderName::from_static("x-team")) && removed.contains(&SHARED_SECRET));
}

/// The tags of a request with these headers, and the rest of its caller.
fn tagged(tags: &str, trust: HopTest, pairs: &[(&str, &str)]) -> (Vec<(String, String)>, Caller) {
    let tags = tags.split(',').map(|tag| tag.parse().unwrap()).collect();
    let mut caller = resolve(ResolverConfig { tags, ..config(DEFAULT, trust) }, pairs);
    let found = std::mem::take(&mut caller.tags).into_iter();
    (found.map(|(name, value)| (name.to_string(), value.to_string())).collect(), caller)
}

#[test]
fn a_tag_is_a_hash_unless_it_is_to_be_plain() {
    let pairs = [("x-apim-subscription-id", "a"), ("x-user", "alice"), ("x-desk", " FX 7 ")];
    let (tags, caller) = tagged("user=x-user,desk=x-desk:plain,none=x-none", HopTest::None, &pairs);
    let hash = HashKey::new(b"test").tag("user", "alice");
    assert_eq!(tags, [("desk".to_owned(), "FX 7".to_owned()), ("user".to_owned(), hash.to_string())]);
    assert_eq!(caller, resolve_default(&pairs), "it names nobody");
    let (again, _) = tagged("user=x-desk", HopTest::None, &[("x-desk", "alice")]);
    assert_eq!(again[0].1, hash, "the header is no part of it");
    let other = ResolverConfig { hash_key: HashKey::new(b"other"), ..config(DEFAULT, HopTest::None) };
    let other = ResolverConfig { tags: vec!["user=x-user".parse().unwrap()], ..other };
    assert_ne!(resolve(other, &pairs).tags["user"], hash);
    let removed = Resolver::new(ResolverConfig {
        tags: vec!["user=X-User".parse().unwrap()],
        ..config(DEFAULT, HopTest::None)
    });
    assert!(removed.removed_headers().contains(&HeaderName::from_static("x-user")));
}

/// The digits of a key, id or tag are those of nothing else, whatever somebody chooses.
#[test]
fn no_hash_of_a_tag_is_that_of_a_caller() {
    let key = HashKey::new(b"test");
    let digits = |hash: SmolStr| hash.rsplit('-').next().unwrap().to_owned();
    let tag = digits(key.tag("user", "alice"));
    for chosen in ["alice", "user:alice", "tag:user:alice", "tag\\0user\\0alice", "taguseralice"] {
        assert_ne!(digits(key.api_key(chosen)), tag);
        assert_ne!(digits(key.person(chosen)), tag);
    }
    assert_ne!(digits(key.tag("user", "1")), digits(key.tag("manager", "1")));
    assert_ne!(digits(key.tag("a", "bc")), digits(key.tag("ab", "c")));
}

#[test]
fn a_malformed_tag_is_absent_and_changes_nothing_else() {
    let long = "x".repeat(ID_BYTES_MAX + 1);
    let fine = [("x-apim-subscription-id", "a"), ("x-desk", "FX")];
    let desk = [("desk".to_owned(), "FX".to_owned())];
    for bad in [
        &[][..],
        &[("x-user", "")],
        &[("x-user", "  ")],
        &[("x-user", "alice"), ("x-user", "alice")],
        &[("x-user", "alice, bob")],
        &[("x-user", "alice,")],
        &[("x-user", "ali\tce")],
        &[("x-user", "caf\u{e9}")],
        &[("x-user", &long)],
    ] {
        let pairs = [&fine[..], bad].concat();
        for tags in ["user=x-user,desk=x-desk:plain", "desk=x-desk:plain,user=x-user:plain"] {
            let (tags, caller) = tagged(tags, HopTest::None, &pairs);
            assert_eq!((tags.as_slice(), caller), (&desk[..], resolve_default(&fine)), "{bad:?}");
        }
    }
    let longest = "x".repeat(ID_BYTES_MAX);
    let (tags, _) = tagged("user=x-user:plain", HopTest::None, &[("x-user", &longest)]);
    assert_eq!(tags[0].1, longest);
}

#[test]
fn a_hop_without_the_secret_tags_nothing() {
    let pairs = [("x-user", "alice"), ("x-tokenweir-auth", NEW)];
    let tags = "user=x-user,plain=x-tag:plain";
    assert_eq!(tagged(tags, secrets(NEW), &pairs).0.len(), 1);
    for hop in [&pairs[..1], &[pairs[0], ("x-tokenweir-auth", OLD), ("x-tag", "t")]] {
        let (tags, caller) = tagged(tags, secrets(NEW), hop);
        assert_eq!((tags, caller), (vec![], Caller::unattributed(Trust::None)));
    }
}

#[test]
fn ids_of_people_stand_as_the_operator_wants() {
    let token = bearer(r#"{"azp":"app","tid":"tenant","oid":"object","scp":"s"}"#);
    let pairs = [("authorization", token.as_str()), ("x-apim-user-id", "jane")];
    let of = |user_ids| {
        let config = ResolverConfig { user_ids, ..config("entra-user,entra-app", HopTest::None) };
        resolve(config, &pairs)
    };
    let plain = of(UserIds::Plain);
    assert_eq!((plain.id.as_str(), plain.id_source), ("tenant/object", IdSource::EntraUser));
    assert_eq!((plain.entra_oid.as_deref(), plain.apim_user_id.as_deref()), (Some("object"), Some("jane")));
    assert_eq!((plain.entra_tid.as_deref(), plain.entra_app_id.as_deref()), (Some("tenant"), Some("app")));
    assert!(!plain.conflict, "one token, two views of it");
    let hashed = of(UserIds::Hash);
    let hashes = [Some(hashed.id), hashed.entra_oid, hashed.apim_user_id].map(Option::unwrap);
    assert!(hashes.iter().all(|id| id.starts_with("user-") && id.len() == 17), "{hashes:?}");
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    assert_eq!(hashed.entra_tid.as_deref(), Some("tenant"), "a tenant is no person");
    let dropped = of(UserIds::Drop);
    assert_eq!((dropped.id.as_str(), dropped.id_source), ("app", IdSource::EntraApp));
    assert_eq!((dropped.entra_oid, dropped.apim_user_id), (None, None));
}

#[test]
fn an_application_that_acts_for_nobody_is_no_user() {
    let token = bearer(r#"{"azp":"app","tid":"t","oid":"o","sub":"o"}"#);
    let caller = resolve(config("entra-user,entra-app", HopTest::None), &[("authorization", &token)]);
    assert_eq!((caller.id.as_str(), caller.id_source), ("app", IdSource::EntraApp));
    assert_eq!(caller.entra_oid, None);
    let token = bearer(r#"{"azp":"app","oid":"o"}"#);
    let caller = resolve(config("entra-user,entra-app", HopTest::None), &[("authorization", &token)]);
    assert_eq!(caller.id_source, IdSource::EntraApp, "an object's id is unique only within its tenant");
}

#[test]
fn the_map_adds_what_it_knows_of_the_caller() {
    let text = "caller,department,cost_center\nteam-a,Retail,CC-1\nunattributed,IT,CC-0\n";
    let map = Arc::new(Reload::<CallerMap>::fixed(text).unwrap());
    let version = map.current().version().to_owned();
    for (secret, department) in [(NEW, "Retail"), ("wrong", "IT")] {
        let config = ResolverConfig { map: Some(Arc::clone(&map)), ..config(DEFAULT, secrets(NEW)) };
        let caller = resolve(config, &[("x-apim-subscription-id", "team-a"), ("x-tokenweir-auth", secret)]);
        assert_eq!(caller.department.as_deref(), Some(department));
        assert_eq!(caller.map_version.as_deref(), Some(version.as_str()));
    }
}

#[test]
fn why_nobody_can_be_charged_is_known() {
    let unattributed = |fields: &[(&'static str, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        Resolver::new(config(DEFAULT, secrets(NEW)))
            .resolve(&map, &peer(), Timestamp::UNIX_EPOCH)
            .unattributed
    };
    let (secret, name) = (("x-tokenweir-auth", NEW), "x-apim-subscription-id");
    assert_eq!(unattributed(&[secret, (name, "a")]), None);
    assert_eq!(unattributed(&[(name, "a")]), Some(UnattributedReason::Untrusted));
    assert_eq!(unattributed(&[secret]), Some(UnattributedReason::Absent));
    assert_eq!(
        unattributed(&[secret, (name, "a"), (name, "b"), ("api-key", "k")]),
        Some(UnattributedReason::Malformed)
    );
}

/// Some header of those that matter, with a value that may matter.
fn field() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let names = prop::sample::select(vec![
        "x-apim-subscription-id",
        "x-apim-user-id",
        "x-team",
        "x-end-user",
        "authorization",
        "api-key",
        "x-api-key",
        "x-tokenweir-auth",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![&b""[..], b"a", NEW.as_bytes(), b"team-a", b"\xff"])
            .prop_map(<[u8]>::to_vec),
        prop::sample::select(vec![r#"{"azp":"a"}"#, r#"{"oid":"o","tid":"t"}"#, r#"{"azp":1}"#, "["])
            .prop_map(|claims| bearer(claims).into_bytes()),
        prop::collection::vec(prop_oneof![0x20_u8..0x7f, Just(b'\t'), 0x80_u8..=0xff], 0..200),
    ];
    (names, value)
}

proptest! {
    /// For any headers an id is short and printable, a caller is named if and only if a source
    /// names one, and a hop that fails names none.
    #[test]
    fn any_headers_give_a_caller_that_can_be_charged(fields in prop::collection::vec(field(), 0..8)) {
        let mut map = HeaderMap::new();
        for (name, value) in &fields {
            map.append(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        let sources = "header:x-team,apim-subscription,entra-user,entra-app,client-cert,api-key";
        let tags = vec!["user=x-end-user".parse().unwrap(), "team=x-team:plain".parse().unwrap()];
        let resolver = Resolver::new(ResolverConfig { tags, ..config(sources, secrets(NEW)) });
        let Resolved { caller, trusted, unattributed, .. } = resolver.resolve(&map, &peer(), Timestamp::UNIX_EPOCH);
        prop_assert!(!caller.id.is_empty() && caller.id.len() <= ID_BYTES_MAX);
        prop_assert!(caller.id.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert_eq!(caller.id_source == IdSource::None, caller.id == UNATTRIBUTED);
        let given: Vec<_> = map.get_all(SHARED_SECRET).iter().collect();
        prop_assert_eq!(trusted, given == [NEW]);
        let has_user = map.get_all("x-end-user").iter().count() == 1;
        for (name, value) in &caller.tags {
            prop_assert!(!value.is_empty() && value.len() <= ID_BYTES_MAX);
            prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert!(name == "team" || (has_user && value.starts_with("tag-") && value.len() == 16));
        }
        prop_assert_eq!(unattributed.is_some(), caller.id == UNATTRIBUTED);
        prop_assert_eq!(unattributed == Some(UnattributedReason::Untrusted), !trusted);
        if !trusted {
            prop_assert_eq!(caller, Caller::unattributed(Trust::None));
        }
    }
}
