use super::super::tests::codings::{brotli, gzip, raw_deflate, zlib, zstd};
use super::*;
use proptest::prelude::*;

fn headers(coding: &str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_ENCODING, coding.parse().unwrap())])
}

/// Decodes in pieces of `size`, each shown until it is taken; the longest output of one call.
fn decode(coding: &str, bytes: &[u8], size: usize, budget: usize) -> (Vec<u8>, bool, usize) {
    let (mut decoder, mut all, mut longest) = (ContentDecoder::new(&headers(coding)), Vec::new(), 0);
    for mut piece in bytes.chunks(size) {
        while !piece.is_empty() {
            let before = all.len();
            let taken = decoder.push(piece, budget, |part| all.extend_from_slice(part));
            piece = &piece[taken..];
            longest = longest.max(all.len() - before);
        }
    }
    (all, decoder.finish().is_ok(), longest)
}

proptest! {
    #[test]
    fn every_coding_gives_the_plain_body_back(
        words in prop::collection::vec("[a-z \n]{0,12}", 0..2000),
        size in 1_usize..5000,
        budget in 1_usize..9000,
    ) {
        let plain = words.concat().into_bytes();
        for (coding, coded) in [
            ("identity", plain.clone()),
            ("GZIP", gzip(&plain)),
            ("x-gzip", [gzip(&plain[..plain.len() / 2]), gzip(&plain[plain.len() / 2..])].concat()),
            ("deflate", zlib(&plain)),
            ("deflate", raw_deflate(&plain)),
            ("br", brotli(&plain)),
            ("zstd", zstd(&plain)),
            ("gzip, zstd", zstd(&gzip(&plain))),
            ("br, identity, deflate", zlib(&brotli(&plain))),
        ] {
            let (all, fine, longest) = decode(coding, &coded, size, budget);
            prop_assert!(all == plain, "{} differs", coding);
            prop_assert!(fine && longest <= budget, "{} {} {}", coding, fine, longest);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for coding in ["gzip", "deflate", "br", "zstd", "gzip,br"] {
            decode(coding, &bytes, 7, 100);
        }
    }
}

#[test]
fn a_bomb_comes_in_small_steps() {
    let zeros = vec![0; 10 << 20];
    for (coding, coded) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
        let (all, fine, longest) = decode(coding, &coded, coded.len(), 8 << 10);
        assert!(all.len() == zeros.len() && fine && longest <= 8 << 10, "{coding}");
    }
}

/// Work is bounded by what came in, also where nothing comes out.
#[test]
fn case_67_a_bomb_is_given_up() {
    let zeros = vec![0; 60 << 20];
    let members: Vec<u8> = gzip(b"").repeat(2 << 20);
    for (coding, coded) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("zstd", zstd(&zeros)),
        // The second coding's zeros are the first one's empty members: all work, no output.
        ("gzip, gzip", gzip(&members)),
        ("gzip, zstd", zstd(&members)),
    ] {
        let mut decoder = ContentDecoder::new(&headers(coding));
        let mut given = 0;
        assert_eq!(decoder.push(&coded, usize::MAX, |bytes| given += bytes.len()), coded.len());
        let allowed = WORK_BYTES_MIN as usize + coded.len() * WORK_PER_CODED_BYTE as usize;
        assert!(decoder.is_bad(), "{coding}: {} of {}", decoder.work_bytes(), coded.len());
        assert!(given <= allowed, "{coding}: {given} of {}", coded.len());
        assert!(decoder.work_bytes() as usize <= allowed + PULL_WORK_BYTES_MAX, "{coding}");
        assert!(decoder.stages.is_empty(), "{coding}: its memory is kept");
    }
}

/// Members that hold nothing cost time as well, and end a turn.
#[test]
fn work_without_output_uses_the_budget_up() {
    let coded = gzip(b"").repeat(3_000);
    let mut decoder = ContentDecoder::new(&headers("gzip"));
    let taken = decoder.push(&coded, 8 << 10, |_| {});
    assert!(taken > 0 && taken < coded.len() / 10, "{taken} of {}", coded.len());
}

#[test]
fn more_codings_than_anybody_uses_are_not_even_read() {
    let names = "gzip,".repeat(200_000);
    let decoder = ContentDecoder::new(&headers(&names));
    assert!(decoder.is_bad() && decoder.stages.len() == CODINGS_MAX);
}

#[test]
fn what_is_wrong_is_said() {
    let coded = gzip(b"hello, hello, hello");
    assert!(!decode("gzip", &coded[..coded.len() - 1], 5, 100).1);
    let mut wrong = coded.clone();
    let checksum = wrong.len() - 6;
    wrong[checksum] ^= 1;
    assert!(!decode("gzip", &wrong, 5, 100).1);
    assert!(!decode("zstd", b"no zstd at all", 5, 100).1);
    assert!(!decode("snappy", b"x", 5, 100).1);
    assert!(!decode("gzip,gzip,gzip,gzip,gzip", b"x", 5, 100).1);
}
