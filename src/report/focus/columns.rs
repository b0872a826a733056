//! The columns, by version.

use strum::{IntoStaticStr, VariantArray};

use super::options::FocusVersion;

/// A column. Those that could only be null are left out, such as `InvoiceId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub(crate) enum FocusColumn {
    BilledCost,
    BillingAccountId,
    BillingAccountName,
    BillingAccountType,
    BillingCurrency,
    BillingPeriodEnd,
    BillingPeriodStart,
    ChargeCategory,
    ChargeClass,
    ChargeDescription,
    ChargeFrequency,
    ChargePeriodEnd,
    ChargePeriodStart,
    ConsumedQuantity,
    ConsumedUnit,
    ContractedCost,
    ContractedUnitPrice,
    EffectiveCost,
    HostProviderName,
    InvoiceIssuerName,
    ListCost,
    ListUnitPrice,
    PricingCategory,
    PricingQuantity,
    PricingUnit,
    ProviderName,
    PublisherName,
    RegionId,
    RegionName,
    ResourceId,
    ResourceName,
    ResourceType,
    ServiceCategory,
    ServiceName,
    ServiceProviderName,
    ServiceSubcategory,
    SkuId,
    SkuMeter,
    SkuPriceDetails,
    SkuPriceId,
    SubAccountId,
    SubAccountName,
    SubAccountType,
    Tags,
    #[strum(serialize = "x_CallerMapVersion")]
    CallerMapVersion,
    #[strum(serialize = "x_Model")]
    Model,
    #[strum(serialize = "x_PriceTableVersion")]
    PriceTableVersion,
    #[strum(serialize = "x_Requests")]
    Requests,
    #[strum(serialize = "x_TokensEstimated")]
    TokensEstimated,
    #[strum(serialize = "x_TokensExact")]
    TokensExact,
    #[strum(serialize = "x_TokensLowerBound")]
    TokensLowerBound,
}

/// A column does one of these for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FocusColumnKind {
    /// It says which row it is.
    Key,
    /// It is added up.
    Sum,
    /// It says how the row came about.
    Origin,
}

impl FocusColumn {
    /// The columns of a version, in order.
    pub(crate) fn of(version: FocusVersion) -> Vec<FocusColumn> {
        let left_out: &[FocusColumn] = match version {
            FocusVersion::V1_2 => &[FocusColumn::HostProviderName, FocusColumn::ServiceProviderName],
            FocusVersion::V1_4 => &[FocusColumn::ProviderName, FocusColumn::PublisherName],
        };
        FocusColumn::VARIANTS.iter().copied().filter(|column| !left_out.contains(column)).collect()
    }

    /// Its name in the file.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    pub(crate) fn kind(self) -> FocusColumnKind {
        use FocusColumn as C;
        match self {
            C::BilledCost
            | C::ConsumedQuantity
            | C::ContractedCost
            | C::EffectiveCost
            | C::ListCost
            | C::PricingQuantity
            | C::Requests
            | C::TokensEstimated
            | C::TokensExact
            | C::TokensLowerBound => FocusColumnKind::Sum,
            C::CallerMapVersion | C::PriceTableVersion | C::ChargeClass => FocusColumnKind::Origin,
            _ => FocusColumnKind::Key,
        }
    }
}
