//! The prices as a flat table, for engines that join by equality and period. [`EXPAND_HELP`] says how it looks.
//!
//! Everything that a price depends on is a column, in the words of the events: so patterns, the order in which rows of the price
//! files win, and classes that stand for others need not be understood by anybody else.

use std::collections::BTreeSet;
use std::io::Write;

use jiff::Timestamp;
use smol_str::SmolStr;
use strum::VariantArray;

use super::billed_parts::{PriceClass, billed_parts};
use super::charges::{of_tool, priced_call};
use super::price_row::PricedCall;
use super::prices::Prices;
use crate::report::error::ReportError;
use crate::report::usage_event::UsageEvent;

/// How the flat table looks, for `--help`.
pub const EXPAND_HELP: &str = "\
--expand writes, in place of a report, a CSV with a header and a row for each combination that the events of the input \
have, each class and each period:

  deployment,resource,model,region,service_tier,speed,inference_geo,size,quality,provider,class,from,to,unit,currency

They are members of target and request: deployment is deployment_served, else deployment, and empty for tokens of tools; \
model is model, else model_requested; service_tier is batch where api is batch; empty is absent. from (inclusive) and to \
(exclusive) are instants, empty for ever; periods of a combination do not overlap. unit is the price of one token or unit \
in 10^-18 of the currency, a whole number.";

/// Combinations that a table has at most. A fleet has some hundred; names that clients make up must not fill the memory.
const COMBINATIONS_MAX: usize = 100_000;

/// The combinations that events have.
#[derive(Debug, Default)]
pub(crate) struct Combinations {
    seen: BTreeSet<Combination>,
    are_too_many: bool,
}

/// A price depends on these besides class and time: the first columns, in their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Combination([SmolStr; 10]);

const COLUMNS: [&str; 15] = [
    "deployment",
    "resource",
    "model",
    "region",
    "service_tier",
    "speed",
    "inference_geo",
    "size",
    "quality",
    "provider",
    "class",
    "from",
    "to",
    "unit",
    "currency",
];

impl Combinations {
    /// Adds those of an event: its own, and those of the tools that it used.
    pub(crate) fn add(&mut self, event: &UsageEvent) {
        let call = priced_call(event);
        self.add_call(&call);
        if !event.usage.tools.is_empty() {
            let (parts, _) = billed_parts(&event.usage);
            for (_, model) in parts.iter().filter_map(|part| part.tool.as_ref()) {
                self.add_call(&of_tool(&call, model.as_deref()));
            }
        }
    }

    fn add_call(&mut self, call: &PricedCall<'_>) {
        let found = Combination::of(call);
        self.are_too_many |= self.seen.len() >= COMBINATIONS_MAX && !self.seen.contains(&found);
        if !self.are_too_many {
            self.seen.insert(found);
        }
    }

    /// Writes the table.
    ///
    /// # Errors
    /// If `out` cannot be written, or there are more combinations than anybody can mean.
    pub(crate) fn write(&self, prices: &Prices, out: impl Write) -> Result<(), ReportError> {
        if self.are_too_many {
            return Err(ReportError::Combinations(COMBINATIONS_MAX));
        }
        let mut writer = csv::Writer::from_writer(out);
        let written = writer.write_record(COLUMNS).and_then(|()| {
            for combination in &self.seen {
                write_rows(combination, prices, &mut writer)?;
            }
            Ok(writer.flush()?)
        });
        Ok(written.map_err(std::io::Error::from)?)
    }
}

fn write_rows(
    combination: &Combination,
    prices: &Prices,
    writer: &mut csv::Writer<impl Write>,
) -> csv::Result<()> {
    let call = combination.call();
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    for class in PriceClass::VARIANTS {
        for period in prices.periods(*class, &call) {
            let names = combination.0.iter().map(SmolStr::as_str);
            let (from, to, unit) = (text(period.from), text(period.to), period.unit.to_string());
            let rest = [class.as_str(), &from, &to, &unit, prices.currency().code()];
            writer.write_record(names.chain(rest))?;
        }
    }
    Ok(())
}

impl Combination {
    fn of(call: &PricedCall<'_>) -> Combination {
        let names = [
            call.deployment.unwrap_or_default(),
            call.resource,
            call.model,
            call.region,
            call.service_tier,
            call.speed,
            call.inference_geo,
            call.size,
            call.quality,
            call.provider,
        ];
        Combination(names.map(SmolStr::new))
    }

    /// A call of this combination; at which time is nobody's business.
    fn call(&self) -> PricedCall<'_> {
        let [
            deployment,
            resource,
            model,
            region,
            service_tier,
            speed,
            inference_geo,
            size,
            quality,
            provider,
        ] = self.0.each_ref().map(SmolStr::as_str);
        let deployment = Some(deployment).filter(|name| !name.is_empty());
        let time = Timestamp::UNIX_EPOCH;
        PricedCall {
            deployment,
            resource,
            model,
            region,
            service_tier,
            speed,
            inference_geo,
            size,
            quality,
            provider,
            time,
        }
    }
}
