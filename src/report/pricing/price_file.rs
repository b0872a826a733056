//! A file of prices: its columns, its lines, and all that is wrong with them.

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;
use strum::{Display, EnumString, VariantNames};

use super::amount::PLACES;
use super::billed_parts::PriceClass;
use super::currency::Currency;
use super::decimal::decimal;
use super::price_name::PriceName;
use super::price_row::{NamePattern, PriceRow, PriceScope, StandsFor};
use super::table_file::{self, read_table, require};
use metering::caller::{WrongLines, version};

/// How a file of prices looks, for `--help`.
pub const PRICES_HELP: &str = "\
Prices are CSV with a header, in one of two forms; empty lines and lines that begin with # are left out.

  model,deployment,from,to,input,input_cached,output,per_tokens,currency
  gpt-4o-2024-11-20,,,,2.50,1.25,10.00,1000000,USD
  gpt-4o-*,batch,2026-01-01,,1.25,,5.00,1000000,USD

  model,service_tier,class,from,to,price,per_tokens,per_units,currency,sku_id
  gpt-5-2025-08-07,priority,output_text,,,20.00,1000000,,USD,gpt-5/priority/out
  whisper,,audio_ms,,,0.36,,3600000,USD,

  model         a name, the beginning of names and *, or * for any
  deployment    the same; empty for any
  from, to      a UTC day or instant, to exclusive; empty for ever
  input, output the price of per_tokens tokens (a power of ten; empty: 1000000), whatever they are
  input_cached  of input that the service read from its cache; empty: as input
  class, price  one price a line, of input_uncached, input_cached, input_cached_audio,
                input_cached_image, input_cache_write, input_cache_write_long, input_audio,
                input_image, output_text, output_audio or output_image; or, of per_units
                units, of audio_ms, video_ms, images, characters, pages, search_units,
                web_searches or web_fetches
  service_tier  default, flex, priority, .. or batch; empty for any
  region, resource, provider, speed, inference_geo, size, quality
                as events have them; empty for any
  deployment_type, sku_id
                carried along
  currency      a code of ISO 4217, the same in all lines

Of several lines that fit, the one counts that says more of the deployment, then of the resource, then of the model \
(a whole name before a longer beginning), then one that names a region, a service_tier, a speed, an inference_geo, a \
size, a quality, a provider, in this order; then the class itself before the one that it is a part of; then the later \
file, then the later from. input_cached_audio and input_cached_image are a part of input_cached, \
input_cache_write_long is of input_cache_write; other classes without a line have no price. Calls with a part that has \
no price are counted in unpriced_calls, and the total says that it is incomplete. Unknown numbers cost nothing; \
unknown_calls counts them. Nothing is rounded.";

/// Digits before the point of a price: below a million, so that 10^14 tokens fit.
const WHOLE_DIGITS_MAX: usize = 6;

/// Decimal places of a price of units whose number is no power of ten.
const UNIT_PRICE_PLACES_MAX: usize = 12;

/// Tokens that a price is of, where no line says it.
const PER_TOKENS: u64 = 1_000_000;

/// Tokens or units that a price is of are not more.
const PER_MAX: u64 = 1_000_000_000;

/// A file's overlaps that are told one by one.
const OVERLAPS_TOLD_MAX: usize = 5;

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct PriceFile {
    pub(super) rows: Vec<PriceRow>,
    pub(super) version: SmolStr,
    /// Notes for whoever keeps the file.
    pub(super) notes: Vec<String>,
    currency: Currency,
}

/// A file that does not go together with the others.
#[derive(Debug)]
pub(super) struct WrongFile {
    pub(super) file: usize,
    pub(super) wrong: WrongLines,
}

/// The columns of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
enum PriceColumn {
    Model,
    Deployment,
    DeploymentType,
    Resource,
    Provider,
    Region,
    ServiceTier,
    Speed,
    InferenceGeo,
    Size,
    Quality,
    From,
    To,
    Class,
    Price,
    Input,
    InputCached,
    Output,
    PerTokens,
    PerUnits,
    Currency,
    SkuId,
}

type PriceColumns = table_file::Columns<PriceColumn>;
type PriceFields<'a> = table_file::Fields<'a, PriceColumn>;

impl PriceFile {
    /// Reads the text of the file, which is the `at`-th of those that are given.
    pub(super) fn parse(text: &str, at: usize) -> Result<PriceFile, WrongLines> {
        let mut lines = PriceLines { file: at, ..PriceLines::default() };
        read_table(text, &PriceColumn::VARIANTS.join(", "), check_form, |fields| lines.add(fields))?;
        let currency = lines.currency.ok_or_else(|| WrongLines::one(1, "there is no currency".to_owned()))?;
        lines.note_overlaps();
        Ok(PriceFile { rows: lines.rows, version: version(text), notes: lines.notes, currency })
    }

    /// The currency of all files.
    pub(super) fn one_currency(files: &[PriceFile]) -> Result<Currency, WrongFile> {
        let first = files.first().map(|file| file.currency);
        let other = files.iter().enumerate().find(|(_, file)| Some(file.currency) != first);
        match (first, other) {
            (Some(first), None) => Ok(first),
            (Some(first), Some((at, file))) => {
                let line = file.rows.first().map_or(1, |row| row.line);
                let problem = format!(
                    "currency is {}, but {first} in the file before: one report, one currency",
                    file.currency
                );
                Err(WrongFile { file: at, wrong: WrongLines::one(line, problem) })
            }
            (None, _) => Err(WrongFile { file: 0, wrong: WrongLines::one(1, "there is no file".to_owned()) }),
        }
    }
}

fn check_form(columns: &PriceColumns) -> Result<(), String> {
    use PriceColumn::{Class, Currency, Input, InputCached, Model, Output, PerUnits, Price};
    let has = |column: &PriceColumn| columns.contains_key(column);
    if has(&Class) || has(&Price) {
        require(columns, &[Model, Class, Price, Currency])?;
        match [Input, InputCached, Output].into_iter().find(has) {
            Some(column) => {
                Err(format!("there is a column `{column}` beside class and price: a file has one form"))
            }
            None => Ok(()),
        }
    } else {
        require(columns, &[Model, Input, Output, Currency])?;
        match has(&PerUnits) {
            true => Err(format!("there is a column `{PerUnits}`, which goes with class and price")),
            false => Ok(()),
        }
    }
}

/// The lines of a file so far.
#[derive(Default)]
struct PriceLines {
    file: usize,
    rows: Vec<PriceRow>,
    currency: Option<Currency>,
    /// By what they are the price of: places in `rows`, one for each line.
    seen: HashMap<(PriceScope, PriceClass), Vec<usize>>,
    notes: Vec<String>,
}

impl PriceLines {
    fn add(&mut self, fields: &mut PriceFields<'_>) -> Option<()> {
        let currency = fields.read(PriceColumn::Currency, Currency::of);
        if let (Some(currency), Some(first)) = (currency, self.currency)
            && currency != first
        {
            fields.wrong(format!("currency is {currency}, but {first} above: one file, one currency"));
        }
        let rows = rows_of(fields, self.file, &mut self.notes);
        let (rows, currency) = (rows?, currency?);
        let added = self.add_rows(rows);
        fields.take(added)?;
        self.currency.get_or_insert(currency);
        Some(())
    }

    /// Adds the rows of one line.
    fn add_rows(&mut self, rows: Vec<PriceRow>) -> Result<(), String> {
        let Some(first) = rows.first() else { return Ok(()) };
        let of_same = self.seen.entry((first.fits.clone(), first.class)).or_default();
        let same =
            of_same.iter().filter_map(|place| self.rows.get(*place)).find(|row| row.from == first.from);
        if let Some(row) = same {
            let types = if row.deployment_type == first.deployment_type {
                ""
            } else {
                "; events do not name a deployment_type: name the deployments"
            };
            let class = if row.stands_for == StandsFor::Parts { ", the class" } else { "" };
            return Err(format!(
                "has the model, the deployment{class} and the from of line {}{types}",
                row.line
            ));
        }
        of_same.push(self.rows.len());
        self.rows.extend(rows);
        Ok(())
    }

    /// Says which periods overlap, and which row counts where they do.
    fn note_overlaps(&mut self) {
        let mut overlaps = Vec::new();
        for places in self.seen.values() {
            let mut rows: Vec<&PriceRow> = places.iter().filter_map(|place| self.rows.get(*place)).collect();
            rows.sort_by_key(|row| row.from);
            let mut longest: Option<&PriceRow> = None;
            for row in rows {
                if let Some(before) = longest
                    && before.to.is_none_or(|to| row.from.is_none_or(|from| from < to))
                {
                    overlaps.push((before.line, row.line, row.from));
                }
                let ends_later =
                    |other: &PriceRow| row.to.is_none_or(|to| other.to.is_some_and(|end| end < to));
                if longest.is_none_or(ends_later) {
                    longest = Some(row);
                }
            }
        }
        overlaps.sort_unstable();
        let told = overlaps.iter().take(OVERLAPS_TOLD_MAX).map(|(one, other, from)| {
            let from = from.map_or(String::new(), |from| format!(" from {from} on"));
            format!("lines {one} and {other} overlap:{from} line {other} counts, whose from is the later")
        });
        let told: Vec<String> = told.collect();
        self.notes.extend(told);
        if let Some(more) = overlaps.len().checked_sub(OVERLAPS_TOLD_MAX + 1) {
            self.notes.push(format!("{} more periods overlap: the later from counts", more + 1));
        }
    }
}

/// The rows of a line; `None` if something is wrong with it.
fn rows_of(fields: &mut PriceFields<'_>, file: usize, notes: &mut Vec<String>) -> Option<Vec<PriceRow>> {
    let fits = scope(fields);
    let period = fields.period(PriceColumn::From, PriceColumn::To);
    let (prices, stands_for) = if fields.has(PriceColumn::Price) {
        (long(fields, notes).map(|price| vec![price]), StandsFor::Parts)
    } else {
        (wide(fields), StandsFor::Side)
    };
    let (fits, (from, to)) = (fits?, period?);
    let (deployment_type, sku_id) =
        (fields.text(PriceColumn::DeploymentType), fields.text(PriceColumn::SkuId));
    let row = |price: ClassPrice<'_>| PriceRow {
        fits: fits.clone(),
        class: price.class,
        stands_for,
        from,
        to,
        unit: price.unit,
        price: price.text.into(),
        per: price.per,
        deployment_type: deployment_type.clone(),
        sku_id: sku_id.clone(),
        file,
        line: fields.line,
        // The table as a whole tells.
        name: Arc::new(PriceName::unnamed(price.class, price.unit)),
    };
    Some(prices?.into_iter().map(row).collect())
}

fn scope(fields: &mut PriceFields<'_>) -> Option<PriceScope> {
    let model = fields.read(PriceColumn::Model, |text| pattern(PriceColumn::Model, text));
    let deployment = fields.get(PriceColumn::Deployment);
    let deployment = deployment.map(|text| pattern(PriceColumn::Deployment, text)).transpose();
    let deployment = fields.take(deployment);
    Some(PriceScope {
        deployment: deployment?,
        resource: fields.text(PriceColumn::Resource),
        model: model?,
        region: fields.text(PriceColumn::Region),
        service_tier: fields.text(PriceColumn::ServiceTier),
        speed: fields.text(PriceColumn::Speed),
        inference_geo: fields.text(PriceColumn::InferenceGeo),
        size: fields.text(PriceColumn::Size),
        quality: fields.text(PriceColumn::Quality),
        provider: fields.text(PriceColumn::Provider),
    })
}

/// The three prices of a line of the wide form.
fn wide<'a>(fields: &mut PriceFields<'a>) -> Option<Vec<ClassPrice<'a>>> {
    let per = per_tokens(fields);
    let mut price = |column, class| {
        let text = fields.required(column)?;
        // A fault of a price is told even if its per_tokens is wrong too.
        token_price(fields, per.unwrap_or(PER_TOKENS), column, class, text)
    };
    let input = price(PriceColumn::Input, PriceClass::InputUncached);
    let output = price(PriceColumn::Output, PriceClass::OutputText);
    let cached = match fields.get(PriceColumn::InputCached) {
        Some(text) => {
            let per = per.unwrap_or(PER_TOKENS);
            token_price(fields, per, PriceColumn::InputCached, PriceClass::InputCached, text)
        }
        None => input.map(|price| ClassPrice { class: PriceClass::InputCached, ..price }),
    };
    per?;
    Some(vec![input?, cached?, output?])
}

/// The price of a line of the long form.
fn long<'a>(fields: &mut PriceFields<'a>, notes: &mut Vec<String>) -> Option<ClassPrice<'a>> {
    let class = fields.read(PriceColumn::Class, |text| {
        let class = text.parse::<PriceClass>();
        class.map_err(|_| format!("class is {text}; allowed: {}", PriceClass::VARIANTS.join(", ")))
    });
    let text = fields.required(PriceColumn::Price);
    let class = class?;
    let (foreign, counts) =
        if class.is_token() { (PriceColumn::PerUnits, "tokens") } else { (PriceColumn::PerTokens, "units") };
    if fields.get(foreign).is_some() {
        fields.wrong(format!("{foreign} is not empty, and {} are {counts}", class.as_str()));
    }
    if class.is_token() {
        let per = per_tokens(fields);
        let price = token_price(fields, per.unwrap_or(PER_TOKENS), PriceColumn::Price, class, text?);
        return per.and(price);
    }
    let per = per_units(fields);
    let text = text?;
    let (unit, is_exact) = fields.take(unit_of(text, per.unwrap_or(1)))?;
    let per = per?;
    if !is_exact {
        notes.push(format!(
            "line {}: {text} for {per} {} is no decimal fraction for one of them: it counts to 10^-{PLACES}",
            fields.line,
            class.as_str()
        ));
    }
    Some(ClassPrice { class, unit, text, per })
}

fn token_price<'a>(
    fields: &mut PriceFields<'a>,
    per: u64,
    column: PriceColumn,
    class: PriceClass,
    text: &'a str,
) -> Option<ClassPrice<'a>> {
    let unit = fields.take(token_unit(column, text, per))?;
    Some(ClassPrice { class, unit, text, per })
}

/// A power of ten.
fn per_tokens(fields: &mut PriceFields<'_>) -> Option<u64> {
    let Some(text) = fields.get(PriceColumn::PerTokens) else { return Some(PER_TOKENS) };
    let zeros = text.strip_prefix('1').filter(|zeros| zeros.bytes().all(|b| b == b'0'));
    let per = zeros.and_then(|_| text.parse().ok()).filter(|per| *per <= PER_MAX);
    fields.take(
        per.ok_or_else(|| format!("per_tokens is {text}; allowed: 1, 10, 100 and so on up to {PER_MAX}")),
    )
}

fn per_units(fields: &mut PriceFields<'_>) -> Option<u64> {
    let Some(text) = fields.get(PriceColumn::PerUnits) else { return Some(1) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let per = text.parse().ok().filter(|per| digits && (1..=PER_MAX).contains(per));
    fields
        .take(per.ok_or_else(|| format!("per_units is {text}; allowed: a whole number from 1 to {PER_MAX}")))
}

/// The price of a class, as a line says it.
#[derive(Clone, Copy)]
struct ClassPrice<'a> {
    class: PriceClass,
    unit: u128,
    text: &'a str,
    per: u64,
}

/// A name, or the beginning of names and a star.
fn pattern(column: PriceColumn, text: &str) -> Result<NamePattern, String> {
    let (begin, is_prefix) = text.strip_suffix('*').map_or((text, false), |begin| (begin, true));
    if begin.contains('*') {
        return Err(format!(
            "{column} is {text}; allowed: a name, the beginning of names and *, or * for any"
        ));
    }
    Ok(if is_prefix { NamePattern::Prefix(begin.into()) } else { NamePattern::Exact(begin.into()) })
}

/// The price of one token, in 10^-18, from that of `per` of them, a power of ten.
fn token_unit(column: PriceColumn, text: &str, per: u64) -> Result<u128, String> {
    let places = (PLACES as usize).saturating_sub(per.ilog10() as usize);
    let unit = decimal(text, WHOLE_DIGITS_MAX, places).map(|price| price / u128::from(per));
    unit.ok_or_else(|| {
        format!(
            "{column} is {text}; allowed: a number such as 2.50, below 1000000, with up to {places} places"
        )
    })
}

/// The price of one unit, in 10^-18 and rounded to that, and whether nothing was rounded.
fn unit_of(text: &str, per: u64) -> Result<(u128, bool), String> {
    let price = decimal(text, WHOLE_DIGITS_MAX, UNIT_PRICE_PLACES_MAX).ok_or_else(|| {
        format!("price is {text}; allowed: a number such as 0.36, below 1000000, with up to {UNIT_PRICE_PLACES_MAX} places")
    })?;
    let per = u128::from(per);
    let (unit, rest) = (price / per, price % per);
    Ok((unit + u128::from(rest * 2 >= per), rest == 0))
}
