//! The settings that say who pays, and who may say so.

use std::sync::Arc;

use http::HeaderName;

use super::choices::{CallerTrust, OnUntrusted};
use super::resolve::Values;
use super::setting::AnySetting;
use super::settings::{
    CALLER_CERT_NAMES, CALLER_HASH_KEY, CALLER_HASH_KEY_FILE, CALLER_MAP_FILE, CALLER_NETWORKS,
    CALLER_SHARED_SECRET, CALLER_SHARED_SECRET_FILE, CALLER_SOURCES, CALLER_TAGS, CALLER_TRUST,
    CALLER_USER_IDS, GATEWAY_APP_IDS, LISTEN_CLIENT_CA_FILE, ON_UNTRUSTED, SUBSCRIPTION_KEY_NAMES,
};
use super::shown;
use crate::serve;
use metering::caller::{
    CallerMap, CallerSource, CallerTag, HashKey, HopTest, Network, ParseTagError, Reload, Secrets, TAGS_MAX,
    UserIds,
};

pub(super) fn caller(values: &mut Values) -> Option<serve::CallerConfig> {
    let sources = sources(values);
    let tags = tags(values);
    let user_ids = user_ids(values, &sources);
    let trust = trust(values);
    let map = map(values);
    let hash_key = values.secret(&CALLER_HASH_KEY, &CALLER_HASH_KEY_FILE);
    Some(serve::CallerConfig {
        sources,
        tags,
        trust: trust?,
        gateway_app_ids: values.list(&GATEWAY_APP_IDS),
        user_ids,
        hash_key: hash_key.map(|key| HashKey::new(key.as_bytes())),
        map,
    })
}

fn sources(values: &mut Values) -> Vec<CallerSource> {
    let mut found: Vec<CallerSource> = Vec::new();
    for text in values.list(&CALLER_SOURCES) {
        match text.parse() {
            Ok(CallerSource::Header { name, .. }) if holds_key(values, &name) => {
                values.error_in(&CALLER_SOURCES, format!("{text:?} {HOLDS_KEY}"));
            }
            Ok(source) => found.push(source),
            Err(error) => values.error_in(&CALLER_SOURCES, shown::without(&error.to_string(), &text)),
        }
    }
    if values.list(&CALLER_SOURCES).is_empty() && !values.is_wrong(&CALLER_SOURCES) {
        values.error_in(&CALLER_SOURCES, "names no source; every call would be unattributed");
    }
    // With --caller-trust mtls the same is said there.
    let mtls = values.get(&CALLER_TRUST) == Some(CallerTrust::Mtls);
    if found.contains(&CallerSource::ClientCert) && no_client_ca(values) && !mtls {
        let problem = "\"client-cert\" needs --listen-client-ca-file: without it nobody shows a certificate";
        values.error_in(&CALLER_SOURCES, problem);
    }
    found
}

/// Said of a header that is the gateway's own key.
const HOLDS_KEY: &str = "is not allowed: --subscription-key-names says that it holds a key";

fn holds_key(values: &Values, header: &HeaderName) -> bool {
    values.list(&SUBSCRIPTION_KEY_NAMES).iter().any(|key| key.eq_ignore_ascii_case(header.as_str()))
}

fn tags(values: &mut Values) -> Vec<CallerTag> {
    let mut found: Vec<CallerTag> = Vec::new();
    let texts = values.list(&CALLER_TAGS);
    for text in &texts {
        match tag(values, text, &found) {
            Ok(tag) => found.push(tag),
            Err(problem) => values.error_in(&CALLER_TAGS, format!("{} {problem}", shown::pair(text))),
        }
    }
    if texts.is_empty() && values.is_set(&CALLER_TAGS) && !values.is_wrong(&CALLER_TAGS) {
        values.error_in(&CALLER_TAGS, "names no tag");
    }
    if texts.len() > TAGS_MAX {
        let problem = format!("has {} tags; allowed: {TAGS_MAX} at most", texts.len());
        values.error_in(&CALLER_TAGS, problem);
    }
    found
}

/// A tag, or why it cannot stand beside those before it.
fn tag(values: &Values, text: &str, before: &[CallerTag]) -> Result<CallerTag, String> {
    let tag: CallerTag = text.parse().map_err(|error: ParseTagError| error.to_string())?;
    let same_name = |other: &CallerTag| other.name.eq_ignore_ascii_case(&tag.name);
    match () {
        () if holds_key(values, &tag.header) => Err(HOLDS_KEY.to_owned()),
        () if before.iter().any(same_name) => {
            Err("is a second tag of that name; names must differ, and not in case alone".to_owned())
        }
        () if before.iter().any(|other| other.header == tag.header) => {
            Err("is a second tag of that header; each needs its own".to_owned())
        }
        () => Ok(tag),
    }
}

/// There are no roots of client certificates, and nothing wrong has been told of them.
fn no_client_ca(values: &Values) -> bool {
    !values.is_set(&LISTEN_CLIENT_CA_FILE) && !values.is_wrong(&LISTEN_CLIENT_CA_FILE)
}

fn user_ids(values: &mut Values, sources: &[CallerSource]) -> UserIds {
    let user_ids = values.get(&CALLER_USER_IDS).unwrap_or_default();
    if user_ids == UserIds::Drop && sources.contains(&CallerSource::EntraUser) {
        let problem = "\"drop\" leaves the source entra-user nobody to name; allowed with it: plain, hash";
        values.error_in(&CALLER_USER_IDS, problem);
    }
    user_ids
}

/// The test of the hop; `None` if it makes no sense: then `values` says why.
fn trust(values: &mut Values) -> Option<HopTest> {
    let mode = values.get(&CALLER_TRUST).filter(|_| !values.is_wrong(&CALLER_TRUST))?;
    let needs: [(&AnySetting, CallerTrust); 2] =
        [(&CALLER_NETWORKS, CallerTrust::Network), (&CALLER_CERT_NAMES, CallerTrust::Mtls)];
    for (setting, needed) in needs {
        if values.is_set(setting) && mode != needed {
            let (needed, mode): (&str, &str) = (needed.into(), mode.into());
            let problem = format!("needs --caller-trust {needed}, which is {mode}: nothing would be checked");
            values.error_in(setting, problem);
        }
    }
    if values.get(&ON_UNTRUSTED) == Some(OnUntrusted::Reject) && mode == CallerTrust::None {
        values.error_in(
            &ON_UNTRUSTED,
            "\"reject\" needs a --caller-trust other than none, with which every hop passes",
        );
    }
    match mode {
        CallerTrust::None => Some(HopTest::None),
        CallerTrust::SharedSecret => secrets(values).map(|secrets| HopTest::SharedSecret(Arc::new(secrets))),
        CallerTrust::Mtls => {
            if no_client_ca(values) {
                let problem = "\"mtls\" needs the roots of the gateway's certificate, without which nobody shows one: give \
                               --listen-client-ca-file, --listen-cert-file and --listen-key-file";
                values.error_in(&CALLER_TRUST, problem);
            }
            Some(HopTest::Mtls(values.list(&CALLER_CERT_NAMES)))
        }
        CallerTrust::Network => Some(HopTest::Network(networks(values))),
    }
}

fn secrets(values: &mut Values) -> Option<Reload<Secrets>> {
    let (secret, file): (&AnySetting, &AnySetting) = (&CALLER_SHARED_SECRET, &CALLER_SHARED_SECRET_FILE);
    let given = values.get(&CALLER_SHARED_SECRET);
    let path = if given.is_none() { values.secret_path(&CALLER_SHARED_SECRET_FILE) } else { None };
    let loaded = match (given, path) {
        (Some(text), _) => Reload::fixed(&text).map_err(|problem| (secret, problem)),
        (None, Some(path)) => Reload::file(&path).map_err(|problem| (file, problem)),
        (None, None) if values.is_wrong(secret) || values.is_wrong(file) => return None,
        (None, None) => {
            let problem = "\"shared-secret\" needs 1 or 2 secrets; set --caller-shared-secret-file or \
                           TOKENWEIR_CALLER_SHARED_SECRET";
            Err((&*CALLER_TRUST, problem.to_owned()))
        }
    };
    loaded.map_err(|(setting, problem)| values.error_in(setting, problem)).ok()
}

fn networks(values: &mut Values) -> Vec<Network> {
    let mut found = Vec::new();
    for text in values.list(&CALLER_NETWORKS) {
        match text.parse::<Network>() {
            Ok(network) => found.push(network),
            Err(error) => values.error_in(&CALLER_NETWORKS, shown::without(&error.to_string(), &text)),
        }
    }
    if values.list(&CALLER_NETWORKS).is_empty() && !values.is_wrong(&CALLER_NETWORKS) {
        values.error_in(&CALLER_TRUST, "\"network\" needs --caller-networks, such as 10.1.0.0/16");
    }
    found
}

fn map(values: &mut Values) -> Option<Arc<Reload<CallerMap>>> {
    let path = values.file_path(&CALLER_MAP_FILE)?;
    Reload::file(&path).map(Arc::new).map_err(|problem| values.error_in(&CALLER_MAP_FILE, problem)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[(&str, &str)]) -> (Option<serve::CallerConfig>, Vec<String>) {
        let flag = |name: &str| {
            let found: Vec<_> =
                flags.iter().filter(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).collect();
            (!found.is_empty()).then_some(found)
        };
        let mut values = Values::resolve(flag, |_| None, None);
        let config = caller(&mut values);
        (config, values.errors().iter().map(ToString::to_string).collect())
    }

    const NINE_TAGS: &str = "a=x-a,b=x-b,c=x-c,d=x-d,e=x-e,f=x-f,g=x-g,h=x-h,i=x-i";

    #[test]
    fn tags_are_read_in_their_order() {
        let tags = |flags: &[(&str, &str)]| {
            let (config, errors) = read(flags);
            assert_eq!(errors, Vec::<String>::new());
            let tags = config.unwrap().tags.into_iter();
            tags.map(|tag| format!("{}={}:{}", tag.name, tag.header, tag.plain)).collect::<Vec<_>>()
        };
        assert_eq!(tags(&[]), Vec::<String>::new());
        let two = ["user=x-end-user:false", "desk=x-desk:true"];
        assert_eq!(tags(&[("caller-tags", "user=X-End-User, desk=x-desk:plain")]), two);
        assert_eq!(tags(&[("caller-tags", "user=x-end-user"), ("caller-tags", "desk=x-desk:plain")]), two);
        assert_eq!(tags(&[("caller-tags", NINE_TAGS.rsplit_once(',').unwrap().0)]).len(), TAGS_MAX);
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (three, map) =
            (file("three", "a\nb\nc"), file("map.csv", "caller,department\na,Retail\na,Retail"));
        let weak = file("weak", "hunter2");
        let gone = dir.path().join("gone").to_str().unwrap().to_owned();
        type Given<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(Given, &str, &str)] = &[
            (&[("caller-trust", "shared-secret")], "--caller-trust", "TOKENWEIR_CALLER_SHARED_SECRET"),
            (
                &[("caller-trust", "shared-secret"), ("caller-shared-secret-file", &three)],
                "--caller-shared-secret-file",
                "three holds 3 secrets",
            ),
            (
                &[("caller-trust", "shared-secret"), ("caller-shared-secret-file", &gone)],
                "--caller-shared-secret-file",
                "gone cannot be read",
            ),
            (
                &[("caller-trust", "shared-secret"), ("caller-shared-secret-file", &weak)],
                "--caller-shared-secret-file",
                "weak holds a secret that is too easy to guess",
            ),
            (
                &[("caller-trust", "shared-secret"), ("caller-shared-secret-file", "hunter2")],
                "--caller-shared-secret-file",
                "names no file",
            ),
            (&[("caller-trust", "mtls")], "--caller-trust", "--listen-client-ca-file"),
            (&[("caller-trust", "network")], "--caller-trust", "--caller-networks"),
            (
                &[("caller-trust", "network"), ("caller-networks", "10.1.0.0/16,10.1")],
                "--caller-networks",
                "\"10.1\" is no network",
            ),
            (
                &[("caller-trust", "network"), ("caller-networks", "10.1.0.1/16")],
                "--caller-networks",
                "10.1.0.0/16",
            ),
            (&[("caller-networks", "10.1.0.0/16")], "--caller-networks", "needs --caller-trust network"),
            (&[("caller-cert-names", "gw.bank")], "--caller-cert-names", "needs --caller-trust mtls"),
            (&[("on-untrusted", "reject")], "--on-untrusted", "--caller-trust"),
            (&[("caller-sources", "client-cert")], "--caller-sources", "--listen-client-ca-file"),
            (&[("caller-sources", "header:authorization")], "--caller-sources", "credential"),
            (
                &[("caller-sources", "header:X-Key"), ("subscription-key-names", "x-key")],
                "--caller-sources",
                "--subscription-key-names",
            ),
            (&[("caller-sources", ",")], "--caller-sources", "names no source"),
            (&[("caller-tags", ",")], "--caller-tags", "names no tag"),
            (&[("caller-tags", "user")], "--caller-tags", "\"user\" is no tag; allowed: NAME=HEADER"),
            (&[("caller-tags", "us er=x-user")], "--caller-tags", "is no tag"),
            (&[("caller-tags", "user=hunter2;x")], "--caller-tags", "the value is no tag"),
            (&[("caller-tags", "user=Api-Key:plain")], "--caller-tags", "credential"),
            (&[("caller-tags", "user=Subscription-Key")], "--caller-tags", "credential"),
            (
                &[("caller-tags", "user=X-Key"), ("subscription-key-names", "x-key")],
                "--caller-tags",
                "\"user=X-Key\" is not allowed: --subscription-key-names",
            ),
            (
                &[("caller-tags", "user=x-a,User=x-b")],
                "--caller-tags",
                "\"User=x-b\" is a second tag of that name",
            ),
            (&[("caller-tags", "user=x-a,desk=X-A:plain")], "--caller-tags", "a second tag of that header"),
            (&[("caller-tags", NINE_TAGS)], "--caller-tags", "has 9 tags; allowed: 8 at most"),
            (&[("caller-sources", "jwt")], "--caller-sources", "\"jwt\" is no caller source"),
            (
                &[("caller-sources", "entra-user"), ("caller-user-ids", "drop")],
                "--caller-user-ids",
                "plain, hash",
            ),
            (&[("caller-map-file", &gone)], "--caller-map-file", "gone cannot be read"),
            (&[("caller-map-file", &map)], "--caller-map-file", "map.csv line 3: has the caller \"a\""),
        ];
        for (flags, thing, needle) in cases {
            let (_, errors) = read(flags);
            let [error] = errors.as_slice() else { panic!("{flags:?}: {errors:?}") };
            assert!(error.starts_with(&format!("{thing}: ")) && error.contains(needle), "{flags:?}: {error}");
            assert!(!error.contains("hunter2"), "{flags:?}: {error}");
        }
    }

    #[test]
    fn each_trust_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "0c6f9ab2d7e1483f\n").unwrap();
        let path = path.to_str().unwrap();
        let of = |flags: &[(&str, &str)]| {
            let (config, errors) = read(flags);
            assert_eq!(errors, Vec::<String>::new());
            config.unwrap()
        };
        assert!(matches!(of(&[]).trust, HopTest::None));
        assert_eq!(of(&[]).user_ids, UserIds::Hash);
        let secret = of(&[("caller-trust", "shared-secret"), ("caller-shared-secret-file", path)]);
        assert!(matches!(secret.trust, HopTest::SharedSecret(_)));
        assert!(!format!("{secret:?}").contains("0c6f9ab2d7e1483f"));
        let ca = ("listen-client-ca-file", "ca.pem");
        let mtls = of(&[("caller-trust", "mtls"), ca, ("caller-cert-names", "a.bank,b.bank")]).trust;
        assert!(matches!(mtls, HopTest::Mtls(names) if names == ["a.bank", "b.bank"]));
        let network = of(&[("caller-trust", "network"), ("caller-networks", "10.1.0.0/16, ::1")]).trust;
        assert!(matches!(network, HopTest::Network(networks) if networks.len() == 2));
    }
}
