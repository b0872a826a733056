//! The bill as its reader names it: version, account, and whether it is a chargeback.

use strum::{EnumString, IntoStaticStr, VariantNames};

/// A version of the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
pub enum FocusVersion {
    /// What Azure's Cost Management exports, and what most readers take.
    #[default]
    #[strum(serialize = "1.2")]
    V1_2,
    /// With `ServiceProviderName` and `HostProviderName` in place of `ProviderName` and `PublisherName`.
    #[strum(serialize = "1.4")]
    V1_4,
}

/// Who shares the cost out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingAccount {
    /// `BillingAccountId`
    pub id: String,
    /// `BillingAccountName`
    pub name: String,
    /// `BillingAccountType`
    pub kind: String,
}

/// The bill as its reader names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FocusOptions {
    /// The version.
    pub version: FocusVersion,
    /// Callers are billed what they cost; else they are only shown it, and `BilledCost` is 0.
    pub chargeback: bool,
    /// Who shares the cost out.
    pub account: BillingAccount,
}

impl BillingAccount {
    /// The id, the name and the type where nobody gives others.
    pub const DEFAULTS: [&str; 3] = ["ai-platform", "AI platform", "Platform team"];
}

impl Default for BillingAccount {
    fn default() -> BillingAccount {
        let [id, name, kind] = BillingAccount::DEFAULTS.map(str::to_owned);
        BillingAccount { id, name, kind }
    }
}
