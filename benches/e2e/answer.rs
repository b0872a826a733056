//! What is said on the wire: requests and answers in the shape of Azure OpenAI, made once, so that
//! sending them costs little more than the system call.
//!
//! A delta's chunk is some 440 bytes, its keys in Azure's order. The moment of its sending stands in
//! `obfuscation`, padding that the service itself fills with other characters each time: so a stamp
//! changes nothing of a chunk's shape or length.

use std::ops::Range;

/// Digits of a stamp, in ns; fixed, so that lengths do not depend on time.
pub(crate) const STAMP_DIGITS: usize = 20;
const UNSTAMPED: &str = "00000000000000000000";

/// A text in a ring, in the spelling of JSON: each is one token of o200k, wherever the text is cut.
const WORDS: &[&str] = &[
    "A",
    " gate",
    " measures",
    " a",
    " stream",
    " without",
    " stopping",
    " it",
    ".",
    " What",
    " comes",
    " in",
    " goes",
    " out",
    " at",
    " once",
    ",",
    " and",
    " a",
    " copy",
    " of",
    " its",
    " text",
    " is",
    " counted",
    ".\\n\\n",
];

/// What a prompt has beside the user's words: the frames of two messages, the six tokens of the first,
/// and the start of the answer.
const PROMPT_FRAME_TOKENS: usize = 4 + 6 + 4 + 3;

const SAFE: &str = r#"{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#;
const FIRST: &str = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}}]}"#;
const HEADERS: &str = "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n\
    apim-request-id: 0f0e0d0c-0b0a-0908-0706-050403020100\r\nx-content-type-options: nosniff\r\n\
    x-ms-region: West Europe\r\nx-ratelimit-remaining-requests: 999\r\nx-ratelimit-remaining-tokens: 149000\r\n";

/// An answer of the service.
pub(crate) struct Answer {
    pub(crate) head: Vec<u8>,
    /// As the caller must see it, the stamps zero.
    pub(crate) body: Vec<u8>,
    /// The events of a stream; one that spans all of it for plain JSON.
    pub(crate) events: Vec<Event>,
    /// A stream: each event is a chunk of the framing, too.
    pub(crate) stream: bool,
    /// What the service bills for it: one token a word, and the end of the turn.
    pub(crate) tokens: usize,
}

/// Where an event stands in the body, and its stamp.
pub(crate) struct Event {
    pub(crate) place: Range<usize>,
    pub(crate) stamp: Option<Range<usize>>,
}

impl Answer {
    /// So many deltas, with an event for what was there before them, the role, the end, perhaps the
    /// usage, and `[DONE]`.
    pub(crate) fn stream(deltas: usize, input: usize, reports_usage: bool) -> Answer {
        let tokens = deltas + 1;
        let no_usage = if reports_usage { r#","usage":null"# } else { "" };
        let chunk = |choices: &str, usage: &str| {
            format!(
                r#"{{"choices":[{choices}],"created":1731628800,"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","model":"gpt-4o-2024-11-20","obfuscation":"{UNSTAMPED}","object":"chat.completion.chunk","system_fingerprint":"fp_b705f0c291"{usage}}}"#
            )
        };
        let choice = |filter: &str, delta: &str, reason: &str| {
            let rest = format!(r#""finish_reason":{reason},"index":0,"logprobs":null"#);
            format!(r#"{{"content_filter_results":{filter},"delta":{delta},{rest}}}"#)
        };
        let role = choice("{}", r#"{"content":"","refusal":null,"role":"assistant"}"#, "null");
        let mut documents = vec![FIRST.to_owned(), chunk(&role, no_usage)];
        documents.extend(
            WORDS
                .iter()
                .cycle()
                .take(deltas)
                .map(|word| chunk(&choice(SAFE, &format!(r#"{{"content":"{word}"}}"#), "null"), no_usage)),
        );
        documents.push(chunk(&choice("{}", "{}", r#""stop""#), no_usage));
        if reports_usage {
            documents.push(chunk("", &format!(r#","usage":{}"#, usage(input, tokens))));
        }
        documents.push("[DONE]".to_owned());
        let head = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
             Cache-Control: no-cache, must-revalidate\r\n{HEADERS}\r\n"
        );
        let mut answer =
            Answer { head: head.into_bytes(), body: Vec::new(), events: Vec::new(), stream: true, tokens };
        documents.iter().for_each(|document| answer.event(&format!("data: {document}\n\n")));
        answer
    }

    fn event(&mut self, text: &str) {
        let start = self.body.len();
        self.body.extend_from_slice(text.as_bytes());
        let stamp = text.find(UNSTAMPED).map(|at| start + at..start + at + STAMP_DIGITS);
        self.events.push(Event { place: start..self.body.len(), stamp });
    }

    /// Plain JSON of about so many bytes.
    pub(crate) fn json(bytes: usize, input: usize) -> Answer {
        let with = |text: &str, words: usize| {
            format!(
                r#"{{"choices":[{{"content_filter_results":{SAFE},"finish_reason":"stop","index":0,"logprobs":null,"message":{{"annotations":[],"content":"{text}","refusal":null,"role":"assistant"}}}}],"created":1731628800,"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","model":"gpt-4o-2024-11-20","object":"chat.completion","system_fingerprint":"fp_b705f0c291","usage":{}}}"#,
                usage(input, words + 1)
            )
        };
        let (text, words) = prose(bytes.saturating_sub(with("", 0).len()));
        let body = with(&text, words).into_bytes();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/json\r\n{HEADERS}\r\n",
            body.len()
        );
        let events = vec![Event { place: 0..body.len(), stamp: None }];
        Answer { head: head.into_bytes(), body, events, stream: false, tokens: words + 1 }
    }
}

/// Writes a moment into the place of a stamp.
pub(crate) fn stamp(digits: &mut [u8], mut ns: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (ns % 10) as u8;
        ns /= 10;
    }
}

fn usage(input: usize, output: usize) -> String {
    let total = input + output;
    format!(
        r#"{{"completion_tokens":{output},"completion_tokens_details":{{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":0,"rejected_prediction_tokens":0}},"prompt_tokens":{input},"prompt_tokens_details":{{"audio_tokens":0,"cached_tokens":0}},"total_tokens":{total}}}"#
    )
}

/// Text of at most so many bytes, and how many words it has.
fn prose(bytes: usize) -> (String, usize) {
    let mut text = String::with_capacity(bytes);
    for (words, word) in WORDS.iter().cycle().enumerate() {
        if text.len() + word.len() > bytes {
            return (text, words);
        }
        text.push_str(word);
    }
    (text, 0) // the ring has no end
}

/// The body of a request.
pub(crate) struct Question {
    pub(crate) body: Vec<u8>,
    /// What the service bills for it.
    pub(crate) tokens: usize,
}

/// A question with a prompt of about so many bytes.
pub(crate) fn question(prompt_bytes: usize, stream: bool, wants_usage: bool) -> Question {
    let options = if wants_usage { r#","stream_options":{"include_usage":true}"# } else { "" };
    let (text, words) = prose(prompt_bytes);
    let body = format!(
        r#"{{"messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{text}"}}],"max_tokens":512,"temperature":0.7,"stream":{stream}{options}}}"#
    );
    Question { body: body.into_bytes(), tokens: PROMPT_FRAME_TOKENS + words }
}

/// The whole request.
pub(crate) fn request(question: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21 HTTP/1.1\r\nHost: localhost\r\n\
         User-Agent: AzureOpenAI/Python 1.68.2\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
         api-key: 00000000000000000000000000000000\r\nContent-Length: {}\r\n\r\n",
        question.len()
    );
    [head.as_bytes(), question].concat()
}
