//! The gateway's policies: who pays is said with `override` and proved, streams are not held back, and
//! what the files name is what tokenweir reads.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use super::{files, read};

/// Headers that tokenweir reads as the gateway's word, and removes.
const IDENTITY: &[&str] = &[
    "x-apim-subscription-id",
    "x-apim-product-id",
    "x-apim-user-id",
    "x-apim-api-id",
    "x-apim-operation-id",
    "x-apim-request-id",
    "x-apim-attempt",
    "x-tokenweir-auth",
    "x-apim-foundry-deployment",
];
/// Of these the ones that only some policies set.
const DELETED: &[&str] = &["x-apim-attempt", "x-apim-foundry-deployment"];
/// The one of them that proves the others.
const PROOF: &str = "x-tokenweir-auth";
/// Where a caller's key may be: the gateway would pass it on.
const KEYS: &[&str] = &["api-key", "x-api-key", "Ocp-Apim-Subscription-Key", "subscription-key"];

/// The gateway's expressions hold bare quotes inside attributes only as `&quot;`, so the files are plain XML.
fn with_policy<T>(name: &str, look: impl Fn(Node<'_, '_>) -> T) -> T {
    let text = read(format!("deploy/apim/{name}"));
    let document = Document::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    look(document.root_element())
}

fn named<'a>(policy: Node<'a, 'a>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    policy.descendants().filter(move |node| node.has_tag_name(tag))
}

fn attribute<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    node.attribute(name).unwrap_or_else(|| panic!("{} has no {name}", node.tag_name().name()))
}

#[test]
fn the_fragment_leaves_a_client_no_way_to_name_a_payer() {
    with_policy("tokenweir-identity.xml", |fragment| {
        assert!(fragment.has_tag_name("fragment"));
        let actions: BTreeMap<_, _> = named(fragment, "set-header")
            .map(|node| (attribute(node, "name"), attribute(node, "exists-action")))
            .collect();
        for name in IDENTITY.iter().filter(|name| **name != PROOF) {
            let wanted = if DELETED.contains(name) { "delete" } else { "override" };
            assert_eq!(actions.get(name), Some(&wanted), "{name}");
        }
        for name in actions.keys() {
            assert!(*name != PROOF, "that is the other fragment's");
            assert!(IDENTITY.contains(name) || KEYS.contains(name), "tokenweir does not know {name}");
        }
        let deleted = |tag| {
            let nodes = named(fragment, tag).filter(|node| attribute(*node, "exists-action") == "delete");
            nodes.map(|node| attribute(node, "name").to_owned()).collect::<Vec<_>>()
        };
        let deleted = [deleted("set-header"), deleted("set-query-parameter")].concat();
        assert!(KEYS.iter().all(|key| deleted.iter().any(|name| name == key)), "{deleted:?}");
    });
}

#[test]
fn identity_comes_from_the_gateway() {
    with_policy("tokenweir-identity.xml", |fragment| {
        for node in
            named(fragment, "set-header").filter(|node| attribute(*node, "exists-action") == "override")
        {
            let values: Vec<_> = node.children().filter(Node::is_element).collect();
            let [value] = values.as_slice() else { panic!("one value each") };
            let value = value.text().unwrap_or_default();
            let name = attribute(node, "name");
            assert!(
                value.starts_with("@(context.") && !value.contains("context.Request."),
                "{name} must not come from the client: {value}"
            );
        }
        let identity =
            named(fragment, "authentication-managed-identity").next().expect("the gateway signs in");
        assert_eq!(attribute(identity, "resource"), "https://cognitiveservices.azure.com");
        let last = fragment.children().rfind(Node::is_element);
        assert_eq!(last, Some(identity), "it replaces Authorization: what reads that comes before");
    });
}

/// The name and the action of each header that a fragment sets.
fn headers<'a>(fragment: Node<'a, 'a>) -> Vec<(&'a str, &'a str)> {
    let set = named(fragment, "set-header");
    set.map(|node| (attribute(node, "name"), attribute(node, "exists-action"))).collect()
}

#[test]
fn the_proof_is_a_named_secret_or_a_certificate() {
    with_policy("tokenweir-proof-secret.xml", |fragment| {
        assert_eq!(headers(fragment), [(PROOF, "override")]);
        let value = named(fragment, "value").next().and_then(|value| value.text());
        assert_eq!(value, Some("{{tokenweir-auth}}"), "a named value, never the secret itself");
    });
    with_policy("tokenweir-proof-mtls.xml", |fragment| {
        assert_eq!(headers(fragment), [(PROOF, "delete")]);
        let shown = named(fragment, "authentication-certificate").next().expect("a certificate is shown");
        assert_eq!(attribute(shown, "certificate-id"), "tokenweir-client");
    });
}

#[test]
fn only_checked_tokens_name_an_application() {
    with_policy("tokenweir-tokens-only.xml", |fragment| {
        let order: Vec<_> =
            fragment.children().filter(Node::is_element).map(|node| node.tag_name().name()).collect();
        assert_eq!(
            order,
            ["choose", "validate-azure-ad-token", "set-header"],
            "nothing is read before it is checked"
        );
        let when = named(fragment, "when").next().expect("a condition");
        for key in ["api-key", "x-api-key"] {
            assert!(attribute(when, "condition").contains(&format!("ContainsKey(\"{key}\")")), "{key}");
        }
        let status = named(when, "set-status").next().expect("a refusal");
        assert_eq!(attribute(status, "code"), "401");
        let variable = attribute(
            named(fragment, "validate-azure-ad-token").next().expect("seen above"),
            "output-token-variable-name",
        );
        let set = fragment.children().rfind(Node::is_element).expect("seen above");
        assert_eq!(attribute(set, "exists-action"), "override");
        let value = named(set, "value").next().and_then(|value| value.text()).unwrap_or_default();
        assert!(
            value.contains(&format!("context.Variables[\"{variable}\"]"))
                && !value.contains("context.Request"),
            "{value}"
        );
        assert!(value.contains("\"azp\"") && value.contains("\"appid\""), "both versions of tokens: {value}");
        // It is a source that tokenweir takes, and the README says how.
        let source = format!("header:{}", attribute(set, "name"));
        assert!(source.parse::<metering::caller::CallerSource>().is_ok(), "{source}");
        assert!(read("deploy/apim/README.md").contains(&format!("`caller_sources = \"{source}\"`")));
    });
}

/// The children of a fragment that set a header, each with its value.
fn values<'a>(fragment: Node<'a, 'a>) -> Vec<(&'a str, &'a str)> {
    let value = |node: Node<'a, 'a>| {
        assert_eq!(attribute(node, "exists-action"), "override", "a client's must not survive");
        node.children().find(Node::is_element).and_then(|value| value.text()).unwrap_or_default()
    };
    named(fragment, "set-header").map(|node| (attribute(node, "name"), value(node))).collect()
}

#[test]
fn the_gateway_says_which_deployment_it_chose() {
    with_policy("tokenweir-foundry.xml", |fragment| {
        let [(name, value)] = values(fragment)[..] else { panic!("one header") };
        assert_eq!(Some(&name), IDENTITY.last());
        assert_eq!(value, "@((string)context.Request.Foundry?.Deployment ?? \"\")");
    });
    assert!(
        read("deploy/apim/README.md").contains("fragment `tokenweir-foundry` behind\n`tokenweir-identity`")
    );
}

/// What the fragment sets is what the settings beside it name, and nothing comes from an unchecked request.
#[test]
fn the_gateway_sets_every_tag_that_the_readme_has() {
    let readme = read("deploy/apim/README.md");
    let setting = readme.split("`caller_tags = \"").nth(1).and_then(|rest| rest.split('"').next());
    let tags = setting.expect("an example").split(',').map(|tag| tag.parse().expect("a tag"));
    let tags: Vec<metering::caller::CallerTag> = tags.collect();
    assert!(
        read("deploy/kubernetes/configmap.yaml")
            .contains(&format!("caller_tags = \"{}\"", setting.expect("above")))
    );
    with_policy("tokenweir-tags.xml", |fragment| {
        let set = values(fragment);
        let names: Vec<_> = set.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, tags.iter().map(|tag| tag.header.as_str()).collect::<Vec<_>>());
        for (name, value) in set {
            assert!(value.contains("context.") && !value.contains("context.Request"), "{name}: {value}");
        }
    });
    let user = tags.iter().find(|tag| tag.name == "user").expect("the end user");
    assert!(!user.plain, "a person is not written down as they are");
}

/// A policy of an API, but for the one that goes round tokenweir.
const FALLBACK: &str = "api-policy-fallback.xml";

#[test]
fn policies_include_the_fragments_and_do_not_buffer() {
    for file in files("apim", "xml") {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        if name.starts_with("tokenweir-") {
            continue;
        }
        with_policy(&name, |policy| {
            let sections: Vec<_> = policy
                .children()
                .filter(Node::is_element)
                .map(|node| node.tag_name().name().to_owned())
                .collect();
            assert_eq!(sections, ["inbound", "backend", "outbound", "on-error"], "{name}");
            let forwards: Vec<_> = named(policy, "forward-request").collect();
            let [forward] = forwards.as_slice() else { panic!("{name}: one forward-request") };
            assert_eq!(attribute(*forward, "buffer-response"), "false", "{name}");
            let backend = named(policy, "backend").next().expect("seen above");
            assert!(named(backend, "base").next().is_none(), "{name}: <base /> would forward a second time");
            if name != FALLBACK {
                goes_through_tokenweir(&name, policy);
            }
        });
    }
}

fn goes_through_tokenweir(name: &str, policy: Node<'_, '_>) {
    let included: Vec<_> =
        named(policy, "include-fragment").map(|node| attribute(node, "fragment-id")).collect();
    assert_eq!(included, ["tokenweir-identity", "tokenweir-proof"], "{name}");
    let backend: Vec<_> =
        named(policy, "set-backend-service").map(|node| attribute(node, "backend-id")).collect();
    let wanted = if name == "api-policy-pool.xml" { "tokenweir-pool" } else { "tokenweir" };
    assert_eq!(backend, [wanted], "{name}");
    // Attempts are told apart, and the caller cannot number them.
    let retries = named(policy, "retry").count();
    let tagged = named(policy, "retry").flat_map(headers).collect::<Vec<_>>();
    assert_eq!(tagged, vec![("x-apim-attempt", "override"); retries], "{name}");
    assert_eq!(headers(policy), tagged, "{name}: nothing else is set here");
    if let Some(retry) = named(policy, "retry").next() {
        let condition = attribute(retry, "condition");
        assert!(
            !condition.contains("5xx") && !condition.contains(">= 500"),
            "{name}: an answer may be on its way"
        );
        let forward = named(retry, "forward-request").next().expect("what is retried");
        assert_eq!(attribute(forward, "buffer-request-body"), "true", "{name}: a body can be sent again");
    }
}

#[test]
fn without_tokenweir_nothing_is_streamed_and_no_key_passes() {
    with_policy(FALLBACK, |policy| {
        let when = named(policy, "when").next().expect("a condition");
        assert!(attribute(when, "condition").contains("[\"stream\"]"));
        assert_eq!(attribute(named(when, "set-status").next().expect("a refusal"), "code"), "503");
        let rest: Vec<_> =
            named(policy, "set-header").filter(|node| !node.ancestors().any(|up| up == when)).collect();
        let deleted = rest.into_iter().chain(named(policy, "set-query-parameter"));
        let deleted: Vec<_> =
            deleted.map(|node| (attribute(node, "name"), attribute(node, "exists-action"))).collect();
        assert_eq!(deleted, KEYS.iter().map(|key| (*key, "delete")).collect::<Vec<_>>());
        assert!(named(policy, "azure-openai-emit-token-metric").next().is_some());
        assert!(named(policy, "include-fragment").next().is_none());
    });
}

fn properties(name: &str) -> serde_json::Value {
    let backend: serde_json::Value =
        serde_json::from_str(&read(format!("deploy/apim/{name}"))).expect("JSON");
    backend["properties"].clone()
}

#[test]
fn the_backends_are_those_that_the_policies_name() {
    let one = properties("backend.json");
    assert_eq!((&one["protocol"], &one["title"]), (&"http".into(), &"tokenweir".into()));
    assert!(one["url"].as_str().is_some_and(|url| url.starts_with("https://") && url.ends_with("/openai")));
    let pool = properties("backend-pool.json");
    assert_eq!((&pool["type"], &pool["title"]), (&"Pool".into(), &"tokenweir-pool".into()));
    let services = pool["pool"]["services"].as_array().expect("members");
    assert!(services.len() >= 2);
    for service in services {
        let id = service["id"].as_str().expect("an id");
        assert!(id.starts_with("APIM_RESOURCE_ID/backends/tokenweir-"), "{id}");
        assert_eq!((&service["priority"], &service["weight"]), (&1.into(), &1.into()), "in turns");
    }
}

/// The statuses that open a backend's breaker.
fn opened_by(backend: &serde_json::Value) -> Vec<u64> {
    let rules = backend["circuitBreaker"]["rules"].as_array().expect("rules");
    assert!(!rules.is_empty());
    let ranges = rules
        .iter()
        .flat_map(|rule| rule["failureCondition"]["statusCodeRanges"].as_array().expect("ranges"));
    let ranges = ranges
        .map(|range| (range["min"].as_u64().expect("a status"), range["max"].as_u64().expect("a status")));
    ranges.flat_map(|(min, max)| min..=max).collect()
}

/// A deployment at its limit is one team's matter: it must not close the one backend that all teams have. In a
/// pool there is another way for the call.
#[test]
fn a_busy_deployment_closes_no_door_but_its_own() {
    assert_eq!(opened_by(&properties("backend.json")), [502, 503, 504]);
    let member = properties("backend-member.json");
    assert_eq!(opened_by(&member), [429, 502, 503, 504]);
    let title = member["title"].as_str().expect("a title");
    let pool = read("deploy/apim/backend-pool.json");
    assert!(pool.contains(&format!("/backends/{title}\"")), "{title} is one of the pool's");
    let name = title.strip_prefix("tokenweir-").expect("the pool's names begin so");
    assert_eq!(member["url"], format!("https://TOKENWEIR_HOST/{name}/openai"));
    // A gateway that is told to wait by one of them does, and checks whom it calls.
    for backend in [properties("backend.json"), member] {
        assert_eq!(backend["circuitBreaker"]["rules"][0]["acceptRetryAfter"], true);
        assert_eq!(backend["tls"]["validateCertificateChain"], true);
        assert_eq!(backend["tls"]["validateCertificateName"], true);
    }
    let readme = read("deploy/apim/README.md");
    assert!(readme.contains("`backend-member.json`") && readme.contains("opens at 502 to 504 only"));
}

/// Every setting that the steps name exists.
#[test]
fn the_readme_names_settings_that_there_are() {
    let text = read("deploy/apim/README.md");
    let keys = text.split('`').skip(1).step_by(2).filter_map(|code| code.split(" = ").next());
    let keys: Vec<&str> = keys
        .filter(|key| {
            let begins =
                ["caller_", "listen_", "gateway_", "on_", "api_"].iter().any(|begin| key.starts_with(begin));
            begins && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .collect();
    assert!(keys.len() >= 10, "{keys:?}");
    for key in keys {
        let name = key.replace('_', "-");
        assert!(tokenweir::config::settings::find(&name).is_some(), "there is no setting {key}");
    }
}

#[test]
fn the_policy_sets_what_the_sidecar_reads() {
    let read: Vec<String> = metering::caller::gateway_headers().iter().map(ToString::to_string).collect();
    assert_eq!(read, IDENTITY);
}
