//! The charges of an event, part by part.

use super::amount::Amount;
use super::billed_parts::{BilledPart, billed_parts};
use super::price_row::{PriceRow, PricedCall, is_special_tier};
use super::prices::Prices;
use super::ptu_file::PtuMonth;
use crate::report::usage_event::UsageEvent;

/// The charges of an event.
#[derive(Clone, Debug)]
pub(crate) struct Charges<'p> {
    /// Each part once; together they are all tokens and units of the event that are known.
    pub(crate) parts: Vec<Charge<'p>>,
    /// The event's numbers contradict each other: parts are more than their whole.
    pub(crate) contradicted: bool,
}

/// A part of an event, with its price.
#[derive(Clone, Debug)]
pub(crate) struct Charge<'p> {
    pub(crate) part: BilledPart,
    /// The row of the price table that fits; `None`: there is none.
    pub(crate) row: Option<&'p PriceRow>,
    /// Quantity times the row's unit price.
    pub(crate) amount: Option<Amount>,
    /// The same in a second currency, where there are rates.
    pub(crate) amount_2: Option<Amount>,
    /// The call had a tier that usually has a price of its own, and the row names no tier.
    pub(crate) tier_is_unnamed: bool,
    /// It has a share in a fixed cost and no price of its own: its weight there.
    pub(crate) share: Option<u128>,
}

impl Charges<'_> {
    /// The parts that have no price.
    pub(crate) fn unpriced(&self) -> impl Iterator<Item = &BilledPart> {
        let unpriced = self.parts.iter().filter(|charge| charge.amount.is_none() && charge.share.is_none());
        unpriced.map(|charge| &charge.part)
    }
}

impl<'p> Charges<'p> {
    /// Charges an event by these prices, at the instant when its numbers became final; without prices no part has one.
    pub(super) fn of(prices: Option<&'p Prices>, event: &UsageEvent) -> Charges<'p> {
        let (parts, contradicted) = billed_parts(&event.usage);
        let call = priced_call(event);
        let parts = parts.into_iter().map(|part| Charge::of(part, &call, prices)).collect();
        Charges { parts, contradicted }
    }

    /// Gives the tokens of the call a share in the fixed cost of a month, in place of a price.
    pub(super) fn share(&mut self, month: &PtuMonth) {
        for charge in self.parts.iter_mut().filter(|charge| charge.part.tool.is_none()) {
            let Some(weight) = month.weight(charge.part.class, charge.part.quantity) else { continue };
            *charge = Charge { share: Some(weight), ..Charge::unpriced(charge.part.clone()) };
        }
    }
}

impl<'p> Charge<'p> {
    fn of(part: BilledPart, call: &PricedCall<'_>, prices: Option<&'p Prices>) -> Charge<'p> {
        let row = prices.and_then(|prices| match &part.tool {
            None => prices.row(part.class, call),
            Some((_, model)) => prices.row(part.class, &of_tool(call, model.as_deref())),
        });
        let tier_is_unnamed = is_special_tier(call.service_tier)
            && row.is_some_and(|row| row.fits.service_tier.is_none() && row.unit > 0);
        let amount = row.map(|row| Amount::product(part.quantity, row.unit));
        Charge { row, amount, tier_is_unnamed, ..Charge::unpriced(part) }
    }

    fn unpriced(part: BilledPart) -> Charge<'p> {
        Charge { part, row: None, amount: None, amount_2: None, tier_is_unnamed: false, share: None }
    }
}

/// Returns what the prices of an event are looked up by.
pub(super) fn priced_call(event: &UsageEvent) -> PricedCall<'_> {
    let (target, request) = (&event.usage.target, &event.usage.request);
    PricedCall {
        deployment: target.priced_deployment().filter(|name| !name.is_empty()),
        resource: &target.resource,
        model: target.any_model().map(|model| model.as_str()).unwrap_or_default(),
        region: target.region.as_deref().unwrap_or_default(),
        service_tier: target.priced_tier().unwrap_or_default(),
        speed: target.speed.as_deref().unwrap_or_default(),
        inference_geo: target.inference_geo.as_deref().unwrap_or_default(),
        size: request.size.as_deref().unwrap_or_default(),
        quality: request.quality.as_deref().unwrap_or_default(),
        provider: &target.provider,
        time: event.time,
    }
}

/// Returns what the prices of a tool's tokens are looked up by: its model and not that of the call, whatever deployment serves it.
pub(super) fn of_tool<'a>(call: &PricedCall<'a>, model: Option<&'a str>) -> PricedCall<'a> {
    PricedCall { model: model.unwrap_or_default(), deployment: None, ..*call }
}
