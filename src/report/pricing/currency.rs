//! Currencies by ISO 4217.

use std::fmt;

/// The codes with minor units, by how many decimal places these have. Source: ISO 4217 list one as published by its
/// maintenance agency (SIX) on 2026-01-01; metals, funds without minor units and test codes are left out.
const CODES: [(u32, &str); 4] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE \
         CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD \
         HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK \
         MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD \
         RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH \
         USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

/// A currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: &'static str,
    /// Decimal places of its minor unit: 2 where that is a cent.
    pub(super) minor_places: u32,
}

impl Currency {
    /// Its three letters.
    pub fn code(self) -> &'static str {
        self.code
    }

    /// The currency of a code.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn of(text: &str) -> Result<Currency, String> {
        let mut codes = CODES.iter().flat_map(|(places, codes)| codes.split(' ').map(|code| (*places, code)));
        let found = codes.find(|(_, code)| *code == text);
        let currency = found.map(|(minor_places, code)| Currency { code, minor_places });
        currency.ok_or_else(|| format!("currency is {text}; allowed: a code of ISO 4217 such as USD or EUR"))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_minor_unit_and_a_word_is_none() {
        for (code, places) in [("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("CHF", 2)] {
            let currency = Currency::of(code).unwrap();
            assert_eq!((currency.code(), currency.minor_places), (code, places));
        }
        for wrong in ["usd", "Dollars", "", "US", "XXX", "EUR USD", "$", "ZZZ", "AED AFN"] {
            assert!(Currency::of(wrong).unwrap_err().contains("allowed: a code of ISO 4217"), "{wrong}");
        }
    }

    #[test]
    fn the_table_is_three_capital_letters_each_once() {
        let codes: Vec<&str> = CODES.iter().flat_map(|(_, codes)| codes.split(' ')).collect();
        assert!(codes.iter().all(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())));
        let unique: std::collections::BTreeSet<_> = codes.iter().collect();
        assert_eq!(unique.len(), codes.len());
    }
}
