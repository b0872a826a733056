//! One call through a meter, in every cut: what it says must not depend on where the bytes were cut.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use metering::caller::{Caller, Trust};
use metering::meter::{Ending, Meter, PromptNeed, Rules, Treatment, count_prompt};
use metering::tokens::{Counter, Encoding};
use metering::usage::{Api, Target, Usage};

pub(crate) const MODEL: &str = "gpt-4o-2024-08-06";
pub(crate) const REQUEST: &str =
    r#"{"stream":true,"messages":[{"role":"user","content":"Hello"}],"model":"gpt-4o"}"#;
/// What the prompt of [`REQUEST`] costs.
pub(crate) const INPUT: u64 = 8;
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// Bodies up to this length are cut at every byte; longer ones at this many places.
const CUTS_MAX: usize = 2000;

/// A call and its answer.
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) ending: Ending,
    pub(crate) treatment: Treatment,
}

impl Call {
    /// A chat that is answered by this stream.
    pub(crate) fn stream(body: impl Into<Vec<u8>>) -> Call {
        Call {
            api: Api::ChatCompletions,
            request: REQUEST.to_owned(),
            status: 200,
            headers: HeaderMap::new(),
            body: body.into(),
            ending: Ending::Eof,
            treatment: Treatment::Metered,
        }
        .of_type("text/event-stream; charset=utf-8")
    }

    /// A chat that is answered by this document.
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Call {
        Call { request: REQUEST.replace("true", "false"), ..Call::stream(body) }.of_type("application/json")
    }

    pub(crate) fn of_type(self, content_type: &'static str) -> Call {
        self.with(CONTENT_TYPE, content_type)
    }

    pub(crate) fn saying(self, body: impl Into<Vec<u8>>) -> Call {
        Call { body: body.into(), ..self }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Call {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// What the meter says; the same however the answer is cut.
    pub(crate) fn usage(&self) -> Usage {
        let whole = self.run(&[]);
        let every: Vec<usize> = (1..self.body.len()).collect();
        if self.body.len() <= CUTS_MAX {
            assert_eq!(self.run(&every), whole, "byte by byte");
        }
        for &cut in every.iter().step_by(1 + every.len() / CUTS_MAX) {
            assert_eq!(self.run(&[cut]), whole, "cut at {cut}");
        }
        whole
    }

    /// The same for an answer that is too long to be run a thousand times.
    pub(crate) fn usage_in_pieces(&self, piece_bytes: usize) -> Usage {
        let cuts: Vec<usize> = (1..self.body.len()).step_by(piece_bytes).collect();
        let usage = self.run(&cuts);
        assert_eq!(self.run(&[]), usage);
        usage
    }

    fn run(&self, cuts: &[usize]) -> Usage {
        let draft =
            Usage::draft(Caller::unattributed(Trust::None), Target { api: self.api, ..Target::default() });
        let mut meter = Meter::new(draft, Rules { end_of_turn: false }).treated(self.treatment);
        meter.request_bytes(self.request.as_bytes());
        meter.request_end();
        meter.response_head(StatusCode::from_u16(self.status).unwrap(), &self.headers);
        let mut from = 0;
        for &to in cuts.iter().chain([&self.body.len()]) {
            let mut piece = &self.body[from..to];
            while !piece.is_empty() {
                piece = &piece[meter.response_bytes(piece, 300)..];
            }
            from = to;
        }
        meter.end(self.ending);
        if let PromptNeed::Count { model } = meter.prompt_need() {
            let body = [Bytes::copy_from_slice(self.request.as_bytes())];
            meter.prompt_counted(count_prompt(self.api, &body, &model));
        }
        meter.settle(self.ending)
    }
}

/// A chunk with these choices.
pub(crate) fn chunk(choices: &str) -> String {
    format!(r#"data: {{"id":"c1","model":"{MODEL}","choices":[{choices}],"usage":null}}"#) + "\n\n"
}

/// A chunk whose one choice has this delta.
pub(crate) fn delta(delta: &str) -> String {
    chunk(&format!(r#"{{"index":0,"delta":{{{delta}}},"finish_reason":null}}"#))
}

pub(crate) fn text(text: &str) -> String {
    delta(&format!(r#""content":"{text}""#))
}

pub(crate) fn finish(reason: &str) -> String {
    chunk(&format!(r#"{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}"#))
}

/// A chunk with usage and no choices.
pub(crate) fn usage(input: i64, output: i64) -> String {
    let total = input + output;
    format!(
        r#"data: {{"choices":[],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total}}}}}"#
    ) + "\n\n"
}

/// "Hello, world", 3 tokens, without its end.
pub(crate) fn hello() -> String {
    text("Hello") + &text(", world")
}

/// A whole stream of "Hello, world".
pub(crate) fn plain() -> String {
    hello() + &finish("stop") + DONE
}

/// Tokens of a text.
pub(crate) fn tokens(text: &str) -> u64 {
    let mut counter = Counter::new(Encoding::O200kBase);
    counter.push(text.as_bytes());
    counter.count()
}

/// The reasons that speak of the output.
pub(crate) fn output_reasons(usage: &Usage) -> String {
    let reasons = usage.accounting.reasons.iter().filter_map(|reason| reason.strip_prefix("output:"));
    reasons.collect::<Vec<_>>().join(" ")
}
