//! The cost of a report: what each event costs, in one currency or two, and the shares of fixed costs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use smol_str::SmolStr;

use super::amount::Amount;
use super::charges::{Charge, Charges};
use super::currency::Currency;
use super::prices::Prices;
use super::ptu_file::PtuCosts;
use super::ptu_shares::{PtuShares, ShareOf};
use super::rates::Rates;
use super::unpriced::Unpriced;
use crate::report::usage_event::UsageEvent;
use metering::names;

/// The files that cost comes from.
#[derive(Clone, Debug, Default)]
pub struct CostFiles {
    /// Prices of tokens and units.
    pub prices: Option<Prices>,
    /// Rates to a second currency.
    pub rates: Option<Rates>,
    /// Fixed costs of deployments.
    pub ptu: Option<PtuCosts>,
}

/// The versions of the files that a report was made with: the beginning of each one's SHA-256 in hex, as `sha256sum` prints
/// it; several files of prices are joined by `+`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileVersions {
    /// `--prices`
    pub prices: Option<String>,
    /// `--rates`
    pub rates: Option<String>,
    /// `--ptu-cost`
    pub ptu_cost: Option<String>,
    /// `--caller-map-file`
    pub caller_map: Option<String>,
}

impl FileVersions {
    /// The versions that there are, by the names of the files.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("prices", &self.prices),
            ("rates", &self.rates),
            ("ptu_cost", &self.ptu_cost),
            ("caller_map", &self.caller_map),
        ];
        all.into_iter().filter_map(|(name, version)| Some((name, version.as_deref()?)))
    }

    /// The same in one line; `None`: there are none.
    pub fn text(&self) -> Option<String> {
        let named: Vec<String> = self.named().map(|(name, version)| format!("{name} {version}")).collect();
        (!named.is_empty()).then(|| format!("versions: {}", named.join(", ")))
    }
}

/// Cost in both currencies. `None`: nothing of it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// In the currency of the prices.
    pub(crate) first: Option<Amount>,
    /// In that of the rates.
    pub(crate) second: Option<Amount>,
}

/// The cost of an event, with its share in a fixed cost.
#[derive(Clone, Debug)]
pub(crate) struct EventCost<'p> {
    pub(crate) charges: Charges<'p>,
    /// The month of a fixed cost that it has a share in, by its place.
    pub(crate) month: Option<usize>,
}

/// A row's share in a fixed cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowShare<K> {
    pub(crate) of: ShareOf<K>,
    pub(crate) cost: Cost,
    pub(crate) deployment: SmolStr,
    /// Such as `2026-09`, and its first instant.
    pub(crate) month: SmolStr,
    pub(crate) begin: Timestamp,
    /// The whole month is within the time that was asked for.
    pub(crate) is_whole: bool,
}

/// Collects remarks on the cost of the events so far, and who has a share in fixed costs.
#[derive(Debug)]
pub(crate) struct Costing<K> {
    shares: Option<PtuShares<K>>,
    pub(crate) unpriced: Unpriced,
    /// Calls by tiers that usually have a price of their own, and were priced by rows that name no tier.
    unnamed_tiers: BTreeMap<SmolStr, u64>,
    /// Calls whose cost has no rate.
    unconverted_calls: u64,
}

/// Everything that a report says of its cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CostSummary {
    /// The currency of `cost_2`, where there are rates.
    pub currency_2: Option<String>,
    /// Calls whose cost has no rate.
    pub unconverted_calls: u64,
    /// The files that it was made with.
    pub versions: FileVersions,
    /// Notes for whoever reads the report; each is one sentence.
    pub notes: Vec<String>,
}

impl CostFiles {
    /// They go together.
    ///
    /// # Errors
    /// Says which do not, by their flags.
    pub fn check(&self) -> Result<(), String> {
        let prices = self.prices.as_ref().map(Prices::currency);
        let ptu = self.ptu.as_ref().map(PtuCosts::currency);
        if let (Some(prices), Some(ptu)) = (prices, ptu)
            && prices != ptu
        {
            return Err(format!(
                "--ptu-cost is in {ptu}, and --prices are in {prices}: one report, one currency"
            ));
        }
        match (self.rates.as_ref().map(Rates::base), self.currency()) {
            (Some(base), Some(currency)) if base != currency => {
                Err(format!("--rates are from {base}, and costs are in {currency}"))
            }
            (Some(_), None) => Err("--rates convert costs: give --prices or --ptu-cost".to_owned()),
            _ => Ok(()),
        }
    }

    /// Returns notes for whoever keeps the files; each is one sentence.
    pub fn notes(&self) -> &[String] {
        self.prices.as_ref().map_or(&[], Prices::notes)
    }

    pub(crate) fn currency(&self) -> Option<Currency> {
        let prices = self.prices.as_ref().map(Prices::currency);
        prices.or_else(|| self.ptu.as_ref().map(PtuCosts::currency))
    }

    pub(crate) fn second_currency(&self) -> Option<Currency> {
        self.rates.as_ref().map(Rates::quote)
    }

    pub(crate) fn versions(&self) -> FileVersions {
        FileVersions {
            prices: self.prices.as_ref().map(|prices| prices.version().to_owned()),
            rates: self.rates.as_ref().map(|rates| rates.version().to_owned()),
            ptu_cost: self.ptu.as_ref().map(|ptu| ptu.version().to_owned()),
            caller_map: None,
        }
    }

    /// Returns the cost of an event; `None`: nobody asked.
    pub(crate) fn cost(&self, event: &UsageEvent) -> Option<EventCost<'_>> {
        self.currency()?;
        let mut charges = Charges::of(self.prices.as_ref(), event);
        let target = &event.usage.target;
        let deployment = target.priced_deployment().unwrap_or_default();
        let found = self.ptu.as_ref().and_then(|ptu| {
            let place = ptu.find(deployment, &target.resource, event.time)?;
            Some((place, ptu.months().get(place)?))
        });
        if let Some((_, month)) = found {
            charges.share(month);
        }
        if self.rates.is_some() {
            for charge in &mut charges.parts {
                charge.amount_2 = charge.amount.and_then(|amount| self.both(amount, event.time).second);
            }
        }
        Some(EventCost { charges, month: found.map(|(place, _)| place) })
    }

    /// An amount of then in both currencies.
    pub(crate) fn both(&self, amount: Amount, at: Timestamp) -> Cost {
        let second = match &self.rates {
            Some(_) if amount == Amount::default() => Some(amount),
            Some(rates) => rates.convert(amount, at),
            None => None,
        };
        Cost { first: Some(amount), second }
    }
}

impl Cost {
    /// It costs nothing, in any currency.
    pub(crate) const NOTHING: Cost = Cost { first: Some(Amount::of(0)), second: Some(Amount::of(0)) };

    pub(crate) fn add(&mut self, more: Cost) {
        for (sum, more) in [(&mut self.first, more.first), (&mut self.second, more.second)] {
            if let Some(more) = more {
                sum.get_or_insert_default().add(more);
            }
        }
    }

    /// The column of which it is more than can be told.
    pub(crate) fn too_large(&self) -> Option<&'static str> {
        let sums = [(self.first, "cost"), (self.second, "cost_2")];
        sums.into_iter().find(|(sum, _)| sum.is_some_and(Amount::is_full)).map(|(_, column)| column)
    }
}

impl<K: Ord + Clone> Costing<K> {
    pub(crate) fn new(files: &CostFiles) -> Costing<K> {
        Costing {
            shares: files.ptu.as_ref().map(PtuShares::new),
            unpriced: Unpriced::default(),
            unnamed_tiers: BTreeMap::new(),
            unconverted_calls: 0,
        }
    }

    /// Notes what has no price, or a doubtful one, of an event that is in rows.
    pub(crate) fn note(&mut self, event: &UsageEvent, charges: &Charges<'_>, files: &CostFiles) {
        let target = &event.usage.target;
        let model = target.any_model().map(SmolStr::as_str).unwrap_or_default();
        self.unpriced.add(model, event.calls, charges.unpriced());
        if charges.parts.iter().any(|charge| charge.tier_is_unnamed) {
            let tier = target.priced_tier().unwrap_or_default();
            let calls = self.unnamed_tiers.entry(tier.into()).or_default();
            *calls = calls.saturating_add(event.calls);
        }
        let lacks_rate = |charge: &Charge<'_>| charge.amount.is_some() && charge.amount_2.is_none();
        if files.rates.is_some() && charges.parts.iter().any(lacks_rate) {
            self.unconverted_calls = self.unconverted_calls.saturating_add(event.calls);
        }
    }

    /// The shares in fixed costs so far; `None`: there are no such costs.
    pub(crate) fn shares(&mut self) -> Option<&mut PtuShares<K>> {
        self.shares.as_mut()
    }

    /// Every share in a fixed cost, and what there is to say.
    pub(crate) fn finish(
        self,
        files: &CostFiles,
        asked: impl Fn(Timestamp, Timestamp) -> bool,
    ) -> (Vec<RowShare<K>>, CostSummary) {
        let mut notes = self.notes(files);
        let lacks_rate = |share: &RowShare<K>| files.rates.is_some() && share.cost.second.is_none();
        let shares = self.shares.zip(files.ptu.as_ref()).map(|(shares, ptu)| shares.finish(ptu));
        let mut found = Vec::new();
        for share in shares.into_iter().flatten() {
            let month = share.month;
            let cost = files.both(share.amount, month.begin);
            let is_whole = asked(month.begin, month.end);
            found.push(RowShare {
                of: share.of,
                cost,
                deployment: month.deployment.clone(),
                month: month.month.clone(),
                begin: month.begin,
                is_whole,
            });
        }
        notes.extend(found.iter().find(|share| lacks_rate(share)).map(|share| {
            format!("no rate at the beginning of {}: cost_2 lacks its fixed cost", share.month)
        }));
        let cut = found
            .iter()
            .filter(|share| !share.is_whole && share.of == ShareOf::Asked)
            .map(|share| share.month.clone());
        let cut: BTreeSet<SmolStr> = cut.collect();
        notes.extend(cut.iter().map(|month| {
            format!("{month} is not wholly asked for: its rows have their shares of the whole month's fixed cost, and the rest is left out")
        }));
        let summary = CostSummary {
            currency_2: files.second_currency().map(|currency| currency.code().to_owned()),
            unconverted_calls: self.unconverted_calls,
            versions: files.versions(),
            notes,
        };
        (found, summary)
    }

    fn notes(&self, files: &CostFiles) -> Vec<String> {
        let mut notes = files.notes().to_vec();
        let calls = |count: u64| if count == 1 { "1 call".to_owned() } else { format!("{count} calls") };
        notes.extend(self.unnamed_tiers.iter().map(|(tier, count)| {
            format!("{} of tier {} are priced by lines that name no tier", calls(*count), names::shown(tier))
        }));
        if self.unconverted_calls > 0 {
            notes.push(format!("no rate for {}: cost_2 is incomplete", calls(self.unconverted_calls)));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(prices: Option<&str>, ptu: Option<&str>, rates: Option<&str>) -> CostFiles {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let prices =
            prices.map(|currency| path("p", format!("model,input,output,currency\nm,1,1,{currency}\n")));
        let ptu = ptu
            .map(|currency| path("f", format!("deployment,month,cost,currency\nd,2026-09,1,{currency}\n")));
        let rates = rates.map(|base| path("r", format!("base,quote,rate\n{base},CHF,1.5\n")));
        CostFiles {
            prices: prices.map(|path| Prices::read(&[path]).unwrap()),
            rates: rates.map(|path| Rates::read(&path).unwrap()),
            ptu: ptu.map(|path| PtuCosts::read(&path).unwrap()),
        }
    }

    #[test]
    fn files_go_together_or_are_refused() {
        for (prices, ptu, rates) in [
            (None, None, None),
            (Some("EUR"), None, Some("EUR")),
            (None, Some("EUR"), Some("EUR")),
            (Some("EUR"), Some("EUR"), None),
        ] {
            assert_eq!(files(prices, ptu, rates).check(), Ok(()), "{prices:?} {ptu:?} {rates:?}");
        }
        let wrong = |prices, ptu, rates| files(prices, ptu, rates).check().unwrap_err();
        assert!(
            wrong(Some("EUR"), Some("USD"), None).contains("--ptu-cost is in USD, and --prices are in EUR")
        );
        assert!(wrong(Some("EUR"), None, Some("USD")).contains("--rates are from USD, and costs are in EUR"));
        assert!(wrong(None, None, Some("USD")).contains("give --prices or --ptu-cost"));
    }

    #[test]
    fn versions_are_those_of_the_files() {
        let files = files(Some("EUR"), None, Some("EUR"));
        let versions = files.versions();
        // printf 'base,quote,rate\nEUR,CHF,1.5\n' | sha256sum
        let rates = metering::caller::version("base,quote,rate\nEUR,CHF,1.5\n");
        assert_eq!(versions.rates.as_deref(), Some(rates.as_str()));
        let text = versions.text().unwrap();
        assert_eq!(text, format!("versions: prices {}, rates {rates}", versions.prices.unwrap()));
        assert_eq!(FileVersions::default().text(), None);
    }
}
