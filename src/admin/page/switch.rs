//! Whether the page is on.

use std::net::IpAddr;

/// Where the live page is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::VariantArray, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum AdminPage {
    /// On an admin port that only this machine reaches: the page names callers.
    #[default]
    Auto,
    /// On any admin port.
    On,
    /// Nowhere.
    Off,
}

impl AdminPage {
    /// Whether an admin port at this address has the page.
    pub fn is_on(self, address: IpAddr) -> bool {
        match self {
            AdminPage::Auto => address.to_canonical().is_loopback(),
            AdminPage::On => true,
            AdminPage::Off => false,
        }
    }

    /// Why there is no page, for whoever asks for it.
    pub(in crate::admin) fn absence(self) -> &'static str {
        match self {
            AdminPage::Off => "the live page is off (--admin-page off)\n",
            AdminPage::Auto | AdminPage::On => {
                "the live page is off: it names callers, and this admin port is not on loopback; --admin-page on serves it here\n"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_on_where_only_this_machine_comes() {
        for (address, on) in [
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("10.0.0.1", false),
            ("fe80::1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(AdminPage::Auto.is_on(address), on, "{address}");
            assert_eq!((AdminPage::On.is_on(address), AdminPage::Off.is_on(address)), (true, false));
        }
    }
}
