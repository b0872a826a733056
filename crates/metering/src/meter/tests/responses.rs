//! Responses: the same response as a stream, as a stream without deltas, and as a document.

use serde_json::{Value, json};

use super::*;

pub(super) const CREATED: u64 = 1_780_000_000;

pub(super) fn n(text: &str) -> u64 {
    crate::tokens::count(crate::tokens::Encoding::O200kBase, text)
}

/// An item of a response of ours; its texts in the pieces in which they are streamed.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Message(Vec<&'static str>),
    Refusal(Vec<&'static str>),
    Call(&'static str, Vec<&'static str>),
    Custom(&'static str, Vec<&'static str>),
    Code(Vec<&'static str>),
    Mcp(Vec<&'static str>),
    Shell(Vec<&'static str>),
    /// It is not streamed.
    Patch(Vec<&'static str>),
    Reasoning,
    Search,
}

/// A response of ours.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) items: Vec<Item>,
    pub(super) model: &'static str,
    /// Why it is incomplete.
    pub(super) incomplete: Option<&'static str>,
}

/// Which of the events that repeat a text are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sent {
    Everything,
    /// As some gateways do.
    NoDeltas,
    LastOnly,
}

impl Item {
    fn whole(&self) -> Value {
        let part = |kind: &str, key: &str, text: String| json!({"type": "message", "role": "assistant", "content": [{"type": kind, key: text, "annotations": []}]});
        match self {
            Item::Message(pieces) => part("output_text", "text", pieces.concat()),
            Item::Refusal(pieces) => part("refusal", "refusal", pieces.concat()),
            Item::Call(name, pieces) => {
                json!({"type": "function_call", "name": name, "call_id": "c", "arguments": pieces.concat(), "status": "completed"})
            }
            Item::Custom(name, pieces) => {
                json!({"type": "custom_tool_call", "name": name, "call_id": "c", "input": pieces.concat()})
            }
            Item::Code(pieces) => {
                json!({"type": "code_interpreter_call", "code": pieces.concat(), "outputs": [{"type": "logs", "logs": "its own"}]})
            }
            Item::Mcp(pieces) => {
                json!({"type": "mcp_call", "name": "ask", "arguments": pieces.concat(), "output": "its own"})
            }
            Item::Shell(pieces) => json!({"type": "shell_call", "action": {"commands": [pieces.concat()]}}),
            Item::Patch(pieces) => {
                json!({"type": "apply_patch_call", "operation": {"type": "update_file", "path": "a.rs", "diff": pieces.concat()}})
            }
            Item::Reasoning => {
                json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "I think"}]})
            }
            Item::Search => json!({"type": "web_search_call", "status": "completed"}),
        }
    }

    fn begun(&self) -> Value {
        let mut item = self.whole();
        let empty = [
            ("content", json!([])),
            ("arguments", json!("")),
            ("summary", json!([])),
            ("input", json!("")),
            ("code", json!("")),
            ("action", json!({"commands": []})),
        ];
        for (key, empty) in empty {
            if item.get(key).is_some() {
                item[key] = empty;
            }
        }
        item
    }

    fn pieces(&self) -> (&[&'static str], &'static str, &'static str) {
        match self {
            Item::Message(pieces) => (pieces, "output_text", "text"),
            Item::Refusal(pieces) => (pieces, "refusal", "refusal"),
            Item::Call(_, pieces) => (pieces, "function_call_arguments", "arguments"),
            Item::Custom(_, pieces) => (pieces, "custom_tool_call_input", "input"),
            Item::Code(pieces) => (pieces, "code_interpreter_call_code", "code"),
            Item::Mcp(pieces) => (pieces, "mcp_call_arguments", "arguments"),
            Item::Shell(pieces) => (pieces, "shell_call_command", "command"),
            Item::Patch(_) => (&[], "", ""),
            Item::Reasoning => (&["I ", "think"], "reasoning_summary_text", "text"),
            Item::Search => (&[], "", ""),
        }
    }
}

impl Answer {
    pub(super) fn of(items: Vec<Item>) -> Answer {
        Answer { items, model: MODEL, incomplete: None }
    }

    fn document(&self, status: &str) -> Value {
        let whole = |item: &Item| item.whole();
        let output: Vec<_> =
            if status == "in_progress" { vec![] } else { self.items.iter().map(whole).collect() };
        json!({"id": "resp_1", "object": "response", "created_at": CREATED, "status": status, "model": self.model,
            "error": null, "incomplete_details": self.incomplete.map(|reason| json!({"reason": reason})),
            "output": output, "usage": null})
    }

    pub(super) fn json(&self) -> String {
        self.document(if self.incomplete.is_some() { "incomplete" } else { "completed" }).to_string()
    }

    /// The events of its stream; deltas of all items take turns if `mixed`.
    pub(super) fn events(&self, sent: Sent, mixed: bool) -> Vec<Value> {
        let mut events = vec![json!({"type": "response.created", "response": self.document("in_progress")})];
        let (mut begin, mut deltas, mut end) = (vec![], vec![], vec![]);
        for (index, item) in self.items.iter().enumerate() {
            let (pieces, name, key) = item.pieces();
            let mut first = vec![
                json!({"type": "response.output_item.added", "output_index": index, "item": item.begun()}),
            ];
            if matches!(item, Item::Message(_)) {
                first.push(json!({"type": "response.content_part.added", "output_index": index, "content_index": 0, "part": {"type": "output_text", "text": ""}}));
            }
            let delta = |piece: &&str| json!({"type": format!("response.{name}.delta"), "output_index": index, "content_index": 0, "delta": piece, "obfuscation": "x".repeat(piece.len() % 7)});
            let mut last = vec![];
            if !name.is_empty() {
                last.push(json!({"type": format!("response.{name}.done"), "output_index": index, "content_index": 0, key: pieces.concat()}));
            }
            if matches!(item, Item::Message(_) | Item::Refusal(_)) {
                last.push(json!({"type": "response.content_part.done", "output_index": index, "content_index": 0, "part": item.whole()["content"][0]}));
            }
            last.push(
                json!({"type": "response.output_item.done", "output_index": index, "item": item.whole()}),
            );
            begin.push(first);
            deltas.push(pieces.iter().map(delta).collect::<Vec<_>>());
            end.push(last);
        }
        if sent != Sent::Everything {
            deltas.iter_mut().for_each(Vec::clear);
        }
        if mixed {
            events.extend(begin.concat());
            let longest = deltas.iter().map(Vec::len).max().unwrap_or(0);
            for turn in 0..longest {
                events.extend(deltas.iter().filter_map(|deltas| deltas.get(turn)).cloned());
            }
            events.extend(end.concat());
        } else {
            let each = begin.into_iter().zip(deltas).zip(end);
            events.extend(each.flat_map(|((begin, deltas), end)| [begin, deltas, end].concat()));
        }
        if sent == Sent::LastOnly {
            events.truncate(1);
        }
        let status = if self.incomplete.is_some() { "incomplete" } else { "completed" };
        events.push(json!({"type": format!("response.{status}"), "response": self.document(status)}));
        events
    }

    fn stream(&self, sent: Sent, mixed: bool) -> String {
        stream(self.events(sent, mixed))
    }
}

pub(super) fn stream(events: Vec<Value>) -> String {
    let numbered = events.into_iter().enumerate().map(|(number, mut event)| {
        event["sequence_number"] = json!(number);
        format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
    });
    numbered.collect()
}

pub(super) const REQUEST: &str = r#"{"model":"d","input":"Hello","stream":true}"#;

pub(super) fn run_with(request: &str, body: &str, json: bool) -> Usage {
    let exchange = if json { Exchange::json(body) } else { Exchange::stream(body) };
    Exchange { api: Api::Responses, request, ..exchange }.run()
}

pub(super) fn run(body: &str) -> Usage {
    run_with(REQUEST, body, body.starts_with('{'))
}

/// The event of a response is the same, however it came.
fn said(usage: &Usage) -> (Option<u64>, Quality, Vec<SmolStr>, Vec<SmolStr>) {
    let accounting = &usage.accounting;
    (
        usage.tokens.output,
        accounting.output_quality,
        accounting.reasons.clone(),
        usage.stream.finish_reasons.clone(),
    )
}

#[test]
fn each_kind_of_answer_has_its_price() {
    let find = Item::Call("find", vec!["{\"a\":", "1}"]);
    let get = Item::Call("get", vec!["{ }"]);
    let offered =
        r#"{"input":"Hello","tools":[{"type":"function","name":"find"},{"type":"function","name":"get"}]}"#;
    let wrapper = r#"{"tool_uses":[{"recipient_name":"functions.find","parameters":{"a":1}},{"recipient_name":"functions.get","parameters":{}}]}"#;
    let schema = offered.replacen(
        '{',
        r#"{"text":{"format":{"type":"json_schema","name":"City_Location","schema":{}}},"#,
        1,
    );
    let forced = r#"{"input":"Hello","tool_choice":"required","tools":[{"type":"function","name":"find"}]}"#;
    let text = Item::Message(vec!["Hello", ", world"]);
    for (request, items, tokens) in [
        (REQUEST, vec![text.clone()], 3 + 1),
        (offered, vec![text.clone()], 3 + 1 + 1),
        (&schema, vec![text.clone()], 3 + 1 + 2 + n("City_Location") + 1),
        (REQUEST, vec![Item::Refusal(vec!["Hello", ", world"])], 3 + 1 + 1),
        (offered, vec![find.clone()], n(" to=functions.find") + n("{\"a\":1}") + 4 + 1),
        (offered, vec![find.clone(), get], n(" to=multi_tool_use.parallel") + n(wrapper) + 4 + 1),
        (forced, vec![find], n("{\"a\":1}") + 1),
    ] {
        let answer = Answer::of(items);
        let event = run_with(request, &answer.stream(Sent::Everything, false), false);
        assert_eq!(event.tokens.output, Some(tokens), "{answer:?}");
        assert_eq!((event.tokens.input.is_some(), event.stream.outcome), (true, Outcome::Complete));
        assert_eq!(event.stream.finish_reasons, ["completed"]);
        let exact = if request == forced { Quality::Estimated } else { Quality::Exact };
        assert_eq!(event.accounting.output_quality, exact, "{:?}", event.accounting.reasons);
    }
    let cut = Answer { incomplete: Some("max_output_tokens"), ..Answer::of(vec![text]) };
    let event = run(&cut.stream(Sent::Everything, false));
    assert_eq!((event.tokens.output, event.accounting.output_quality), (Some(3), Quality::Exact));
    assert_eq!(event.stream.finish_reasons, ["max_output_tokens"]);
}

#[test]
fn what_reasons_or_searches_is_no_more_than_said() {
    let text = Item::Message(vec!["Hello", ", world"]);
    let output = |items: Vec<Item>, model| {
        let event = run(&Answer { model, ..Answer::of(items) }.stream(Sent::Everything, false));
        (event.tokens.output.unwrap(), event.accounting.output_quality)
    };
    // A response without an item for its reasoning has none, from gpt-5.2 on.
    assert_eq!(output(vec![text.clone()], "gpt-5.4"), (3 + 3 + 1, Quality::Exact));
    assert_eq!(output(vec![text.clone()], "gpt-5.1"), (3 + 3 + 1, Quality::LowerBound));
    assert_eq!(output(vec![text.clone()], "gpt-5-mini"), (3 + 3 + 1, Quality::LowerBound));
    assert_eq!(output(vec![Item::Search, text.clone()], "gpt-5.4").1, Quality::LowerBound);
    assert_eq!(output(vec![Item::Reasoning, text.clone()], "o3"), (3 + 5 + 1, Quality::LowerBound));
    assert_eq!(output(vec![Item::Reasoning, text.clone()], "o3-mini"), (3 + 1, Quality::LowerBound));
    assert_eq!(output(vec![text.clone()], "gpt-5-chat-latest"), (3 + 1, Quality::Exact));
    assert_eq!(output(vec![text.clone()], "gpt-4-0613"), (3 + 1 + 1, Quality::Exact));
    assert_eq!(output(vec![Item::Reasoning, text.clone()], "gpt-5.4"), (3 + 3 + 2 + 1, Quality::LowerBound));
    assert_eq!(output(vec![Item::Reasoning], "gpt-5.4"), (0, Quality::LowerBound));
    let call = n(" to=functions.f") + n("{}");
    assert_eq!(output(vec![Item::Call("f", vec!["{}"])], "gpt-5.4"), (call + 7 + 1, Quality::Exact));
    assert_eq!(
        output(vec![Item::Reasoning, Item::Call("f", vec!["{}"])], "o4-mini"),
        (call + 9 + 1, Quality::LowerBound)
    );
    assert_eq!(
        output(vec![Item::Reasoning, Item::Call("f", vec!["{}"])], "o1"),
        (call + 4 + 1, Quality::LowerBound)
    );
    assert_eq!(output(vec![text.clone()], "gpt-4.1"), (4, Quality::Exact));
    assert_eq!(output(vec![Item::Search, text.clone()], "gpt-4.1"), (4, Quality::Estimated));
    assert_eq!(output(vec![text.clone(), text], "gpt-4.1"), (3 + 3 + 1, Quality::Estimated));
}

#[test]
fn what_the_model_says_to_a_tool_is_counted() {
    let (hello, name) = (["Hello", ", world"].to_vec(), n(" to=functions.patch"));
    let output = |items: Vec<Item>, model| {
        let event = run(&Answer { model, ..Answer::of(items) }.stream(Sent::Everything, false));
        (event.tokens.output.unwrap(), event.accounting.output_quality)
    };
    let bound = Quality::LowerBound;
    // The frame is known where the model thinks: 5, or 7 with the thought.
    let custom = Item::Custom("patch", hello.clone());
    assert_eq!(output(vec![custom.clone()], "gpt-5.4"), (name + 3 + 5 + 1, bound));
    assert_eq!(output(vec![Item::Reasoning, custom.clone()], "gpt-5.4"), (name + 3 + 5 + 2 + 1, bound));
    assert_eq!(output(vec![custom.clone(), custom.clone()], "gpt-5.4"), (2 * (name + 3) + 1, bound));
    assert_eq!(output(vec![custom], "gpt-4.1"), (name + 3 + 1, bound));
    for (item, tokens) in [
        (Item::Code(hello.clone()), 3),
        (Item::Mcp(hello.clone()), 3 + n("ask")),
        (Item::Shell(hello.clone()), 3),
        (Item::Patch(hello.clone()), 3 + n("a.rs")),
    ] {
        assert_eq!(output(vec![item.clone()], "gpt-4.1"), (tokens + 1, bound), "{item:?}");
        assert_eq!(output(vec![item.clone()], "gpt-5.4"), (tokens, bound), "{item:?}");
        let cut =
            Answer { model: "gpt-5.4", ..Answer::of(vec![item.clone()]) }.events(Sent::Everything, false);
        let cut = run(&stream(cut[..cut.len() - 2].to_vec()));
        let streamed = if matches!(item, Item::Patch(_)) { 0 } else { 3 };
        assert_eq!((cut.tokens.output, cut.accounting.output_quality), (Some(streamed), bound), "{item:?}");
    }
}

#[test]
fn a_custom_tool_is_the_callers_and_nothing_is_hosted() {
    let answer = Answer::of(vec![Item::Custom("patch", vec!["x"])]);
    let request = r#"{"input":"Hello","tools":[{"type":"custom","name":"patch"}]}"#;
    let event = run_with(request, &answer.json(), true);
    assert_eq!(event.accounting.reasons, ["input:custom_tool", "output:custom_tool"]);
    let text = Answer::of(vec![Item::Message(vec!["Hello"])]);
    let offered = run_with(request, &text.json(), true).accounting;
    assert_eq!(offered.output_quality, Quality::Estimated, "what offering it costs is not known");
}

/// The calls of a program of the model's, and the results of tools, are not the model's words.
#[test]
fn what_others_say_is_not_counted() {
    let text = Answer::of(vec![Item::Message(vec!["Hello", ", world"])]);
    let plain = run(&text.json()).tokens.output;
    for item in [
        json!({"type": "function_call", "name": "f", "arguments": "{\"a\":1}", "caller": {"type": "program", "caller_id": "p"}}),
        json!({"type": "program_output", "result": "many words of a program"}),
        json!({"type": "shell_call_output", "output": [{"stdout": "many words"}]}),
        json!({"type": "mcp_list_tools", "tools": [{"name": "f", "description": "many words"}]}),
        json!({"type": "robot_call", "result": "many words"}),
    ] {
        let mut document = text.document("completed");
        document["output"].as_array_mut().unwrap().push(item.clone());
        assert_eq!(run(&document.to_string()).tokens.output, plain, "{item}");
    }
    let output = json!({"type": "response.shell_call_output_content.delta", "output_index": 1, "delta": {"stdout": "many words"}});
    let mut events = text.events(Sent::Everything, false);
    events.insert(2, output);
    let event = run(&stream(events));
    assert_eq!((event.tokens.output, event.accounting.output_quality), (plain, Quality::Exact));
}

#[test]
fn the_first_token_is_a_text_or_a_call() {
    let events =
        Answer::of(vec![Item::Reasoning, Item::Message(vec!["Hello"])]).events(Sent::Everything, false);
    let mut meter = Meter::new(draft(Api::Responses), FREE);
    meter.request_bytes(REQUEST.as_bytes());
    meter.request_end();
    meter.response_head(StatusCode::OK, &headers("text/event-stream"));
    for event in events {
        let is_text = event["type"] == "response.output_text.delta";
        assert!(is_text || !meter.first_token_seen());
        meter.response_bytes(stream(vec![event]).as_bytes(), usize::MAX);
        if is_text {
            return assert!(meter.first_token_seen());
        }
    }
    panic!("no text");
}

#[test]
fn ends_other_than_completed() {
    let answer = Answer::of(vec![Item::Message(vec!["Hello", ", world"])]);
    let mut events = answer.events(Sent::Everything, false);
    events.pop();
    let cut = run(&stream(events.clone()));
    assert_eq!((cut.tokens.output, cut.accounting.output_quality), (Some(3), Quality::LowerBound));
    assert_eq!(cut.accounting.reasons, ["output:upstream_eof"]);
    for error in [
        json!({"type": "error", "code": "server_error", "message": "secret"}),
        json!({"type": "error", "error": {"type": "x", "code": "server_error"}}),
        json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}, "output": []}}),
    ] {
        let event = run(&stream([events.clone(), vec![error]].concat()));
        assert_eq!((event.stream.outcome, event.tokens.output), (Outcome::UpstreamError, Some(3)));
        assert_eq!(event.accounting.output_quality, Quality::LowerBound);
        assert_eq!(event.request.error_type.as_deref(), Some("server_error"));
    }
    let queued =
        json!({"id": "r", "model": MODEL, "status": "queued", "output": [], "usage": null}).to_string();
    let event = run(&queued);
    assert_eq!((event.tokens.output, event.accounting.reasons), (None, vec!["output:background".into()]));
}

/// Azure names the deployment where the model should stand.
#[test]
fn the_model_may_have_to_be_known_from_elsewhere() {
    let answer = Answer { model: "prod-chat", ..Answer::of(vec![Item::Message(vec!["Hello", ", world"])]) };
    for body in [answer.json(), answer.stream(Sent::Everything, false)] {
        let unknown = run(&body);
        assert_eq!((unknown.tokens.input, unknown.tokens.output), (None, None));
        let kind = if body.starts_with('{') { "application/json" } else { "text/event-stream" };
        let mut meter = Meter::new(draft(Api::Responses), FREE).assuming(Some("gpt-4o".into()));
        meter.request_bytes(REQUEST.as_bytes());
        meter.request_end();
        meter.response_head(StatusCode::OK, &headers(kind));
        meter.response_bytes(body.as_bytes(), usize::MAX);
        meter.end(Ending::Eof);
        assert_eq!(meter.prompt_need(), PromptNeed::Count { model: "gpt-4o".into() });
        meter.prompt_counted(count_prompt(Api::Responses, &[REQUEST.into()], "gpt-4o"));
        let event = meter.settle(Ending::Eof);
        assert_eq!((event.tokens.input, event.tokens.output), (Some(8), Some(4)));
        assert_eq!(event.accounting.output_quality, Quality::Estimated);
        assert_eq!(event.accounting.reasons, ["input:model_assumed", "output:model_assumed"]);
        assert_eq!(event.target.model.as_deref(), Some("prod-chat"));
    }
}

#[test]
fn too_much_is_said_and_not_kept() {
    let call = |index: u64| json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": "1".repeat(1000)});
    let many: Vec<_> = (0..2_000).map(call).collect();
    let event =
        run(&(stream(vec![json!({"type": "response.created", "response": {"model": MODEL}})])
            + &stream(many)));
    assert!(event.accounting.reasons.iter().any(|reason| reason == "output:too_many_choices"));
}

/// Deltas as a model makes them: words.
fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    let piece = prop::sample::select(vec![
        " Hello",
        " world",
        "\n\n",
        " don't",
        ".",
        " 12",
        " été",
        " 中文",
        " \u{1F600}",
        "\"",
        "\\",
    ]);
    prop::collection::vec(piece, 0..12)
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let arguments = prop::sample::select(vec![
        vec!["{}"],
        vec!["{\"a\"", ": ", "[1, 2]", "}"],
        vec!["{\"text\": \"", "a b", "\"}"],
        vec![],
        vec!["no", " json"],
    ]);
    let item = prop_oneof![
        4 => pieces().prop_map(Item::Message),
        1 => pieces().prop_map(Item::Refusal),
        3 => (prop::sample::select(vec!["find", "dice", "f"]), arguments).prop_map(|(name, pieces)| Item::Call(name, pieces)),
        2 => (prop::sample::select(vec!["patch", "f"]), pieces()).prop_map(|(name, pieces)| Item::Custom(name, pieces)),
        1 => pieces().prop_map(Item::Code),
        1 => pieces().prop_map(Item::Mcp),
        1 => pieces().prop_map(Item::Shell),
        1 => pieces().prop_map(Item::Patch),
        1 => Just(Item::Reasoning),
        1 => Just(Item::Search),
    ];
    (
        prop::collection::vec(item, 0..4),
        prop::sample::select(vec![MODEL, "gpt-5.4", "gpt-5-mini", "o3-mini", "lama"]),
        prop::option::of(prop::sample::select(vec!["max_output_tokens", "content_filter"])),
    )
        .prop_map(|(items, model, incomplete)| Answer { items, model, incomplete })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// A document, a stream, one whose items take turns, one without deltas, one that says all at its end.
    #[test]
    fn however_it_comes_it_costs_the_same(answer in any_answer()) {
        let document = said(&run(&answer.json()));
        for sent in [Sent::Everything, Sent::NoDeltas, Sent::LastOnly] {
            for mixed in [false, true] {
                prop_assert_eq!(&said(&run(&answer.stream(sent, mixed))), &document, "{:?} {}", sent, mixed);
            }
        }
    }

    #[test]
    fn splits_and_budgets_do_not_matter(answer in any_answer(), piece_bytes in 1_usize..400, budget_bytes in 1_usize..300) {
        let body = answer.stream(Sent::Everything, true);
        let split = Exchange { api: Api::Responses, request: REQUEST, piece_bytes, budget_bytes, ..Exchange::stream(&body) }.run();
        prop_assert_eq!(run(&body), split);
    }

    #[test]
    fn a_cut_never_counts_more_than_the_whole(answer in any_answer(), place in 0.0..1.0_f64) {
        let answer = Answer { incomplete: None, ..answer };
        let body = answer.stream(Sent::Everything, false);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the body")]
        let end = (body.len() as f64 * place) as usize;
        let end = (0..=end).rev().find(|end| body.is_char_boundary(*end)).unwrap();
        let (cut, whole) = (run(&body[..end]), run(&body));
        if let (Some(cut), Some(whole)) = (cut.tokens.output, whole.tokens.output) {
            prop_assert!(cut <= whole, "{} of {}", cut, whole);
        }
    }

    /// Each document also with a member that is unlike any other, so that it must be parsed.
    #[test]
    fn the_short_way_and_the_long_one_agree(
        deltas in prop::collection::vec((0..6_usize, prop::sample::select(vec![
            "Hello", " world", "\\ud83d", "\\ude00", "\\u00e9", "é", "", "\\\"", "\\\\", "\",\"delta\":\"x", "}", "中",
        ]), 0..3_u32, ".{0,5}"), 1..30),
    ) {
        let shapes = [
            r#"{"type":"response.output_text.delta","output_index":I,"content_index":0,"delta":"D","sequence_number":N,"obfuscation":"P"M}"#,
            r#"{"obfuscation":"P","delta":"D","sequence_number":N,"content_index":0,"output_index":I,"type":"response.output_text.delta"M}"#,
            r#"{"delta":"no","d\u0065lta":"D","type":"response.output_text.delta","output_index":7,"output_index":I,"sequence_number": N M}"#,
            r#"{"type":"response.output_text.delta","delta":"D","delta":"last","output_index":I,"sequence_number":N,"sequence_number":"P"M}"#,
            r#"{"type":"response.refusal.delta","output_index":I,"delta":"D","sequence_number":-1M}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":I,"delta":"D","obfuscation":{"delta":"P"}M}"#,
        ];
        let body = |mark: bool| {
            let mut body = stream(vec![json!({"type": "response.created", "response": {"model": MODEL}})]);
            for (number, (shape, delta, index, padding)) in deltas.iter().enumerate() {
                let padding = padding.replace(['"', '\\'], "").replace(|c: char| c.is_control(), "");
                let document = shapes[*shape]
                    .replace('M', &if mark { format!(",\"mark\":\"{number}\"") } else { String::new() })
                    .replace('N', &number.to_string())
                    .replace('I', &index.to_string())
                    .replace('P', &padding)
                    .replace('D', delta);
                body += &format!("event: delta\ndata: {document}\n\n");
            }
            body
        };
        prop_assert_eq!(run(&body(false)), run(&body(true)));
    }

    #[test]
    fn usage_changes_nothing_in_computed(answer in any_answer(), input in 0..99_u64, output in 0..99_u64) {
        let body = answer.stream(Sent::Everything, false);
        let lie = body.replace(r#""usage":null"#, &format!(r#""usage":{{"input_tokens":{input},"output_tokens":{output}}}"#));
        let blind = |body: &str| {
            let mut meter = Meter::new(draft(Api::Responses), FREE).blind();
            meter.request_bytes(REQUEST.as_bytes());
            meter.request_end();
            meter.response_head(StatusCode::OK, &headers("text/event-stream"));
            meter.response_bytes(body.as_bytes(), usize::MAX);
            meter.settle(Ending::Eof)
        };
        prop_assert_eq!(blind(&body), blind(&lie));
    }
}
