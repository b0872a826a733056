//! The texts that are counted. All are made here or are this project's own.

use std::fmt::Write;

/// Kinds of text as people and models write it.
pub(crate) const CORPORA: &[&str] =
    &["docs", "prose", "code", "json", "chinese", "japanese", "emoji", "base64", "spaced"];

/// Bytes of a corpus.
const CORPUS_BYTES: usize = 256 << 10;

/// A corpus of some [`CORPUS_BYTES`].
pub(crate) fn corpus(name: &str) -> String {
    let mut rng = Rng(1);
    let mut text = String::new();
    while text.len() < CORPUS_BYTES {
        match name {
            "docs" => text.push_str(DOCS),
            "prose" => prose(&mut rng, &mut text),
            "code" => code(&mut rng, &mut text),
            "json" => json(&mut rng, &mut text),
            "chinese" => east_asian(&mut rng, CHINESE, &mut text),
            "japanese" => east_asian(&mut rng, JAPANESE, &mut text),
            "emoji" => text.extend(char::from_u32(0x1_F300 + rng.below(0x350) as u32)),
            "base64" => text.push(char::from(BASE64[rng.below(64)])),
            "spaced" => spaced(&mut rng, &mut text),
            _ => unreachable!("{name}"),
        }
    }
    text
}

/// What takes long, or took other counters long.
pub(crate) const WORST: &[&str] = &[
    "a",
    "ab",
    "space",
    "newline, spaces",
    "tab",
    "newline",
    "=",
    "/",
    "!?",
    "digit",
    "emoji",
    "mark",
    "one han",
    "random han",
    "han, A",
    "random a-z",
    "random a-f",
    "random A-Z",
    "random base64",
    "random bytes",
    "random latin-1",
    "minified json",
    "long words",
];

/// tiktoken-rs panics on the others.
pub(crate) const WORST_OF_TIKTOKEN: &[&str] = &["a", "=", "emoji", "han, A", "random a-z", "random bytes"];

/// Bytes of a worst text.
pub(crate) const WORST_BYTES: usize = 1 << 20;

/// A mebibyte of what takes longest.
pub(crate) fn worst(name: &str) -> String {
    let mut rng = Rng(7);
    let mut text = String::new();
    let random = |rng: &mut Rng, letters: &[u8]| char::from(letters[rng.below(letters.len())]);
    while text.len() < WORST_BYTES {
        match name {
            "a" | "ab" | "=" | "/" | "!?" => text.push_str(name),
            "space" => text.push(' '),
            "newline, spaces" => text.push(if text.is_empty() { '\n' } else { ' ' }),
            "tab" => text.push('\t'),
            "newline" => text.push('\n'),
            "digit" => text.push('7'),
            "emoji" => text.push('😀'),
            "mark" => text.push('\u{301}'),
            "one han" => text.push('中'),
            "random han" => text.extend(char::from_u32(0x4E00 + rng.below(0x5000) as u32)),
            "han, A" => text.push(if text.is_empty() { '中' } else { 'A' }),
            "random a-z" => text.push(random(&mut rng, b"abcdefghijklmnopqrstuvwxyz")),
            "random a-f" => text.push(random(&mut rng, b"abcdef")),
            "random A-Z" => text.push(random(&mut rng, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
            "random base64" => text.push(char::from(BASE64[rng.below(64)])),
            "random bytes" => {
                let bytes: Vec<u8> = (0..WORST_BYTES).map(|_| rng.below(256) as u8).collect();
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            "random latin-1" => text.push(char::from(rng.below(256) as u8)),
            "minified json" => {
                let _ = write!(text, "{{\"k{}\":[{},null,true],", rng.below(99), rng.below(100_000));
            }
            "long words" => text.extend(rng.one_of(WORDS).chars().filter(char::is_ascii_lowercase)),
            _ => unreachable!("{name}"),
        }
    }
    text
}

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) % end as u64) as usize
    }

    /// A word of a list with blanks between.
    fn one_of<'a>(&mut self, words: &'a str) -> &'a str {
        let at = self.below(words.split(' ').count());
        words.split(' ').nth(at).unwrap_or_default()
    }
}

/// Prose that no generator wrote: many words, few of them twice.
const DOCS: &str = concat!(include_str!("../../README.md"), include_str!("../../ARCHITECTURE.md"));

const WORDS: &str = "the a weir measures stream without stopping it water flows over and every gauge reads height \
    which gives volume of river in winter engineers don't trust estimates they've calibrated \
    instruments yearly because sediment changes discharge coefficient slightly upstream downstream \
    it's hydraulic jump observed";

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

const CHINESE: &str = "堰 测量 水流 而 不 阻挡 它 。 工程师 每年 校准 仪器 , 因为 泥沙 会 改变 流量 系数 。 冬天 河水 很 浅 , 读数 也 更 稳定 上游 下游 的 高度 我们 记录 数据";

const JAPANESE: &str = "堰 は 水の 流れ を 止めずに 測る 。 技術者 が 毎年 計器 を 校正する 、 土砂 で 係数 が 変わる ため 。 冬 の 川 は 浅く 、 データ も 安定 して いる ゲージ";

fn east_asian(rng: &mut Rng, words: &str, text: &mut String) {
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
    text.push_str(["\n", "\n\n", "  \n", "\r\n", " | "][rng.below(5)]);
}
