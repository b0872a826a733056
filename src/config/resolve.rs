//! Layers of settings: flag over environment over file over default. Every error is collected,
//! so that one run shows them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::file::{self, FileEntry};
use super::hint::{hint, nearest};
use super::kind::{FromValues, Kind, SettingValue, words};
use super::setting::{AnySetting, Setting};
use super::settings::SETTINGS;
use super::shown;

/// Something that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The thing: flag, key or environment name as it was given.
    pub thing: String,
    /// The fault, with the value where that can be no secret, and the values that are allowed.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.thing, self.problem)
    }
}

/// Where a value was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In the environment.
    Env,
    /// In the configuration file.
    File,
    /// Nowhere.
    Default,
}

/// A setting as its highest layer gives it.
#[derive(Debug)]
struct GivenSetting {
    origin: Origin,
    /// The texts that are allowed, ..
    texts: Vec<String>,
    /// .. and the value of each.
    values: Vec<SettingValue>,
}

/// The texts of settings, by their names.
pub type SettingTexts = BTreeMap<&'static str, Vec<String>>;

/// The settings as given, each from its highest layer, and what was wrong with them.
#[derive(Debug, Default)]
pub struct Values {
    given: BTreeMap<&'static str, GivenSetting>,
    errors: Vec<ConfigError>,
    /// Settings of which something wrong has been told: what follows from it is told no more.
    wrong: BTreeSet<&'static str>,
    /// The file could not be read to its end, so it is not known which settings it lacks.
    file_is_broken: bool,
}

impl Values {
    /// Merges the layers. `flags` gives what stood on the command line for a name, `env` what an
    /// environment variable holds, `file` is the text of the configuration file.
    pub fn resolve(
        flags: impl Fn(&str) -> Option<Vec<String>>,
        env: impl Fn(&str) -> Option<String>,
        file: Option<(&Path, &str)>,
    ) -> Values {
        let mut values = Values::default();
        let mut in_file = file.map_or_else(BTreeMap::new, |(path, text)| values.read_file(path, text));
        for setting in SETTINGS {
            let from_env = || env(&setting.env()).map(|text| split_env(setting, text));
            let (given, origin) = if let Some(given) = flags(setting.name) {
                (given, Origin::Flag)
            } else if let Some(given) = from_env() {
                (given, Origin::Env)
            } else if let Some(given) = in_file.remove(setting.name) {
                (given, Origin::File)
            } else if let Some(default) = setting.default {
                (vec![default.to_owned()], Origin::Default)
            } else {
                continue;
            };
            values.take(setting, origin, given);
        }
        values
    }

    fn take(&mut self, setting: &AnySetting, origin: Origin, given: Vec<String>) {
        let mut taken = GivenSetting { origin, texts: Vec::new(), values: Vec::new() };
        for text in given {
            match setting.kind.read(&text) {
                Some(value) => {
                    taken.values.push(value);
                    taken.texts.push(text);
                }
                None => self.reject(setting, origin, &text),
            }
        }
        self.given.insert(setting.name, taken);
    }

    fn read_file(&mut self, path: &Path, text: &str) -> BTreeMap<&'static str, Vec<String>> {
        let mut found = BTreeMap::new();
        let file = file::read(text);
        self.file_is_broken = !file.broken.is_empty();
        for (key, entry) in file.entries {
            let thing = format!("{}: {key}", path.display());
            let setting = SETTINGS.iter().find(|s| s.key() == key && !s.is_secret());
            match (setting, entry) {
                (Some(setting), FileEntry::Texts(texts)) => {
                    found.insert(setting.name, texts);
                }
                (Some(setting), FileEntry::Table(_)) => self.mistyped(thing, setting, "a table"),
                (Some(setting), FileEntry::Other(kind)) => self.mistyped(thing, setting, kind),
                (None, entry) => {
                    let (problem, meant) = unknown_key(&key, &entry);
                    self.wrong.extend(meant.iter().map(|setting| setting.name));
                    self.error(thing, problem);
                }
            }
        }
        for broken in file.broken {
            // "and 3 more lines" has no place of its own.
            match broken.split_once(": ").filter(|(place, _)| place.starts_with("line ")) {
                Some((place, problem)) => self.error(format!("{}, {place}", path.display()), problem),
                None => self.error(path.display().to_string(), broken),
            }
        }
        found
    }

    fn mistyped(&mut self, thing: String, setting: &AnySetting, kind: &str) {
        self.wrong.insert(setting.name);
        self.error(thing, format!("{kind} is no value for it; allowed: {}", setting.kind.allowed()));
    }

    fn reject(&mut self, setting: &AnySetting, origin: Origin, text: &str) {
        self.wrong.insert(setting.name);
        let shown = setting.kind.shown(text);
        // A word near to a hidden value would give it away.
        let near = || hint(setting.kind, text, |text| setting.kind.read(text).is_some());
        let hint = if shown == shown::HIDDEN { String::new() } else { near() };
        let allowed = setting.kind.allowed();
        self.error(thing(setting, origin), format!("{shown} is not allowed; allowed: {allowed}{hint}"));
    }

    /// Adds an error.
    pub fn error(&mut self, thing: impl Into<String>, problem: impl Into<String>) {
        self.errors.push(ConfigError { thing: thing.into(), problem: problem.into() });
    }

    /// Adds an error about a setting, naming it as it was given.
    pub fn error_in(&mut self, setting: &AnySetting, problem: impl Into<String>) {
        self.wrong.insert(setting.name);
        self.error(self.thing(setting), problem);
    }

    /// Adds an error about the value in the environment, which is no text.
    pub fn not_utf8(&mut self, variable: &str) {
        let setting = SETTINGS.iter().find(|setting| setting.env() == variable);
        self.wrong.extend(setting.map(|setting| setting.name));
        self.error(variable, "the value is not UTF-8");
    }

    /// A setting as it was given: the flag, the variable or the key; the flag where it was not given.
    pub fn thing(&self, setting: &AnySetting) -> String {
        thing(setting, self.origin(setting).unwrap_or(Origin::Flag))
    }

    /// An error about this setting has been told already. A consequence of it, such as that the setting
    /// is not set, would be a second error for one cause.
    pub fn is_wrong(&self, setting: &AnySetting) -> bool {
        self.wrong.contains(setting.name)
    }

    /// The file is broken somewhere, which has been told. A setting that seems to be missing may stand behind that place.
    pub fn file_is_broken(&self) -> bool {
        self.file_is_broken
    }

    /// Every error so far.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// Where a setting was given; `None` if it was not and has no default.
    pub fn origin(&self, setting: &AnySetting) -> Option<Origin> {
        self.given.get(setting.name).map(|given| given.origin)
    }

    /// The texts of a setting, as they were given.
    pub fn texts(&self, setting: &AnySetting) -> &[String] {
        self.given.get(setting.name).map_or(&[], |given| &given.texts)
    }

    /// The texts of every setting that is no secret: those stand in the environment, which does not change.
    pub fn texts_of_all(&self) -> SettingTexts {
        let open = SETTINGS.iter().filter(|setting| !setting.is_secret());
        open.map(|setting| (setting.name, self.texts(setting).to_vec())).collect()
    }

    /// It has a value, its own or the default.
    pub fn is_set(&self, setting: &AnySetting) -> bool {
        !self.texts(setting).is_empty()
    }

    /// The value of a setting. `None` where none was given and there is no default, and where it was rejected, which
    /// has been told.
    pub fn get<T: FromValues>(&self, setting: &Setting<T>) -> Option<T> {
        let given = self.given.get(setting.name).filter(|given| !given.values.is_empty())?;
        T::from_values(&given.values)
    }

    /// The texts of a list; empty where none were given.
    pub fn list(&self, setting: &Setting<Vec<String>>) -> Vec<String> {
        self.get(setting).unwrap_or_default()
    }

    /// The path of a file that holds no secret. A text in the shape of one is no path: it is an error that does
    /// not repeat it.
    pub fn file_path(&mut self, setting: &Setting<PathBuf>) -> Option<PathBuf> {
        let path = shown::file_path(self.texts(setting).first()?);
        if path.is_none() {
            self.error_in(
                setting,
                "names no file, and the value is not repeated, for it looks like a secret",
            );
        }
        path
    }

    /// The path of a file that holds a secret or a key. A value that is no path may be what should be in the
    /// file: it is an error that does not repeat it.
    pub fn secret_path(&mut self, setting: &Setting<PathBuf>) -> Option<PathBuf> {
        let path = shown::secret_path(self.texts(setting).first()?);
        if path.is_none() {
            let problem = "names no file, and the value is not repeated, for it may be the secret itself; give the path \
                           of a file that holds it";
            self.error_in(setting, problem);
        }
        path
    }

    /// A secret: from the environment, or the contents of its file, without white space at its ends.
    pub fn secret(&mut self, setting: &Setting<String>, file: &Setting<PathBuf>) -> Option<String> {
        if let Some(secret) = self.get(setting) {
            return Some(secret.trim().to_owned());
        }
        let path = self.secret_path(file)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                self.error_in(file, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }
}

fn thing(setting: &AnySetting, origin: Origin) -> String {
    match origin {
        Origin::Flag | Origin::Default => setting.flag().unwrap_or_else(|| setting.env()),
        Origin::Env => setting.env(),
        Origin::File => setting.key(),
    }
}

fn split_env(setting: &AnySetting, text: String) -> Vec<String> {
    match setting.kind {
        Kind::Repeated(_) => words(&text),
        _ => vec![text],
    }
}

/// The error for a key that is no setting, and the settings that were probably meant.
fn unknown_key(key: &str, entry: &FileEntry) -> (String, Vec<&'static AnySetting>) {
    let in_file = || SETTINGS.iter().copied().filter(|setting| !setting.is_secret());
    let named = |key: &str| in_file().find(|setting| setting.key() == key);
    if let FileEntry::Table(names) = entry {
        // `[kafka] brokers = ..`
        let meant: Vec<_> =
            names.iter().filter_map(|name| named(&format!("{key}_{name}")).or_else(|| named(name))).collect();
        let keys: Vec<_> = meant.iter().map(|setting| setting.key()).collect();
        let hint = match keys.as_slice() {
            [] => String::new(),
            keys => format!("; did you mean {}, without [{key}]?", keys.join(", ")),
        };
        return (format!("is not a setting, and no setting is a table: the file is flat{hint}"), meant);
    }
    if let Some(known) = nearest(&key.replace('-', "_"), in_file().map(AnySetting::key)) {
        return (format!("is not a setting; did you mean {known}?"), named(&known).into_iter().collect());
    }
    if let Some(known) = named(&key.replace('-', "_")) {
        return (format!("is not a setting; did you mean {}?", known.key()), vec![known]);
    }
    let secret = SETTINGS.iter().copied().find(|setting| setting.key() == key);
    match secret {
        Some(setting) => {
            let problem = format!(
                "is a secret and stands in no file; give it in the environment ({}), or name a file that holds it ({key}_file)",
                setting.env()
            );
            (problem, vec![setting])
        }
        None => ("is not a setting; `tokenweir serve --help` lists them".to_owned(), Vec::new()),
    }
}

/// Environment variables that are nearly the name of a setting. Others that begin alike are none of our
/// business: Kubernetes makes such for a service that is called tokenweir.
pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<ConfigError> {
    let known = |name: &str| name == CONFIG_VARIABLE || SETTINGS.iter().any(|setting| setting.env() == name);
    let ours = names.into_iter().filter(|name| name.starts_with("TOKENWEIR_") && !known(name));
    let mut found: Vec<_> = ours
        .filter_map(|name| {
            let near = nearest(&name, SETTINGS.iter().map(|setting| setting.env()))?;
            Some(ConfigError { thing: name, problem: format!("is not a setting; did you mean {near}?") })
        })
        .collect();
    found.sort_by(|one, other| one.thing.cmp(&other.thing));
    found
}

/// The configuration file's own variable, which is no setting of the file.
pub const CONFIG_VARIABLE: &str = "TOKENWEIR_CONFIG";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::settings::{DRAIN_TIMEOUT, KAFKA_TOPIC, LOG_LEVEL, THREADS, UPSTREAM};
    use super::*;
    use crate::telemetry::log::LogLevel;

    fn resolve(flags: &[(&str, &str)], env: &[(&str, &str)], file: Option<&str>) -> Values {
        let flag = |name: &str| {
            let found: Vec<_> =
                flags.iter().filter(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).collect();
            (!found.is_empty()).then_some(found)
        };
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Values::resolve(flag, env, file.map(|text| (Path::new("t.toml"), text)))
    }

    #[test]
    fn the_higher_layer_wins() {
        let file = "threads = 2\ndrain_timeout = \"1s\"\nkafka_topic = \"from-file\"";
        let env = [("TOKENWEIR_THREADS", "3"), ("TOKENWEIR_DRAIN_TIMEOUT", "2s")];
        let values = resolve(&[("threads", "4")], &env, Some(file));
        assert!(values.errors().is_empty(), "{:?}", values.errors());
        assert_eq!(values.get(&THREADS), Some(4));
        assert_eq!(values.get(&DRAIN_TIMEOUT), Some(Duration::from_secs(2)));
        assert_eq!(values.get(&KAFKA_TOPIC).as_deref(), Some("from-file"));
        assert_eq!(values.get(&LOG_LEVEL), Some(LogLevel::Info));
        assert_eq!(values.origin(&KAFKA_TOPIC), Some(Origin::File));
    }

    #[test]
    fn every_error_is_told_with_thing_value_and_what_is_allowed() {
        let file = "thread = 2\nlog_level = \"loud\"\n[server]\nlisten = \"x\"";
        let values = resolve(&[("drain-timeout", "300")], &[("TOKENWEIR_THREADS", "99")], Some(file));
        let shown: Vec<String> = values.errors().iter().map(ToString::to_string).collect();
        let has = |needles: &[&str]| shown.iter().any(|line| needles.iter().all(|n| line.contains(n)));
        assert!(has(&["t.toml: thread:", "did you mean threads?"]), "{shown:?}");
        assert!(has(&["t.toml: server:", "not a setting"]), "{shown:?}");
        assert!(has(&["log_level:", "\"loud\"", "error | warn"]), "{shown:?}");
        assert!(has(&["--drain-timeout:", "\"300\"", "0ms to 1d"]), "{shown:?}");
        assert!(has(&["TOKENWEIR_THREADS:", "\"99\"", "1 to 64"]), "{shown:?}");
        assert_eq!(shown.len(), 5, "{shown:?}");
    }

    #[test]
    fn what_was_meant_is_suggested() {
        let said = |text: &str| {
            let values = resolve(&[], &[], Some(text));
            values.errors().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        for (text, meant) in [
            ("log_level = \"INFO\"", "did you mean info?"),
            ("log_level = \"wran\"", "did you mean warn?"),
            ("caller_trust = \"shared_secret\"", "did you mean shared-secret?"),
            ("drain_timeout = 300", "such as 300s"),
            ("ledger_max_bytes = 64", "such as 64MiB"),
            ("drift_sample = 1", "such as 1%"),
            ("lisen = \"127.0.0.1:1\"", "did you mean listen?"),
            ("kafka_sasl_password = \"x\"", "is a secret and stands in no file"),
        ] {
            assert!(said(text).contains(meant), "{text}: {}", said(text));
        }
        assert!(!said("log_level = \"quiet\"").contains("did you mean"), "nothing is near");
        assert!(!said("xyz = 1").contains("did you mean"), "nothing is near");
    }

    #[test]
    fn a_variable_that_is_nearly_a_setting_is_told() {
        let names = [
            "TOKENWEIR_THREDS",
            "TOKENWEIR_THREADS",
            "TOKENWEIR_CONFIG",
            "TOKENWEIR_SERVICE_HOST",
            "TOKENWEIR_PORT_8080_TCP",
            "HOME",
        ];
        let told = unknown_variables(names.map(str::to_owned));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0]
                .to_string()
                .contains("TOKENWEIR_THREDS: is not a setting; did you mean TOKENWEIR_THREADS?")
        );
    }

    #[test]
    fn defaults_are_allowed_values() {
        let values = resolve(&[], &[], None);
        assert!(values.errors().is_empty(), "{:?}", values.errors());
    }

    #[test]
    fn a_secret_has_no_key_in_the_file() {
        let values = resolve(&[], &[], Some("kafka_sasl_password = \"hunter2\""));
        assert_eq!(values.errors().len(), 1);
        assert!(!values.errors()[0].to_string().contains("hunter2"));
    }

    #[test]
    fn a_list_in_the_environment_is_split_at_commas() {
        let values = resolve(&[], &[("TOKENWEIR_UPSTREAM", "a=http://h:1, b=http://h:2")], None);
        assert_eq!(values.list(&UPSTREAM), ["a=http://h:1", "b=http://h:2"]);
    }
}
