//! `account --explain`: how a number came about, part by part.

use std::fmt::{self, Write as _};

use smol_str::SmolStr;

use super::output::{Account, AccountedLine, BadLine};
use crate::meter::BillPart;
use crate::names;
use crate::usage::{CloudEvent, Quality, Side, Usage};

/// One side of an exchange.
struct ExplainedSide<'a> {
    side: Side,
    computed: Option<u64>,
    reported: Option<u64>,
    quality: Quality,
    parts: &'a [BillPart],
}

/// The account of one exchange for people to read: a line that names it, and a block for each side; then the same of
/// each response of a session.
pub(super) fn text(line: &AccountedLine) -> String {
    let mut out = String::new();
    block(&line.account, line.event.as_ref(), &mut out);
    let responses = line.responses.as_deref().unwrap_or_default();
    for (response, event) in responses.iter().zip(line.events.as_deref().unwrap_or_default()) {
        block(response, Some(event), &mut out);
    }
    out
}

fn block(account: &Account, event: Option<&CloudEvent<Usage>>, out: &mut String) {
    let id = names::shown(&account.id);
    let Some(CloudEvent { data, .. }) = event else {
        _ = writeln!(out, "{id}: no event");
        return;
    };
    _ = write!(out, "{id}: {}", data.target.api.as_str());
    for name in [&data.target.model, &data.target.deployment].into_iter().flatten() {
        _ = write!(out, ", {}", names::shown(name));
    }
    _ = writeln!(out, ", rules {}", data.accounting.rules);
    let explanation = account.explain.as_ref();
    let said = account.reported.as_ref();
    for side in [
        ExplainedSide {
            side: Side::Input,
            computed: account.computed.input,
            reported: said.and_then(|said| said.input),
            quality: account.input_quality,
            parts: explanation.map_or(&[], |explanation| &explanation.input),
        },
        ExplainedSide {
            side: Side::Output,
            computed: account.computed.output,
            reported: said.and_then(|said| said.output),
            quality: account.output_quality,
            parts: explanation.map_or(&[], |explanation| &explanation.output),
        },
    ] {
        _ = side.write(&account.reasons, out);
    }
}

/// A line that is no exchange.
pub(super) fn bad(line: &BadLine) -> String {
    match &line.id {
        Some(id) => format!("no exchange: {}: {}", names::shown(id), names::shown(&line.error)),
        None => format!("no exchange: {}", names::shown(&line.error)),
    }
}

impl ExplainedSide<'_> {
    /// `input 152, exact; reported 152`, then its parts.
    fn write(&self, reasons: &[SmolStr], out: &mut String) -> fmt::Result {
        match self.computed {
            Some(tokens) => write!(out, "  {} {tokens}, {}", self.side.as_str(), self.quality.as_str())?,
            None => write!(out, "  {} unknown", self.side.as_str())?,
        }
        let mine =
            reasons.iter().filter_map(|reason| reason.strip_prefix(self.side.as_str())?.strip_prefix(':'));
        let mine: Vec<_> = mine.collect();
        if !mine.is_empty() {
            write!(out, " ({})", mine.join(", "))?;
        }
        if let Some(reported) = self.reported {
            write!(out, "; reported {reported}")?;
            match self.computed {
                Some(computed) if reported > computed => write!(out, ", {} more", reported - computed)?,
                Some(computed) if reported < computed => write!(out, ", {} less", computed - reported)?,
                _ => {}
            }
        }
        out.push('\n');
        for part in self.parts {
            write!(out, "  {:>9}  {}", part.tokens, part.part)?;
            match part.number {
                Some(number) => writeln!(out, " {number}")?,
                None => out.push('\n'),
            }
        }
        Ok(())
    }
}
