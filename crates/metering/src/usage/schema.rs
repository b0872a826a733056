//! The JSON Schema of every event: what `tokenweir schema` prints.
//!
//! Written by hand, because its descriptions are for people; the tests hold every field of the types
//! against it, and every event that tests make.

/// JSON Schema, draft 2020-12, of a whole CloudEvent of any of the three types.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::Timestamp;
    use serde_json::{Value, json};
    use smol_str::SmolStr;

    use super::SCHEMA;
    use crate::caller::{Caller, TAGS_MAX, Trust};
    use crate::usage::schema_check::{members, part, same_fields, words};
    use crate::usage::*;

    fn caller() -> Caller {
        let tags = BTreeMap::from([("user".into(), "a".into())]);
        Caller { conflict: true, entra_app_id: Some("a".into()), tags, ..Caller::unattributed(Trust::None) }
    }

    fn text() -> Option<SmolStr> {
        Some("a".into())
    }

    fn target() -> Target {
        Target {
            provider: "azure.ai.openai".into(),
            api: Api::ChatCompletions,
            operation: text(),
            resource: "r".into(),
            project: text(),
            agent: text(),
            deployment: text(),
            gateway_deployment: text(),
            deployment_served: text(),
            spillover_from: text(),
            service_tier: text(),
            speed: text(),
            inference_geo: text(),
            model: text(),
            model_requested: text(),
            region: text(),
            api_version: text(),
        }
    }

    fn accounting() -> Accounting {
        let mut accounting = Accounting {
            rules: "1".into(),
            tokenizer: text(),
            drained: true,
            deferred: true,
            computed_input: Some(1),
            computed_output: Some(1),
            reported_input: Some(1),
            reported_output: Some(1),
            ..Accounting::default()
        };
        accounting.add_reason(Side::Output, Reason::Shutdown);
        accounting
    }

    fn tool() -> ToolTokens {
        ToolTokens {
            tool: "svg".into(),
            model: text(),
            input: Some(1),
            output: Some(1),
            input_text: Some(1),
            input_image: Some(1),
            input_cached: Some(1),
            output_text: Some(1),
            output_image: Some(1),
        }
    }

    fn units() -> Units {
        Units {
            audio_ms: Some(1),
            video_ms: Some(1),
            images: Some(1),
            characters: Some(1),
            pages: Some(1),
            search_units: Some(1),
            web_searches: Some(1),
            web_fetches: Some(1),
        }
    }

    fn control() -> Control {
        let text = || Some("a".to_owned());
        Control {
            units: units(),
            digest: text(),
            previous_instance: text(),
            previous_digest: text(),
            key_id: text(),
            keyed_digest: text(),
            sha256: text(),
            hmac: text(),
            ..Control::default()
        }
    }

    /// A member that no test sets, and that is left out where it says nothing, is here nevertheless.
    #[test]
    fn the_schema_has_the_members_that_the_structs_have() {
        let root: Value = serde_json::from_str(SCHEMA).unwrap();
        let usage = &root["$defs"]["usage"]["properties"];
        for (name, members, schema) in [
            ("usage", members::<Usage>(), &root["$defs"]["usage"]),
            ("caller", members::<Caller>(), &usage["caller"]),
            ("target", members::<Target>(), &usage["target"]),
            ("request", members::<Request>(), &usage["request"]),
            ("tokens", members::<Tokens>(), &root["$defs"]["tokens"]),
            ("tools", members::<ToolTokens>(), &usage["tools"]["items"]),
            ("units", members::<Units>(), &usage["units"]),
            ("accounting", members::<Accounting>(), &usage["accounting"]),
            ("stream", members::<Stream>(), &usage["stream"]),
            ("timing", members::<Timing>(), &usage["timing"]),
            ("ids", members::<Ids>(), &usage["ids"]),
            ("capture", members::<Capture>(), &usage["capture"]),
            ("reporter", members::<Reporter>(), &usage["reporter"]),
            ("control", members::<Control>(), &root["$defs"]["control"]),
            ("totals", members::<TokenTotals>(), &root["$defs"]["totals"]),
        ] {
            let properties = part(schema, &root)["properties"].as_object().unwrap();
            let properties: BTreeSet<_> = properties.keys().map(String::as_str).collect();
            assert_eq!(members, properties, "{name}");
        }
    }

    fn event(kind: EventType, data: impl serde::Serialize) -> Value {
        let data = serde_json::to_value(data).unwrap();
        let mut event =
            CloudEvent::new(kind, "//tokenweir/x", "i".to_owned(), Some("t".to_owned()), "s", data);
        event.traceparent = text();
        serde_json::to_value(event.with_sequence(1)).unwrap()
    }

    #[test]
    fn every_field_is_in_the_schema_and_the_schema_has_no_other() {
        let root: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut usage = Usage::draft(caller(), target());
        usage.accounting = accounting();
        usage.request.error_type = text();
        (usage.request.choices, usage.request.attempt) = (Some(1), Some(1));
        (usage.request.size, usage.request.quality) = (text(), text());
        usage.request.injection = Some(Injection::Refused);
        usage.tokens = Tokens {
            input: Some(1),
            output: Some(1),
            total: Some(1),
            input_cached: Some(1),
            input_cached_text: Some(1),
            input_cached_audio: Some(1),
            input_cached_image: Some(1),
            input_cache_write: Some(1),
            input_cache_write_long: Some(1),
            input_audio: Some(1),
            input_image: Some(1),
            input_text: Some(1),
            output_reasoning: Some(1),
            output_audio: Some(1),
            output_image: Some(1),
            output_text: Some(1),
            output_prediction_accepted: Some(1),
            output_prediction_rejected: Some(1),
            other: BTreeMap::from([("details.new".to_owned(), 1)]),
        };
        usage.tools.push(tool());
        usage.units = units();
        usage.stream.finish_reasons.push("stop".into());
        usage.timing = Timing {
            started_at: Some(Timestamp::UNIX_EPOCH),
            upstream_headers_ms: Some(1),
            first_token_ms: Some(1),
            duration_ms: Some(1),
        };
        usage.ids = Ids {
            gateway_request_id: text(),
            client_request_id: text(),
            upstream_apim_request_id: text(),
            upstream_request_id: text(),
            response_id: text(),
            session_id: text(),
            traceparent: text(),
        };
        usage.capture = Some(Capture {
            request: CaptureState::Full,
            response: CaptureState::Lost,
            parts: Some(1),
            bytes: Some(1),
        });
        let period = SummaryPeriod { hour: Some("h".to_owned()), from: "f".to_owned(), to: "t".to_owned() };
        let summary = Summary {
            schema_version: SCHEMA_VERSION.to_owned(),
            caller: caller(),
            target: target(),
            calls: 1,
            tokens: usage.tokens.clone(),
            tools: vec![tool()],
            units: units(),
            accounting: accounting(),
            period,
            reporter: Reporter::default(),
        };
        for (event, name) in [
            (event(EventType::Usage, usage), "usage"),
            (event(EventType::Summary, summary), "summary"),
            (event(EventType::Control, control()), "control"),
        ] {
            same_fields("event", &event, &root, &root, false);
            same_fields(name, &event["data"], &root["$defs"][name], &root, true);
        }
    }

    #[test]
    fn the_schema_has_the_words_that_the_enums_have() {
        let root: Value = serde_json::from_str(SCHEMA).unwrap();
        let has = |at: &str, words: Vec<&str>| {
            assert_eq!(root.pointer(at).unwrap()["enum"], json!(words), "{at}");
        };
        has("/$defs/quality", words::<Quality>());
        has("/$defs/source", words::<Source>());
        has("/properties/type", words::<EventType>());
        has("/$defs/capture_state", words::<CaptureState>());
        has("/$defs/target/properties/api", words::<Api>());
        let usage = "/$defs/usage/properties";
        has(&format!("{usage}/request/properties/include_usage"), words::<IncludeUsage>());
        has(&format!("{usage}/request/properties/injection"), words::<Injection>());
        has(&format!("{usage}/stream/properties/outcome"), words::<Outcome>());
        let tags = root.pointer("/$defs/caller/properties/tags/description").unwrap();
        assert!(tags.as_str().unwrap().starts_with(&format!("At most {TAGS_MAX} ")), "{tags}");
        // Reasons are added in minor versions, so the schema names but one, as an example.
        let reasons = &root["$defs"]["accounting"]["properties"]["reasons"];
        let example = format!("`{}`", Reason::ClientDisconnect.of(Side::Output));
        assert!(reasons["description"].as_str().unwrap().contains(&example), "{reasons}");
    }
}
