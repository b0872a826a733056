//! The manifest of a close: what it is of, whether it is complete, what it was made with, and the SHA-256 of every file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::bill::MonthBill;
use super::folder::WrittenFile;
use super::options::CloseOptions;
use super::sha256::sha256;
use super::state::CloseState;
use crate::report::error::ReportError;
use crate::report::tally::Report;
use metering::names;

/// The names of the files of a close.
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const USAGE: &str = "usage.csv";
pub(super) const FOCUS: &str = "focus.csv";
pub(super) const TOTALS: &str = "departments.csv";
pub(super) const STATEMENTS: &str = "statements";

/// The version of this layout.
const LAYOUT: u32 = 1;

/// The version of the events that are read.
const EVENTS: &str = "1.1";

/// These members of a manifest must be the same in every adjustment.
const SAME: [&str; 6] = ["layout", "month", "from", "to", "currency", "focus"];

/// A close that lies in a folder: the first one, or one of its adjustments.
#[derive(Debug)]
pub(super) struct EarlierManifest {
    pub(super) path: PathBuf,
    pub(super) json: Value,
    pub(super) sha256: String,
}

/// The manifest without its files, which are only known at the end.
pub(super) fn manifest(
    bill: &MonthBill,
    report: &Report,
    state: &CloseState<'_>,
    options: &CloseOptions,
) -> Map<String, Value> {
    let (month, focus) = (&options.month, &options.focus);
    let versions = report.cost.versions.named();
    let versions: Map<String, Value> =
        versions.map(|(name, version)| (name.to_owned(), version.into())).collect();
    let focus = json!({
        "version": focus.version.as_str(),
        "chargeback": focus.chargeback,
        "billing_account_id": focus.account.id,
        "billing_account_name": focus.account.name,
        "billing_account_type": focus.account.kind,
    });
    let currencies: Vec<&String> = report.currency.iter().chain(&report.cost.currency_2).collect();
    let departments = bill.departments.iter().map(|department| {
        let amounts = department.amounts.iter();
        let amounts: Map<String, Value> =
            amounts.map(|(amount, currency)| (currency.clone(), amount.to_string().into())).collect();
        json!({"department": department.label, "amounts": amounts})
    });
    let departments: Vec<Value> = departments.collect();
    let notes: Vec<&String> = report.cost.notes.iter().collect();
    let mut members = Map::new();
    for (name, value) in [
        ("layout", json!(LAYOUT)),
        ("month", json!(month.name)),
        ("time_zone", json!(options.usage.calendar.zone_name())),
        ("from", json!(month.from.to_string())),
        ("to", json!(month.to.to_string())),
        ("currency", json!(currencies)),
        ("focus", focus),
        ("program", json!(concat!("tokenweir ", env!("CARGO_PKG_VERSION")))),
        ("events", json!(EVENTS)),
        ("versions", versions.into()),
        ("departments", departments.into()),
        ("notes", json!(notes)),
    ] {
        members.insert(name.to_owned(), value);
    }
    members.extend(state.members());
    members
}

/// The text of a manifest with its files.
pub(super) fn text(mut members: Map<String, Value>, files: &[WrittenFile]) -> String {
    let mut files: Vec<&WrittenFile> = files.iter().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let files =
        files.iter().map(|file| json!({"name": file.name, "bytes": file.bytes, "sha256": file.sha256}));
    members.insert("files".to_owned(), files.collect::<Vec<_>>().into());
    format!("{}\n", names::json(&format!("{:#}", Value::Object(members))))
}

impl EarlierManifest {
    /// The manifest of a folder, whose files are as they were written; `None`: it has none.
    pub(super) fn read(folder: &Path) -> Result<Option<EarlierManifest>, ReportError> {
        let path = folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ReportError::File { path, error }),
        };
        let json: Value =
            serde_json::from_slice(&text).map_err(|error| changed(&path, &error.to_string()))?;
        let found = EarlierManifest { path: folder.to_owned(), json, sha256: sha256(&text) };
        found.check_files()?;
        Ok(Some(found))
    }

    fn check_files(&self) -> Result<(), ReportError> {
        for file in self.json["files"].as_array().into_iter().flatten() {
            let name = file["name"].as_str().unwrap_or_default();
            let path = self.path.join(name);
            let content = self.file(name)?;
            if file["sha256"].as_str() != Some(&sha256(&content)) {
                return Err(changed(&path, "it is not as it was written"));
            }
        }
        Ok(())
    }

    /// The content of one of its files.
    pub(super) fn file(&self, name: &str) -> Result<Vec<u8>, ReportError> {
        let path = self.path.join(name);
        fs::read(&path).map_err(|error| ReportError::File { path, error })
    }

    /// A close of the same month in the same currency can adjust it.
    pub(super) fn check_same(&self, members: &Map<String, Value>) -> Result<(), ReportError> {
        match SAME.iter().find(|name| members.get(**name) != self.json.get(**name)) {
            None => Ok(()),
            Some(name) => {
                let was = self.json.get(*name).cloned().unwrap_or_default();
                Err(changed(&self.path.join(MANIFEST), &format!("it is a close whose {name} is {was}")))
            }
        }
    }
}

/// A close that cannot be gone on with.
pub(super) fn changed(path: &Path, problem: &str) -> ReportError {
    ReportError::EarlierClose { path: path.to_owned(), problem: problem.to_owned() }
}
