//! What counting costs, beside tiktoken-rs where it can do the same.
//!
//! `cargo bench --bench tokens`, or `-- delta`, `-- prompt`, `-- worst` for a part. Times are medians;
//! on a shared machine only the ratio to tiktoken is worth anything. The texts are made here.
#![expect(clippy::unwrap_used, reason = "a bench may end where its own text is wrong")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::OnceLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use tiktoken_rs::CoreBPE;
use tokenweir::tokens::{self, Counter, Encoding};

const CORPORA: &[&str] = &["prose", "code", "json", "chinese", "japanese", "emoji", "base64", "spaced"];

/// Bytes of a corpus, and of a stream of deltas.
const CORPUS_BYTES: usize = 256 << 10;
const STREAM_BYTES: usize = 4 << 10;

fn main() {
    tokens::load();
    divan::main();
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
        let text = text(corpus);
        bencher.counter(BytesCount::of_str(&text)).bench(|| tokens::count(encoding, &text));
    }

    fn theirs(bencher: Bencher, corpus: &str, encoding: Encoding) {
        let (text, tiktoken) = (text(corpus), tiktoken(encoding));
        bencher.counter(BytesCount::of_str(&text)).bench(|| tiktoken.encode_ordinary(&text).len());
    }
}

/// A mebibyte of what takes longest.
#[divan::bench_group(sample_count = 3, sample_size = 1)]
mod worst {
    use super::*;

    const MIB: usize = 1 << 20;

    const TEXTS: &[&str] =
        &["a", "space", "newline, spaces", "tab", "=", "emoji", "han, A", "random a-z", "random bytes"];

    /// tiktoken-rs panics on the others.
    const TEXTS_OF_TIKTOKEN: &[&str] = &["a", "=", "emoji", "han, A", "random a-z", "random bytes"];

    #[divan::bench(args = TEXTS)]
    fn o200k(bencher: Bencher, name: &str) {
        own(bencher, name, Encoding::O200kBase, MIB);
    }

    #[divan::bench(args = TEXTS)]
    fn o200k_in_deltas(bencher: Bencher, name: &str) {
        own(bencher, name, Encoding::O200kBase, 4);
    }

    #[divan::bench(args = TEXTS)]
    fn cl100k(bencher: Bencher, name: &str) {
        own(bencher, name, Encoding::Cl100kBase, MIB);
    }

    #[divan::bench(args = TEXTS_OF_TIKTOKEN)]
    fn o200k_tiktoken(bencher: Bencher, name: &str) {
        let (text, tiktoken) = (worst_text(name), tiktoken(Encoding::O200kBase));
        bencher.counter(BytesCount::of_str(&text)).bench(|| tiktoken.encode_ordinary(&text).len());
    }

    fn own(bencher: Bencher, name: &str, encoding: Encoding, chunk_bytes: usize) {
        let text = worst_text(name);
        bencher.counter(BytesCount::of_str(&text)).bench(|| {
            let mut counter = Counter::new(encoding);
            for chunk in text.as_bytes().chunks(chunk_bytes) {
                counter.push(chunk);
            }
            counter.count()
        });
    }

    fn worst_text(name: &str) -> String {
        let mut rng = Rng(7);
        match name {
            "a" | "=" => name.repeat(MIB),
            "space" => " ".repeat(MIB),
            "newline, spaces" => format!("\n{}", " ".repeat(MIB - 1)),
            "tab" => "\t".repeat(MIB),
            "emoji" => "😀".repeat(MIB / 4),
            "han, A" => format!("中{}", "A".repeat(MIB - 3)),
            "random a-z" => (0..MIB).map(|_| char::from(b'a' + rng.below(26) as u8)).collect(),
            "random bytes" => {
                let bytes: Vec<u8> = (0..MIB).map(|_| rng.below(256) as u8).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => unreachable!("{name}"),
        }
    }
}

fn tiktoken(encoding: Encoding) -> &'static CoreBPE {
    static O200K: OnceLock<CoreBPE> = OnceLock::new();
    static CL100K: OnceLock<CoreBPE> = OnceLock::new();
    match encoding {
        Encoding::O200kBase => O200K.get_or_init(|| tiktoken_rs::o200k_base().unwrap()),
        Encoding::Cl100kBase => CL100K.get_or_init(|| tiktoken_rs::cl100k_base().unwrap()),
    }
}

/// A corpus as streams of deltas. A delta is one token, or more if a character spans tokens.
fn streams(corpus: &str) -> Vec<Vec<String>> {
    let (text, tiktoken) = (text(corpus), tiktoken(Encoding::O200kBase));
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

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) % end as u64) as usize
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// A corpus of [`CORPUS_BYTES`].
fn text(corpus: &str) -> String {
    let mut rng = Rng(1);
    let mut text = String::new();
    while text.len() < CORPUS_BYTES {
        match corpus {
            "prose" => prose(&mut rng, &mut text),
            "code" => code(&mut rng, &mut text),
            "json" => json(&mut rng, &mut text),
            "chinese" => east_asian(&mut rng, CHINESE, &mut text),
            "japanese" => east_asian(&mut rng, JAPANESE, &mut text),
            "emoji" => text.extend(char::from_u32(0x1_F300 + rng.below(0x350) as u32)),
            "base64" => text.push(char::from(BASE64[rng.below(64)])),
            "spaced" => spaced(&mut rng, &mut text),
            _ => unreachable!("{corpus}"),
        }
    }
    text
}

const WORDS: &[&str] = &[
    "the",
    "a",
    "weir",
    "measures",
    "stream",
    "without",
    "stopping",
    "it",
    "water",
    "flows",
    "over",
    "and",
    "every",
    "gauge",
    "reads",
    "height",
    "which",
    "gives",
    "volume",
    "of",
    "river",
    "in",
    "winter",
    "engineers",
    "don't",
    "trust",
    "estimates",
    "they've",
    "calibrated",
    "instruments",
    "yearly",
    "because",
    "sediment",
    "changes",
    "discharge",
    "coefficient",
    "slightly",
    "upstream",
    "downstream",
    "it's",
    "hydraulic",
    "jump",
    "observed",
];

fn prose(rng: &mut Rng, text: &mut String) {
    let first = rng.one_of(WORDS);
    text.push_str(&first[..1].to_uppercase());
    text.push_str(&first[1..]);
    for _ in 0..6 + rng.below(12) {
        text.push_str(if rng.below(9) == 0 { ", " } else { " " });
        text.push_str(rng.one_of(WORDS));
    }
    if rng.below(8) == 0 {
        let _ = write!(text, " ({} m³/s)", rng.below(5_000));
    }
    text.push_str(if rng.below(6) == 0 { ".\n\n" } else { ". " });
}

fn code(rng: &mut Rng, text: &mut String) {
    let (a, b, c) = (rng.one_of(WORDS), rng.one_of(WORDS), rng.one_of(WORDS));
    let (a, b, c) = (a.replace('\'', "_"), b.replace('\'', "_"), c.replace('\'', "_"));
    let n = rng.below(1_000);
    let _ = write!(
        text,
        "/// Reads the {a} of a {b}.\npub fn {a}_{b}(&self, {c}: usize) -> Result<u64, {b}Error> {{\n    \
         let mut {a} = self.{b}.lock()?;\n    for i in 0..{c} {{\n        if {a}[i] > {n} && !self.is_{c}() {{\n            \
         return Err({b}Error::TooLong {{ at: i, limit: {n} }});\n        }}\n        {a}[i] += {c} as u64;\n    }}\n    \
         Ok({a}.iter().sum())\n}}\n\n"
    );
}

fn json(rng: &mut Rng, text: &mut String) {
    let _ = writeln!(
        text,
        "{{\"id\":{},\"name\":\"{} {}\",\"height_mm\":{}.{},\"open\":{},\"tags\":[\"{}\",\"{}\"],\"at\":\"2026-11-{:02}T{:02}:15:00Z\"}}",
        rng.below(100_000),
        rng.one_of(WORDS),
        rng.one_of(WORDS),
        rng.below(9_000),
        rng.below(10),
        rng.below(2) == 0,
        rng.one_of(WORDS),
        rng.one_of(WORDS),
        1 + rng.below(30),
        rng.below(24),
    );
}

const CHINESE: &[&str] = &[
    "堰",
    "测量",
    "水流",
    "而",
    "不",
    "阻挡",
    "它",
    "。",
    "工程师",
    "每年",
    "校准",
    "仪器",
    ",",
    "因为",
    "泥沙",
    "会",
    "改变",
    "流量",
    "系数",
    "。",
    "冬天",
    "河水",
    "很",
    "浅",
    ",",
    "读数",
    "也",
    "更",
    "稳定",
    "上游",
    "下游",
    "的",
    "高度",
    "我们",
    "记录",
    "数据",
];

const JAPANESE: &[&str] = &[
    "堰",
    "は",
    "水の",
    "流れ",
    "を",
    "止めずに",
    "測る",
    "。",
    "技術者",
    "が",
    "毎年",
    "計器",
    "を",
    "校正する",
    "、",
    "土砂",
    "で",
    "係数",
    "が",
    "変わる",
    "ため",
    "。",
    "冬",
    "の",
    "川",
    "は",
    "浅く",
    "、",
    "データ",
    "も",
    "安定",
    "して",
    "いる",
    "ゲージ",
];

fn east_asian(rng: &mut Rng, words: &[&str], text: &mut String) {
    text.push_str(rng.one_of(words));
    if rng.below(200) == 0 {
        text.push('\n');
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn spaced(rng: &mut Rng, text: &mut String) {
    text.push_str(&" ".repeat(rng.below(24)));
    text.push_str(&"\t".repeat(rng.below(3)));
    text.push_str(rng.one_of(WORDS));
    text.push_str(rng.one_of(&["\n", "\n\n", "  \n", "\r\n", " | "]));
}
