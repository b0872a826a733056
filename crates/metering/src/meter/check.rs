//! Checks of the rules by a call: the service's number stands beside ours.

use super::side::SideNumber;
use crate::usage::{Quality, RuleClass, Side, Source, Target};

/// The check by one side of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The rules that made our number; `None` if there is none, or none that the service could change: a
    /// call that is not billed has 0.
    pub class: Option<RuleClass>,
    /// Reported minus computed tokens, if the service's number is final and ours would have been
    /// labelled exact. Anything less would be wrong by its nature, and prove nothing.
    pub residual: Option<i64>,
}

/// The checks by both sides of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// The prompt.
    pub input: Check,
    /// The response.
    pub output: Check,
}

impl Checks {
    /// Each with its side.
    pub fn sides(&self) -> [(Side, Check); 2] {
        [(Side::Input, self.input), (Side::Output, self.output)]
    }
}

/// A prompt that the service has counted, for a count of our own that does no more than check the
/// rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptSample {
    /// The call's target; its model is known.
    pub target: Target,
    /// The service's number.
    pub reported: u64,
}

impl Check {
    /// `own`: what we say without the service's word.
    pub(super) fn of(own: &SideNumber, reported: Option<&SideNumber>) -> Check {
        let class = own.class;
        let proven = class.is_some() && own.source == Source::Computed && own.quality == Quality::Exact;
        let last_word = reported.filter(|side| side.quality == Quality::Exact);
        let residual =
            last_word.filter(|_| proven).and_then(|side| side.tokens?.checked_signed_diff(own.tokens?));
        Check { class, residual }
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::caller::{Caller, Trust};
    use crate::meter::{Ending, Meter, PromptNeed, Rules, count_prompt};
    use crate::usage::{Api, Usage};

    const HELLO: &str = r#"{"stream":true,"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    const MODEL: &str = "gpt-4o-2024-11-20";

    /// A stream with these words, this finish reason and this usage, if any.
    fn stream(model: &str, words: &[&str], finish: &str, usage: Option<(u64, u64)>) -> String {
        let chunk = |choices: &str, usage: &str| {
            format!("data: {{\"model\":\"{model}\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n")
        };
        let mut text: String = words
            .iter()
            .map(|word| chunk(&format!(r#"{{"index":0,"delta":{{"content":"{word}"}}}}"#), "null"))
            .collect();
        text += &chunk(&format!(r#"{{"index":0,"delta":{{}},"finish_reason":"{finish}"}}"#), "null");
        if let Some((input, output)) = usage {
            text += &chunk("", &format!(r#"{{"prompt_tokens":{input},"completion_tokens":{output}}}"#));
        }
        text + "data: [DONE]\n\n"
    }

    /// A meter that has seen all of a call; its prompt is counted if it is asked for.
    fn seen(request: &str, status: u16, body: &str) -> Meter {
        let draft = Usage::draft(
            Caller::unattributed(Trust::None),
            Target { api: Api::ChatCompletions, ..Target::default() },
        );
        let mut meter = Meter::new(draft, Rules { end_of_turn: true });
        meter.request_bytes(request.as_bytes());
        meter.request_end();
        let kind = HeaderValue::from_static("text/event-stream");
        meter.response_head(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::from_iter([(CONTENT_TYPE, kind)]),
        );
        meter.response_bytes(body.as_bytes(), usize::MAX);
        if let PromptNeed::Count { model } = meter.prompt_need() {
            meter.prompt_counted(count_prompt(Api::ChatCompletions, &[request.to_owned().into()], &model));
        }
        meter
    }

    fn output(request: &str, status: u16, body: &str, ending: Ending) -> Check {
        seen(request, status, body).settle_and_check(ending).1.output
    }

    #[test]
    fn a_whole_answer_of_a_proven_class_is_evidence() {
        for (reported, residual) in [(3, 0), (4, 1), (1, -2)] {
            let body = stream(MODEL, &["Hello", " there"], "stop", Some((8, reported)));
            let check = output(HELLO, 200, &body, Ending::Eof);
            assert_eq!(check, Check { class: Some(RuleClass::Text), residual: Some(residual) });
        }
    }

    #[test]
    fn what_would_not_have_been_exact_is_none() {
        let body = |model: &str, finish: &str| stream(model, &["Hello", " there"], finish, Some((8, 99)));
        let plain = body(MODEL, "stop");
        let stops = HELLO.replacen('{', r#"{"stop":["x"],"#, 1);
        for (why, request, status, body) in [
            ("nothing reported", HELLO, 200, stream(MODEL, &["Hello"], "stop", None)),
            ("hidden reasoning", HELLO, 200, body("gpt-5-2025-08-07", "stop")),
            ("a model that is not proven", HELLO, 200, body("gpt-4o-nova", "stop")),
            ("a model that is not known", HELLO, 200, body("lama", "stop")),
            ("a content filter", HELLO, 200, body(MODEL, "content_filter")),
            ("a stop sequence", &stops, 200, plain.clone()),
            ("an error", HELLO, 500, plain.clone()),
            ("not billed", HELLO, 429, plain.clone()),
        ] {
            assert_eq!(output(request, status, &body, Ending::Eof).residual, None, "{why}");
        }
        // Cut before its end, although the service had reported by then.
        let cut = plain.strip_suffix("data: [DONE]\n\n").unwrap();
        for ending in [Ending::Eof, Ending::ClientDisconnect, Ending::UpstreamError] {
            assert_eq!(output(HELLO, 200, cut, ending).residual, None, "{ending:?}");
        }
        assert_eq!(output(HELLO, 200, &plain, Ending::ClientDisconnect).residual, Some(96), "it was whole");
    }

    #[test]
    fn a_number_that_no_rule_made_has_no_class() {
        let check = output(HELLO, 429, "{}", Ending::Eof);
        assert_eq!(check, Check::default());
        let (usage, checks) = seen(HELLO, 401, "{}").settle_and_check(Ending::Eof);
        assert_eq!((usage.tokens.input, checks), (Some(0), Checks::default()));
    }

    #[test]
    fn a_prompt_is_evidence_if_it_was_counted_before_the_service_reported() {
        let body = stream(MODEL, &["Hello"], "stop", Some((9, 2)));
        let (early, late) = body.split_at(body.find("\n\n").unwrap() + 2);
        let mut meter = seen(HELLO, 200, early);
        assert_eq!(meter.prompt_need(), PromptNeed::No, "counted: usage was not asked for");
        meter.response_bytes(late.as_bytes(), usize::MAX);
        assert_eq!(meter.prompt_sample(), None, "it is counted once");
        let (usage, checks) = meter.settle_and_check(Ending::Eof);
        assert_eq!(checks.input, Check { class: Some(RuleClass::Text), residual: Some(1) });
        assert_eq!(
            (usage.tokens.input, usage.accounting.computed_input),
            (Some(9), None),
            "the event does not tell"
        );
    }

    #[test]
    fn a_sample_is_what_was_reported_and_nobody_needs_to_count() {
        let body = |model: &str| stream(model, &["Hello"], "stop", Some((8, 2)));
        let sample = seen(HELLO, 200, &body(MODEL)).prompt_sample().unwrap();
        assert_eq!((sample.reported, sample.target.model.as_deref()), (8, Some(MODEL)));
        assert_eq!(sample.target.deployment.as_deref(), Some("m"), "as in the event");
        for (status, body) in
            [(200, stream(MODEL, &["Hello"], "stop", None)), (200, body("lama")), (500, body(MODEL))]
        {
            assert_eq!(seen(HELLO, status, &body).prompt_sample(), None);
        }
        assert_eq!(seen(HELLO, 200, &body(MODEL)).blind().prompt_sample(), None);
    }
}
