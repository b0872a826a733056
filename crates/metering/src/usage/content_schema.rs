//! The JSON Schema of the events of the capture topic: what `tokenweir schema content` prints.
//!
//! Written by hand, as that of the usage events is; the tests hold every member of the types against it.

/// JSON Schema, draft 2020-12, of a whole CloudEvent of either type.
pub const CONTENT_SCHEMA: &str = include_str!("content.schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use smol_str::SmolStr;

    use super::CONTENT_SCHEMA;
    use crate::caller::Trust;
    use crate::usage::schema_check::{members, same_fields, words};
    use crate::usage::*;

    fn root() -> Value {
        serde_json::from_str(CONTENT_SCHEMA).unwrap()
    }

    fn text() -> Option<SmolStr> {
        Some("a".into())
    }

    fn part() -> ContentPart {
        let header = || JweKeyName { kid: "k".into() };
        let recipient = JweRecipient { header: header(), encrypted_key: "a".to_owned() };
        ContentPart {
            schema_version: CONTENT_SCHEMA_VERSION.into(),
            facts: PartFacts {
                call: "c".into(),
                usage: UsageRecord::Event,
                caller: ContentCaller { id: "i".into(), department: text(), trust: Trust::None },
                target: ContentTarget {
                    api: Api::ChatCompletions,
                    resource: "r".into(),
                    deployment: text(),
                    model: text(),
                    api_version: text(),
                },
                side: ContentSide::Response,
                part: 0,
                last: true,
                bytes_raw: 1,
                content_type: text(),
                content_encoding: text(),
                status: Some(200),
                edited: vec!["e".into()],
                outcome: Some(Outcome::Complete),
                truncated: true,
            },
            reporter: Reporter::default(),
            jwe: Some(Jwe {
                protected: "p".to_owned(),
                recipients: vec![recipient],
                header: Some(header()),
                encrypted_key: Some("a".to_owned()),
                iv: "i".to_owned(),
                ciphertext: "c".to_owned(),
                tag: "t".to_owned(),
            }),
            cleartext: Some("c".to_owned()),
        }
    }

    fn event(kind: ContentType, data: impl serde::Serialize) -> Value {
        let data = serde_json::to_value(data).unwrap();
        let event = CloudEvent::new(kind, "//tokenweir/x", "i".to_owned(), Some("t".to_owned()), "s", data);
        serde_json::to_value(event.with_sequence(1)).unwrap()
    }

    #[test]
    fn every_member_is_in_the_schema_and_the_schema_has_no_other() {
        let root = root();
        for (event, name) in [
            (event(ContentType::Part, part()), "part"),
            (event(ContentType::Control, ContentControl::default()), "control"),
        ] {
            same_fields("event", &event, &root, &root, true);
            same_fields(name, &event["data"], &root["$defs"][name], &root, true);
        }
        let jwe = &root["$defs"]["jwe"];
        for (name, members, schema) in [
            ("control", members::<ContentControl>(), &root["$defs"]["control"]),
            ("caller", members::<ContentCaller>(), &root["$defs"]["caller"]),
            ("target", members::<ContentTarget>(), &root["$defs"]["target"]),
            ("jwe", members::<Jwe>(), jwe),
        ] {
            let properties = schema["properties"].as_object().unwrap();
            let properties: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
            assert_eq!(members, properties, "{name}");
        }
    }

    /// What the protected header repeats is what the schema says that it does.
    #[test]
    fn the_protected_header_has_the_members_from_call_to_truncated() {
        let properties: Vec<String> =
            root()["$defs"]["part"]["properties"].as_object().unwrap().keys().cloned().collect();
        let facts = serde_json::to_value(part().facts).unwrap();
        let facts: Vec<&String> = facts.as_object().unwrap().keys().collect();
        let at = |name: &str| properties.iter().position(|property| property == name).unwrap();
        assert!(properties[at("call")..=at("truncated")].iter().eq(facts.iter().copied()), "{facts:?}");
    }

    #[test]
    fn the_schema_has_the_words_that_the_enums_have() {
        let root = root();
        let has = |at: &str, words: Vec<&str>| {
            assert_eq!(root.pointer(at).unwrap()["enum"], json!(words), "{at}");
        };
        has("/properties/type", words::<ContentType>());
        has("/$defs/target/properties/api", words::<Api>());
        let part = "/$defs/part/properties";
        has(&format!("{part}/usage"), words::<UsageRecord>());
        has(&format!("{part}/side"), words::<ContentSide>());
        has(&format!("{part}/outcome"), words::<Outcome>());
        has("/$defs/control/properties/requests/propertyNames", words::<CaptureState>());
        has("/$defs/control/properties/responses/propertyNames", words::<CaptureState>());
    }
}
