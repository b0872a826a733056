//! The stream goes on without exactly one event, however it is cut.

use proptest::prelude::*;

use super::*;

/// The bytes that go on of a stream that comes in these pieces, and those of them that came before its end.
fn pass<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut hide, mut all) = (HideUsage::default(), Vec::new());
    for piece in pieces {
        hide.push(&Bytes::copy_from_slice(piece), |bytes| {
            assert!(!bytes.is_empty());
            all.extend_from_slice(&bytes);
        });
        assert!(hide.held.len() <= EVENT_BYTES_MAX);
    }
    all.extend_from_slice(&hide.finish());
    all
}

const USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":3,"a":{"b":[]}}}"#;
const DELTA: &str = r#"{"id":"c","choices":[{"delta":{"content":"\"usage\":{}"}}],"usage":null}"#;

#[test]
fn exactly_one_event_is_taken_out_wherever_the_pieces_are_cut() {
    for (before, event, behind) in [
        (format!("data: {DELTA}\n\n"), format!("data: {USAGE}\n\n"), "data: [DONE]\n\n"),
        (format!("data: {DELTA}\r\n\r\n"), format!("data: {USAGE}\r\n\r\n"), "data: [DONE]\r\n\r\n"),
        (format!("data: {DELTA}\r\r"), format!("data: {USAGE}\r\r"), "data: [DONE]\r\r"),
        (format!("data:{DELTA}\r\n\n"), format!("data:{USAGE}\n\r\n"), "data: [DONE]"),
        (String::new(), format!("data: {USAGE}\n\n"), ""),
        ("\u{feff}".to_owned(), format!("data: {USAGE}\r\n\r\n"), ""),
        // Comments before it stay; within it they go.
        (
            ": ping\n\n: ping\n".to_owned(),
            format!("id: 7\n: x\nevent: message\nretry: 3\ndata: {USAGE}\n\n"),
            ": end\n\n",
        ),
        (String::new(), "data: {\"usage\":{\ndata: },\ndata:\"choices\" : [ ] }\n\n".to_owned(), "\n\n"),
        // There is only one.
        (String::new(), format!("data: {USAGE}\n\n"), "data: {\"choices\":[],\"usage\":{}}\n\n"),
        // Choices that say nothing, and filters beside them.
        (
            format!("data: {DELTA}\n\n"),
            "data: {\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"prompt_tokens\":3}}\n\n".to_owned(),
            "data: [DONE]\n\n",
        ),
        (
            String::new(),
            "data: {\"choices\":[{\"index\":0,\"finish_reason\":null,\"logprobs\":null,\"delta\":{\"content\":\"\",\"role\":null},\"content_filter_results\":{\"hate\":{\"severity\":\"safe\"}}},{\"text\":\"\"}],\"usage\":{}}\n\n".to_owned(),
            "data: [DONE]\n\n",
        ),
        (String::new(), "data: {\"choices\":null,\"usage\":{\"prompt_tokens\":3}}\n\n".to_owned(), "x\n"),
        (
            String::new(),
            "data: {\"prompt_filter_results\":[{\"prompt_index\":0}],\"choices\":[],\"usage\":{}}\n\n".to_owned(),
            "",
        ),
        (String::new(), "data: {\"usage\":{},\"choices\":[{\"delta\":null}],\"prompt_annotations\":[]}\n\n".to_owned(), ""),
        // Keys that are escaped, and equal keys.
        (String::new(), "data: {\"ch\\u006fices\":[],\"usage\":{},\"usage\":{\"x\":1}}\n\n".to_owned(), "\n"),
    ] {
        let whole = [before.as_bytes(), event.as_bytes(), behind.as_bytes()].concat();
        let expected = [before.as_bytes(), behind.as_bytes()].concat();
        assert_eq!(whole.len() - expected.len(), event.len());
        for a in 0..=whole.len() {
            for b in [a, (a + 1).min(whole.len()), (a + 2).min(whole.len()), whole.len()] {
                let got =
                    pass([&whole[..a], &whole[a..b], &whole[b..]].into_iter().filter(|p| !p.is_empty()));
                assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected), "cut {a} {b}");
            }
        }
        assert_eq!(pass(whole.chunks(1)), expected);
    }
}

#[test]
fn everything_else_goes_on() {
    let long =
        format!("data: {{\"choices\":[],\"usage\":{{\"x\":\"{}\"}}}}\n\n", "x".repeat(EVENT_BYTES_MAX));
    for stream in [
        "",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3}}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":{\"prompt_tokens\":3}}\n\n",
        "data: {\"usage\":{},\"choices\":[{\"delta\":{\"content\":\" \"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":{}}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}],\"usage\":{}}\n\n",
        "data: {\"choices\":[{\"delta\":{\"refusal\":\"No\"}}],\"usage\":{}}\n\n",
        "data: {\"choices\":[{\"text\":\"Hi\"}],\"usage\":{}}\n\n",
        "data: {\"choices\":[{\"message\":{}}],\"usage\":{}}\n\n",
        "data: {\"choices\":[{\"new\":7}],\"usage\":{}}\n\n",
        "data: {\"choices\":[{},{\"logprobs\":{}}],\"usage\":{}}\n\n",
        "data: {\"choices\":[7],\"usage\":{}}\n\n",
        "data: {\"choices\":\"\",\"usage\":{}}\n\n",
        "data: {\"choices\":false,\"usage\":{}}\n\n",
        "data: {\"choices\":{},\"usage\":{}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[]}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":3}}\n\n",
        "data: {\"choices\":[],\"usage\":{},\"error\":{}}\n\n",
        "data: {\"x\":{\"choices\":[],\"usage\":{}}}\n\n",
        "data: {\"choices\":[],\"usage\":{}\n\n",
        "data: {\"choices\":[],\"usage\":{}}\n", // never ended
        "data: {\"choices\":[],\"usage\":{}}",
        "Data: {\"choices\":[],\"usage\":{}}\n\n",
        "datas: {\"choices\":[],\"usage\":{}}\n\n",
        " data: {\"choices\":[],\"usage\":{}}\n\n",
        "dat: {\"choices\":[],\"usage\":{}}\n\n",
        "foo: x\ndata: {\"choices\":[],\"usage\":{}}\n\n",
        ": data: {\"choices\":[],\"usage\":{}}\n\n",
        "event: {\"choices\":[],\"usage\":{}}\n\n",
        "\u{feff}\u{feff}data: {\"choices\":[],\"usage\":{}}\n\n",
        "{\"choices\":[],\"usage\":{}}",
        "{\n\"choices\":[],\n\n\"usage\":{}}\n\n",
        "event: ping\n\ndata\n\ndata:\n\nid\n\n",
        &long,
    ] {
        assert_eq!(String::from_utf8_lossy(&pass([stream.as_bytes()])), stream);
        assert_eq!(String::from_utf8_lossy(&pass(stream.as_bytes().chunks(1))), stream);
    }
}

/// How many bytes of this, and nothing behind it, go on at once.
fn at_once(stream: &str) -> usize {
    let (mut hide, mut bytes) = (HideUsage::default(), 0);
    hide.push(&Bytes::copy_from_slice(stream.as_bytes()), |out| bytes += out.len());
    bytes
}

#[test]
fn nothing_waits_that_cannot_be_the_event() {
    for stream in [
        ": a comment that goes",
        "data: [DO",
        "data: {\"id\":\"c\",\"object\":\"x\",\"choices\":[{\"delta\":{\"content\":\"H",
        "data: {\"usage\":null",
        "x",
        "data: {\"choices\":[{\"text\":\"H",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"s",
        "data: {\"choices\":[{\"delta\":{\"role\":\"a",
        "data: {\"choices\":[],\"error\"",
        "data: x",
        "\u{feff}",
        "data: {}\n\n: comment",
    ] {
        let slack = usize::from(stream.ends_with("null")); // a word may go on
        assert_eq!(at_once(stream) + slack * stream.len(), stream.len(), "{stream}");
    }
    let event = format!("data: {USAGE}\n");
    for end in 1..event.len() {
        assert_eq!(at_once(&format!("data: [0]\n\n{}", &event[..end])), 11, "{}", &event[..end]);
    }
}

#[test]
fn what_is_held_is_bounded() {
    let mut hide = HideUsage::default();
    let mut bytes = 0;
    hide.push(&Bytes::from_static(b"data: {\"choices\":[],\"x\":\""), |_| panic!("it may be the one"));
    for _ in 0..100 {
        hide.push(&Bytes::from(vec![b'x'; 1000]), |out| bytes += out.len());
        assert!(hide.held.len() <= EVENT_BYTES_MAX);
    }
    assert!(bytes > 80_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// The same goes on, whatever comes and however it is cut; and if anything is missing, it is one
    /// piece that a reader of events takes for the usage.
    #[test]
    fn splits_do_not_matter_and_only_usage_is_missing(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "data: ", "data:", "\n", "\n", "\n\n", "\r\n", "\r", ":x", "event: e", "id", "{", "}", "\"choices\":[]",
                ",", "\"usage\":{\"x\":1}", "\"usage\":null", "\"choices\":[{\"x\":1}]", "\"choices\":null", "\"choices\":[{\"delta\":{}}]",
                "\"choices\":[{\"delta\":{\"content\":\"\"}}]", "\"choices\":[{\"delta\":{\"content\":\"x\"}}]",
                "\"choices\":[{\"finish_reason\":\"stop\"}]", "{\"choices\":[],\"usage\":{}}",
                "data: {\"choices\":[],\"usage\":{\"x\":[]}}\n\n", "[DONE]", "\u{feff}", "é",
            ]),
            0..40,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = words.concat().into_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        at.extend([0, whole.len()]);
        at.sort_unstable();
        at.dedup();
        let got = pass([whole.as_slice()]);
        prop_assert_eq!(&got, &pass(at.windows(2).map(|w| &whole[w[0]..w[1]])));
        prop_assert_eq!(&got, &pass(whole.chunks(1)));

        let front = got.iter().zip(&whole).take_while(|(a, b)| a == b).count();
        let missing = whole.len() - got.len();
        let fits = |front: &usize| got[..*front] == whole[..*front] && got[*front..] == whole[front + missing..];
        let is_usage = |front: usize| {
            let (mut decoder, mut found) = (crate::sse::Decoder::default(), 0);
            decoder.push(&whole[front..front + missing], &mut |event: crate::sse::Event<'_>| {
                let mut says = !is_usage_event(event.data);
                let chunk = crate::chunk::Chunk::parse(event.data).unwrap_or_default();
                let read = chunk.choices(|choice| {
                    let message = choice.message().unwrap_or_default();
                    let text = message.content.is_some_and(|text| !text.is_empty());
                    says |= text || choice.finish_reason.is_some();
                });
                found += usize::from(!says && read.is_ok() && chunk.has_usage());
            });
            found == 1
        };
        if missing > 0 {
            // The same bytes may be missing at several places next to each other.
            let place = (0..=front).rev().filter(fits).find(|front| is_usage(*front));
            prop_assert!(place.is_some(), "{:?} is not {:?}", String::from_utf8_lossy(&got), words.concat());
        }
    }
}
