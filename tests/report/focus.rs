//! Rows of FOCUS: they obey the specification, and add up to the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokenweir::report::{
    BillingAccount, CostFiles, FocusOptions, FocusVersion, Format, Input, Prices, PtuCosts, Rendering,
    ReportOptions, report,
};

use crate::prices::made;
use crate::skip;
use crate::support::files::root;

/// Columns that must be filled in each row of usage, for both versions.
const FILLED: [&str; 27] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
];

type Row = BTreeMap<String, String>;

/// The rows that are written of the events in a folder.
fn written(folder: &Path, cost: CostFiles, focus: FocusOptions) -> String {
    let input = Input::Files(folder.join("events.jsonl"));
    let options = ReportOptions { cost, ..ReportOptions::of(input, Format::Focus.keys().unwrap()) };
    let mut out = Vec::new();
    let report = report(&options).unwrap();
    report.write(&Rendering { format: Format::Focus, focus, ..Rendering::default() }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn rows(text: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let named =
        |record: csv::StringRecord| header.iter().zip(&record).map(|(k, v)| (k.into(), v.into())).collect();
    reader.records().map(|record| named(record.unwrap())).collect()
}

fn cost(folder: &Path, ptu: bool) -> CostFiles {
    CostFiles {
        prices: Some(Prices::read(&[folder.join("prices-full.csv")]).unwrap()),
        ptu: ptu.then(|| PtuCosts::read(&folder.join("ptu.csv")).unwrap()),
        rates: None,
    }
}

/// A decimal number in 10^-24, exactly.
fn number(text: &str) -> i128 {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{places:0<24}").parse().unwrap()
}

/// Trailing zeros are dropped from one side only as far as both products fit.
fn is_product(price: &str, quantity: &str, cost: &str) -> bool {
    let parts = |text: &str| {
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        let places = places.trim_end_matches('0');
        (format!("{whole}{places}").parse::<u128>().unwrap(), places.len())
    };
    let ((price, a), (quantity, b), (cost, c)) = (parts(price), parts(quantity), parts(cost));
    let product = price * quantity;
    let scale = |number: u128, by: usize| number * 10_u128.pow(by as u32);
    if a + b >= c { product == scale(cost, a + b - c) } else { scale(product, c - a - b) == cost }
}

fn check(rows: &[Row], version: FocusVersion, chargeback: bool) {
    let (mut seen, mut sku_of) = (BTreeSet::new(), BTreeMap::new());
    assert!(rows.len() > 1_000, "{}", rows.len());
    for row in rows {
        for column in FILLED {
            assert!(!row[column].is_empty(), "{column} is null: {row:?}");
        }
        let names: &[&str] = match version {
            FocusVersion::V1_2 => &["ProviderName", "PublisherName"],
            FocusVersion::V1_4 => &["HostProviderName", "ServiceProviderName"],
        };
        let providers: Vec<&str> = row
            .keys()
            .map(String::as_str)
            .filter(|name| name.contains("lisherName") || name.contains("roviderName"))
            .collect();
        assert_eq!(providers, names);
        for (price, cost) in [("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")] {
            assert!(is_product(&row[price], &row["PricingQuantity"], &row[cost]), "{row:?}");
        }
        let billed = if chargeback { row["EffectiveCost"].as_str() } else { "0.0" };
        assert_eq!((row["BilledCost"].as_str(), &row["EffectiveCost"]), (billed, &row["ListCost"]));
        assert!(
            row["ChargePeriodStart"] < row["ChargePeriodEnd"]
                && row["BillingPeriodStart"] <= row["ChargePeriodStart"]
        );
        let sku = sku_of.entry(row["SkuPriceId"].clone()).or_insert_with(|| row["SkuId"].clone());
        assert_eq!(*sku, row["SkuId"], "a SKU price has one SKU");
        for name in ["SubAccountId", "ResourceId", "SkuId", "SkuPriceId"] {
            assert!(row[name].is_ascii());
        }
        let key = [
            "ChargePeriodStart",
            "SubAccountId",
            "ResourceId",
            "RegionId",
            "SkuPriceId",
            "SkuMeter",
            "Tags",
            "x_Model",
        ];
        assert!(seen.insert(key.map(|name| row[name].clone())), "two rows are one: {row:?}");
    }
}

#[test]
fn rows_obey_the_specification_in_both_versions_and_modes() {
    let Some(folder) = made() else { return };
    let folder = folder.path();
    for (version, chargeback) in [(FocusVersion::V1_2, false), (FocusVersion::V1_4, true)] {
        let focus = FocusOptions { version, chargeback, account: BillingAccount::default() };
        let text = written(folder, cost(folder, true), focus);
        check(&rows(&text), version, chargeback);
        checked_by_program(folder, &text, version, false);
    }
}

#[test]
fn rows_add_up_to_the_truth_and_a_price_that_changes_within_a_day_splits_it() {
    let Some(folder) = made() else { return };
    let folder = folder.path();
    let text = written(folder, cost(folder, false), FocusOptions::default());
    let rows = rows(&text);
    checked_by_program(folder, &text, FocusVersion::V1_2, true);
    let split = rows.iter().filter(|row| !row["ChargePeriodStart"].ends_with("T00:00:00Z"));
    let ends: BTreeSet<&String> =
        rows.iter().map(|row| &row["ChargePeriodEnd"]).filter(|end| !end.ends_with("T00:00:00Z")).collect();
    assert!(split.clone().count() > 0 && split.clone().all(|row| ends.contains(&row["ChargePeriodStart"])));
    // A fixed cost is there to the cent, beside the prices.
    let sum = |text: &str| -> i128 { self::rows(text).iter().map(|row| number(&row["EffectiveCost"])).sum() };
    let with_fixed = written(folder, cost(folder, true), FocusOptions::default());
    let mut fixed = csv::Reader::from_path(folder.join("ptu.csv")).unwrap();
    let fixed: i128 = fixed.records().map(|line| number(&line.unwrap()[2])).sum();
    assert_eq!(sum(&with_fixed), sum(&text) + fixed);
}

/// The program that others check such files with. It compares names as they are, so the truth has their ids.
fn checked_by_program(folder: &Path, text: &str, version: FocusVersion, truth: bool) {
    let shared = std::env::var_os("TOKENWEIR_SHARED").map(PathBuf::from);
    let program = shared.unwrap_or_else(|| root().join("../shared")).join("tools/focus_check.py");
    if !program.exists() {
        return skip::test(
            "the program that checks files of FOCUS is absent; TOKENWEIR_SHARED names its folder",
        );
    }
    let made = tempfile::tempdir().unwrap();
    let file = made.path().join("focus.csv");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("python3");
    command.arg(program).arg(&file).args(["--version", version.as_str()]);
    if truth {
        let truth = std::fs::read_to_string(folder.join("truth.csv")).unwrap();
        let truth = truth.replace("\n=team-7,", "\n%3Dteam-7,").replace("\néquipe-4,", "\n%C3%A9quipe-4,");
        std::fs::write(made.path().join("truth.csv"), truth).unwrap();
        command.arg("--truth").arg(made.path());
    }
    let said = command.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}
