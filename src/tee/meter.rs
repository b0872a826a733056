//! Everything that a call asks of its meter.
//!
//! The program has one meter, [`metering::meter::Meter`]. The tests of this module drive calls with another
//! one, which tells what it was shown and fails or waits on request. A call is generic over the two, so the
//! tests run the code that ships, and the trait costs nothing at run time.
//!
//! The methods are described at those of the same names of [`metering::meter::Meter`] and
//! [`metering::meter::Skim`].

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use metering::chunk::RequestFacts;
use metering::meter::{
    BillPart, Bounds, Checks, Ending, FramesRead, Left, Meter, PromptCount, PromptNeed, PromptSample,
    Representation, Rules, SessionNames, Skim, Treatment,
};
use metering::usage::{Api, BillSeen, Deferral, IncludeUsage, Injection, Progress, Target, Usage};
use smol_str::SmolStr;

/// Why a prompt that is needed is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptLoss {
    /// There is no memory to keep it.
    NotKept,
    /// The counting threads have no time for it.
    Overload,
}

/// The terms on which a call is metered.
#[derive(Debug)]
pub struct MeterTerms<'a> {
    pub(super) draft: Arc<Usage>,
    pub(super) rules: Rules,
    pub(super) treatment: Treatment,
    pub(super) representation: &'a Representation,
    pub(super) bounds: Bounds,
}

/// Declares a trait, and implements it for a type by its own methods of the same names.
macro_rules! trait_of {
    (
        trait $trait:ident: [$($bound:tt)+] for $type:ident
        { $($declared:tt)* } { $($implemented:item)* }
        &self { $( fn $read:ident($($r:ident: $R:ty),*) -> $Read:ty; )* }
        &mut self { $( fn $change:ident($($c:ident: $C:ty),*) $(-> $Changed:ty)?; )* }
    ) => {
        pub trait $trait: $($bound)+ {
            $($declared)*
            $( fn $read(&self, $($r: $R),*) -> $Read; )*
            $( fn $change(&mut self, $($c: $C),*) $(-> $Changed)?; )*
        }

        impl $trait for $type {
            $($implemented)*
            $( fn $read(&self, $($r: $R),*) -> $Read { $type::$read(self, $($r),*) } )*
            $( fn $change(&mut self, $($c: $C),*) $(-> $Changed)? { $type::$change(self, $($c),*) } )*
        }
    };
}

// Reads a response on while its meter is away.
trait_of! {
    trait CallSkim: [Send] for Skim {} {}
    &self {
        fn is_plain() -> bool;
        fn work_bytes() -> u64;
        fn is_whole() -> bool;
    }
    &mut self {
        fn push(bytes: &[u8], budget_bytes: usize, decoded: impl FnMut(&[u8])) -> usize;
    }
}

// Counts one call.
trait_of! {
    trait CallMeter: [Send + Sized + 'static] for Meter {
        type Skim: CallSkim;
        fn begin(terms: MeterTerms<'_>) -> Self;
        fn count_prompt(api: Api, body: &[Bytes], model: &str) -> PromptCount;
        fn prompt_lost(&mut self, loss: PromptLoss);
        fn settle_and_check(self, ending: Ending) -> (Usage, Checks);

        /// Takes an early count for the one that is needed where it is, and says what the prompt is needed for.
        fn need(&mut self) -> PromptNeed {
            self.adopt_early();
            self.prompt_need()
        }
    } {
        type Skim = Skim;
        fn begin(terms: MeterTerms<'_>) -> Meter {
            let meter = Meter::new(terms.draft, terms.rules).holding(terms.bounds);
            meter.treated(terms.treatment).reading(terms.representation)
        }
        fn count_prompt(api: Api, body: &[Bytes], model: &str) -> PromptCount {
            metering::meter::count_prompt(api, body, model)
        }
        fn prompt_lost(&mut self, loss: PromptLoss) {
            match loss {
                PromptLoss::NotKept => self.prompt_not_kept(),
                PromptLoss::Overload => self.prompt_overloaded(),
            }
        }
        fn settle_and_check(self, ending: Ending) -> (Usage, Checks) {
            Meter::settle_and_check(self, ending)
        }
    }
    &self {
        fn is_request_unread() -> bool;
        fn prompt_need() -> PromptNeed;
        fn prompt_sample() -> Option<PromptSample>;
        fn names_model() -> bool;
        fn early_need(known: impl FnOnce() -> Option<SmolStr>) -> Option<SmolStr>;
        fn is_light() -> bool;
        fn is_refused() -> bool;
        fn is_whole() -> bool;
        fn first_token_seen() -> bool;
        fn work_bytes() -> u64;
        fn held_bytes() -> usize;
        fn memory_bytes() -> usize;
        fn unread_bytes() -> usize;
        fn uncounted_bytes() -> usize;
        fn progress() -> (Progress, Checks);
        fn target() -> Target;
        fn deployment() -> Option<SmolStr>;
        fn deferral() -> Option<Deferral>;
        fn bill() -> Option<BillSeen>;
    }
    &mut self {
        fn request_bytes(bytes: &[u8]);
        fn request_end();
        fn request_read(facts: RequestFacts);
        fn asked(facts: RequestFacts, bytes: u64);
        fn named(names: &SessionNames);
        fn frames_read(frames: FramesRead);
        fn left_out();
        fn include_usage(who: IncludeUsage);
        fn injection(injection: Injection);
        fn prompt_counted(count: PromptCount) -> Vec<BillPart>;
        fn prompt_counted_early(count: PromptCount, by: SmolStr);
        fn adopt_early();
        fn response_head(status: StatusCode, headers: &HeaderMap);
        fn response_bytes(bytes: &[u8], budget_bytes: usize) -> usize;
        fn skim();
        fn lend() -> Self::Skim;
        fn take_back(skim: Self::Skim, counted: bool);
        fn end(ending: Ending);
        fn caller_left(left: Left);
        fn caller_idle();
    }
}
