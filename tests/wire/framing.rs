//! Cases 1 to 15: lines, events, characters. That the bytes themselves pass unchanged is held by
//! `tests/proxy`; here they are read.

use metering::usage::Outcome;

use crate::call::{
    Call, DONE, INPUT, chunk, delta, finish, hello, output_reasons, plain, text, tokens, usage,
};

/// It is read as the plain stream is.
fn reads_as_plain(body: impl Into<Vec<u8>>) {
    let (seen, plain) = (Call::stream(body).usage(), Call::stream(plain()).usage());
    assert_eq!((&seen.tokens, &seen.accounting), (&plain.tokens, &plain.accounting));
    assert_eq!((seen.stream.outcome, seen.stream.parse_errors), (Outcome::Complete, 0));
    assert_eq!(seen.tokens.output, Some(3));
}

#[test]
fn case_01_counts_do_not_depend_on_cuts() {
    let seen = Call::stream(plain()).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(INPUT), Some(3)));
    assert_eq!((seen.stream.outcome, seen.stream.events), (Outcome::Complete, 4));
}

#[test]
fn case_02_any_line_end() {
    for end in ["\r\n", "\r", "\n"] {
        reads_as_plain(plain().replace('\n', end));
    }
    // A lone carriage return never stands right before a lone line feed: together they are one end.
    let mut ends = ["\r", "\r", "\n", "\r\n", "\r\n", "\r"].into_iter().cycle();
    let plain = plain();
    let lines = plain.split_inclusive('\n').map(|line| line.trim_end().to_owned() + ends.next().unwrap());
    reads_as_plain(lines.collect::<String>());
    // A line feed behind a carriage return is part of it: it makes no empty event.
    let seen = Call::stream(plain.replace('\n', "\r\n")).usage();
    assert_eq!(seen.stream.events, 4);
}

#[test]
fn case_03_a_byte_order_mark() {
    reads_as_plain("\u{feff}".to_owned() + &plain());
}

#[test]
fn case_04_one_space_at_most() {
    reads_as_plain(plain().replace("data: ", "data:"));
    reads_as_plain(plain().replace("data: {", "data:  {"));
}

#[test]
fn case_05_data_over_several_lines() {
    reads_as_plain(
        plain().replace(",\"choices\"", ",\ndata: \"choices\"").replace("\"usage\"", "\ndata:\"usage\""),
    );
}

#[test]
fn case_06_comments_count_nothing() {
    let commented = plain().replace("\n\n", "\n: inside\n\n: between\n\n");
    reads_as_plain(": before\n\n".repeat(50) + &commented);
}

#[test]
fn case_07_other_fields() {
    reads_as_plain(plain().replace("data: {", "data\nid: 1\nretry: 3\nodd\nother: data: {}\ndata: {"));
}

#[test]
fn case_08_an_event_without_data() {
    reads_as_plain(plain().replace("\n\n", "\n\nevent: ping\n\n"));
}

#[test]
fn case_09_other_separators_end_no_line() {
    let said = "a\u{2028}b\u{85}c\u{2029}d";
    let seen = Call::stream(text(said) + &finish("stop") + DONE).usage();
    assert_eq!((seen.tokens.output, seen.stream.parse_errors), (Some(tokens(said)), 0));
}

#[test]
fn case_10_characters_of_several_bytes_and_of_none() {
    let said = "é中😀";
    let seen = Call::stream(text(said) + &finish("stop") + DONE).usage();
    assert_eq!(seen.tokens.output, Some(tokens(said)));
    // A byte that is none costs what U+FFFD does, and only the count has to know.
    let mut body = (text("XX") + &finish("stop") + DONE).into_bytes();
    let at = body.windows(2).position(|two| two == b"XX").unwrap();
    body[at..at + 2].copy_from_slice(b"\xff\xfe");
    let seen = Call::stream(body).usage();
    assert_eq!(seen.tokens.output, Some(tokens("\u{fffd}\u{fffd}")));
}

#[test]
fn case_12_an_end_without_a_blank_line() {
    let reported = hello() + &finish("stop") + &usage(20, 9);
    let seen = Call::stream(reported.trim_end()).usage();
    assert_eq!((seen.tokens.input, seen.tokens.output), (Some(20), Some(9)));
    assert_eq!(seen.stream.outcome, Outcome::UpstreamEof, "but the stream is not whole");
}

#[test]
fn case_13_bytes_behind_the_end_mark() {
    let seen = Call::stream(plain() + &text("more") + &usage(0, 0) + ": bye\n\n").usage();
    assert_eq!((seen.stream.outcome, seen.stream.done_seen), (Outcome::Complete, true));
}

#[test]
fn case_14_the_end_mark_is_data_of_its_own() {
    for done in ["data:[DONE]\n\n", "data: [DONE] \n\n"] {
        let seen = Call::stream(plain().replace(DONE, done)).usage();
        assert_eq!((seen.stream.outcome, seen.stream.done_seen), (Outcome::Complete, true), "{done:?}");
    }
    let seen = Call::stream(text("data: [DONE]")).usage();
    assert_eq!((seen.stream.outcome, seen.stream.done_seen), (Outcome::UpstreamEof, false));
    assert_eq!(output_reasons(&seen), "upstream_eof");
}

#[test]
fn case_15_pieces_and_events_are_unrelated() {
    let many = "w ".repeat(1000);
    let body = many.split_inclusive(' ').map(text).collect::<String>() + &finish("stop") + DONE;
    for piece_bytes in [1, 7, 1000, usize::MAX] {
        assert_eq!(
            Call::stream(body.clone()).usage_in_pieces(piece_bytes).tokens.output,
            Some(tokens(&many))
        );
    }
    let long = delta(&format!(r#""content":"{}""#, "word ".repeat(5000)));
    let seen = Call::stream(long + &chunk("") + &finish("stop") + DONE).usage_in_pieces(25);
    assert_eq!(seen.tokens.output, Some(tokens(&"word ".repeat(5000))));
}
