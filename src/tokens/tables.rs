//! The tables of the encodings, made once and kept for the life of the process.

use std::fmt;
use std::sync::OnceLock;
use std::thread;

use super::Encoding;
use super::classes::Classes;
use super::vocabulary::{Vocabulary, VocabularyError};

/// All that counting in one encoding needs.
pub(super) struct Tables {
    pub(super) encoding: Encoding,
    pub(super) classes: Classes,
    pub(super) vocabulary: Vocabulary,
}

static O200K: OnceLock<Tables> = OnceLock::new();
static CL100K: OnceLock<Tables> = OnceLock::new();
static P50K: OnceLock<Tables> = OnceLock::new();
static R50K: OnceLock<Tables> = OnceLock::new();

impl Tables {
    /// The tables of an encoding; makes them if no one has yet.
    pub(super) fn of(encoding: Encoding) -> &'static Tables {
        let slot = match encoding {
            Encoding::O200kBase => &O200K,
            Encoding::Cl100kBase => &CL100K,
            Encoding::P50kBase => &P50K,
            Encoding::R50kBase => &R50K,
        };
        #[expect(clippy::expect_used, reason = "the lists are compiled in, and tests make both")]
        slot.get_or_init(|| Tables::new(encoding).expect("the built-in lists are vocabularies"))
    }

    fn new(encoding: Encoding) -> Result<Tables, VocabularyError> {
        let list: &[u8] = match encoding {
            Encoding::O200kBase => include_bytes!(concat!(env!("OUT_DIR"), "/o200k_base.tokens")),
            Encoding::Cl100kBase => include_bytes!(concat!(env!("OUT_DIR"), "/cl100k_base.tokens")),
            Encoding::P50kBase => include_bytes!(concat!(env!("OUT_DIR"), "/p50k_base.tokens")),
            Encoding::R50kBase => include_bytes!(concat!(env!("OUT_DIR"), "/r50k_base.tokens")),
        };
        Ok(Tables { encoding, classes: Classes::of(encoding), vocabulary: Vocabulary::from_flat(list)? })
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

/// Makes the tables of the two encodings in use, one in a thread of its own; the first call of
/// [`super::Counter::new`] would otherwise wait for it.
pub fn load() {
    thread::scope(|scope| {
        // If there is no thread to be had, the tables are made one after the other.
        let _ = thread::Builder::new()
            .name("tw-load".into())
            .spawn_scoped(scope, || Tables::of(Encoding::Cl100kBase));
        Tables::of(Encoding::O200kBase);
    });
    Tables::of(Encoding::Cl100kBase);
}

/// Are the tables of the two encodings in use made?
pub fn is_loaded() -> bool {
    O200K.get().is_some() && CL100K.get().is_some()
}
