//! Writes the prices as a flat table for the calls that an input holds.

use std::io::Write;

use super::error::ReportError;
use super::input::{Events, Passes};
use super::omissions::Omissions;
use super::pricing::Combinations;
use super::tally::{ReportOptions, read_event};
use super::usage_event::UsageEvent;

/// Writes the prices as a flat table, for each combination of deployment, model and what else prices depend on that the
/// inputs hold; says what was left out of them.
///
/// # Errors
/// If there are no prices, a ledger or a topic cannot be read to its end, or `out` cannot be written.
pub fn expand_prices(options: &ReportOptions, out: impl Write) -> Result<Omissions, ReportError> {
    let Some(prices) = &options.cost.prices else { return Err(ReportError::NoPrices) };
    let (mut combinations, mut omissions) = (Combinations::default(), Omissions::default());
    let range = options.range();
    Events::open(&options.inputs, Passes::One)?.each(&mut |read, origin| {
        let event =
            read.and_then(|body| read_event(body).and_then(|(stored, data)| UsageEvent::of(&stored, data)));
        match event {
            Ok(event) => event
                .iter()
                .filter(|event| range.contains(event.time))
                .for_each(|event| combinations.add(event)),
            Err(reason) => omissions.add(reason, origin),
        }
        Ok(())
    })?;
    combinations.write(prices, out)?;
    Ok(omissions)
}
