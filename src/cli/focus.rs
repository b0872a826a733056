//! The flags of FOCUS, which `report` and `close` share.

use clap::{ArgMatches, Command};

use super::arguments::{one_of, option, switch};
use crate::report::{BillingAccount, FocusOptions, FocusVersion};

/// Says for `--help` what the rows are.
pub(super) const FOCUS_HELP: &str = "\
Rows of FOCUS, the FinOps Open Cost and Usage Specification, share out cost that the provider's own cost export has \
already: whoever adds both up counts it twice. There is one row for each day of UTC, caller, department, deployment, \
model, tier and class, and two where a price changes within the day. What has no price has no row, and is told. \
docs/focus.md has the columns.";

pub(super) fn with_focus(command: Command) -> Command {
    let [id, name, kind] = BillingAccount::DEFAULTS;
    command
        .arg(
            option("focus-version", "VERSION", "Version of FOCUS")
                .default_value(<&str>::from(FocusVersion::default()))
                .value_parser(one_of::<FocusVersion>()),
        )
        .arg(switch("chargeback", "FOCUS: callers are billed what they cost; without it BilledCost is 0, since they are only shown it"))
        .arg(option("billing-account-id", "ID", "FOCUS: BillingAccountId, that of the team which shares the cost out").default_value(id))
        .arg(option("billing-account-name", "NAME", "FOCUS: BillingAccountName, and with --chargeback InvoiceIssuerName").default_value(name))
        .arg(option("billing-account-type", "TYPE", "FOCUS: BillingAccountType").default_value(kind))
}

pub(super) fn focus_options(matches: &ArgMatches) -> FocusOptions {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    FocusOptions {
        version: matches.get_one::<FocusVersion>("focus-version").copied().unwrap_or_default(),
        chargeback: matches.get_flag("chargeback"),
        account: BillingAccount {
            id: text("billing-account-id"),
            name: text("billing-account-name"),
            kind: text("billing-account-type"),
        },
    }
}
