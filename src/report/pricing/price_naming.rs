//! Names every price: by what its seller calls it, or else by a mark of what it fits.

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::billed_parts::PriceClass;
use super::price_name::PriceName;
use super::price_row::{NamePattern, PriceRow, PriceScope};
use metering::caller::version;

/// Prices that are not one after the other are told apart by this.
type Place = (PriceScope, PriceClass, usize);

fn name_of(row: &PriceRow, is_unique: bool) -> PriceName {
    let mark = || version(&format!("{:?} {:?} {}", row.fits, row.class, row.file));
    let id = match &row.sku_id {
        Some(sku_id) if is_unique => sku_id.clone(),
        Some(sku_id) => format!("{sku_id}/{}", mark()).into(),
        None => format!("price-{}", mark()).into(),
    };
    let is_of_one = is_unique && row.sku_id.is_some() && matches!(row.fits.model, NamePattern::Exact(_));
    PriceName { id, is_of_one, class: row.class, from: row.from, to: row.to, unit: row.unit }
}

/// Names every price of a table.
pub(super) fn name_all(rows: &mut [PriceRow]) {
    let mut first: HashMap<SmolStr, Place> = HashMap::new();
    let mut is_unique: HashMap<SmolStr, bool> = HashMap::new();
    for row in rows.iter() {
        let Some(sku_id) = &row.sku_id else { continue };
        let place = || (row.fits.clone(), row.class, row.file);
        let is_same = *first.entry(sku_id.clone()).or_insert_with(place) == place();
        *is_unique.entry(sku_id.clone()).or_insert(true) &= is_same;
    }
    let mut ends = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        ends.entry((row.fits.clone(), row.class, row.file)).or_insert_with(Vec::new).push(at);
    }
    for row in rows.iter_mut() {
        let is_unique = row.sku_id.as_ref().is_some_and(|sku_id| is_unique.get(sku_id) == Some(&true));
        row.name = Arc::new(name_of(row, is_unique));
    }
    let places: Vec<Vec<usize>> = ends.into_values().collect();
    places.iter().for_each(|places| cut_overlaps(rows, places));
}

/// Where a price is followed by one that is in force at least as long, it ends there: the later one counts.
fn cut_overlaps(rows: &mut [PriceRow], places: &[usize]) {
    let mut places = places.to_vec();
    places.sort_by_key(|at| rows[*at].from);
    for pair in places.windows(2) {
        let (row, next) = (&rows[pair[0]], &rows[pair[1]]);
        let lasts = next.to.is_none_or(|end| row.to.is_some_and(|to| to <= end));
        let overlaps = next.from.is_some_and(|from| row.to.is_none_or(|to| from < to));
        if lasts && overlaps && row.from < next.from {
            let cut = PriceName { to: next.from, ..(*row.name).clone() };
            rows[pair[0]].name = Arc::new(cut);
        }
    }
}
