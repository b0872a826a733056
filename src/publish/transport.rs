//! How a client may speak to its brokers: which properties decide who can listen, and who can pass for a broker.
//!
//! Read against the whole of `CONFIGURATION.md` of librdkafka 2.12.1. A login goes over TLS only, also on this
//! machine: its secret opens the topic from which invoices are written, and a forwarder that listens on loopback
//! sends it on. That a broker is who it says is verified always. Neither has a switch: an authority of one's own is
//! named by `ssl.ca.location`.

use super::auth::Auth;
use super::shown::shown;

/// The kind of login, which decides how the transport must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// There is none.
    None,
    /// The secret itself is sent: SASL PLAIN with a connection string.
    ConnectionString,
    /// A user and a password.
    Sasl,
    /// Tokens.
    Entra,
}

impl Login {
    pub(super) fn of(auth: &Auth) -> Login {
        match auth {
            Auth::None => Login::None,
            Auth::ConnectionString(_) => Login::ConnectionString,
            Auth::Sasl { .. } => Login::Sasl,
            Auth::Entra { .. } => Login::Entra,
        }
    }

    fn protocols(self) -> (&'static [&'static str], &'static str) {
        match self {
            Login::None => (&["plaintext", "ssl"], "SASL needs a login: kafka_auth \"sasl\" or \"entra\""),
            _ => (&["sasl_ssl"], "a login goes over TLS only, for whoever listens could use it"),
        }
    }

    /// The mechanisms; none where the property is not to be set at all.
    fn mechanisms(self) -> (&'static [&'static str], &'static str) {
        match self {
            Login::None => (&[], "cannot be set: it needs a login: kafka_auth \"sasl\""),
            Login::Entra => (&[], "cannot be set: kafka_auth \"entra\" is OAUTHBEARER; leave it out"),
            Login::ConnectionString => (&["PLAIN"], "a connection string is a password"),
            Login::Sasl => (
                &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
                "kafka_auth \"sasl\" has a user and a password",
            ),
        }
    }
}

/// A property that takes one of these words, whatever their case.
struct Words {
    name: &'static str,
    allowed: &'static [&'static str],
    why: &'static str,
}

/// Switches that would let anybody pass for a broker. `t` and `1` are what librdkafka takes for `true`.
const VERIFICATION: &[Words] = &[
    Words {
        name: "enable.ssl.certificate.verification",
        allowed: &["true", "t", "1"],
        why: "anybody could pass for the broker; name an authority of your own with ssl.ca.location",
    },
    Words {
        name: "ssl.endpoint.identification.algorithm",
        allowed: &["https"],
        why: "whoever has any certificate could pass for the broker",
    },
    Words {
        name: "client.dns.lookup",
        allowed: &["use_all_dns_ips"],
        why: "the name in the broker's certificate would be what DNS says, and not what kafka_brokers says",
    },
];

/// In a list of ciphers (`man ciphers`): a command, of which one lowers the level below which OpenSSL takes neither
/// unauthenticated nor unencrypted connections nor broken ciphers; and the names of just these.
const WEAK_CIPHERS: [&str; 10] = ["@", "NULL", "ADH", "AECDH", "ANON", "EXP", "LOW", "RC4", "DES", "MD5"];

/// The fault of a property of the transport; `None` if it may be set so, or is none. `name` is in lower case.
pub(super) fn problem(name: &str, value: &str, login: Login) -> Option<String> {
    let one_of = |allowed: &[&str], why: &str| {
        let fits = allowed.iter().any(|word| word.eq_ignore_ascii_case(value));
        (!fits).then(|| format!("{} is not allowed; allowed: {}: {why}", shown(value), allowed.join(" | ")))
    };
    match name {
        "security.protocol" => {
            let (allowed, why) = login.protocols();
            one_of(allowed, why)
        }
        "sasl.mechanism" | "sasl.mechanisms" => match login.mechanisms() {
            ([], why) => Some(why.to_owned()),
            (allowed, why) => {
                // librdkafka compares them with their case.
                let fits = allowed.contains(&value);
                let words = allowed.join(" | ");
                (!fits).then(|| format!("{} is not allowed; allowed: {words}: {why}", shown(value)))
            }
        },
        "ssl.cipher.suites" => {
            let upper = value.to_ascii_uppercase();
            let weak = WEAK_CIPHERS.iter().find(|part| upper.contains(*part))?;
            Some(format!(
                "holds {weak}, which is not allowed; allowed: names of ciphers that encrypt and authenticate"
            ))
        }
        _ => {
            let words = VERIFICATION.iter().find(|words| words.name == name)?;
            one_of(words.allowed, words.why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGINS: [Login; 3] = [Login::ConnectionString, Login::Sasl, Login::Entra];

    /// `sasl_plaintext`, in any case.
    fn spellings(word: &str) -> Vec<String> {
        let mixed = |(at, c): (usize, char)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c };
        vec![word.to_owned(), word.to_ascii_uppercase(), word.char_indices().map(mixed).collect()]
    }

    #[test]
    fn a_login_goes_over_tls_only() {
        for login in LOGINS {
            for word in ["sasl_plaintext", "plaintext", "ssl"] {
                for value in spellings(word) {
                    let told = problem("security.protocol", &value, login).unwrap();
                    assert!(told.contains("allowed: sasl_ssl") && told.contains(&value), "{told}");
                }
            }
            for value in spellings("sasl_ssl") {
                assert_eq!(problem("security.protocol", &value, login), None, "{value}");
            }
            // librdkafka takes no value at all for its default, which is plaintext.
            assert!(problem("security.protocol", "", login).is_some());
        }
        for value in ["plaintext", "SSL"] {
            assert_eq!(problem("security.protocol", value, Login::None), None);
        }
        for value in ["sasl_plaintext", "SASL_SSL", ""] {
            assert!(problem("security.protocol", value, Login::None).unwrap().contains("kafka_auth"));
        }
    }

    #[test]
    fn brokers_are_verified_always() {
        for (name, fine, bad) in [
            ("enable.ssl.certificate.verification", "True", &["false", "FALSE", "f", "F", "0", "", "no"][..]),
            ("enable.ssl.certificate.verification", "1", &[]),
            ("ssl.endpoint.identification.algorithm", "HTTPS", &["none", "None", ""]),
            ("client.dns.lookup", "use_all_dns_ips", &["resolve_canonical_bootstrap_servers_only"]),
            (
                "ssl.cipher.suites",
                "ECDHE-RSA-AES256-GCM-SHA384:TLS_AES_256_GCM_SHA384",
                &["ALL:@SECLEVEL=0", "aNULL", "eNULL", "DEFAULT:ADH-AES128-SHA", "des-cbc3-sha", "RC4-MD5"],
            ),
        ] {
            for login in LOGINS.into_iter().chain([Login::None]) {
                assert_eq!(problem(name, fine, login), None, "{name}={fine}");
                for bad in bad {
                    assert!(problem(name, bad, login).is_some(), "{name}={bad}");
                }
            }
        }
    }

    #[test]
    fn a_mechanism_is_one_of_the_login_s() {
        for name in ["sasl.mechanism", "sasl.mechanisms"] {
            assert_eq!(problem(name, "SCRAM-SHA-512", Login::Sasl), None);
            assert_eq!(problem(name, "PLAIN", Login::ConnectionString), None);
            for (value, login) in [
                ("SCRAM-SHA-512", Login::ConnectionString),
                ("GSSAPI", Login::Sasl),
                ("plain", Login::Sasl),
                ("PLAIN", Login::None),
                ("OAUTHBEARER", Login::Entra),
            ] {
                assert!(problem(name, value, login).is_some(), "{name}={value} {login:?}");
            }
        }
    }
}
