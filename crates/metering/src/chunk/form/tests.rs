//! The reader finds what a parser of the whole body does, however the body is cut and however long
//! its files are.

use proptest::prelude::*;

use super::*;

fn scan<'a>(boundary: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> FormFacts {
    let mut scan = FormScan::new(boundary);
    for piece in pieces {
        scan.push(piece);
        let held = scan.padding.capacity() + scan.part.text.capacity();
        assert!(held <= 2 * (HEAD_BYTES_MAX + PADDING_BYTES_MAX), "{held} bytes are held");
    }
    scan.facts()
}

/// A parser that has the whole body, and is written to be read: lines, delimiters, parts.
fn naive(boundary: &str, body: &[u8]) -> FormFacts {
    let mut facts = FormFacts::default();
    let mut part: Option<Vec<&[u8]>> = None;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        match naive_delimiter(boundary, line) {
            None => part.iter_mut().for_each(|part| part.push(line)),
            Some(last) => {
                part.into_iter().for_each(|part| naive_part(&part, &mut facts));
                part = Some(Vec::new());
                if last {
                    facts.complete = true;
                    return facts;
                }
            }
        }
    }
    facts
}

/// Whether a delimiter is the last one; `None`: the line is none.
fn naive_delimiter(boundary: &str, line: &[u8]) -> Option<bool> {
    let behind = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
    let text = str::from_utf8(behind).ok().filter(|_| behind.len() <= PADDING_BYTES_MAX)?;
    let ended = text.ends_with('\n');
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text).trim_end_matches([' ', '\t']);
    match text {
        "" if ended => Some(false),
        "--" => Some(true),
        _ => None,
    }
}

fn naive_part(lines: &[&[u8]], facts: &mut FormFacts) {
    let Some(empty) = lines.iter().position(|line| matches!(*line, b"\n" | b"\r\n")) else { return };
    let head = lines[..=empty].concat();
    let value = lines[empty + 1..].concat();
    let value = value.strip_suffix(b"\n").unwrap_or(&value);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    let head = String::from_utf8_lossy(&head).to_lowercase().replace("\r\n", "\n");
    let head = head.replace("\n ", " ").replace("\n\t", " ");
    if head.len() > HEAD_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return;
    }
    let (mut named, mut passed) = (None, false);
    for field in head.lines() {
        if let Some(disposition) = field.strip_prefix("content-disposition:") {
            passed |= disposition.contains("filename");
            let name = disposition.split("name=").nth(1).unwrap_or("");
            let name = name.split(';').next().unwrap_or("").trim().trim_matches('"');
            named = PartName::of(name.as_bytes());
        }
        passed |= field.starts_with("content-type:") && field.contains("multipart/");
        passed |= field.starts_with("content-transfer-encoding:") && !field.contains("binary");
    }
    if let (Some(name), false, Ok(value)) = (named, passed, str::from_utf8(value)) {
        *facts.slot(name) = Some(value.into());
    }
}

fn part(head: &str, value: &str) -> String {
    format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
}

#[test]
fn every_part_that_is_asked_for_is_found_behind_a_file() {
    let file = "\r\n--\r\n--A\r\n--Bx\r\n--B \u{7f}\n-".repeat(100);
    let body = [
        "preamble\r\n--Bee\r\n".to_owned(),
        part(r#"name="image"; filename="model""#, &file),
        part(r#"name="model""#, "gpt-image-1"),
        part("name=stream", "true"),
        part(r#"NAME="response_format""#, "json"),
        part(r#"name="size""#, "1024x1024"),
        part(r#"name="quality""#, "high"),
        part(r#"name="n""#, "2"),
        part(r#"name="seconds""#, "8"),
        part(r#"name="prompt""#, "a red door"),
        "--B--\r\nepilogue\r\n".to_owned(),
        part(r#"name="model""#, "behind the end"),
    ]
    .concat();
    let found = scan(b"B", [body.as_bytes()]);
    let text = |text: &str| Some(SmolStr::from(text));
    let expected = FormFacts {
        model: text("gpt-image-1"),
        stream: text("true"),
        response_format: text("json"),
        size: text("1024x1024"),
        quality: text("high"),
        n: text("2"),
        seconds: text("8"),
        complete: true,
    };
    assert_eq!(found, expected);
    assert_eq!(naive("B", body.as_bytes()), expected);
    for cut in 0..body.len() {
        let (a, b) = body.as_bytes().split_at(cut);
        assert_eq!(scan(b"B", [a, b]), expected, "cut at {cut}");
    }
    assert_eq!(scan(b"B", body.as_bytes().chunks(1)), expected);
}

#[test]
fn what_is_not_plainly_a_short_value_is_passed_over() {
    let model = |body: &str| {
        let found = scan(b"B", [body.as_bytes()]);
        assert_eq!(scan(b"B", body.as_bytes().chunks(1)), found, "{body}");
        found.model
    };
    let whole = |part: &str| model(&format!("{part}--B--"));
    let long = |bytes: usize| part(r#"name="model""#, &"x".repeat(bytes));
    for passed in [
        part(r#"name="model"; filename="a""#, "m"),
        part(r#"filename="a"; name="model""#, "m"),
        part(r#"name="model"; filename*=UTF-8''a"#, "m"),
        part(r#"name="model[]""#, "m"),
        part(r#"name="Model""#, "m"),
        part(r#"x="name=model""#, "m"),
        part("name=\"model\"\r\nContent-Type: Multipart/Mixed; boundary=C", "--C\r\n\r\nm\r\n--C--"),
        part("name=\"model\"\r\nContent-Transfer-Encoding: base64", "bQ=="),
        part(&format!("name=\"model\"\r\nX: {}", "y".repeat(HEAD_BYTES_MAX)), "m"),
        long(257),
        long(100_000),
        "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n".to_owned(), // has no value
        "--B\r\nContent-Type: text/plain\r\n\r\nm\r\n".to_owned(),
        "--Bx\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--Bx--\r\n".to_owned(),
    ] {
        assert_eq!(whole(&passed), None, "{passed}");
    }
    for (read, value) in [
        (part("name=model", "m"), "m"),
        (part(r#"name = "model" ; x="a\"; filename=b""#, "m"), "m"),
        (part("\r\n name=\"model\"", "m"), "m"),
        (part("name=\"model\"\r\ncontent-type: text/plain\r\nContent-Transfer-Encoding: 8BIT", "m"), "m"),
        (part(r#"name="model""#, ""), ""),
        (part(r#"name="model""#, "a\r\nb\r\n"), "a\r\nb\r\n"),
        (part(r#"name="model""#, "a\r\n--Bx\r\n--B- -"), "a\r\n--Bx\r\n--B- -"),
        (part(r#"name="model""#, "é"), "é"),
        ("--B \t\nContent-Disposition: form-data; name=model\n\nm\n".to_owned(), "m"),
        ("--B\r\ncontent-disposition:form-data;name=model\r\n\r\n".to_owned(), ""),
        (part("name=model", "first") + &part("name=model", "last"), "last"),
    ] {
        assert_eq!(whole(&read).as_deref(), Some(value), "{read}");
    }
    assert_eq!(whole(&long(256)).map(|text| text.len()), Some(256));
    // A part that has not ended may go on.
    assert_eq!(model(&part("name=model", "m")), None);
    assert_eq!(model(&format!("{}--B-", part("name=model", "m"))), None);
    assert_eq!(model(&format!("{}--B-- \t\r", part("name=model", "m"))).as_deref(), Some("m"));
    let found = scan(b"B", [part("name=stream", "true").as_bytes(), b"--B\r\n"]);
    assert_eq!((found.stream.as_deref(), found.complete), (Some("true"), false));
}

#[test]
fn the_boundary_is_quoted_or_not() {
    let of = |text: &str| form_boundary(text.as_bytes()).map(|boundary| String::from_utf8(boundary).unwrap());
    for (field, boundary) in [
        ("multipart/form-data; boundary=----cut-here-7", "----cut-here-7"),
        ("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b;c\" ; x=y", "a b;c"),
        (r#"multipart/form-data; boundary="a\"b\\c\d""#, r#"a"b\c\d"#),
        ("multipart/form-data; x=\"; boundary=no\"; boundary = yes", "yes"),
        ("multipart/form-data", ""),
        ("multipart/form-data; boundary", ""),
        ("multipart/form-data; boundary=\"\"", ""),
    ] {
        assert_eq!(of(field).as_deref(), Some(boundary), "{field}");
    }
    assert_eq!(of(&format!("multipart/form-data; boundary={}", "x".repeat(257))).as_deref(), Some(""));
    for other in ["application/json", "multipart/mixed; boundary=b", "", "multipart/form-datax; boundary=b"] {
        assert_eq!(of(other), None, "{other}");
    }
}

/// 200 MB of what looks most like a delimiter, in front of the parts that are asked for; memory is
/// looked at for each piece.
#[test]
fn parts_behind_a_file_of_two_hundred_megabytes() {
    let block = "\r\n--boundary-of-a-form\n-\n--\r--boundary-of-a-formx\u{0}\n".repeat(1250);
    let mut scan = FormScan::new(b"boundary-of-a-form");
    scan.push(
        b"--boundary-of-a-form\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
    );
    let held = |scan: &FormScan| scan.padding.capacity() + scan.part.text.capacity();
    let mut bytes = 0;
    while bytes < 200_000_000 {
        scan.push(block.replace("formx\u{0}\n", "form.\u{0}\n").as_bytes());
        bytes += block.len();
        assert!(held(&scan) <= 2048, "{}", held(&scan));
    }
    scan.push(b"\r\n--boundary-of-a-form\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--boundary-of-a-form--");
    assert_eq!(scan.facts().model.as_deref(), Some("m"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_body_in_any_pieces_is_read_as_a_whole_one_is(
        words in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "--B", "--B\r\n", "--B\n", "--B--", "--B--\r\n", "\r\n--B\r\n", "\r\n--B--", "\n", "\r\n", "\r",
                    "-", "--", "B", " ", "\t", "\r\n\r\n", "\n\n", "x", "é", "a\r\n--Bx",
                    "Content-Disposition: form-data; name=\"model\"\r\n\r\n",
                    "content-disposition: form-data; name=stream\n\n",
                    "Content-Disposition: form-data; name=\"n\"; filename=\"f\"\r\n\r\n",
                    "Content-Disposition: form-data;\r\n name=size\r\nContent-Type: text/plain\r\n\r\n",
                    "Content-Disposition: form-data; name=\"quality\"\r\nContent-Type: multipart/mixed\r\n\r\n",
                    "--B\r\nContent-Disposition: form-data; name=\"seconds\"\r\n\r\n8\r\n",
                ]).prop_map(str::to_owned),
                (0_usize..400).prop_map(|bytes| "y".repeat(bytes)),
                (50_usize..80).prop_map(|bytes| " ".repeat(bytes)),
            ],
            0..30,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = words.concat().into_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        at.extend([0, whole.len()]);
        at.sort_unstable();
        let expected = naive("B", &whole);
        prop_assert_eq!(&scan(b"B", [whole.as_slice()]), &expected);
        prop_assert_eq!(&scan(b"B", at.windows(2).map(|w| &whole[w[0]..w[1]])), &expected);
        prop_assert_eq!(&scan(b"B", whole.chunks(1)), &expected);
    }
}
