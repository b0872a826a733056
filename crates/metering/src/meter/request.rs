//! The body of a request: its coding is undone on a copy, and the few facts are found in it that the
//! accounting of the response needs.
//!
//! A plain body is read as it goes by. Of a coded one only the beginning is, for as much work as the
//! data path may have; what is kept of the body is read again off that path, and counted there.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use smol_str::SmolStr;

use super::decode::{Codings, ContentDecoder};
use crate::api::Api;
use crate::chunk::{FormFacts, FormScan, RequestFacts, RequestScan, SIZE_CHARS_MAX, form_boundary};
use crate::prompt::PromptCount;
use crate::usage::Reason;

/// The most that decoding a request's body may cost on the data path, in bytes of work: a quarter of a
/// millisecond, once for each call. `model` and `stream` stand in the first of them, as a rule.
const INLINE_WORK_BYTES_MAX: usize = 64 << 10;

/// A prompt that is longer without its coding is not counted: it is held as a whole, outside of
/// `--prompt-memory`, by each of the threads that count.
const PROMPT_BYTES_MAX: usize = 64 << 20;

/// The form of a request's body (RFC 9110, 8): how it is coded, and its type.
#[derive(Clone, Debug, Default)]
pub struct Representation {
    codings: Codings,
    content: Content,
}

#[derive(Clone, Debug, Default)]
enum Content {
    /// JSON, whatever it is called: that is what these APIs take.
    #[default]
    Json,
    /// A form with this boundary; empty: it cannot be read.
    Form(Box<[u8]>),
}

impl Representation {
    /// The representation that these fields tell of.
    pub fn of(headers: &HeaderMap) -> Representation {
        let boundary = headers.get(CONTENT_TYPE).and_then(|value| form_boundary(value.as_bytes()));
        let content = boundary.map_or(Content::Json, |boundary| Content::Form(boundary.into()));
        Representation { codings: Codings::of(headers), content }
    }

    /// The body must be decoded before it can be read.
    pub fn is_coded(&self) -> bool {
        !self.codings.is_plain()
    }

    /// Finds what a whole body of a call to this API says. Heavy: never on the data path.
    pub fn facts(&self, body: &[Bytes], api: Api) -> RequestFacts {
        let mut reader = RequestReader::new(self, api);
        reader.left_bytes = usize::MAX;
        body.iter().for_each(|piece| reader.push(piece));
        reader.facts(true)
    }

    /// The body as it is read. Heavy: never on the data path.
    ///
    /// # Errors
    /// The count of a prompt that cannot be read, or that is too long.
    pub fn decoded<'a>(&self, body: &'a [Bytes]) -> Result<Cow<'a, [Bytes]>, PromptCount> {
        if !self.is_coded() {
            return Ok(Cow::Borrowed(body));
        }
        match self.undone(body) {
            (plain, Undone::Whole) => Ok(Cow::Owned(vec![plain.into()])),
            (_, Undone::Damaged) => Err(unknown(Reason::Encoding)),
            (_, Undone::TooLong) => Err(unknown(Reason::TooLong)),
        }
    }

    /// As much of a body as can be read, and whether that is all of it: a body that was cut under its coding is readable
    /// up to there. Heavy: never on the data path.
    pub fn decoded_prefix(&self, body: &[Bytes]) -> (Vec<u8>, bool) {
        if !self.is_coded() {
            return (body.concat(), true);
        }
        let (plain, undone) = self.undone(body);
        (plain, matches!(undone, Undone::Whole))
    }

    fn undone(&self, body: &[Bytes]) -> (Vec<u8>, Undone) {
        let (mut decoder, mut plain) = (self.codings.decoder(), Vec::new());
        for piece in body {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let room = (PROMPT_BYTES_MAX + 1).saturating_sub(plain.len());
                let taken = decoder.push(rest, room.max(1), |bytes| plain.extend_from_slice(bytes));
                rest = &rest[taken..];
                if plain.len() > PROMPT_BYTES_MAX {
                    return (plain, Undone::TooLong);
                }
            }
        }
        let undone = decoder.finish().map_or(Undone::Damaged, |()| Undone::Whole);
        (plain, undone)
    }
}

/// How far the codings of a body could be undone.
enum Undone {
    Whole,
    Damaged,
    TooLong,
}

/// A prompt that has no count, for this reason.
fn unknown(reason: Reason) -> PromptCount {
    PromptCount { reasons: vec![reason], ..PromptCount::default() }
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct RequestReader {
    scan: Scan,
    /// `None`: it is not coded, or what is left of it is not read.
    decoder: Option<Box<ContentDecoder>>,
    /// Work that is left for decoding.
    left_bytes: usize,
    /// Something has come.
    begun: bool,
    /// Not all that came was read.
    unread: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are JSON: a box would be an allocation a call")]
enum Scan {
    Json(RequestScan),
    Form(Box<FormScan>),
}

impl RequestReader {
    pub(super) fn new(representation: &Representation, api: Api) -> RequestReader {
        let coded = representation.is_coded();
        RequestReader {
            scan: match &representation.content {
                Content::Json if api.is_heard() => Scan::Json(RequestScan::counting_characters()),
                Content::Json => Scan::Json(RequestScan::default()),
                Content::Form(boundary) => Scan::Form(Box::new(FormScan::new(boundary))),
            },
            decoder: coded.then(|| Box::new(representation.codings.decoder())),
            left_bytes: if coded { INLINE_WORK_BYTES_MAX } else { usize::MAX },
            begun: false,
            unread: false,
        }
    }

    /// The next bytes of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
        let Some(decoder) = &mut self.decoder else {
            if !self.unread {
                self.scan.push(bytes);
            }
            return;
        };
        let (mut rest, before) = (bytes, decoder.work_bytes());
        while !rest.is_empty() {
            let work = usize::try_from(decoder.work_bytes() - before).unwrap_or(usize::MAX);
            let Some(left @ 1..) = self.left_bytes.checked_sub(work) else {
                (self.left_bytes, self.unread, self.decoder) = (0, true, None);
                return;
            };
            rest = &rest[decoder.push(rest, left, |bytes| self.scan.push(bytes))..];
        }
        let work = usize::try_from(decoder.work_bytes() - before).unwrap_or(usize::MAX);
        self.left_bytes = self.left_bytes.saturating_sub(work);
    }

    /// The body says more than was read of it.
    pub(super) fn is_unread(&self) -> bool {
        self.unread
    }

    /// The facts that have been found so far; `ended`: nothing more comes.
    pub(super) fn facts(&self, ended: bool) -> RequestFacts {
        let mut facts = match &self.scan {
            Scan::Json(scan) => scan.facts(),
            Scan::Form(scan) => facts_of_form(scan.facts()),
        };
        if ended && !self.begun {
            facts.stream = Some(false); // nothing was asked for
        }
        facts
    }
}

impl Scan {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Scan::Json(scan) => scan.push(bytes),
            Scan::Form(scan) => scan.push(bytes),
        }
    }
}

/// The facts of a form, whose values are words.
fn facts_of_form(form: FormFacts) -> RequestFacts {
    let is = |text: &str, words: [&str; 2]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let stream = match form.stream.as_deref() {
        Some(text) if is(text, ["true", "1"]) => Some(true),
        Some(text) if is(text, ["false", "0"]) => Some(false),
        Some(_) => None,
        None => form.complete.then_some(false),
    };
    let short = |text: &SmolStr| text.len() <= SIZE_CHARS_MAX;
    RequestFacts {
        model: form.model,
        stream,
        n: form.n.and_then(|digits| digits.parse().ok()),
        size: form.size.filter(short),
        quality: form.quality.filter(short),
        complete: form.complete,
        ..RequestFacts::default()
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_ENCODING;
    use proptest::prelude::*;

    use super::super::tests::codings::{gzip, raw_deflate, zlib, zstd};
    use super::*;

    fn representation(kind: &'static str, codings: &'static str) -> Representation {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        if !codings.is_empty() {
            headers.insert(CONTENT_ENCODING, codings.parse().unwrap());
        }
        Representation::of(&headers)
    }

    fn json(codings: &'static str) -> Representation {
        representation("application/json", codings)
    }

    fn read(representation: &Representation, pieces: &[&[u8]]) -> (RequestFacts, bool) {
        let mut reader = RequestReader::new(representation, Api::ChatCompletions);
        pieces.iter().for_each(|piece| reader.push(piece));
        (reader.facts(true), reader.is_unread())
    }

    const BODY: &str = r#"{"model":"gpt-5","stream":true,"input":"hi"}"#;

    #[test]
    fn a_coded_body_says_what_a_plain_one_says() {
        let plain = read(&json(""), &[BODY.as_bytes()]);
        assert_eq!((plain.0.model.as_deref(), plain.0.stream, plain.1), (Some("gpt-5"), Some(true), false));
        let body = BODY.as_bytes();
        for (codings, coded) in [
            ("identity", body.to_vec()),
            ("gzip", gzip(body)),
            ("X-Gzip", gzip(body)),
            ("deflate", zlib(body)),
            ("deflate", raw_deflate(body)),
            ("zstd", zstd(body)),
            ("gzip, zstd", zstd(&gzip(body))),
        ] {
            let representation = json(codings);
            for size in [1, 7, coded.len()] {
                let pieces: Vec<&[u8]> = coded.chunks(size).collect();
                assert_eq!(read(&representation, &pieces), plain, "{codings} in pieces of {size}");
            }
            let pieces: Vec<Bytes> = coded.chunks(5).map(Bytes::copy_from_slice).collect();
            assert_eq!(representation.facts(&pieces, Api::ChatCompletions), plain.0, "{codings}");
            assert_eq!(representation.decoded(&pieces).unwrap().concat(), body, "{codings}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let coded = gzip(BODY.as_bytes());
        for (what, codings, body) in [
            ("an unknown coding", "compress", &b"x"[..]),
            ("a coding that is not there", "gzip", BODY.as_bytes()),
            ("a body that is cut", "gzip", &coded[..12]),
            ("no JSON", "", b"--B\r\n"),
            ("half of JSON", "", br#"{"model":"m""#),
        ] {
            let representation = json(codings);
            let (facts, _) = read(&representation, &[body]);
            assert_eq!((facts.stream, facts.complete), (None, false), "{what}");
        }
        let body = [Bytes::from_static(b"x")];
        let reasons = |codings| json(codings).decoded(&body).unwrap_err().reasons;
        assert_eq!((reasons("compress"), reasons("gzip")), (vec![Reason::Encoding], vec![Reason::Encoding]));
        assert_eq!(read(&json("gzip"), &[]).0.stream, Some(false), "nothing was asked for");
        assert_eq!(read(&json(""), &[b"{}"]).0.stream, Some(false), "nor here");
    }

    /// A long body is read to the bound on the data path, and to its end off it.
    #[test]
    fn a_long_coded_body_is_left_to_others() {
        let filler = "a word and another, ".repeat(50_000);
        for (front, found) in [(r#""model":"gpt-5","#, Some("gpt-5")), ("", None)] {
            let body = format!(r#"{{{front}"input":"{filler}","stream":true,"model":"gpt-5"}}"#);
            for (codings, coded) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd(body.as_bytes()))] {
                let representation = json(codings);
                for size in [500, coded.len()] {
                    let pieces: Vec<&[u8]> = coded.chunks(size).collect();
                    let (facts, unread) = read(&representation, &pieces);
                    assert!(unread, "{codings}");
                    assert_eq!((facts.model.as_deref(), facts.stream), (found, None), "{codings}");
                }
                let facts = representation.facts(&[Bytes::from(coded)], Api::ChatCompletions);
                assert_eq!((facts.model.as_deref(), facts.stream), (Some("gpt-5"), Some(true)), "{codings}");
            }
        }
    }

    #[test]
    fn a_bomb_costs_what_it_may_and_is_no_prompt() {
        let zeros = vec![b' '; 200 << 20];
        let (once, twice) = (gzip(&zeros), gzip(&gzip(&zeros)));
        for (codings, coded) in [("gzip", &once), ("gzip, gzip", &twice)] {
            let mut reader = RequestReader::new(&json(codings), Api::ChatCompletions);
            coded.chunks(64 << 10).for_each(|piece| reader.push(piece));
            assert!(reader.is_unread() && reader.decoder.is_none(), "{codings}");
            let reasons = json(codings).decoded(&[Bytes::copy_from_slice(coded)]).unwrap_err().reasons;
            assert!(matches!(reasons[..], [Reason::Encoding | Reason::TooLong]), "{codings}: {reasons:?}");
        }
    }

    #[test]
    fn a_prompt_that_is_long_without_its_coding_is_not_held() {
        let words: Vec<u8> =
            (0..PROMPT_BYTES_MAX / 8 + 1).flat_map(|n| format!("{n:08x}").into_bytes()).collect();
        let coded = [Bytes::from(zstd::stream::encode_all(&words[..], 1).unwrap())];
        let representation = json("zstd");
        assert_eq!(representation.decoded(&coded).unwrap_err().reasons, ["too_long"]);
        let fits = [Bytes::from(zstd::stream::encode_all(&words[..PROMPT_BYTES_MAX], 1).unwrap())];
        assert_eq!(representation.decoded(&fits).unwrap().concat().len(), PROMPT_BYTES_MAX);
    }

    #[test]
    fn a_form_has_facts_too() {
        let of = |stream: &str| {
            let body = format!(
                "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\u{1}\r\n--b\r\n\
                 Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n{stream}--b\r\n\
                 Content-Disposition: form-data; name=\"size\"\r\n\r\n1024x1024\r\n--b\r\n\
                 Content-Disposition: form-data; name=\"quality\"\r\n\r\n{long}\r\n--b--\r\n",
                long = "x".repeat(33),
            );
            let form = representation("multipart/form-data; boundary=b", "");
            let facts = read(&form, &[body.as_bytes()]).0;
            assert_eq!((facts.model.as_deref(), facts.complete), (Some("whisper"), true));
            assert_eq!(
                (facts.size.as_deref(), facts.quality.as_deref()),
                (Some("1024x1024"), None),
                "one is too long"
            );
            let coded = representation("multipart/form-data; boundary=b", "gzip");
            assert_eq!(read(&coded, &[&gzip(body.as_bytes())]).0, facts);
            facts.stream
        };
        let part =
            |value: &str| format!("--b\r\nContent-Disposition: form-data; name=stream\r\n\r\n{value}\r\n");
        assert_eq!(of(""), Some(false));
        assert_eq!((of(&part("True")), of(&part("1"))), (Some(true), Some(true)));
        assert_eq!((of(&part("false")), of(&part("maybe"))), (Some(false), None));
        let unbound = representation("multipart/form-data", "");
        assert_eq!(read(&unbound, &[b"--\r\n\r\n--"]).0.model, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
            for codings in ["", "gzip", "deflate", "br", "zstd", "br, gzip", "x"] {
                let representation = json(codings);
                let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
                let (facts, unread) = read(&representation, &pieces);
                let whole: Vec<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
                prop_assert!(unread || facts == representation.facts(&whole, Api::ChatCompletions));
                let _ = representation.decoded(&whole);
            }
        }
    }
}
