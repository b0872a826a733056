//! A setting: its names, what a value of it may be, and the type that the program reads it as.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use super::kind::{Kind, OneOf};
use crate::tee::SampleRatio;

/// A setting without its type: all that flags, files, documents and errors need to know of it.
#[derive(Clone, Copy, Debug)]
pub struct AnySetting {
    /// The flag without its dashes; the TOML key has `_` for `-`, the environment name is
    /// `TOKENWEIR_` and the same in capitals.
    pub name: &'static str,
    /// The values that are allowed.
    pub kind: Kind,
    /// The value where none is given.
    pub default: Option<&'static str>,
    /// The group that it belongs to, as a heading.
    pub heading: &'static str,
    /// One sentence.
    pub help: &'static str,
}

impl AnySetting {
    /// `--name`, or nothing for a secret.
    pub fn flag(&self) -> Option<String> {
        (!self.is_secret()).then(|| format!("--{}", self.name))
    }

    /// The key in a configuration file.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The environment variable.
    pub fn env(&self) -> String {
        format!("TOKENWEIR_{}", self.key().to_ascii_uppercase())
    }

    /// It has neither a flag nor a key.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }
}

/// A setting whose value the program reads as a `T`. A constructor for each kind of value says which `T` it is,
/// so that no setting can be read as something else.
#[derive(Debug)]
pub struct Setting<T> {
    any: AnySetting,
    read_as: PhantomData<fn() -> T>,
}

impl<T> Deref for Setting<T> {
    type Target = AnySetting;

    fn deref(&self) -> &AnySetting {
        &self.any
    }
}

impl<T> Setting<T> {
    /// The setting without its type.
    pub const fn any(&self) -> &AnySetting {
        &self.any
    }

    const fn new(name: &'static str, kind: Kind) -> Setting<T> {
        Setting { any: AnySetting { name, kind, default: None, heading: "", help: "" }, read_as: PhantomData }
    }

    /// The value where none is given, written as a flag would have it.
    pub(super) const fn default_text(self, text: &'static str) -> Setting<T> {
        let any = AnySetting { default: Some(text), ..self.any };
        Setting { any, read_as: PhantomData }
    }

    /// Its group, and its sentence in `--help` and in the documents.
    pub(super) const fn help(self, heading: &'static str, help: &'static str) -> Setting<T> {
        let any = AnySetting { heading, help, ..self.any };
        Setting { any, read_as: PhantomData }
    }
}

impl Setting<SocketAddr> {
    pub(super) const fn address(name: &'static str) -> Self {
        Setting::new(name, Kind::Address)
    }
}

impl<T: OneOf> Setting<T> {
    pub(super) const fn choice(name: &'static str) -> Self {
        Setting::new(name, Kind::Choice(T::WORDS))
    }
}

impl Setting<usize> {
    pub(super) const fn count(name: &'static str, min: u64, max: u64) -> Self {
        Setting::new(name, Kind::Count(min, max))
    }

    /// A size in bytes of something that is held in memory.
    pub(super) const fn memory(name: &'static str, min_bytes: u64, max_bytes: u64) -> Self {
        Setting::new(name, Kind::Size(min_bytes, max_bytes))
    }
}

impl Setting<u64> {
    /// A size in bytes.
    pub(super) const fn size(name: &'static str, min_bytes: u64, max_bytes: u64) -> Self {
        Setting::new(name, Kind::Size(min_bytes, max_bytes))
    }
}

impl Setting<Duration> {
    pub(super) const fn time(name: &'static str, min: Duration, max: Duration) -> Self {
        Setting::new(name, Kind::Time(min, max))
    }
}

impl Setting<SampleRatio> {
    pub(super) const fn share(name: &'static str) -> Self {
        Setting::new(name, Kind::Share)
    }
}

impl Setting<PathBuf> {
    pub(super) const fn path(name: &'static str) -> Self {
        Setting::new(name, Kind::Path)
    }
}

impl Setting<String> {
    pub(super) const fn text(name: &'static str, note: &'static str) -> Self {
        Setting::new(name, Kind::Text(note))
    }

    pub(super) const fn secret(name: &'static str) -> Self {
        Setting::new(name, Kind::Secret)
    }
}

impl Setting<Vec<String>> {
    pub(super) const fn list(name: &'static str, note: &'static str) -> Self {
        Setting::new(name, Kind::List(note))
    }

    pub(super) const fn repeated(name: &'static str, note: &'static str) -> Self {
        Setting::new(name, Kind::Repeated(note))
    }
}
