//! A prompt that is counted before it is known whether the service reports it.

use super::*;
use crate::meter::billing::Billing;

/// Requests that differ in usage and model.
const ASKED: &str = r#"{"stream":true,"stream_options":{"include_usage":true},"model":"gpt-4","messages":[{"role":"user","content":"早上好, world"}]}"#;
const NOT_ASKED: &str =
    r#"{"stream":true,"model":"gpt-4","messages":[{"role":"user","content":"早上好, world"}]}"#;
const UNNAMED: &str = r#"{"stream":true,"stream_options":{"include_usage":true},"model":"mine","messages":[{"role":"user","content":"早上好, world"}]}"#;
const NO_PROMPT: &str = r#"{"stream":true,"model":"gpt-4"}"#;
const INPUT: &str = r#"{"stream":true,"model":"gpt-4","input":"早上好, world"}"#;

/// The response of a model of this name, in pieces; with usage or without, and to the end or not.
fn answer(api: Api, model: &str, usage: bool, pieces: usize) -> Vec<String> {
    let name = format!(r#""model":"{model}""#);
    let all = if api == Api::Responses {
        let tail = if usage { r#","usage":{"input_tokens":77,"output_tokens":5}"# } else { "" };
        let whole = |kind: &str, status: &str, tail: &str| {
            format!(
                "data: {{\"type\":\"response.{kind}\",\"response\":{{\"id\":\"r\",{name},\"created_at\":1770000000,\"status\":\"{status}\",\"output\":[]{tail}}}}}\n\n"
            )
        };
        vec![
            whole("created", "in_progress", ""),
            whole("in_progress", "in_progress", ""),
            "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hello\"}\n\n".to_owned(),
            whole("completed", "completed", tail),
        ]
    } else {
        let named = |text: String| text.replace(&format!(r#""model":"{MODEL}""#), &name);
        let mut all = vec![FILTER.to_owned(), named(content(0, "Hello")), named(content(0, ", world"))];
        all.push(named(finish(0, "stop")));
        if usage {
            all.push(super::usage(77, 5));
        }
        all.push(DONE.to_owned());
        all
    };
    all.into_iter().take(pieces).collect()
}

/// The life of one call.
#[derive(Clone, Debug)]
struct Life {
    api: Api,
    request: &'static str,
    status: u16,
    answer: Vec<String>,
    ending: Ending,
    /// The prompt is counted early as often as this is so: before the head, after it, after each piece.
    early: Vec<bool>,
    /// The model of the deployment's last response.
    known: Option<&'static str>,
}

fn life() -> impl Strategy<Value = Life> {
    let api =
        prop_oneof![4 => Just(Api::ChatCompletions), 2 => Just(Api::Responses), 1 => Just(Api::Embeddings)];
    let model = prop_oneof![Just(MODEL), Just("gpt-4-0613"), Just("gpt-4"), Just("mine"), Just("unheard-of")];
    let request = prop_oneof![Just(ASKED), Just(NOT_ASKED), Just(UNNAMED), Just(NO_PROMPT), Just(INPUT)];
    let status = prop_oneof![6 => Just(200_u16), 1 => Just(400), 1 => Just(429), 1 => Just(503)];
    let ending = prop_oneof![
        3 => Just(Ending::Eof),
        1 => Just(Ending::ClientDisconnect),
        1 => Just(Ending::UpstreamError),
        1 => Just(Ending::Timeout),
        1 => Just(Ending::Shutdown),
    ];
    let early = prop::collection::vec(any::<bool>(), 8);
    let known = prop_oneof![Just(None), Just(Some("gpt-4")), Just(Some(MODEL))];
    (api, request, status, model, any::<bool>(), 0..7_usize, ending, early, known).prop_map(
        |(api, request, status, model, usage, pieces, ending, early, known)| {
            let answer = answer(api, model, usage, pieces);
            Life { api, request, status, answer, ending, early, known }
        },
    )
}

impl Life {
    fn count(&self, meter: &mut Meter) {
        if let PromptNeed::Count { model } = meter.prompt_need() {
            meter.prompt_counted(self.counted(&model));
        }
    }

    fn counted(&self, model: &str) -> PromptCount {
        count_prompt(self.api, &[Bytes::from_static(self.request.as_bytes())], model)
    }

    /// Counts the prompt early, if it is time. A checkpoint must then be right.
    fn count_early(&self, meter: &mut Meter, time: usize) {
        if !self.early[time] {
            return;
        }
        let model = meter.early_need(|| self.known.map(SmolStr::new));
        if let Some(model) = &model {
            meter.prompt_counted_early(self.counted(model), model.clone());
            let again = meter.early_need(|| self.known.map(SmolStr::new));
            assert_eq!(again, None, "once for one model");
        }
        let (progress, _) = meter.progress();
        if let (Some(model), Source::Computed) = (meter.counting_model(), progress.accounting.input_source) {
            let right = self.counted(&model);
            let dated = match meter.body.response.facts.created {
                Some(created) if meter.names_model() => right.answered_at(self.api, &model, created, false),
                _ => right,
            };
            let billed = meter.billing(None) == Billing::Answered;
            assert!(!billed || progress.tokens.input == dated.tokens, "{progress:?}, {model}, {dated:?}");
        }
        if model.is_some() && self.counted(&model.unwrap()).tokens.is_some() {
            assert!(progress.tokens.input.is_some(), "counted, and not told: {progress:?}");
        }
    }

    fn run(&self, early: bool) -> Usage {
        let mut meter = Meter::new(draft(self.api), AZURE);
        let look = |meter: &mut Meter, time: usize| {
            if early {
                self.count_early(meter, time);
                meter.adopt_early();
            }
            self.count(meter);
        };
        meter.request_bytes(self.request.as_bytes());
        meter.request_end();
        look(&mut meter, 0);
        if !self.answer.is_empty() || self.ending == Ending::Eof {
            let status = StatusCode::from_u16(self.status).unwrap();
            meter.response_head(status, &headers("text/event-stream"));
            look(&mut meter, 1);
        }
        for (n, piece) in self.answer.iter().enumerate() {
            meter.response_bytes(piece.as_bytes(), usize::MAX);
            look(&mut meter, n + 2);
        }
        meter.end(self.ending);
        meter.adopt_early();
        self.count(&mut meter);
        meter.settle(self.ending)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_event_does_not_know_whether_the_prompt_was_counted_early(life in life()) {
        let (with, without) = (life.run(true), life.run(false));
        prop_assert_eq!(format!("{with:?}"), format!("{without:?}"));
    }
}

#[test]
fn a_checkpoint_knows_the_prompt_and_by_which_rules() {
    let life = |request, answer: &[String]| Life {
        api: Api::ChatCompletions,
        request,
        status: 200,
        answer: answer.to_vec(),
        ending: Ending::Eof,
        early: Vec::new(),
        known: None,
    };
    let told = |meter: &Meter| {
        let (progress, _) = meter.progress();
        (progress.tokens.input, progress.accounting.input_quality, progress.accounting.reasons)
    };
    let stream = answer(Api::ChatCompletions, MODEL, true, 6);
    let asked = life(ASKED, &stream);
    let mut meter = Meter::new(draft(Api::ChatCompletions), AZURE);
    meter.request_bytes(ASKED.as_bytes());
    assert_eq!(meter.early_need(|| None), None, "the request is not whole");
    meter.request_end();
    assert_eq!(told(&meter), (None, Quality::Unknown, vec![]));
    let model = meter.early_need(|| None).unwrap();
    assert_eq!(model, "gpt-4", "nobody has answered: what was asked for");
    meter.prompt_counted_early(asked.counted(&model), model);
    let guessed = asked.counted("gpt-4").tokens;
    assert_eq!(told(&meter), (guessed, Quality::Estimated, vec!["input:model_assumed".into()]));
    meter.response_head(StatusCode::OK, &headers("text/event-stream"));
    meter.response_bytes(stream[..2].concat().as_bytes(), usize::MAX);
    // The response is another family's.
    assert_eq!(told(&meter).0, None, "a number of the wrong family is none");
    assert_eq!(meter.early_need(|| None).as_deref(), Some(MODEL));
    meter.prompt_counted_early(asked.counted(MODEL), MODEL.into());
    let right = asked.counted(MODEL).tokens;
    assert!(right != guessed && right.is_some());
    assert_eq!(told(&meter), (right, Quality::Exact, vec![]));
    assert_eq!((meter.early_need(|| None), meter.prompt_need()), (None, PromptNeed::Keep));
    // And the service reports.
    meter.response_bytes(stream[2..].concat().as_bytes(), usize::MAX);
    assert_eq!(told(&meter).0, Some(77));
    let event = meter.settle(Ending::Eof);
    assert_eq!((event.tokens.input, event.accounting.computed_input), (Some(77), None));
}
