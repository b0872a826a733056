//! A form in any pieces has the facts of the whole, and they are those that a parser of the whole body
//! reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::chunk::{FormFacts, FormScan, form_boundary};
use tokenweir_fuzz::{Cuts, spelled};

/// The first control characters of an input stand for these words.
const WORDS: [&str; 21] = [
    "--B",
    "--B\r\n",
    "--B--",
    "\r\n--B\r\n",
    "\n--B\n",
    "\r\n--B--\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    "Content-Disposition: form-data; name=\"model\"\r\n\r\n",
    "content-disposition:form-data;name=stream\n\n",
    "Content-Disposition: form-data; filename=\"f\"; name=\"n\"\r\n\r\n",
    "Content-Disposition: form-data;\r\n name=size",
    "\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n",
    "\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    "--B\r\nContent-Disposition: form-data; name=\"seconds\"\r\n\r\n8\r\n",
    "multipart/form-data; boundary=",
    "name=\"",
    "--Bx",
    "                                                                ",
    "--B \t\r\n",
];

/// As the scanner has them.
const VALUE_BYTES_MAX: usize = 256;
const PADDING_BYTES_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let (mut cuts, text) = Cuts::take(input);
    let body = spelled(text, &WORDS);
    let _ = form_boundary(&body);
    let facts = scanned(&[&body]);
    assert_eq!(scanned(&cuts.pieces(&body)), facts);
    assert_eq!(facts.complete, is_closed(&body));
    let values = [
        &facts.model,
        &facts.stream,
        &facts.response_format,
        &facts.size,
        &facts.quality,
        &facts.n,
        &facts.seconds,
    ];
    for value in values.into_iter().flatten() {
        assert!(value.len() <= VALUE_BYTES_MAX);
        // It stands in the body, between an empty line and a delimiter.
        let stands = [&b"\n\n"[..], b"\n\r\n"].iter().any(|before| {
            [&b"--B"[..], b"\n--B", b"\r\n--B"].iter().any(|behind| {
                let framed = [before, value.as_bytes(), behind].concat();
                body.windows(framed.len()).any(|window| window == framed)
            })
        });
        assert!(stands, "{value:?}");
    }
});

fn scanned(pieces: &[&[u8]]) -> FormFacts {
    let mut scan = FormScan::new(b"B");
    pieces.iter().for_each(|piece| scan.push(piece));
    scan.facts()
}

/// A line of the body is the last delimiter.
fn is_closed(body: &[u8]) -> bool {
    body.split_inclusive(|byte| *byte == b'\n').any(|line| {
        let Some(padding) = line.strip_prefix(b"--B--").filter(|_| line.len() <= 3 + PADDING_BYTES_MAX)
        else {
            return false;
        };
        let padding = padding.strip_suffix(b"\n").unwrap_or(padding);
        let padding = padding.strip_suffix(b"\r").unwrap_or(padding);
        padding.iter().all(|byte| matches!(byte, b' ' | b'\t'))
    })
}
