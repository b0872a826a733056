//! The tables of both encodings, which are compiled in and read in place.

use std::fmt;
use std::hint::black_box;
use std::sync::OnceLock;

use super::classes::Classes;
use super::encoding::Encoding;
use super::perfect::{Joined, ShortTokens};
use super::trie::Trie;
use super::vocabulary::Vocabulary;

/// The bytes that the vocabularies take in a program, which reads them in place.
pub const VOCABULARY_BYTES: usize = include!(concat!(env!("OUT_DIR"), "/bytes"));

/// All that counting in one encoding needs.
pub(super) struct Tables {
    pub(super) encoding: Encoding,
    pub(super) classes: Classes,
    pub(super) vocabulary: Vocabulary,
}

/// A file on a border of cache lines, so that no entry lies across one.
#[repr(align(64))]
struct Aligned<T: ?Sized>(T);

/// A table that `build.rs` made, as a slice of entries.
macro_rules! table {
    ($file:expr) => {{
        static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $file)));
        FILE.0.as_chunks().0
    }};
}

/// The vocabulary of an encoding.
macro_rules! vocabulary {
    ($name:literal) => {
        Vocabulary::new(
            ShortTokens {
                slots: table!(concat!($name, ".short")),
                buckets: table!(concat!($name, ".short.buckets")),
            },
            Joined {
                slots: table!(concat!($name, ".joined")),
                buckets: table!(concat!($name, ".joined.buckets")),
            },
            Trie {
                steps: table!(concat!($name, ".steps")),
                links: table!(concat!($name, ".links")),
                tokens: table!(concat!($name, ".tokens")),
            },
        )
    };
}

static O200K: OnceLock<Tables> = OnceLock::new();
static CL100K: OnceLock<Tables> = OnceLock::new();

impl Tables {
    /// The tables of an encoding; makes the small ones if no one has yet.
    pub(super) fn of(encoding: Encoding) -> &'static Tables {
        let slot = match encoding {
            Encoding::O200kBase => &O200K,
            Encoding::Cl100kBase => &CL100K,
        };
        slot.get_or_init(|| Tables {
            encoding,
            classes: Classes::of(encoding),
            vocabulary: match encoding {
                Encoding::O200kBase => vocabulary!("o200k_base"),
                Encoding::Cl100kBase => vocabulary!("cl100k_base"),
            },
        })
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

/// Readies both encodings: makes the small tables and touches each page of the large ones, so that
/// no stream has to wait for the disk. The first use of [`super::Counter::new`] would do it bit by bit.
pub fn load() {
    for encoding in [Encoding::O200kBase, Encoding::Cl100kBase] {
        black_box(Tables::of(encoding).vocabulary.touch());
    }
}

/// Whether the tables of both encodings are made.
pub fn is_loaded() -> bool {
    O200K.get().is_some() && CL100K.get().is_some()
}
