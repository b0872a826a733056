//! Layers of settings: flag over environment over file over default. Every error is collected,
//! so that one run shows them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{self, Entry};
use super::hint::{hint, nearest};
use super::settings::{self, Kind, SETTINGS, Setting};
use super::{shown, value};

/// Something that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The thing: flag, key or environment name as it was given.
    pub thing: String,
    /// What is wrong, with the value where that can be no secret, and what is allowed.
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

/// The settings as given, each from its highest layer, and what was wrong with them.
#[derive(Debug, Default)]
pub struct Values {
    given: BTreeMap<&'static str, (Vec<String>, Option<Origin>)>,
    errors: Vec<ConfigError>,
    /// Settings of which something wrong has been told: what follows from it is told no more.
    wrong: BTreeSet<&'static str>,
    /// The file could not be read to its end, so nobody knows what is missing in it.
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
            let from_env = || env(&setting.env()).map(|text| split_env(setting, &text));
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
            let (allowed, rejected): (Vec<_>, Vec<_>) =
                given.into_iter().partition(|text| is_allowed(setting.kind, text));
            for text in &rejected {
                values.reject(setting, origin, text);
            }
            values.given.insert(setting.name, (allowed, Some(origin)));
        }
        values
    }

    fn read_file(&mut self, path: &Path, text: &str) -> BTreeMap<&'static str, Vec<String>> {
        let mut found = BTreeMap::new();
        let file = file::read(text);
        self.file_is_broken = !file.broken.is_empty();
        for (key, entry) in file.entries {
            let thing = format!("{}: {key}", path.display());
            let setting = SETTINGS.iter().find(|s| s.key() == key && !matches!(s.kind, Kind::Secret));
            match (setting, entry) {
                (Some(setting), Entry::Texts(texts)) => {
                    found.insert(setting.name, texts);
                }
                (Some(setting), Entry::Table(_)) => self.mistyped(thing, setting, "a table"),
                (Some(setting), Entry::Other(kind)) => self.mistyped(thing, setting, kind),
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

    fn mistyped(&mut self, thing: String, setting: &'static Setting, kind: &str) {
        self.wrong.insert(setting.name);
        self.error(thing, format!("{kind} is no value for it; allowed: {}", setting.kind.allowed()));
    }

    fn reject(&mut self, setting: &'static Setting, origin: Origin, text: &str) {
        self.wrong.insert(setting.name);
        let shown = shown::value(setting.kind, text);
        // What is near to a value would tell it.
        let near = || hint(setting.kind, text, |text| is_allowed(setting.kind, text));
        let hint = if shown == shown::HIDDEN { String::new() } else { near() };
        let allowed = setting.kind.allowed();
        self.error(thing(setting, origin), format!("{shown} is not allowed; allowed: {allowed}{hint}"));
    }

    /// Adds an error.
    pub fn error(&mut self, thing: impl Into<String>, problem: impl Into<String>) {
        self.errors.push(ConfigError { thing: thing.into(), problem: problem.into() });
    }

    /// Adds an error about a setting, naming it as it was given.
    pub fn error_in(&mut self, name: &'static str, problem: impl Into<String>) {
        self.wrong.insert(name);
        self.error(self.thing(name), problem);
    }

    /// Adds an error about the value in the environment, which is no text.
    pub fn not_utf8(&mut self, variable: &str) {
        let setting = SETTINGS.iter().find(|setting| setting.env() == variable);
        self.wrong.extend(setting.map(|setting| setting.name));
        self.error(variable, "the value is not UTF-8");
    }

    /// A setting as it was given: the flag, the variable or the key; the flag where nobody gave it.
    pub fn thing(&self, name: &str) -> String {
        let origin = self.origin(name).unwrap_or(Origin::Flag);
        settings::find(name).map_or_else(|| name.to_owned(), |setting| thing(setting, origin))
    }

    /// Something wrong has been told of this setting already. What follows from that, such as that it
    /// is not set, would be a second error for one cause.
    pub fn is_wrong(&self, name: &str) -> bool {
        self.wrong.contains(name)
    }

    /// The file is no TOML somewhere, which has been told. What is not set may stand behind that place.
    pub fn file_is_broken(&self) -> bool {
        self.file_is_broken
    }

    /// What was wrong. Empty if nothing was.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// Every value of a setting, in order.
    pub fn all(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], |(values, _)| values)
    }

    /// Where a setting was given; `None` if it was not and has no default.
    pub fn origin(&self, name: &str) -> Option<Origin> {
        self.given.get(name).and_then(|(_, origin)| *origin)
    }

    /// A text, if there is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// Values separated by commas, without the empty ones.
    pub fn list(&self, name: &str) -> Vec<String> {
        let words = self.all(name).iter().flat_map(|text| text.split(','));
        words.map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// A path, if there is one.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// A duration; zero where the value was rejected.
    pub fn time(&self, name: &str) -> Duration {
        self.text(name).and_then(value::duration).unwrap_or_default()
    }

    /// A size in bytes; zero where the value was rejected.
    pub fn size_bytes(&self, name: &str) -> u64 {
        self.text(name).and_then(value::size_bytes).unwrap_or_default()
    }

    /// A share in parts per million; zero where the value was rejected.
    pub fn share_ppm(&self, name: &str) -> u32 {
        self.text(name).and_then(value::share_ppm).unwrap_or_default()
    }

    /// A number; zero where the value was rejected.
    pub fn count(&self, name: &str) -> usize {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// The path of a file that holds no secret. What has the shape of one is no path: it is an error that does not
    /// repeat it.
    pub fn file_path(&mut self, name: &'static str) -> Option<PathBuf> {
        let text = self.text(name)?.to_owned();
        let path = shown::file_path(&text);
        if path.is_none() {
            self.error_in(name, "names no file, and the value is not repeated, for it looks like a secret");
        }
        path
    }

    /// The path of a file that holds a secret or a key. A value that is no path may be what should be in the
    /// file: it is an error that does not repeat it.
    pub fn secret_path(&mut self, name: &'static str) -> Option<PathBuf> {
        let text = self.text(name)?.to_owned();
        let path = shown::secret_path(&text);
        if path.is_none() {
            let problem = "names no file, and the value is not repeated, for it may be the secret itself; give the path \
                           of a file that holds it";
            self.error_in(name, problem);
        }
        path
    }

    /// A secret: from the environment, or the contents of the file that `NAME-file` names,
    /// without white space at its ends.
    pub fn secret(&mut self, name: &'static str, file_name: &'static str) -> Option<String> {
        if let Some(secret) = self.text(name) {
            return Some(secret.trim().to_owned());
        }
        let path = self.secret_path(file_name)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                self.error_in(file_name, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }
}

fn thing(setting: &Setting, origin: Origin) -> String {
    match origin {
        Origin::Flag | Origin::Default => setting.flag().unwrap_or_else(|| setting.env()),
        Origin::Env => setting.env(),
        Origin::File => setting.key(),
    }
}

fn split_env(setting: &Setting, text: &str) -> Vec<String> {
    match setting.kind {
        Kind::Repeated(_) => {
            text.split(',').map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect()
        }
        _ => vec![text.to_owned()],
    }
}

/// What to say of a key that is no setting, and the settings that were probably meant.
fn unknown_key(key: &str, entry: &Entry) -> (String, Vec<&'static Setting>) {
    let in_file = || SETTINGS.iter().filter(|setting| !matches!(setting.kind, Kind::Secret));
    let named = |key: &str| in_file().find(|setting| setting.key() == key);
    if let Entry::Table(names) = entry {
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
    if let Some(known) = nearest(&key.replace('-', "_"), in_file().map(Setting::key)) {
        return (format!("is not a setting; did you mean {known}?"), named(&known).into_iter().collect());
    }
    if let Some(known) = named(&key.replace('-', "_")) {
        return (format!("is not a setting; did you mean {}?", known.key()), vec![known]);
    }
    let secret = SETTINGS.iter().find(|setting| setting.key() == key);
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
            let near = nearest(&name, SETTINGS.iter().map(Setting::env))?;
            Some(ConfigError { thing: name, problem: format!("is not a setting; did you mean {near}?") })
        })
        .collect();
    found.sort_by(|one, other| one.thing.cmp(&other.thing));
    found
}

/// The configuration file's own variable, which is no setting of the file.
const CONFIG_VARIABLE: &str = "TOKENWEIR_CONFIG";

fn is_allowed(kind: Kind, text: &str) -> bool {
    match kind {
        // What may be a secret is asked of no name server.
        Kind::Address => text.parse::<SocketAddr>().is_ok() || shown::harmless(text) && resolves(text),
        Kind::Choice(words) => words.contains(&text),
        Kind::Count(min, max) => text.parse::<u64>().is_ok_and(|n| (min..=max).contains(&n)),
        Kind::Time(min, max) => value::duration(text).is_some_and(|t| (min..=max).contains(&t)),
        Kind::Size(min, max) => value::size_bytes(text).is_some_and(|n| (min..=max).contains(&n)),
        Kind::Share => value::share_ppm(text).is_some(),
        Kind::Path | Kind::Text(_) | Kind::List(_) | Kind::Repeated(_) | Kind::Secret => !text.is_empty(),
    }
}

/// `localhost:8080`: a name that the system can resolve now.
fn resolves(text: &str) -> bool {
    std::net::ToSocketAddrs::to_socket_addrs(text).is_ok_and(|mut found| found.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(values.count("threads"), 4);
        assert_eq!(values.time("drain-timeout"), Duration::from_secs(2));
        assert_eq!(values.text("kafka-topic"), Some("from-file"));
        assert_eq!(values.text("log-level"), Some("info"));
        assert_eq!(values.origin("kafka-topic"), Some(Origin::File));
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
        assert_eq!(values.all("upstream"), ["a=http://h:1", "b=http://h:2"]);
    }
}
