//! The gateway's policies: who pays is said with `override`, and streams are not held back.

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
];
/// Where a caller's key may be: the gateway would pass it on.
const KEYS: &[&str] = &["api-key", "Ocp-Apim-Subscription-Key", "subscription-key"];

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
        for name in IDENTITY {
            let wanted = if *name == "x-apim-attempt" { "delete" } else { "override" };
            assert_eq!(actions.get(name), Some(&wanted), "{name}");
        }
        for name in actions.keys() {
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
fn identity_comes_from_the_gateway_and_the_secret_from_a_named_value() {
    with_policy("tokenweir-identity.xml", |fragment| {
        for node in
            named(fragment, "set-header").filter(|node| attribute(*node, "exists-action") == "override")
        {
            let values: Vec<_> = node.children().filter(Node::is_element).collect();
            let [value] = values.as_slice() else { panic!("one value each") };
            let value = value.text().unwrap_or_default();
            match attribute(node, "name") {
                "x-tokenweir-auth" => assert_eq!(value, "{{tokenweir-auth}}"),
                name => assert!(
                    value.starts_with("@(context.") && !value.contains("context.Request."),
                    "{name} must not come from the client: {value}"
                ),
            }
        }
        let identity =
            named(fragment, "authentication-managed-identity").next().expect("the gateway signs in");
        assert_eq!(attribute(identity, "resource"), "https://cognitiveservices.azure.com");
        let last = fragment.children().rfind(Node::is_element);
        assert_eq!(last, Some(identity), "it replaces Authorization: what reads that comes before");
    });
}

#[test]
fn policies_include_the_fragment_and_do_not_buffer() {
    for file in files("apim", "xml") {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        if name == "tokenweir-identity.xml" {
            continue;
        }
        with_policy(&name, |policy| {
            let sections: Vec<_> = policy
                .children()
                .filter(Node::is_element)
                .map(|node| node.tag_name().name().to_owned())
                .collect();
            assert_eq!(sections, ["inbound", "backend", "outbound", "on-error"], "{name}");
            let included: Vec<_> =
                named(policy, "include-fragment").map(|node| attribute(node, "fragment-id")).collect();
            assert_eq!(included, ["tokenweir-identity"], "{name}");
            let backend: Vec<_> =
                named(policy, "set-backend-service").map(|node| attribute(node, "backend-id")).collect();
            assert_eq!(backend, ["tokenweir"], "{name}");
            let forwards: Vec<_> = named(policy, "forward-request").collect();
            let [forward] = forwards.as_slice() else { panic!("{name}: one forward-request") };
            assert_eq!(attribute(*forward, "buffer-response"), "false", "{name}");
            let backend = named(policy, "backend").next().expect("seen above");
            assert!(named(backend, "base").next().is_none(), "{name}: <base /> would forward a second time");
            for node in named(policy, "set-header") {
                assert_eq!(
                    (attribute(node, "name"), attribute(node, "exists-action")),
                    ("x-apim-attempt", "override")
                );
            }
        });
    }
}

#[test]
fn the_backend_is_one_that_the_policies_name() {
    let backend: serde_json::Value =
        serde_json::from_str(&read("deploy/apim/backend.json")).expect("the backend is JSON");
    let properties = &backend["properties"];
    assert_eq!(properties["protocol"], "http");
    assert!(
        properties["url"].as_str().is_some_and(|url| url.starts_with("https://") && url.ends_with("/openai"))
    );
    assert_eq!(properties["title"], "tokenweir");
    assert!(properties["circuitBreaker"]["rules"].as_array().is_some_and(|rules| !rules.is_empty()));
}

#[test]
fn the_policy_sets_what_the_sidecar_reads() {
    let read: Vec<String> = tokenweir::caller::gateway_headers().iter().map(ToString::to_string).collect();
    assert_eq!(read, IDENTITY);
}
