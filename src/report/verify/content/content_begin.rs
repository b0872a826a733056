//! The place where judging begins, because retention took the events before it.
//!
//! A topic drops whole segments, each partition for itself, and files may begin in the middle. What lies before the
//! first event that is left is not missing: neither its sequences, nor the parts of calls that had begun by then.

use std::collections::HashMap;

use jiff::Timestamp;

use super::content_index::ContentIndex;
use super::first_left::FirstLeft;
use crate::report::error::ReportError;
use crate::report::input::Events;
use crate::report::verify::options::VerifyOptions;

/// From where on nothing may be missing.
#[derive(Debug, Default)]
pub(super) struct ContentBegin {
    by_source: HashMap<String, FirstLeft>,
    /// Why there is such a place.
    pub(super) why: Vec<String>,
}

impl ContentBegin {
    /// Looks once all is read, so that what went meanwhile lies before.
    pub(super) fn look(
        events: &Events,
        index: &ContentIndex,
        options: &VerifyOptions,
    ) -> Result<ContentBegin, ReportError> {
        let mut begin = ContentBegin::default();
        for topic in &events.topics {
            let cut = topic.cut()?;
            for partition in &cut {
                let heads = index.heads.get(partition).into_iter().flatten();
                heads.for_each(|(source, first)| begin.latest(source, first));
            }
            if !cut.is_empty() {
                begin.why.push(format!("the capture topic no longer begins at offset 0 in {} of its partitions: what lies before is not judged", cut.len()));
            }
        }
        // A spool lets go of what is delivered.
        if (events.has_files() || events.has_spools()) && options.allow_cut {
            begin.why.push(
                "the content begins in the middle (--allow-cut): what lies before is not judged".to_owned(),
            );
            index.oldest.iter().for_each(|(source, first)| begin.latest(source, first));
        }
        Ok(begin)
    }

    fn latest(&mut self, source: &str, first: &FirstLeft) {
        let known = self.by_source.entry(source.to_owned()).or_insert_with(|| first.clone());
        if *known < *first {
            *known = first.clone();
        }
    }

    /// The sequence from which on a boot is judged; `None` if not at all.
    pub(super) fn floor(&self, source: &str, boot: &str) -> Option<u64> {
        match self.by_source.get(source) {
            Some(first) if boot < first.boot.as_str() => None,
            Some(first) if boot == first.boot => Some(first.sequence),
            _ => Some(1),
        }
    }

    /// A call that began then may have had parts that are gone.
    pub(super) fn is_before(&self, source: &str, began: Option<Timestamp>) -> bool {
        self.by_source.get(source).is_some_and(|first| began.is_none() || began <= first.time)
    }
}
