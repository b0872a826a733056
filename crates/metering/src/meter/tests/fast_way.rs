//! The fast way of a chunk against the full parse, and both against the text that was sent.

use super::*;
use crate::tokens::{Encoding, count};

/// The members of a chunk and of its choice, in any order; some twice, some with escapes in their
/// names. The last of equal names counts.
fn any_chunk() -> impl Strategy<Value = String> {
    let texts = vec![
        "", "Hi", " there", "\\n", "é", "\\u00e9", "\\ud83d", "\\ude00", "\\\"", "堰", "x\\\\", "\\/", "{}",
        "\\q", "\\u12",
    ];
    let others = vec![
        r#""id":"c""#,
        r#""created":1790000000"#,
        r#""usage":null"#,
        r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#,
        r#""obfuscation":"a\"b""#,
        r#""choices":[]"#,
        r#""x":[{"delta":{"content":"no"}}]"#,
        r#""m\u006fdel":"gpt-4o""#,
        r#""error":null"#,
    ];
    let in_choice = vec![
        r#""finish_reason":null"#,
        r#""finish_reason":"stop""#,
        r#""logprobs":null"#,
        r#""index":1"#,
        r#""d\u0065lta":{"content":"late"}"#,
        r#""content_filter_results":{"hate":{"filtered":false}}"#,
    ];
    let in_delta =
        vec![r#""role":"assistant""#, r#""refusal":null"#, r#""refusal":"no""#, r#""content":null"#];
    let some = |from: Vec<&'static str>, max| prop::collection::vec(prop::sample::select(from), 0..max);
    (some(texts, 4), some(others, 3), some(in_choice, 3), some(in_delta, 2), any::<u64>()).prop_map(
        |(texts, others, in_choice, in_delta, order)| {
            let mut delta = vec![format!(r#""content":"{}""#, texts.concat())];
            delta.extend(in_delta.iter().map(|member| (*member).to_owned()));
            let mut choice = vec![r#""index":0"#.to_owned(), object("\"delta\":", delta, order)];
            choice.extend(in_choice.iter().map(|member| (*member).to_owned()));
            let choice = object("", choice, order >> 16);
            let mut chunk = vec![format!(r#""choices":[{choice}]"#), format!(r#""model":"{MODEL}""#)];
            chunk.extend(others.iter().map(|member| (*member).to_owned()));
            object("", chunk, order >> 32)
        },
    )
}

/// An object of these members, which begin at some place among them.
fn object(name: &str, mut members: Vec<String>, order: u64) -> String {
    let first = (order % members.len() as u64) as usize;
    members.rotate_left(first);
    if order & 1 << 15 != 0 {
        members.reverse();
    }
    format!("{name}{{{}}}", members.join(","))
}

/// The accounting of a stream of these chunks; events with a name are all parsed.
fn accounted(chunks: &[&str], name: &str, piece_bytes: usize) -> Usage {
    let body: String = chunks.iter().map(|chunk| format!("{name}data: {chunk}\n\n")).collect();
    Exchange { piece_bytes, ..Exchange::stream(&body) }.run()
}

/// One UTF-16 code unit as it may stand in JSON.
fn unit(unit: u16, escape: bool) -> String {
    match char::from_u32(unit.into()) {
        Some(character) if !escape && character > '\u{1f}' && !"\"\\".contains(character) => {
            character.to_string()
        }
        _ => format!("\\u{unit:04x}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_counts_what_the_full_parse_counts(
        kinds in prop::collection::vec(any_chunk(), 1..4),
        stream in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
        piece_bytes in 1_usize..200,
    ) {
        let chunks: Vec<&str> = stream.iter().map(|kind| kind.get(&kinds).as_str()).collect();
        let parsed = accounted(&chunks, "event: x\n", usize::MAX);
        prop_assert_eq!(&accounted(&chunks, "", usize::MAX), &parsed);
        prop_assert_eq!(&accounted(&chunks, "", piece_bytes), &parsed);
    }

    /// Halves of characters, alone or split over chunks: the text is what UTF-16 makes of them all.
    #[test]
    fn deltas_of_code_units_are_one_text(
        units in prop::collection::vec(
            prop_oneof![0xD83C_u16..0xD83E, 0xDE00_u16..0xDE08, 0x20_u16..0x7F, any::<u16>()], 1..60,
        ),
        escapes in any::<u64>(),
        lengths in prop::collection::vec(0_usize..5, 1..20),
    ) {
        let mut chunks = Vec::new();
        let (mut rest, mut lengths) = (units.as_slice(), lengths.iter().cycle());
        let mut at = 0;
        while !rest.is_empty() {
            let (delta, tail) = rest.split_at((*lengths.next().unwrap()).max(usize::from(at % 3 == 2)).min(rest.len()));
            let text: String =
                delta.iter().enumerate().map(|(i, &code)| unit(code, escapes >> ((i + at) % 64) & 1 == 1)).collect();
            chunks.push(format!(
                r#"{{"model":"{MODEL}","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
            ));
            (rest, at) = (tail, at + 1);
        }
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let expected = count(Encoding::O200kBase, &String::from_utf16_lossy(&units));
        prop_assert_eq!(accounted(&chunks, "", usize::MAX).tokens.output, Some(expected));
    }
}
