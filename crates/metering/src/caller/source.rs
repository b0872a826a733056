//! Where a caller's id may come from.

use std::str::FromStr;

use http::header::HeaderName;

use super::fields::is_taken;
use super::identity::IdSource;

/// Where a caller's id may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerSource {
    /// `x-apim-subscription-id`.
    ApimSubscription,
    /// A header of the operator's choice.
    Header {
        /// Its name.
        name: HeaderName,
        /// All of its value is one name, commas included; else a list is none.
        whole: bool,
    },
    /// Claim `azp` or `appid` of the bearer token.
    EntraApp,
    /// Claims `tid` and `oid` of a person's bearer token.
    EntraUser,
    /// The first name in the verified client certificate.
    ClientCert,
    /// A keyed hash of the `api-key` or `x-api-key` header.
    ApiKey,
}

/// A caller source that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSourceError {
    /// No source of this name.
    #[error(
        "{0:?} is no caller source; allowed: apim-subscription, header:NAME, header:NAME:whole, entra-app, entra-user, client-cert, api-key"
    )]
    Unknown(String),
    /// The header is not free to name a caller.
    #[error(
        "{0:?} is not allowed: that header holds a credential or belongs to HTTP; allowed: one of your own"
    )]
    Taken(String),
}

/// Behind a header whose values are whole names. No name of a field has a colon.
const WHOLE: &str = ":whole";

impl FromStr for CallerSource {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "apim-subscription" => Ok(CallerSource::ApimSubscription),
            "entra-app" => Ok(CallerSource::EntraApp),
            "entra-user" => Ok(CallerSource::EntraUser),
            "client-cert" => Ok(CallerSource::ClientCert),
            "api-key" => Ok(CallerSource::ApiKey),
            _ => {
                let unknown = || ParseSourceError::Unknown(text.to_owned());
                let name = text.strip_prefix("header:").ok_or_else(unknown)?;
                let (name, whole) = match name.strip_suffix(WHOLE) {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let name: HeaderName = name.parse().map_err(|_| unknown())?;
                if is_taken(&name) {
                    return Err(ParseSourceError::Taken(text.to_owned()));
                }
                Ok(CallerSource::Header { name, whole })
            }
        }
    }
}

impl CallerSource {
    pub(super) fn kind(&self) -> IdSource {
        match self {
            CallerSource::ApimSubscription => IdSource::ApimSubscription,
            CallerSource::Header { .. } => IdSource::Header,
            CallerSource::EntraApp => IdSource::EntraApp,
            CallerSource::EntraUser => IdSource::EntraUser,
            CallerSource::ClientCert => IdSource::ClientCert,
            CallerSource::ApiKey => IdSource::ApiKey,
        }
    }

    /// Whether this source can contradict the name that `first` gave. An API key is as often the
    /// service's as the caller's, and one token names its caller in two ways.
    pub(super) fn may_contradict(&self, first: &CallerSource) -> bool {
        *self != CallerSource::ApiKey && !(self.is_of_token() && first.is_of_token())
    }

    /// It reads the bearer token.
    fn is_of_token(&self) -> bool {
        matches!(self, CallerSource::EntraApp | CallerSource::EntraUser)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_holds_a_credential_or_frames_the_message_names_nobody() {
        for bad in [
            "header:Authorization",
            "header:api-key",
            "header:X-Api-Key",
            "header:X-Tokenweir-Auth",
            "header:content-length",
        ] {
            assert_eq!(bad.parse::<CallerSource>(), Err(ParseSourceError::Taken(bad.to_owned())));
        }
        for bad in [
            "header:",
            "header:a b",
            "header",
            "entra",
            "jwt",
            "",
            "header::whole",
            "header:a:b",
            "header:a:whole:whole",
        ] {
            assert_eq!(bad.parse::<CallerSource>(), Err(ParseSourceError::Unknown(bad.to_owned())));
        }
        assert_eq!(
            "header:cookie:whole".parse::<CallerSource>(),
            Err(ParseSourceError::Taken("header:cookie:whole".to_owned()))
        );
        for (text, whole) in [("header:X-Team", false), ("header:X-Team:whole", true)] {
            let good: CallerSource = text.parse().unwrap();
            assert_eq!(good, CallerSource::Header { name: HeaderName::from_static("x-team"), whole });
        }
    }
}
