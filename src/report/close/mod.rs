//! The close of a month: one folder with a statement for each department, the charges as rows of FOCUS, and a manifest that
//! proves them.
//!
//! The same events, prices and maps give the same bytes, in whatever order, files and copies the events come: nothing
//! in the folder tells of a clock, a host or a path. A close is never changed. Events that come later go into adjustments
//! beside it, which with it add up to the new truth.
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | the month to close |
//! | `state` | whether it is complete, and what is said of it |
//! | `bill` | the usage by department, and the charges |
//! | `signed` | numbers with their sign |
//! | `bill_table` | tables of a bill, and the difference of two |
//! | `file_stem` | names of files after departments |
//! | `folder` | a folder that is there as a whole or not at all |
//! | `unfinished` | folders that are still written, or that a dead close left |
//! | `sha256` | digests of files |
//! | `manifest` | what the folder says of itself |
//! | `write` | the files |

mod bill;
mod bill_table;
mod file_stem;
mod folder;
mod manifest;
mod options;
mod sha256;
mod signed;
mod state;
mod unfinished;
mod write;

use std::path::{Path, PathBuf};

use super::error::ReportError;
use super::input::Input;
use super::tally::{Report, ReportOptions, report, report_in_any_order};
use super::verify::{Verdict, VerifyOptions, verify};
use bill::MonthBill;
use folder::parent_of;
use manifest::{EarlierManifest, changed};
use state::CloseState;
use write::{Closing, adjustment_name, is_adjustment};

pub use options::{CloseMonth, CloseOptions};

/// A close ends in one of these ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseOutcome {
    /// The month was closed for the first time.
    Closed,
    /// It was closed before, and this folder has what is different now.
    Adjusted(PathBuf),
    /// It was closed before, and nothing is different.
    Unchanged,
    /// It is not complete, and nothing was written.
    Refused,
}

/// The end of a close, with what there is to say of the month.
#[derive(Clone, Debug)]
pub struct CloseResult {
    /// How it ended.
    pub outcome: CloseOutcome,
    /// The usage.
    pub report: Report,
    /// The verdict of the proof.
    pub verdict: Verdict,
    /// Every event of the month is there, proven, and has a price.
    pub is_complete: bool,
    /// The verdict in one sentence.
    pub proof: String,
}

/// Closes a month, or adjusts what was closed before. Reads the inputs twice.
///
/// # Errors
/// If an input cannot be read, the folder cannot be written, or is no close of this month as it was written.
pub fn close(options: &CloseOptions) -> Result<CloseResult, ReportError> {
    if options.usage.inputs.iter().any(|input| matches!(input, Input::Files(path) if path.as_os_str() == "-"))
    {
        return Err(ReportError::InputOnce);
    }
    let before = earlier(options)?;
    remove_unfinished(&options.out);
    let verdict = verify(&proof_of_month(options))?;
    let usage = usage_of_month(options);
    let report = if verdict.repeated_bills > 0 { report_in_any_order(&usage)? } else { report(&usage)? };
    let state = CloseState::of(&report, &verdict);
    let (is_complete, proof) = (state.is_complete(), state.proof_text());
    let outcome = if is_complete || options.allow_incomplete {
        let bill = MonthBill::of(&report, options)?;
        write(&Closing { bill: &bill, report: &report, state: &state, options }, &before)?
    } else {
        CloseOutcome::Refused
    };
    Ok(CloseResult { outcome, is_complete, proof, report, verdict })
}

/// Removes what closes of this month left that died, and adjustments of it.
fn remove_unfinished(out: &Path) {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    unfinished::remove_left(parent_of(out), |target| target == name);
    unfinished::remove_left(out, is_adjustment);
}

fn write(closing: &Closing<'_>, before: &[EarlierManifest]) -> Result<CloseOutcome, ReportError> {
    if before.is_empty() {
        closing.write_first()?;
        return Ok(CloseOutcome::Closed);
    }
    let number = closing.write_adjustment(before)?;
    let folder = number.map(|number| closing.options.out.join(adjustment_name(number)));
    Ok(folder.map_or(CloseOutcome::Unchanged, CloseOutcome::Adjusted))
}

/// The close that lies in the folder, and its adjustments in their order; none if there is nothing.
fn earlier(options: &CloseOptions) -> Result<Vec<EarlierManifest>, ReportError> {
    let Some(first) = EarlierManifest::read(&options.out)? else {
        let is_empty = match std::fs::read_dir(&options.out) {
            Ok(mut found) => found.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        return match is_empty {
            true => Ok(Vec::new()),
            false => {
                Err(changed(&options.out, "it is there, and is no close: give a folder that is not there"))
            }
        };
    };
    let mut found = vec![first];
    while let Some(next) = EarlierManifest::read(&options.out.join(adjustment_name(found.len())))? {
        let before: Vec<&str> = found.iter().map(|earlier| earlier.sha256.as_str()).collect();
        if next.json["manifests_before"] != serde_json::json!(before) {
            return Err(changed(&next.path, "it adjusts another close than what lies here"));
        }
        found.push(next);
    }
    Ok(found)
}

/// Delivery is at least once, so copies are no fault.
fn proof_of_month(options: &CloseOptions) -> VerifyOptions {
    VerifyOptions {
        inputs: options.usage.inputs.clone(),
        from: Some(options.month.from),
        to: Some(options.month.to),
        allow_repeats: true,
        ..options.proof.clone()
    }
}

fn usage_of_month(options: &CloseOptions) -> ReportOptions {
    let (by, views) = MonthBill::keys();
    let (from, to) = (Some(options.month.from), Some(options.month.to));
    ReportOptions { by, views, from, to, ..options.usage.clone() }
}
