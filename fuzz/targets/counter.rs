//! A text in any pieces has the count of the whole, and that is tiktoken's.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use metering::tokens::{Counter, Encoding, count};
use tiktoken_rs::CoreBPE;
use tokenweir_fuzz::Cuts;

/// tiktoken's regular expressions panic on very long white space.
const TEXT_BYTES_MAX: usize = 16 << 10;

static O200K: LazyLock<CoreBPE> = LazyLock::new(|| tiktoken_rs::o200k_base().unwrap());
static CL100K: LazyLock<CoreBPE> = LazyLock::new(|| tiktoken_rs::cl100k_base().unwrap());

fuzz_target!(|input: &[u8]| {
    let (mut cuts, text) = Cuts::take(input);
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    for (encoding, tiktoken) in [(Encoding::O200kBase, &O200K), (Encoding::Cl100kBase, &CL100K)] {
        let expected = |bytes: &[u8]| tiktoken.encode_ordinary(&String::from_utf8_lossy(bytes)).len() as u64;
        let whole = expected(text);
        assert_eq!(count(encoding, &String::from_utf8_lossy(text)), whole);
        let (mut counter, mut read) = (Counter::new(encoding), 0);
        let pieces = cuts.pieces(text);
        for (at, piece) in pieces.iter().enumerate() {
            match str::from_utf8(piece) {
                Ok(piece) if at % 2 == 0 => counter.push_str(piece),
                _ => counter.push(piece),
            }
            read += piece.len();
            if at == pieces.len() / 2 {
                assert_eq!(counter.count(), expected(&text[..read]), "in between");
            }
        }
        assert_eq!(counter.count(), whole);
    }
});
