//! Sharing the fixed cost of provisioned throughput by the weighted tokens of its calls.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::amount::{Amount, PLACES};
use super::ptu_file::{PtuCosts, PtuMonth};
use super::rounding::shares;

/// The weighted tokens of each month so far, by caller and by the rows of each view.
#[derive(Debug)]
pub(crate) struct PtuShares<K> {
    months: Vec<BTreeMap<SmolStr, CallerWeights<K>>>,
}

/// The weighted tokens of one caller in one month.
#[derive(Debug)]
struct CallerWeights<K> {
    /// Of calls that are in rows, and of those that were not asked for.
    asked: u128,
    elsewhere: u128,
    /// The first again, by who pays.
    payers: BTreeMap<Payer, PayerWeights<K>>,
}

/// Who pays for a call of a caller: department and cost centre. They may change within a month.
pub(crate) type Payer = (Option<SmolStr>, Option<SmolStr>);

/// The weighted tokens that one of them pays for.
#[derive(Debug)]
struct PayerWeights<K> {
    weight: u128,
    /// The same again, by view and row.
    rows: BTreeMap<usize, BTreeMap<K, u128>>,
}

/// A call that has a share in the cost of a month.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PtuCall<'a> {
    /// The place of the month.
    pub(crate) month: usize,
    pub(crate) caller: &'a SmolStr,
    pub(crate) payer: &'a Payer,
}

/// A share of a month's cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PtuShare<'a, K> {
    pub(crate) month: &'a PtuMonth,
    pub(crate) of: ShareOf<K>,
    pub(crate) amount: Amount,
}

/// Whose share it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ShareOf<K> {
    /// Of a row of a view. Each view has all of the month that was asked for.
    Row(usize, K),
    /// Of all calls that are in rows: what each view's shares add up to.
    Asked,
    /// Of calls of the month that were not asked for.
    Elsewhere,
    /// Nobody's: capacity that was not used.
    Idle,
}

impl<K> Default for CallerWeights<K> {
    fn default() -> CallerWeights<K> {
        CallerWeights { asked: 0, elsewhere: 0, payers: BTreeMap::new() }
    }
}

impl<K> Default for PayerWeights<K> {
    fn default() -> PayerWeights<K> {
        PayerWeights { weight: 0, rows: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> PtuShares<K> {
    pub(crate) fn new(costs: &PtuCosts) -> PtuShares<K> {
        PtuShares { months: costs.months().iter().map(|_| BTreeMap::new()).collect() }
    }

    /// Adds the tokens of a call, which is in rows or was not asked for.
    pub(crate) fn add(&mut self, call: PtuCall<'_>, weight: u128, is_asked: bool) {
        let Some(caller) = self.caller(call) else { return };
        if !is_asked {
            caller.elsewhere = caller.elsewhere.saturating_add(weight);
            return;
        }
        caller.asked = caller.asked.saturating_add(weight);
        let payer = caller.payers.entry(call.payer.clone()).or_default();
        payer.weight = payer.weight.saturating_add(weight);
    }

    /// Adds the tokens of such a call that are in a row.
    pub(crate) fn add_row(&mut self, call: PtuCall<'_>, (view, row): (usize, &K), weight: u128) {
        let Some(caller) = self.caller(call) else { return };
        let rows = caller.payers.entry(call.payer.clone()).or_default().rows.entry(view).or_default();
        match rows.get_mut(row) {
            Some(sum) => *sum = sum.saturating_add(weight),
            None => {
                rows.insert(row.clone(), weight);
            }
        }
    }

    fn caller(&mut self, call: PtuCall<'_>) -> Option<&mut CallerWeights<K>> {
        Some(self.months.get_mut(call.month)?.entry(call.caller.clone()).or_default())
    }

    /// Everybody's share, to the minor unit.
    pub(crate) fn finish(self, costs: &PtuCosts) -> Vec<PtuShare<'_, K>> {
        let unit = 10_u128.pow(PLACES.saturating_sub(costs.currency().minor_places));
        let of_month = |(month, callers)| {
            let found = of_month(month, callers).into_iter();
            found.map(move |(of, units)| PtuShare { month, of, amount: Amount::of(units * unit) })
        };
        costs.months().iter().zip(self.months).flat_map(of_month).collect()
    }
}

/// The shares of a month, in minor units.
fn of_month<K>(month: &PtuMonth, callers: BTreeMap<SmolStr, CallerWeights<K>>) -> Vec<(ShareOf<K>, u128)> {
    let weight = |caller: &CallerWeights<K>| caller.asked.saturating_add(caller.elsewhere);
    let mut weights: Vec<u128> = callers.values().map(weight).collect();
    let used = weights.iter().fold(0_u128, |sum, weight| sum.saturating_add(*weight));
    let idle = month.capacity.map_or(0, |capacity| capacity.saturating_sub(used));
    // Where nothing weighs, all of it is idle.
    weights.push(if used == 0 { 1 } else { idle });
    let mut units = shares(month.cost, &weights);
    let mut found = vec![(ShareOf::Idle, units.pop().unwrap_or_default())];
    for (caller, units) in callers.into_values().zip(units) {
        let [asked, elsewhere] = shares(units, &[caller.asked, caller.elsewhere])[..] else { continue };
        found.extend([(ShareOf::Asked, asked), (ShareOf::Elsewhere, elsewhere)]);
        let (payers, weights): (Vec<_>, Vec<u128>) =
            caller.payers.into_values().map(|payer| (payer.rows, payer.weight)).unzip();
        for (views, units) in payers.into_iter().zip(shares(asked, &weights)) {
            for (view, rows) in views {
                let (rows, weights): (Vec<K>, Vec<u128>) = rows.into_iter().unzip();
                let units = shares(units, &weights);
                found
                    .extend(rows.into_iter().zip(units).map(|(row, units)| (ShareOf::Row(view, row), units)));
            }
        }
    }
    found.retain(|(of, units)| *units > 0 || matches!(of, ShareOf::Row(..)));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn costs(line: &str) -> PtuCosts {
        PtuCosts::parse(&format!("deployment,month,cost,currency,capacity_tokens\n{line}\n")).unwrap()
    }

    fn sum<'a>(shares: &[PtuShare<'a, u8>], wanted: impl Fn(&ShareOf<u8>) -> bool) -> Amount {
        shares.iter().filter(|share| wanted(&share.of)).map(|share| share.amount).sum()
    }

    proptest! {
        /// For any weights, the shares add up to the invoice to the cent, in each view, and those of each payer are the
        /// same whatever a view cuts them into.
        #[test]
        fn shares_add_up_to_the_invoice(
            cents in 0..10_000_000_u64,
            capacity in prop::option::of(0..10_u64.pow(13)),
            calls in prop::collection::vec((0..6_u8, 0..5_u8, 0..3_u8, prop_oneof![Just(0), 1..10_u128.pow(15)], prop::bool::weighted(0.8)), 0..60),
        ) {
            let capacity = capacity.map(|tokens| tokens.to_string()).unwrap_or_default();
            let costs = costs(&format!("d,2026-09,{}.{:02},EUR,{capacity}", cents / 100, cents % 100));
            let mut shares = PtuShares::new(&costs);
            for (caller, row, payer, weight, is_asked) in &calls {
                let name = SmolStr::from(format!("caller-{caller}"));
                let pays = (Some(SmolStr::from(format!("department-{payer}"))), None);
                let call = PtuCall { month: 0, caller: &name, payer: &pays };
                shares.add(call, *weight, *is_asked);
                if *is_asked {
                    shares.add_row(call, (0, &(row * 3 + payer)), *weight);
                    shares.add_row(call, (1, payer), *weight);
                }
            }
            let shares = shares.finish(&costs);
            let whole = Amount::of(u128::from(cents) * 10_u128.pow(16));
            let idle = sum(&shares, |of| matches!(of, ShareOf::Idle));
            let elsewhere = sum(&shares, |of| matches!(of, ShareOf::Elsewhere));
            let asked = sum(&shares, |of| matches!(of, ShareOf::Asked));
            prop_assert_eq!([idle, elsewhere, asked].into_iter().sum::<Amount>(), whole);
            for view in [0, 1] {
                prop_assert_eq!(sum(&shares, |of| matches!(of, ShareOf::Row(of, _) if *of == view)), asked);
            }
            for payer in 0..3 {
                let of_rows = sum(&shares, |of| matches!(of, ShareOf::Row(0, row) if row % 3 == payer));
                prop_assert_eq!(of_rows, sum(&shares, |of| *of == ShareOf::Row(1, payer)));
            }
            if capacity.is_empty() && calls.iter().any(|call| call.3 > 0) {
                prop_assert_eq!(idle, Amount::default());
            }
            prop_assert!(shares.iter().all(|share| share.amount.whole() % 10_u128.pow(16) == 0));
        }
    }

    #[test]
    fn capacity_that_nobody_used_is_idle() {
        let costs = costs("d,2026-09,100.00,EUR,400");
        let mut shares = PtuShares::new(&costs);
        let call = PtuCall { month: 0, caller: &"a".into(), payer: &(None, None) };
        shares.add(call, 100_000_000, true);
        shares.add_row(call, (0, &7), 100_000_000);
        let found: Vec<_> =
            shares.finish(&costs).into_iter().map(|share| (share.of, share.amount.to_string())).collect();
        let expected =
            [(ShareOf::Idle, "75.00"), (ShareOf::Asked, "25.00"), (ShareOf::Row(0, 7_u8), "25.00")];
        assert_eq!(found, expected.map(|(of, amount)| (of, amount.to_owned())));
        let nobody = PtuShares::<u8>::new(&costs).finish(&costs);
        assert_eq!((nobody.len(), nobody[0].amount.to_string()), (1, "100.00".to_owned()));
    }
}
