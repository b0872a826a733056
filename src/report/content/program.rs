//! From inputs to calls.

use std::io::Write;

use metering::names;
use metering::usage::ContentSide;

use super::call_parts::CallParts;
use super::content_output::ContentWriter;
use super::held_calls::HeldCalls;
use super::opened_side::OpenedSide;
use super::options::{ContentFilter, ContentOptions};
use super::stored_part::StoredPart;
use crate::capture::seal::Unwrap;
use crate::report::error::ReportError;
use crate::report::input::{Events, Passes};
use crate::report::omissions::Omissions;

/// The result of the reading.
#[derive(Debug, Default)]
pub struct OpenedContent {
    /// Calls that were given.
    pub calls: u64,
    /// A part is not what it was.
    pub is_altered: bool,
    /// A part is missing or cannot be opened.
    pub is_incomplete: bool,
    /// The lines that could not be read at all.
    pub omissions: Omissions,
}

/// Writes the calls that are meant to `out`, and what is wrong with them to `notes`, a line for each.
///
/// # Errors
/// If an input cannot be read, more is open at once than fits the memory, or the output cannot be written.
pub fn open_content(
    options: &ContentOptions,
    unwrap: &mut dyn Unwrap,
    out: impl Write,
    notes: &mut dyn Write,
) -> Result<OpenedContent, ReportError> {
    let mut events = Events::open(&options.inputs, Passes::One)?;
    for note in &events.notes {
        tell(notes, note);
    }
    let writer = ContentWriter::new(&options.output, out)?;
    let mut opening = Opening { writer, unwrap, notes, opened: OpenedContent::default() };
    let mut held = HeldCalls::default();
    events.each(&mut |text, origin| {
        match text.and_then(StoredPart::read) {
            Ok(Some(part)) => opening.take(part, &options.filter, &mut held, &origin)?,
            Ok(None) => {}
            Err(reason) => opening.opened.omissions.add(reason, origin),
        }
        Ok(())
    })?;
    for call in held.rest() {
        opening.give(&call)?;
    }
    opening.finish(held.late)
}

struct Opening<'a, W> {
    writer: ContentWriter<'a, W>,
    unwrap: &'a mut dyn Unwrap,
    notes: &'a mut dyn Write,
    opened: OpenedContent,
}

impl<W: Write> Opening<'_, W> {
    fn take(
        &mut self,
        part: StoredPart,
        filter: &ContentFilter,
        held: &mut HeldCalls,
        origin: &dyn std::fmt::Display,
    ) -> Result<(), ReportError> {
        if !filter.takes(&part) {
            return Ok(());
        }
        let done = held.add(part, origin)?;
        done.iter().try_for_each(|call| self.give(call))
    }

    /// Opens a call and writes it.
    fn give(&mut self, call: &CallParts) -> Result<(), ReportError> {
        let Some(part) = call.any() else { return Ok(()) };
        let sides = [ContentSide::Request, ContentSide::Response];
        let sides = sides.map(|side| OpenedSide::of(call, side, self.unwrap));
        for side in sides.iter().flatten() {
            self.judge(side);
        }
        self.opened.calls += 1;
        self.writer.write(part, &sides)
    }

    fn judge(&mut self, side: &OpenedSide) {
        let call = &side.first.call;
        for problem in side.problems() {
            tell(self.notes, &format!("call {call}, {}: {problem}", side.side.as_str()));
        }
        if side.is_truncated() {
            tell(
                self.notes,
                &format!("call {call}, {}: more passed than was kept (truncated)", side.side.as_str()),
            );
        }
        self.opened.is_incomplete |= !side.is_whole();
        self.opened.is_altered |= side.faults.iter().any(|fault| fault.is_alteration);
    }

    fn finish(mut self, late: u64) -> Result<OpenedContent, ReportError> {
        self.writer.finish()?;
        if late > 0 {
            let text = format!(
                "{late} parts came after their call had been given: give --call or fewer inputs to have them in it"
            );
            tell(self.notes, &text);
            self.opened.is_incomplete = true;
        }
        for text in self.opened.omissions.texts() {
            tell(self.notes, &text);
        }
        self.opened.is_incomplete |= !self.opened.omissions.is_empty();
        Ok(self.opened)
    }
}

/// Says something beside the content. Whoever cannot be told misses no content by it.
fn tell(notes: &mut dyn Write, text: &str) {
    let _ = writeln!(notes, "tokenweir open: {}", names::shown(text));
}
