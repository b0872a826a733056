//! Calls whose truth is known, as our events and as Azure's files: what differs between the two is put in on purpose.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenweir::report::{
    Input, Meters, ReconcileOptions, Reconciliation, ResourceNames, Tolerance, reconcile,
};
use uuid::Uuid;

/// The subscription and resource group of all resources.
const GROUP: &str = "/subscriptions/0a1b2c3d-0000-4000-8000-000000000000/resourceGroups/rg-ai";

/// The columns of a FOCUS 1.2-preview export, in which the order of Azure is the alphabet's.
pub(crate) const FOCUS_COLUMNS: &str = "BilledCost,BillingAccountId,BillingAccountName,BillingAccountType,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,CapacityReservationId,CapacityReservationStatus,ChargeCategory,ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,ChargePeriodStart,CommitmentDiscountCategory,CommitmentDiscountId,CommitmentDiscountName,CommitmentDiscountQuantity,CommitmentDiscountStatus,CommitmentDiscountType,CommitmentDiscountUnit,ConsumedQuantity,ConsumedUnit,ContractedCost,ContractedUnitPrice,EffectiveCost,InvoiceId,InvoiceIssuerName,ListCost,ListUnitPrice,PricingCategory,PricingCurrency,PricingCurrencyContractedUnitPrice,PricingCurrencyEffectiveCost,PricingCurrencyListUnitPrice,PricingQuantity,PricingUnit,ProviderName,PublisherName,RegionId,RegionName,ResourceId,ResourceName,ResourceType,ServiceCategory,ServiceName,ServiceSubcategory,SkuId,SkuMeter,SkuPriceDetails,SkuPriceId,SubAccountId,SubAccountName,SubAccountType,Tags,x_AccountId,x_AccountName,x_AccountOwnerId,x_AmortizationClass,x_BilledCostInUsd,x_BilledUnitPrice,x_BillingAccountId,x_BillingAccountName,x_BillingExchangeRate,x_BillingExchangeRateDate,x_BillingProfileId,x_BillingProfileName,x_ContractedCostInUsd,x_CostAllocationRuleName,x_CostCenter,x_CustomerId,x_CustomerName,x_EffectiveCostInUsd,x_EffectiveUnitPrice,x_InvoiceIssuerId,x_InvoiceSectionId,x_InvoiceSectionName,x_ListCostInUsd,x_PartnerCreditApplied,x_PartnerCreditRate,x_PricingBlockSize,x_PricingSubcategory,x_PricingUnitDescription,x_PublisherCategory,x_PublisherId,x_ResellerId,x_ResellerName,x_ResourceGroupName,x_ResourceType,x_ServicePeriodEnd,x_ServicePeriodStart,x_SkuDescription,x_SkuDetails,x_SkuIsCreditEligible,x_SkuMeterCategory,x_SkuMeterId,x_SkuMeterSubcategory,x_SkuOfferId,x_SkuOrderId,x_SkuOrderName,x_SkuPartNumber,x_SkuRegion,x_SkuServiceFamily,x_SkuTerm";

/// The columns of actual and amortized cost details (MCA 2023-12-01) that matter, and some others.
const DETAIL_COLUMNS: &str = "invoiceId,billingProfileId,meterId,meterName,meterCategory,meterSubCategory,date,quantity,unitOfMeasure,ResourceId,effectivePrice,unitPrice,costInBillingCurrency,billingCurrency,pricingCurrency,chargeType,additionalInfo,tags";

/// A call: what we have of it, and what Azure has.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) event: EventSide,
    pub(crate) azure: AzureSide,
}

/// What stands in the event.
#[derive(Clone, Debug)]
pub(crate) struct EventSide {
    pub(crate) resource: &'static str,
    pub(crate) deployment: Option<&'static str>,
    pub(crate) served: Option<&'static str>,
    pub(crate) spillover_from: Option<&'static str>,
    pub(crate) model: Option<&'static str>,
    pub(crate) api: &'static str,
    pub(crate) status: u16,
    pub(crate) outcome: &'static str,
    pub(crate) time: Timestamp,
    pub(crate) duration_ms: i64,
    pub(crate) input: Option<u64>,
    pub(crate) cached: u64,
    pub(crate) output: Option<u64>,
    pub(crate) quality: [&'static str; 2],
    pub(crate) deferred: bool,
    pub(crate) reasons: Vec<&'static str>,
}

/// What Azure has.
#[derive(Clone, Debug)]
pub(crate) struct AzureSide {
    /// Empty: nothing.
    pub(crate) deployment: &'static str,
    pub(crate) time: Timestamp,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) status: u16,
    pub(crate) is_batch: bool,
    /// Answered at once for so many.
    pub(crate) calls: u64,
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|_| format!("2026-11-{text}Z").parse().unwrap())
}

/// An ordinary call, the same on both sides.
pub(crate) fn call(deployment: &'static str, time: &str, input: u64, output: u64) -> Call {
    let time = at(time);
    let event = EventSide {
        resource: "contoso-weu.openai.azure.com",
        deployment: Some(deployment),
        served: None,
        spillover_from: None,
        model: Some("gpt-4o-2024-11-20"),
        api: "chat_completions",
        status: 200,
        outcome: "complete",
        time,
        duration_ms: 1500,
        input: Some(input),
        cached: 0,
        output: Some(output),
        quality: ["exact", "exact"],
        deferred: false,
        reasons: Vec::new(),
    };
    let azure =
        AzureSide { deployment, time, input, cached: 0, output, status: 200, is_batch: false, calls: 1 };
    Call { event, azure }
}

impl Call {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Call)) -> Call {
        change(&mut self);
        self
    }

    /// It broke off: we saw a part of the output only.
    pub(crate) fn cut(self, seen: u64) -> Call {
        self.with(|call| {
            call.event.output = Some(seen);
            call.event.outcome = "client_disconnect";
            call.event.quality[1] = "lower_bound";
        })
    }

    fn line(&self, id: u128) -> String {
        let side = &self.event;
        let started = side.time.checked_sub(jiff::SignedDuration::from_millis(side.duration_ms)).unwrap();
        let mut target = json!({"provider": "azure.ai.openai", "api": side.api, "resource": side.resource});
        for (name, value) in [
            ("deployment", side.deployment),
            ("deployment_served", side.served),
            ("spillover_from", side.spillover_from),
            ("model", side.model),
        ] {
            if let Some(value) = value {
                target[name] = value.into();
            }
        }
        json!({
            "specversion": "1.0", "id": Uuid::from_u128(id), "source": "//tokenweir/test",
            "type": "dev.tokenweir.usage.v1", "time": side.time, "subject": "team", "partitionkey": "team",
            "datacontenttype": "application/json", "sequence": format!("{id:020}"),
            "data": {
                "schema_version": "1.0", "caller": {"id": "team"}, "target": target,
                "request": {"status": side.status}, "timing": {"started_at": started},
                "tokens": {"input": side.input, "output": side.output, "input_cached": side.cached},
                "accounting": {
                    "input_quality": side.quality[0], "output_quality": side.quality[1],
                    "reasons": side.reasons, "deferred": side.deferred,
                },
                "stream": {"outcome": side.outcome}, "reporter": {"instance": "b", "version": "1"},
            }
        })
        .to_string()
    }
}

/// The files of some calls.
pub(crate) struct Files {
    dir: TempDir,
    pub(crate) options: ReconcileOptions,
}

impl Files {
    /// Events alone.
    pub(crate) fn of(calls: &[Call]) -> Files {
        let lines: Vec<String> = calls.iter().zip(1..).map(|(call, id)| call.line(id)).collect();
        Files::of_lines(&lines)
    }

    pub(crate) fn of_lines(lines: &[String]) -> Files {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        let options = ReconcileOptions {
            inputs: vec![Input::Files(path)],
            azure_metrics: Vec::new(),
            cost_exports: Vec::new(),
            meters: Meters::read(None).unwrap(),
            resources: ResourceNames::default(),
            provisioned: Vec::new(),
            tolerance: Tolerance::default(),
            from: None,
            to: None,
        };
        Files { dir, options }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Tokens by deployment and hour, and, if asked, answered calls by status.
    pub(crate) fn with_metrics(mut self, calls: &[Call], days: (&str, &str), requests: bool) -> Files {
        let names = ["ProcessedPromptTokens", "GeneratedTokens"];
        let tokens = names.map(|name| (name, series(calls, name)));
        let text = document(&tokens, days).to_string();
        self.options.azure_metrics.push(self.write("metrics.json", text));
        if requests {
            let text = document(&[("ModelRequests", series(calls, "ModelRequests"))], days).to_string();
            self.options.azure_metrics.push(self.write("requests.json", text));
        }
        self
    }

    /// A FOCUS export, compressed.
    pub(crate) fn with_focus(mut self, calls: &[Call]) -> Files {
        let path = self.path("focus.csv.gz");
        let file = std::fs::File::create(&path).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(focus(calls).as_bytes()).unwrap();
        gzip.finish().unwrap();
        self.options.cost_exports.push(path);
        self
    }

    /// Actual costs.
    pub(crate) fn with_details(mut self, calls: &[Call]) -> Files {
        let path = self.write("actual.csv", details(calls));
        self.options.cost_exports.push(path);
        self
    }

    pub(crate) fn reconcile(&self) -> Reconciliation {
        reconcile(&self.options).unwrap()
    }

    /// Why the files are refused, with the directory left out.
    pub(crate) fn refusal(&self) -> String {
        let refusal = reconcile(&self.options).unwrap_err().to_string();
        refusal.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

pub(crate) fn resource_id(host: &str) -> String {
    let name = host.split('.').next().unwrap();
    format!("{GROUP}/providers/Microsoft.CognitiveServices/accounts/{name}")
}

type Series = BTreeMap<(String, Vec<(&'static str, String)>), BTreeMap<Timestamp, u64>>;

/// One metric, by resource and dimensions, each hour's total.
fn series(calls: &[Call], metric: &str) -> Series {
    let mut series = Series::new();
    for call in calls.iter().filter(|call| !call.azure.deployment.is_empty()) {
        let mut dimensions = vec![("ModelDeploymentName", call.azure.deployment.to_owned())];
        let total = match metric {
            "ProcessedPromptTokens" => call.azure.input,
            "GeneratedTokens" => call.azure.output,
            _ => {
                dimensions.push(("StatusCode", call.azure.status.to_string()));
                dimensions.push(("IsSpillover", call.event.spillover_from.is_some().to_string()));
                call.azure.calls
            }
        };
        let hour = Timestamp::from_second(call.azure.time.as_second().div_euclid(3600) * 3600).unwrap();
        let points = series.entry((resource_id(call.event.resource), dimensions)).or_default();
        *points.entry(hour).or_default() += total;
    }
    series
}

/// What `az monitor metrics list -o json` writes, or an array of it for several resources: floats, dimensions in lower
/// case, both spellings of instants, hours without traffic without a total.
fn document(metrics: &[(&str, Series)], days: (&str, &str)) -> Value {
    let (from, to) = (at(days.0), at(days.1));
    let mut resources: Vec<&String> =
        metrics.iter().flat_map(|(_, series)| series.keys().map(|key| &key.0)).collect();
    resources.sort();
    resources.dedup();
    let answers = resources.into_iter().map(|resource| {
        let value = metrics.iter().map(|(name, series)| {
            let own = series.iter().filter(|((of, _), _)| of == resource);
            let timeseries = own.map(|((_, dimensions), points)| timeseries(dimensions, points, from, to));
            json!({
                "id": format!("{resource}/providers/Microsoft.Insights/metrics/{name}"),
                "name": {"value": name, "localizedValue": format!("{name} (localised)")},
                "displayDescription": "..", "errorCode": "Success", "errorMessage": null,
                "resourceGroup": "rg-ai", "type": "Microsoft.Insights/metrics", "unit": "Count",
                "timeseries": timeseries.collect::<Vec<_>>(),
            })
        });
        json!({
            "cost": 59, "interval": "1:00:00", "namespace": "Microsoft.CognitiveServices/accounts",
            "resourceregion": "westeurope", "timespan": format!("{from}/{to}"), "value": value.collect::<Vec<_>>(),
        })
    });
    let answers: Vec<Value> = answers.collect();
    if answers.len() == 1 { answers[0].clone() } else { Value::Array(answers) }
}

fn timeseries(
    dimensions: &[(&'static str, String)],
    points: &BTreeMap<Timestamp, u64>,
    from: Timestamp,
    to: Timestamp,
) -> Value {
    let named = dimensions.iter().map(|(name, value)| {
        json!({"name": {"value": name.to_lowercase(), "localizedValue": name}, "value": value})
    });
    let hours = (from.as_second()..to.as_second()).step_by(3600).zip(0..);
    let data = hours.map(|(second, n)| {
        let time = Timestamp::from_second(second).unwrap();
        let spelling = if n % 2 == 0 { time.to_string() } else { time.to_string().replace('Z', "+00:00") };
        let mut point =
            json!({"timeStamp": spelling, "average": null, "count": null, "maximum": null, "minimum": null});
        if let Some(total) = points.get(&time) {
            point["total"] = json!(*total as f64);
        }
        point
    });
    json!({"metadatavalues": named.collect::<Vec<_>>(), "data": data.collect::<Vec<_>>()})
}

/// A row of a bill: the resource, the day, the meter, and its tokens.
type Rows = BTreeMap<(String, String, String), u64>;

/// What Azure's meters count: cached input has a meter of its own, and so have batches.
fn rows(calls: &[Call]) -> Rows {
    let mut rows = Rows::new();
    for call in calls.iter().filter(|call| !call.azure.deployment.is_empty()) {
        let side = &call.azure;
        let day = side.time.to_zoned(TimeZone::UTC).date().to_string();
        let batch = if side.is_batch { "Batch " } else { "" };
        for (words, tokens) in
            [("Inp", side.input - side.cached), ("cached Inp", side.cached), ("Outp", side.output)]
        {
            let meter = format!("gpt 4o 1120 {batch}{words} glbl Tokens");
            *rows.entry((resource_id(call.event.resource), day.clone(), meter)).or_default() += tokens;
        }
    }
    rows.retain(|_, tokens| *tokens > 0);
    rows
}

/// Tokens as a decimal of thousands.
fn thousands(tokens: u64) -> String {
    format!("{}.{:03}", tokens / 1000, tokens % 1000)
}

pub(crate) fn focus(calls: &[Call]) -> String {
    let columns: Vec<&str> = FOCUS_COLUMNS.split(',').collect();
    let mut text = format!("\u{feff}{FOCUS_COLUMNS}\r\n");
    let mut row = |values: &[(&str, String)]| {
        let cell = |column: &&str| {
            let value = values.iter().find(|(name, _)| name == column).map_or("", |(_, value)| value);
            format!("\"{}\"", value.replace('"', "\"\""))
        };
        text += &(columns.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n");
    };
    for ((resource, day, meter), tokens) in rows(calls) {
        row(&[
            ("ChargePeriodStart", format!("{day}T00:00Z")),
            ("ResourceId", resource),
            ("SkuMeter", meter),
            ("x_SkuMeterSubcategory", "Azure OpenAI".to_owned()),
            ("ChargeCategory", "Usage".to_owned()),
            ("ConsumedQuantity", tokens.to_string()),
            ("ConsumedUnit", "Units".to_owned()),
            ("PricingQuantity", thousands(tokens)),
            ("PricingUnit", "1K".to_owned()),
            ("x_PricingBlockSize", "1000".to_owned()),
            ("BillingCurrency", "EUR".to_owned()),
            ("Tags", "{\"a\":\"b, c\"}".to_owned()),
        ]);
    }
    // What else a subscription has.
    row(&[
        ("ChargePeriodStart", "not a day".to_owned()),
        ("ResourceId", format!("{GROUP}/providers/Microsoft.Compute/virtualMachines/vm")),
        ("SkuMeter", "D2s v5".to_owned()),
        ("ChargeCategory", "Usage".to_owned()),
    ]);
    text
}

fn details(calls: &[Call]) -> String {
    let mut text = format!("{DETAIL_COLUMNS}\n");
    for ((resource, day, meter), tokens) in rows(calls) {
        let (year, rest) = day.split_once('-').unwrap();
        let date = format!("{}/{year}", rest.replace('-', "/"));
        let quantity = thousands(tokens);
        text += &format!(
            "I,B,m,{meter},Azure OpenAI,Azure OpenAI,{date},{quantity},1K,{resource},0.0025,0.0025,1.00,EUR,USD,Usage,,\n"
        );
    }
    text
}
