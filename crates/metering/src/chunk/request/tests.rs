use super::*;
use proptest::prelude::*;

fn facts(body: &str) -> RequestFacts {
    let mut scan = RequestScan::default();
    scan.push(body.as_bytes());
    scan.facts()
}

const FULL: &str = r#"{"messages":[{"role":"user","content":"\"model\":\"no\"","stream":true}],
    "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},{"function":{},"type":"custom"},{"type":"mcp"}],
    "tool_choice":{"type":"function","function":{"name":"f"}},"stop":["\n"],"n":3,
    "response_format":{"json_schema":{"name":"x","type":"no","strict":true},"type":"json_schema"},"max_tokens":9,
    "agent_reference":{"type":"agent_reference","n\u0061me":"clerk","x":{"name":"no"}},"agent":{"name":"no"},
    "stream_options":{"include_usage":true},"stream":true,"mod\u0065l":"gpt-4o"}"#;

#[test]
fn finds_keys_wherever_they_stand() {
    let expected = RequestFacts {
        model: Some("gpt-4o".into()),
        agent: Some("clerk".into()),
        stream: Some(true),
        include_usage: true,
        n: Some(3),
        size: None,
        quality: None,
        input_characters: None,
        functions: 1,
        legacy_functions: false,
        web_search: false,
        custom_tools: true,
        hosted_tools: true,
        tool_choice: ToolChoice::Named,
        json_schema: true,
        schema_name: Some("x".to_owned()),
        strict: true,
        stop: Stop::Any,
        limit: Some(9),
        data_sources: false,
        server_state: false,
        echo: false,
        best_of: None,
        suffix: false,
        compacts: false,
        prediction: false,
        thinks_not: false,
        thinks_otherwise: false,
        one_call: false,
        answers_result: false,
        complete: true,
    };
    assert_eq!(facts(FULL), expected);
}

#[test]
fn a_size_is_a_short_text() {
    let said = |body: &str| {
        let facts = facts(body);
        (facts.size.map(String::from), facts.quality.map(String::from))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(said(r#"{"size":"1024x1024","quality":"hd"}"#), (some("1024x1024"), some("hd")));
    let long = "x".repeat(SIZE_CHARS_MAX);
    assert_eq!(said(&format!(r#"{{"size":"{long}","quality":"{long}y"}}"#)), (some(&long), None));
    for none in
        [r#"{"size":1024,"quality":null}"#, r#"{"x":{"size":"a","quality":"b"}}"#, r#"{"size":["a"]}"#]
    {
        assert_eq!(said(none), (None, None), "{none}");
    }
}

#[test]
fn characters_are_counted_where_that_is_asked_for() {
    let count = |body: &str, piece_bytes: usize| {
        let mut scan = RequestScan::counting_characters();
        body.as_bytes().chunks(piece_bytes).for_each(|piece| scan.push(piece));
        scan.facts().input_characters
    };
    let long = r"Grün \n\ud83d\ude00".repeat(1_000);
    for (body, characters) in [
        (r#"{"model":"tts","input":"Gr\u00fcn, bitte.","voice":"alloy"}"#.to_owned(), Some(12)),
        (format!(r#"{{"input":"{long}","stream_format":"sse"}}"#), Some(7_000)),
        (r#"{"input":""}"#.to_owned(), Some(0)),
        (r#"{"input":"no","inp\u0075t":"four"}"#.to_owned(), Some(4)),
        (r#"{"input":"no","input":["x"]}"#.to_owned(), None),
        (r#"{"x":{"input":"no"},"voice":"no"}"#.to_owned(), None),
        (r#"{"input":"it is cut"#.to_owned(), None),
    ] {
        for piece_bytes in [1, 7, body.len()] {
            assert_eq!(count(&body, piece_bytes), characters, "{body}");
        }
        assert_eq!(facts(&body).input_characters, None);
    }
}

#[test]
fn the_agent_that_is_asked() {
    let agent = |body: &str| facts(body).agent.map(String::from);
    let clerk = Some("clerk".to_owned());
    for body in [
        r#"{"agent_reference":{"name":"clerk","type":"agent_reference","version":"3"}}"#,
        r#"{"input":[{"agent":{"name":"no"}}],"agent":{"type":"agent_reference","name":"clerk"}}"#,
        r#"{"agent_reference":{"name":"clerk"},"agent":{"name":"older"}}"#,
        r#"{"agent":{"name":"older"},"agent_reference":{"name":"clerk"}}"#,
        r#"{"agent_reference":{"name":"x"},"agent_reference":{"name":"clerk"}}"#,
        r#"{"agent_reference":{"name":"clerk","inner":{"name":"no"}}}"#,
        r#"{"agent":{"name":"clerk"},"agent_reference":null}"#,
    ] {
        assert_eq!(agent(body), clerk, "{body}");
    }
    for body in [
        r#"{"agent_reference":"clerk","agent":["clerk",{"name":"clerk"}]}"#,
        r#"{"agent":{"name":""}}"#,
        r#"{"agent":{"name":{"name":"clerk"}}}"#,
        r#"{"agent":{"name":"clerk","name":7}}"#,
        r#"{"agent":{"name":"clerk"},"agent":{}}"#,
        r#"{"metadata":{"agent":{"name":"clerk"}},"name":"clerk"}"#,
    ] {
        assert_eq!(agent(body), None, "{body}");
    }
}

#[test]
fn whether_the_model_is_to_think_and_call() {
    let said = |body: &str| {
        let facts = facts(body);
        (facts.thinks_not, facts.thinks_otherwise, facts.one_call, facts.answers_result)
    };
    assert_eq!(said(r#"{"reasoning_effort":"none"}"#), (true, false, false, false));
    assert_eq!(said(r#"{"reasoning":{"summary":null,"effort":"none"}}"#), (true, false, false, false));
    assert!(!said(r#"{"reasoning":{"effort":"none"},"reasoning":null}"#).0);
    assert_eq!(said(r#"{"reasoning":{"effort":"none","mode":"pro"}}"#), (true, true, false, false));
    assert_eq!(
        said(r#"{"reasoning":{"effort":"low","mode":null},"x":{"effort":"none"}}"#),
        (false, false, false, false)
    );
    assert_eq!(said(r#"{"parallel_tool_calls":false}"#), (false, false, true, false));
    let messages =
        |last: &str| format!(r#"{{"messages":[{{"role":"tool","content":[{{"role":"user"}}]}}{last}]}}"#);
    assert!(said(&messages("")).3);
    assert!(!said(&messages(r#",{"content":"x","role":"user"}"#)).3);
    assert!(!said(&messages(r#",{"content":"x"}"#)).3);
}

#[test]
fn null_and_empty_are_not_given() {
    let body = r#"{"stop":null,"tools":[],"functions":[],"n":null,"model":null,"stream":null,"stream_options":null,"data_sources":null,"tool_choice":"auto"}"#;
    let expected = RequestFacts { stream: Some(false), complete: true, ..RequestFacts::default() };
    assert_eq!(facts(body), expected);
}

#[test]
fn the_last_of_equal_keys_wins() {
    let found = facts(
        r#"{"stream":true,"stream":false,"stream_options":{"include_usage":true},"stream_options":{},"model":"a","model":"b"}"#,
    );
    assert_eq!((found.stream, found.include_usage, found.model.as_deref()), (Some(false), false, Some("b")));
}

#[test]
fn the_last_of_equal_types_wins() {
    let found = facts(
        r#"{"tools":[{"type":"function","type":"function"},{"type":"x","type":"function"},{"type":"function","type":null}],
        "tool_choice":{"type":"x","type":"function"}}"#,
    );
    assert_eq!((found.functions, found.hosted_tools, found.tool_choice), (2, false, ToolChoice::Named));
}

#[test]
fn what_stops_an_answer() {
    let stop = |value: &str| facts(&format!(r#"{{"stop":{value}}}"#)).stop;
    for value in ["null", "[]", r#""""#, r#"[""]"#, "[null]"] {
        assert_eq!(stop(value), Stop::Never, "{value}");
    }
    for value in [r#""END""#, r#""\nObservation:""#, r#"["\n\tObservation:","\nQ"]"#] {
        assert_eq!(stop(value), Stop::Words, "{value}");
    }
    for value in [r#""\n""#, r#"["END","}"]"#, r#"[" ]","END"]"#, "7", "{}", r#"["END",7]"#] {
        assert_eq!(stop(value), Stop::Any, "{value}");
    }
}

#[test]
fn a_limit_has_three_names() {
    let limit = |body: &str| facts(body).limit;
    assert_eq!(limit(r#"{"max_tokens":5}"#), Some(5));
    assert_eq!(limit(r#"{"max_output_tokens":6,"max_tokens":null}"#), Some(6));
    assert_eq!(limit(r#"{"max_tokens":5,"max_completion_tokens":7,"max_completion_tokens":8}"#), Some(8));
    assert_eq!(limit(r#"{"max_tokens":-5}"#), None);
}

#[test]
fn keys_of_the_other_apis() {
    let found = facts(
        r#"{"text":{"format":{"schema":{"type":"x","name":"y"},"name":"out","type":"json_schema"}},"tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}],
        "tool_choice":"required","previous_response_id":"r","prompt":"text","echo":true,"best_of":3,"suffix":"s","context_management":[{"type":"compaction"}]}"#,
    );
    let expected = RequestFacts {
        json_schema: true,
        schema_name: Some("out".to_owned()),
        functions: 2,
        tool_choice: ToolChoice::Required,
        server_state: true,
        echo: true,
        best_of: Some(3),
        suffix: true,
        compacts: true,
        stream: Some(false),
        complete: true,
        ..RequestFacts::default()
    };
    assert_eq!(found, expected);
    assert!(facts(r#"{"prompt":{"id":"p"}}"#).server_state && !facts(r#"{"prompt":["a"]}"#).server_state);
}

#[test]
fn a_stream_that_is_not_known_is_not_denied() {
    for (body, stream) in [
        ("{}", Some(false)),
        (r#"{"stream":true}"#, Some(true)),
        (r#"{"stream":null}"#, Some(false)),
        (r#"{"stream":"true"}"#, None),
        (r#"{"stream":{}}"#, None),
        (r#"{"stream":true,"input":"#, Some(true)),
        (r#"{"model":"m""#, None),
        ("", None),
        ("audio", None),
    ] {
        assert_eq!(facts(body).stream, stream, "{body}");
    }
}

#[test]
fn a_body_that_is_cut_is_not_complete() {
    assert!(!facts(&FULL[..FULL.len() - 1]).complete);
    assert!(!facts("").complete);
    assert!(!facts("--boundary\r\n").complete);
}

proptest! {
    #[test]
    fn splits_do_not_matter(cuts in prop::collection::vec(0..FULL.len(), 0..20)) {
        let mut at = cuts;
        at.extend([0, FULL.len()]);
        at.sort_unstable();
        let mut scan = RequestScan::default();
        at.windows(2).for_each(|w| scan.push(&FULL.as_bytes()[w[0]..w[1]]));
        prop_assert_eq!(scan.facts(), facts(FULL));
    }
}
