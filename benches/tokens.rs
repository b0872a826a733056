//! What counting costs, beside tiktoken-rs where it can do the same.
//!
//! `cargo bench --bench tokens`, or `-- delta`, `-- prompt`, `-- worst`, `-- load` for a part. On a
//! shared machine only the ratio to tiktoken is worth anything.
#![expect(clippy::unwrap_used, reason = "a bench may end where its own text is wrong")]

mod texts;

use std::hint::black_box;
use std::sync::OnceLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use metering::tokens::{self, Counter, Encoding};
use tiktoken_rs::CoreBPE;

use texts::{CORPORA, WORST, WORST_BYTES, WORST_OF_TIKTOKEN};

/// Bytes of a stream of deltas.
const STREAM_BYTES: usize = 4 << 10;

fn main() {
    tokens::load();
    divan::main();
}

/// What `serve` does before it listens, and what tiktoken-rs takes for the same.
#[divan::bench_group(sample_count = 3, sample_size = 1)]
mod load {
    use super::*;

    #[divan::bench]
    fn own() {
        tokens::load();
    }

    #[divan::bench]
    fn tiktoken() -> (CoreBPE, CoreBPE) {
        (tiktoken_rs::o200k_base().unwrap(), tiktoken_rs::cl100k_base().unwrap())
    }
}

/// The deltas of streamed answers, a token each: what a service sends.
#[divan::bench_group(sample_count = 20)]
mod delta {
    use super::*;

    #[divan::bench(args = CORPORA)]
    fn push(bencher: Bencher, corpus: &str) {
        let streams = streams(corpus);
        bencher.counter(deltas(&streams)).bench(|| {
            for stream in &streams {
                let mut counter = Counter::new(Encoding::O200kBase);
                for delta in stream {
                    counter.push(delta.as_bytes());
                }
                black_box(counter.count());
            }
        });
    }

    #[divan::bench(args = CORPORA)]
    fn push_and_count(bencher: Bencher, corpus: &str) {
        let streams = streams(corpus);
        bencher.counter(deltas(&streams)).bench(|| {
            for stream in &streams {
                let mut counter = Counter::new(Encoding::O200kBase);
                for delta in stream {
                    counter.push(delta.as_bytes());
                    black_box(counter.count());
                }
            }
        });
    }

    /// Not the right number, but what one would do without an incremental counter.
    #[divan::bench(args = CORPORA)]
    fn tiktoken_each_alone(bencher: Bencher, corpus: &str) {
        let (streams, tiktoken) = (streams(corpus), tiktoken(Encoding::O200kBase));
        bencher.counter(deltas(&streams)).bench(|| {
            for delta in streams.iter().flatten() {
                black_box(tiktoken.encode_ordinary(delta).len());
            }
        });
    }

    #[divan::bench]
    fn new_counter() -> Counter {
        Counter::new(black_box(Encoding::O200kBase))
    }
}

/// A whole text at once.
#[divan::bench_group(sample_count = 10)]
mod prompt {
    use super::*;

    #[divan::bench(args = CORPORA)]
    fn o200k(bencher: Bencher, corpus: &str) {
        own(bencher, corpus, Encoding::O200kBase);
    }

    #[divan::bench(args = CORPORA)]
    fn o200k_tiktoken(bencher: Bencher, corpus: &str) {
        theirs(bencher, corpus, Encoding::O200kBase);
    }

    #[divan::bench(args = CORPORA)]
    fn cl100k(bencher: Bencher, corpus: &str) {
        own(bencher, corpus, Encoding::Cl100kBase);
    }

    #[divan::bench(args = CORPORA)]
    fn cl100k_tiktoken(bencher: Bencher, corpus: &str) {
        theirs(bencher, corpus, Encoding::Cl100kBase);
    }

    fn own(bencher: Bencher, corpus: &str, encoding: Encoding) {
        let text = texts::corpus(corpus);
        bencher.counter(BytesCount::of_str(&text)).bench(|| tokens::count(encoding, &text));
    }

    fn theirs(bencher: Bencher, corpus: &str, encoding: Encoding) {
        let (text, tiktoken) = (texts::corpus(corpus), tiktoken(encoding));
        bencher.counter(BytesCount::of_str(&text)).bench(|| tiktoken.encode_ordinary(&text).len());
    }
}

/// A mebibyte of what takes longest.
#[divan::bench_group(sample_count = 3, sample_size = 1)]
mod worst {
    use super::*;

    #[divan::bench(args = WORST)]
    fn o200k(bencher: Bencher, name: &str) {
        own(bencher, name, Encoding::O200kBase, WORST_BYTES);
    }

    #[divan::bench(args = WORST)]
    fn o200k_in_deltas(bencher: Bencher, name: &str) {
        own(bencher, name, Encoding::O200kBase, 4);
    }

    #[divan::bench(args = WORST)]
    fn cl100k(bencher: Bencher, name: &str) {
        own(bencher, name, Encoding::Cl100kBase, WORST_BYTES);
    }

    #[divan::bench(args = WORST_OF_TIKTOKEN)]
    fn o200k_tiktoken(bencher: Bencher, name: &str) {
        let (text, tiktoken) = (texts::worst(name), tiktoken(Encoding::O200kBase));
        bencher.counter(BytesCount::of_str(&text)).bench(|| tiktoken.encode_ordinary(&text).len());
    }

    fn own(bencher: Bencher, name: &str, encoding: Encoding, chunk_bytes: usize) {
        let text = texts::worst(name);
        bencher.counter(BytesCount::of_str(&text)).bench(|| {
            let mut counter = Counter::new(encoding);
            for chunk in text.as_bytes().chunks(chunk_bytes) {
                counter.push(chunk);
            }
            counter.count()
        });
    }
}

fn tiktoken(encoding: Encoding) -> &'static CoreBPE {
    static O200K: OnceLock<CoreBPE> = OnceLock::new();
    static CL100K: OnceLock<CoreBPE> = OnceLock::new();
    match encoding {
        Encoding::O200kBase => O200K.get_or_init(|| tiktoken_rs::o200k_base().unwrap()),
        _ => CL100K.get_or_init(|| tiktoken_rs::cl100k_base().unwrap()),
    }
}

/// A corpus as streams of deltas. A delta is one token, or more if a character spans tokens.
fn streams(corpus: &str) -> Vec<Vec<String>> {
    let (text, tiktoken) = (texts::corpus(corpus), tiktoken(Encoding::O200kBase));
    let mut streams = vec![Vec::new()];
    let mut stream_bytes = 0;
    let mut bytes = Vec::new();
    for token in tiktoken.encode_ordinary(&text) {
        bytes.extend(tiktoken.decode_bytes(&[token]).unwrap());
        let Ok(delta) = str::from_utf8(&bytes) else { continue };
        if stream_bytes > STREAM_BYTES {
            streams.push(Vec::new());
            stream_bytes = 0;
        }
        stream_bytes += delta.len();
        streams.last_mut().unwrap().push(delta.to_owned());
        bytes.clear();
    }
    streams
}

fn deltas(streams: &[Vec<String>]) -> ItemsCount {
    ItemsCount::new(streams.iter().map(Vec::len).sum::<usize>())
}
