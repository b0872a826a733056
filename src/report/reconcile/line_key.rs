//! One line of the result is about these: a basis, a resource, a deployment or model, a UTC day, and what is measured.

use std::cmp::Ordering;
use std::collections::HashMap;

use jiff::civil::Date;
use smol_str::SmolStr;
use strum::IntoStaticStr;

use super::measure::Measure;

/// Which of Azure's numbers a line is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Basis {
    /// Azure Monitor: by deployment, in minutes.
    Metrics,
    /// Cost Management: by meter, by day, a day late.
    CostExport,
}

impl Basis {
    /// The word that stands in every output.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A line without its day. Names are in lower case: Azure tells none apart by that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Subject {
    pub(super) basis: Basis,
    /// The name of Azure's resource.
    pub(super) resource: SmolStr,
    /// The deployment, or in a cost export the model; empty: it has no name, or all of the resource is meant.
    pub(super) scope: SmolStr,
    pub(super) measure: Measure,
}

/// A line. Lines are in the order of their resource, deployment, day and measure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LineKey {
    pub(super) subject: Subject,
    pub(super) day: Date,
}

impl Ord for LineKey {
    fn cmp(&self, other: &LineKey) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for LineKey {
    fn partial_cmp(&self, other: &LineKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl LineKey {
    fn order(&self) -> (Basis, &str, &str, Date, Measure) {
        let Subject { basis, resource, scope, measure } = &self.subject;
        (*basis, resource, scope, self.day, *measure)
    }
}

impl Subject {
    pub(super) fn on(&self, day: Date) -> LineKey {
        LineKey { subject: self.clone(), day }
    }

    /// The same of another deployment.
    pub(super) fn of(&self, scope: SmolStr) -> Subject {
        Subject { scope, ..self.clone() }
    }
}

/// Names in lower case, and how each was spelled first.
#[derive(Debug, Default)]
pub(super) struct Spellings(HashMap<SmolStr, SmolStr>);

impl Spellings {
    /// The name as a key.
    pub(super) fn key(&mut self, name: &str) -> SmolStr {
        let key = lower(name);
        if key != name && !self.0.contains_key(&key) {
            self.0.insert(key.clone(), name.into());
        }
        key
    }

    /// The name as it was spelled first.
    pub(super) fn of(&self, key: &SmolStr) -> SmolStr {
        self.0.get(key).unwrap_or(key).clone()
    }
}

/// A name as Azure compares it. Letters beyond ASCII stay as they are: no two names become one by that.
pub(super) fn lower(name: &str) -> SmolStr {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}
