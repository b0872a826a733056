//! The content that is to be read, and the form in which it is given.

use std::path::PathBuf;

use jiff::Timestamp;
use metering::usage::ContentSide;
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::stored_part::StoredPart;
use crate::report::input::Input;

/// The content that is to be read.
#[derive(Clone, Debug)]
pub struct ContentOptions {
    /// The inputs of parts.
    pub inputs: Vec<Input>,
    /// The calls that are read.
    pub filter: ContentFilter,
    /// How they are given.
    pub output: ContentOutput,
}

/// The choice of calls that are read; a member that is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct ContentFilter {
    /// The call with this id.
    pub call: Option<String>,
    /// Those of this caller.
    pub caller: Option<String>,
    /// Those that began at this time or later, ..
    pub from: Option<Timestamp>,
    /// .. and before this one.
    pub to: Option<Timestamp>,
}

/// The forms in which content is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum ContentFormat {
    /// Put together for people, one call a line.
    #[default]
    Json,
    /// The bytes as they passed.
    Raw,
}

/// How content is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentOutput {
    /// Put together for people, one call a line.
    Lines,
    /// The bytes of one side of one call.
    Side(ContentSide),
    /// The bytes of each side, in a file of its own in this folder.
    Folder(PathBuf),
}

impl ContentFilter {
    /// The part is of a call that is to be read.
    pub(super) fn takes(&self, part: &StoredPart) -> bool {
        let facts = &part.part.facts;
        let is = |wanted: &Option<String>, said: &str| wanted.as_ref().is_none_or(|wanted| wanted == said);
        let time = part.call_time();
        is(&self.call, &facts.call)
            && is(&self.caller, &facts.caller.id)
            && self.from.is_none_or(|from| time.is_some_and(|time| time >= from))
            && self.to.is_none_or(|to| time.is_some_and(|time| time < to))
    }
}
