//! A charge in the columns of FOCUS.

use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value};

use super::charge::{FocusCharge, midnight};
use super::columns::FocusColumn;
use super::options::FocusOptions;
use super::sku::{IDLE_METER, SkuKind, TOKENS_PER_PRICE};
use super::text::{decimal, id, name};
use crate::report::group_by::USUAL_TIER;
use crate::report::key_value::KeyValue;
use crate::report::pricing::{Amount, FileVersions};
use crate::report::sums::ReportSums;
use metering::names;

/// Decimal places of an amount, and of a number of tokens that is told in millions.
const MONEY_PLACES: u32 = 18;
const MILLION_PLACES: u32 = 6;

/// The provider, and what is sold.
const PROVIDER: &str = "Microsoft";
const SERVICE: &str = "Azure OpenAI";

/// The unit of a share in a fixed cost: one is worth one of the currency, so that shares can be added up.
const SHARES: &str = "Shares";

/// The part of a bill that is the same in all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FocusBill<'a> {
    pub(crate) options: &'a FocusOptions,
    pub(crate) currency: &'a str,
    pub(crate) versions: &'a FileVersions,
}

/// A row of a report that has the [`FOCUS_KEYS`](super::FOCUS_KEYS), in these columns; `None` is null. There is no row of what has no price.
pub(crate) fn focus_row(
    keys: &[KeyValue],
    sums: &ReportSums,
    bill: FocusBill<'_>,
    columns: &[FocusColumn],
) -> Option<Vec<Option<String>>> {
    let charge = FocusCharge::of(keys, sums)?;
    Some(columns.iter().map(|column| charge.cell(*column, bill)).collect())
}

impl FocusCharge<'_> {
    fn cell(&self, column: FocusColumn, bill: FocusBill<'_>) -> Option<String> {
        use FocusColumn as C;
        let account = &bill.options.account;
        let chargeback = bill.options.chargeback;
        let cost = || decimal(self.cost.whole(), MONEY_PLACES);
        let is_standard = self.price.is_some();
        Some(match column {
            C::BilledCost if !chargeback => decimal(0, 0),
            C::BilledCost | C::ContractedCost | C::EffectiveCost | C::ListCost => cost(),
            C::BillingAccountId => id(&account.id),
            C::BillingAccountName => name(&account.name),
            C::BillingAccountType => name(&account.kind),
            C::BillingCurrency => bill.currency.to_owned(),
            C::BillingPeriodStart => time(midnight(self.month)?),
            C::BillingPeriodEnd => time(midnight(self.month.checked_add(1.month()).ok()?)?),
            C::ChargeCategory => "Usage".to_owned(),
            C::ChargeClass => return None,
            C::ChargeDescription => self.description(),
            C::ChargeFrequency => "Usage-Based".to_owned(),
            C::ChargePeriodStart => time(self.begin),
            C::ChargePeriodEnd => time(self.end),
            C::ConsumedQuantity => decimal(self.quantity.into(), 0),
            C::ConsumedUnit => self.kind().map_or("Tokens", |kind| kind.unit).to_owned(),
            C::ContractedUnitPrice | C::ListUnitPrice => self.unit_price(),
            C::PricingCategory => if is_standard { "Standard" } else { "Other" }.to_owned(),
            C::PricingQuantity => self.pricing_quantity(),
            C::PricingUnit => self.pricing_unit(),
            C::HostProviderName | C::ProviderName | C::PublisherName | C::ServiceProviderName => {
                PROVIDER.to_owned()
            }
            C::InvoiceIssuerName => {
                if chargeback {
                    name(&account.name)
                } else {
                    PROVIDER.to_owned()
                }
            }
            C::RegionId => id(self.region?),
            C::RegionName => name(self.region?),
            C::ResourceId => self.resource_id()?,
            C::ResourceName => name(self.deployment.or(self.resource)?),
            C::ResourceType => self.resource_id().map(|_| "Model deployment".to_owned())?,
            C::ServiceCategory => "AI and Machine Learning".to_owned(),
            C::ServiceSubcategory => "Generative AI".to_owned(),
            C::ServiceName => SERVICE.to_owned(),
            C::SkuId => self.sku_id(),
            C::SkuMeter => self.meter().to_owned(),
            C::SkuPriceDetails => self.details(),
            C::SkuPriceId => self.sku_price_id(),
            C::SubAccountId => id(self.caller?),
            C::SubAccountName => name(self.caller?),
            C::SubAccountType => self.caller.map(|_| "Caller".to_owned())?,
            C::Tags => self.tags()?,
            C::CallerMapVersion => bill.versions.caller_map.clone()?,
            C::PriceTableVersion => match &self.price {
                Some(_) => bill.versions.prices.clone()?,
                None => bill.versions.ptu_cost.clone()?,
            },
            C::Model => {
                name(&format!("{}|{}", self.model?, if self.tier == USUAL_TIER { "" } else { self.tier }))
            }
            C::Requests => self.requests.to_string(),
            C::TokensExact => self.exact.to_string(),
            C::TokensLowerBound => self.lower_bound.to_string(),
            C::TokensEstimated => self.estimated.to_string(),
        })
    }

    fn kind(&self) -> Option<SkuKind> {
        self.class.map(SkuKind::of)
    }

    fn meter(&self) -> &'static str {
        self.kind().map_or(IDLE_METER, |kind| kind.meter)
    }

    /// The price of one is told as that of a million where tokens are counted.
    fn is_of_tokens(&self) -> bool {
        self.class.is_some_and(crate::report::pricing::PriceClass::is_token)
    }

    fn unit_price(&self) -> String {
        match self.price {
            None => decimal(1, 0),
            Some(price) if self.is_of_tokens() => {
                decimal(price.unit.saturating_mul(TOKENS_PER_PRICE.into()), MONEY_PLACES)
            }
            Some(price) => decimal(price.unit, MONEY_PLACES),
        }
    }

    fn pricing_quantity(&self) -> String {
        match self.price {
            None => decimal(Amount::whole(self.cost), MONEY_PLACES),
            Some(_) if self.is_of_tokens() => decimal(self.quantity.into(), MILLION_PLACES),
            Some(_) => decimal(self.quantity.into(), 0),
        }
    }

    fn pricing_unit(&self) -> String {
        match (self.price, self.kind()) {
            (Some(_), Some(kind)) if self.is_of_tokens() => format!("{TOKENS_PER_PRICE} {}", kind.unit),
            (Some(_), Some(kind)) => kind.unit.to_owned(),
            _ => SHARES.to_owned(),
        }
    }

    fn description(&self) -> String {
        let of = self.model.map(|model| format!(" of {model}")).unwrap_or_default();
        let at = self.deployment.map(|deployment| format!(" at {deployment}")).unwrap_or_default();
        name(&format!("{}{of}{at}", self.meter()))
    }

    fn resource_id(&self) -> Option<String> {
        match (self.resource, self.deployment) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some(id(one)),
            (Some(resource), Some(deployment)) => Some(format!("{}/{}", id(resource), id(deployment))),
        }
    }

    /// The model and the class; of a fixed cost the word for it too.
    fn sku_id(&self) -> String {
        let class = self.class.map_or("idle", |class| class.as_str());
        let model = id(self.model.or(self.deployment).unwrap_or("unknown"));
        if self.price.is_some() { format!("{model}/{class}") } else { format!("{model}/{class}/ptu") }
    }

    /// The seller's name of the price. A name of several models' or classes' prices has these behind it.
    fn sku_price_id(&self) -> String {
        match self.price {
            Some(price) if price.is_of_one && Some(price.class) == self.class => id(&price.id),
            Some(price) => format!("{}/{}", id(&price.id), self.sku_id()),
            None => {
                let (year, month) = (self.month.year(), self.month.month());
                let deployment = id(self.deployment.unwrap_or("unknown"));
                format!("ptu/{deployment}/{year:04}-{month:02}/{}", self.sku_id())
            }
        }
    }

    fn details(&self) -> String {
        let kind = self.kind();
        let members = [
            ("x_Modality", kind.map(|kind| kind.modality)),
            ("x_ModelId", self.model),
            ("x_ServiceTier", self.class.map(|_| self.tier)),
            ("x_TokenDirection", kind.map(|kind| kind.direction)),
            ("x_TokenType", kind.and_then(|kind| kind.token_type)),
        ];
        json(&members)
    }

    /// The department and the cost centre as of the charge.
    fn tags(&self) -> Option<String> {
        self.caller?;
        Some(json(&[("cost_center", self.cost_center), ("department", self.department)]))
    }
}

/// An object of texts, without those that are not known.
fn json(members: &[(&str, Option<&str>)]) -> String {
    let known = members.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.into())));
    names::json(&Value::Object(known.collect::<Map<_, _>>()).to_string()).into_owned()
}

fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
