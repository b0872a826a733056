//! The promises of a counter besides its number.

use super::texts::{self, Rng};
use super::words::ENCODINGS;
use crate::tokens::merge::MethodLimits;
use crate::tokens::{Counter, Encoding, count};

fn counted(encoding: Encoding, chunks: &[&[u8]]) -> u64 {
    let mut counter = Counter::new(encoding);
    for chunk in chunks {
        counter.push(chunk);
    }
    counter.count()
}

#[test]
fn known_counts() {
    // As OpenAI's tokenizer page shows them.
    let cases = [("", 0, 0), ("hello world", 2, 2), ("Hello\n\nWorld\n", 4, 4), ("<|endoftext|>", 7, 7)];
    for (text, o200k, cl100k) in cases {
        assert_eq!(count(Encoding::O200kBase, text), o200k, "{text:?}");
        assert_eq!(count(Encoding::Cl100kBase, text), cl100k, "{text:?}");
    }
}

#[test]
fn a_broken_character_counts_as_replacement_wherever_it_is_cut() {
    let broken: &[&[u8]] = &[
        b"\xE4\xB8",
        b"\xE4\xB8A",
        b"\xE4\xE4\xB8\xAD",
        b"\xF0\x9F\x98",
        b"\xF0\x9F\x98\xC3\xA9",
        b"\xC0\x80",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"a\xFFb",
        b"\x80\x80\x80",
        b"\xE0\x80\x80",
        b"\xF0\x9F\xF0\x9F\x98\x80",
    ];
    for encoding in ENCODINGS {
        for bytes in broken {
            let expected = count(encoding, &String::from_utf8_lossy(bytes));
            for cut in 0..=bytes.len() {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(counted(encoding, &[first, second]), expected, "{bytes:?} at {cut}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(counted(encoding, &single), expected, "{bytes:?} byte by byte");
        }
    }
}

#[test]
fn text_after_half_a_character_ends_it() {
    let mut counter = Counter::new(Encoding::O200kBase);
    counter.push(b"\xE4\xB8");
    counter.push_str("");
    counter.push(b"");
    assert_eq!(counter.count(), count(Encoding::O200kBase, "\u{FFFD}"));
    counter.push_str("\u{e9}");
    assert_eq!(counter.count(), count(Encoding::O200kBase, "\u{FFFD}\u{e9}"));
}

#[test]
fn asking_for_the_count_changes_nothing() {
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let encoding = rng.one_of(&ENCODINGS);
        let bytes = texts::bytes(&mut rng, encoding);
        let (mut asked, mut silent) = (Counter::new(encoding), Counter::new(encoding));
        for chunk in texts::chunks(&mut rng, &bytes) {
            asked.push(chunk);
            silent.push(chunk);
            assert_eq!(asked.count(), asked.count(), "seed {seed}");
        }
        assert_eq!(asked.count(), silent.count(), "seed {seed}: {bytes:?}");
    }
}

#[test]
fn a_clone_goes_on_alone() {
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let encoding = rng.one_of(&ENCODINGS);
        let limits = MethodLimits { backtrack_bytes_max: 2, piece_bytes_max: 3 };
        let bytes = texts::bytes(&mut rng, encoding);
        let (first, second) = bytes.split_at(rng.below(bytes.len() + 1));
        let mut original = Counter::with_limits(encoding, limits);
        original.push(first);
        let mut clone = original.clone();
        clone.push(second);
        let expected = counted(encoding, &[first]);
        assert_eq!(original.count(), expected, "seed {seed}");
        original.push(second);
        assert_eq!(original.count(), clone.count(), "seed {seed}");
    }
}

#[test]
fn a_stream_holds_little() {
    assert!(size_of::<Counter>() <= 128);
    assert_eq!(Counter::new(Encoding::O200kBase).heap_bytes(), 0);
    for seed in 0..4_000 {
        let mut rng = Rng::new(seed);
        let encoding = rng.one_of(&ENCODINGS);
        let bytes = texts::bytes(&mut rng, encoding);
        let mut counter = Counter::new(encoding);
        for chunk in texts::chunks(&mut rng, &bytes) {
            counter.push(chunk);
            assert!(size_of::<Counter>() + counter.heap_bytes() <= 2_500, "seed {seed}");
        }
    }
}

#[test]
fn prose_is_held_in_a_few_bytes() {
    let mut counter = Counter::new(Encoding::O200kBase);
    for word in "The weir measures a stream without stopping it.\n\n".repeat(40).split_inclusive(' ') {
        counter.push_str(word);
        assert!(counter.heap_bytes() <= 64);
    }
}

#[test]
fn a_counter_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Counter>();
}

#[test]
fn a_counter_shows_no_text() {
    let mut counter = Counter::new(Encoding::O200kBase);
    counter.push(b"secret");
    assert_eq!(format!("{counter:?}"), "Counter { encoding: O200kBase, .. }");
}
