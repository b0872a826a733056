//! One price, and the calls that it fits.

use std::sync::Arc;

use jiff::Timestamp;
use smol_str::SmolStr;

use super::billed_parts::PriceClass;
use super::price_name::PriceName;

/// The price of one class of tokens or units, for the calls that it fits, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PriceRow {
    pub(crate) fits: PriceScope,
    pub(crate) class: PriceClass,
    /// Which classes besides its own it is the price of.
    pub(crate) stands_for: StandsFor,
    /// Inclusive; `None`: since ever.
    pub(crate) from: Option<Timestamp>,
    /// Exclusive; `None`: for ever.
    pub(crate) to: Option<Timestamp>,
    /// The price of one token or unit, in 10^-18 of the currency.
    pub(crate) unit: u128,
    /// The price as it is written: of `per` tokens or units.
    pub(crate) price: SmolStr,
    pub(crate) per: u64,
    /// The kind of deployment. Events do not hold it, so it fits any call.
    pub(crate) deployment_type: Option<SmolStr>,
    /// The seller's name of this price.
    pub(crate) sku_id: Option<SmolStr>,
    /// The file, in the order given, and the line in it.
    pub(crate) file: usize,
    pub(crate) line: u64,
    /// How bills name it.
    pub(crate) name: Arc<PriceName>,
}

/// The classes that a row is the price of, where no row closer to the call is of exactly that class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StandsFor {
    /// Its own, and those that are a part of it.
    Parts,
    /// Every class that is text or might be, as in the wide form: audio, images and writes to the cache cost what text
    /// costs.
    Side,
}

/// The calls that a row fits. `None` is any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PriceScope {
    pub(crate) deployment: Option<NamePattern>,
    pub(crate) resource: Option<SmolStr>,
    pub(crate) model: NamePattern,
    /// As it is written; compared without case and blanks.
    pub(crate) region: Option<SmolStr>,
    pub(crate) service_tier: Option<SmolStr>,
    pub(crate) speed: Option<SmolStr>,
    pub(crate) inference_geo: Option<SmolStr>,
    pub(crate) size: Option<SmolStr>,
    pub(crate) quality: Option<SmolStr>,
    pub(crate) provider: Option<SmolStr>,
}

/// A name, or the beginning of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NamePattern {
    Prefix(SmolStr),
    Exact(SmolStr),
}

/// A price is looked up by this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PricedCall<'a> {
    /// `None`: the call names none, or the tokens are those of a tool, which another deployment served.
    pub(crate) deployment: Option<&'a str>,
    pub(crate) resource: &'a str,
    pub(crate) model: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service_tier: &'a str,
    pub(crate) speed: &'a str,
    pub(crate) inference_geo: &'a str,
    pub(crate) size: &'a str,
    pub(crate) quality: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) time: Timestamp,
}

/// Whether a member of a call is what a column wants.
type IsSame = fn(&PricedCall<'_>, &str) -> bool;

/// How close a row is to the calls that it fits, the most telling part first. A row that says more of a part goes before one that says
/// less; a whole name says more than any beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Closeness {
    deployment: Option<(bool, usize)>,
    resource: bool,
    model: (bool, usize),
    named: [bool; 7],
    class: ClassFit,
    file: usize,
    from: Option<Timestamp>,
}

/// How a row comes to be the price of a class; the closest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ClassFit {
    Side,
    PartOf,
    Own,
}

impl PriceRow {
    /// How close it is, as the price of a class; `None`: it is not the price of that class.
    pub(super) fn closeness(&self, class: PriceClass) -> Option<Closeness> {
        let fit = match self.stands_for {
            _ if self.class == class => ClassFit::Own,
            StandsFor::Side if class.text() == Some(self.class) => ClassFit::Side,
            StandsFor::Parts if class.part_of() == Some(self.class) => ClassFit::PartOf,
            _ => return None,
        };
        let fits = &self.fits;
        Some(Closeness {
            deployment: fits.deployment.as_ref().map(NamePattern::length),
            resource: fits.resource.is_some(),
            model: fits.model.length(),
            named: fits.rest().map(|(wanted, _)| wanted.is_some()),
            class: fit,
            file: self.file,
            from: self.from,
        })
    }

    pub(super) fn fits(&self, call: &PricedCall<'_>) -> bool {
        self.is_in_force(call.time) && self.fits.fits(call)
    }

    fn is_in_force(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

impl PriceScope {
    /// The columns behind deployment, resource and model, the most telling first, each with how it is compared.
    fn rest(&self) -> [(Option<&SmolStr>, IsSame); 7] {
        [
            (self.region.as_ref(), |call, wanted| same_region(call.region, wanted)),
            (self.service_tier.as_ref(), |call, wanted| same_tier(call.service_tier, wanted)),
            (self.speed.as_ref(), |call, wanted| call.speed.eq_ignore_ascii_case(wanted)),
            (self.inference_geo.as_ref(), |call, wanted| call.inference_geo.eq_ignore_ascii_case(wanted)),
            (self.size.as_ref(), |call, wanted| call.size.eq_ignore_ascii_case(wanted)),
            (self.quality.as_ref(), |call, wanted| call.quality.eq_ignore_ascii_case(wanted)),
            (self.provider.as_ref(), |call, wanted| call.provider.eq_ignore_ascii_case(wanted)),
        ]
    }

    /// It fits a call, whenever that is.
    pub(super) fn fits(&self, call: &PricedCall<'_>) -> bool {
        self.deployment.as_ref().is_none_or(|wanted| call.deployment.is_some_and(|name| wanted.fits(name)))
            && self.resource.as_ref().is_none_or(|wanted| call.resource.eq_ignore_ascii_case(wanted))
            && self.model.fits(call.model)
            && self.rest().iter().all(|(wanted, same)| wanted.is_none_or(|wanted| same(call, wanted)))
    }
}

impl NamePattern {
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            NamePattern::Prefix(begin) => name.starts_with(begin.as_str()),
            NamePattern::Exact(wanted) => name == wanted,
        }
    }

    /// How much of a name it names; a whole name is more than any beginning.
    fn length(&self) -> (bool, usize) {
        match self {
            NamePattern::Prefix(begin) => (false, begin.len()),
            NamePattern::Exact(name) => (true, name.len()),
        }
    }
}

/// The tier of calls for which nobody asked another one, by the words of the services; a response may also name none.
const USUAL_TIERS: [&str; 3] = ["", "default", "standard"];

/// The tier has a price of its own.
pub(crate) fn is_special_tier(tier: &str) -> bool {
    !USUAL_TIERS.iter().any(|usual| usual.eq_ignore_ascii_case(tier))
}

fn same_tier(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || !is_special_tier(one) && !is_special_tier(other)
}

/// Azure writes `West Europe` in one place and `westeurope` in another.
fn same_region(one: &str, other: &str) -> bool {
    let letters = |text: &'_ str| -> Vec<char> {
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
    };
    letters(one) == letters(other)
}
