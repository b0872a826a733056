//! The kinds of values that settings take, and how a text becomes a value: here, once, for every layer.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use strum::{VariantArray, VariantNames};

use super::shown::{harmless, quoted};
use super::value::{duration, format_duration, format_size, size_bytes};
use crate::tee::SampleRatio;

/// The values that a setting may have.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `host:port`.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Count(u64, u64),
    /// A duration with its unit, in this range.
    Time(Duration, Duration),
    /// A size with its unit, in bytes, in this range.
    Size(u64, u64),
    /// A percentage with its sign.
    Share,
    /// A path.
    Path,
    /// Any text; the note says what it should look like.
    Text(&'static str),
    /// Values separated by commas. Its flag may be given more than once, and then all of them count.
    List(&'static str),
    /// A flag that may be given more than once; an array in TOML, commas in the environment.
    Repeated(&'static str),
    /// Never on a flag: from the environment, or from the file that the setting `..-file` names.
    Secret,
}

/// A value that is allowed, read from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// An address, resolved.
    Address(SocketAddr),
    /// The place of the word among those of the choice.
    Choice(usize),
    /// A count, or a size in bytes.
    Number(u64),
    /// A duration.
    Time(Duration),
    /// A share.
    Share(SampleRatio),
    /// A path, any text, or a secret.
    Text(String),
    /// The texts of a list, or one of a flag that may be given more than once.
    Texts(Vec<String>),
}

impl Kind {
    /// The allowed values in words, for messages and tables.
    pub fn allowed(self) -> String {
        match self {
            Kind::Address => "host:port".to_owned(),
            Kind::Choice(words) => words.join(" | "),
            Kind::Count(min, max) => format!("{min} to {max}"),
            Kind::Time(min, max) => format!("{} to {}", format_duration(min), format_duration(max)),
            Kind::Size(min, max) => format!("{} to {}", format_size(min), format_size(max)),
            Kind::Share => "0% to 100%".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Text(note) | Kind::List(note) | Kind::Repeated(note) => note.to_owned(),
            Kind::Secret => "a secret".to_owned(),
        }
    }

    /// A refused value as an error may show it.
    pub(super) fn shown(self, text: &str) -> String {
        let told = match self {
            Kind::Address
            | Kind::Choice(_)
            | Kind::Count(..)
            | Kind::Time(..)
            | Kind::Size(..)
            | Kind::Share => harmless(text),
            Kind::Path | Kind::Text(_) | Kind::List(_) | Kind::Repeated(_) | Kind::Secret => text.is_empty(),
        };
        quoted(text, told)
    }

    /// Reads a value; `None` if it is not allowed.
    pub(super) fn read(self, text: &str) -> Option<SettingValue> {
        match self {
            Kind::Address => address(text).map(SettingValue::Address),
            Kind::Choice(words) => words.iter().position(|word| *word == text).map(SettingValue::Choice),
            Kind::Count(min, max) => {
                text.parse().ok().filter(|n| (min..=max).contains(n)).map(SettingValue::Number)
            }
            Kind::Time(min, max) => {
                duration(text).filter(|t| (min..=max).contains(t)).map(SettingValue::Time)
            }
            Kind::Size(min, max) => {
                size_bytes(text).filter(|n| (min..=max).contains(n)).map(SettingValue::Number)
            }
            Kind::Share => SampleRatio::parse(text).map(SettingValue::Share),
            _ if text.is_empty() => None,
            Kind::Path | Kind::Text(_) | Kind::Secret => Some(SettingValue::Text(text.to_owned())),
            Kind::List(_) => Some(SettingValue::Texts(words(text))),
            Kind::Repeated(_) => Some(SettingValue::Texts(vec![text.to_owned()])),
        }
    }
}

/// `127.0.0.1:8080`, or `localhost:8080`: a name that the system can resolve now.
fn address(text: &str) -> Option<SocketAddr> {
    // No name server is asked about a text that may be a secret.
    let resolved = || text.to_socket_addrs().ok().filter(|_| harmless(text))?.next();
    text.parse().ok().or_else(resolved)
}

/// Words between commas, without the empty ones.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The type of a setting that takes one of a few words: a variant for each.
pub trait OneOf: VariantNames + VariantArray + Copy {
    /// The words, in the order of the variants.
    const WORDS: &'static [&'static str] = <Self as VariantNames>::VARIANTS;
}

/// A type that settings are read as.
pub trait FromValues: Sized {
    /// The value, from all that were given for the setting; `None` if there is none.
    fn from_values(values: &[SettingValue]) -> Option<Self>;
}

impl<T: OneOf> FromValues for T {
    fn from_values(values: &[SettingValue]) -> Option<T> {
        match values.first()? {
            SettingValue::Choice(place) => <T as VariantArray>::VARIANTS.get(*place).copied(),
            _ => None,
        }
    }
}

/// Says which variant of a value a type is read from.
macro_rules! read_from {
    ($($type:ty: $variant:ident),+) => {
        $(impl FromValues for $type {
            fn from_values(values: &[SettingValue]) -> Option<$type> {
                match values.first()? {
                    SettingValue::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        })+
    };
}

read_from!(SocketAddr: Address, u64: Number, Duration: Time, SampleRatio: Share, String: Text);

impl FromValues for usize {
    fn from_values(values: &[SettingValue]) -> Option<usize> {
        u64::from_values(values).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }
}

impl FromValues for PathBuf {
    fn from_values(values: &[SettingValue]) -> Option<PathBuf> {
        String::from_values(values).map(PathBuf::from)
    }
}

impl FromValues for Vec<String> {
    fn from_values(values: &[SettingValue]) -> Option<Vec<String>> {
        let texts = values.iter().map(|value| match value {
            SettingValue::Texts(texts) => texts.as_slice(),
            _ => &[],
        });
        Some(texts.collect::<Vec<_>>().concat())
    }
}

#[cfg(test)]
mod tests {
    use super::super::shown::{HIDDEN, without, word};
    use super::*;

    #[test]
    fn what_has_the_shape_of_a_secret_is_shown_nowhere() {
        for text in [
            "Endpoint=sb://n/;SharedAccessKeyName=k;SharedAccessKey=hush",
            "http://u:hush@h:1",
            "eyJhbGciOiJub25lIn0.e30.hush",
            "sk-hush",
            "-----BEGIN PRIVATE KEY-----\nhush",
            &"hush".repeat(20),
        ] {
            for kind in [Kind::Address, Kind::Count(0, 1), Kind::Choice(&["a"]), Kind::Path, Kind::Text("")] {
                assert_eq!(kind.shown(text), HIDDEN);
            }
            assert_eq!(without(&format!("{text:?} is wrong"), text), "the value is wrong");
        }
        assert_eq!(
            (Kind::Count(0, 1).shown("20k"), word("a b")),
            ("\"20k\"".to_owned(), "\"a b\"".to_owned())
        );
    }
}
