//! Guesses at the value that was meant: the nearest word, the unit that is read, the port that is missing.

use super::kind::Kind;
use super::value::{format_duration, format_size};
use std::time::Duration;

/// Units of time as people and other programs write them, in ms.
const TIME_WORDS: &[(&[&str], f64)] = &[
    (&["ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"], 1.0),
    (&["s", "sec", "secs", "second", "seconds"], 1e3),
    (&["m", "min", "mins", "minute", "minutes"], 60e3),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600e3),
    (&["d", "day", "days"], 86_400e3),
    (&["w", "week", "weeks"], 7.0 * 86_400e3),
];

/// Units of size, in bytes. A user who writes `MB` is shown `MiB`.
const SIZE_WORDS: &[(&[&str], f64)] = &[
    (&["b", "byte", "bytes"], 1.0),
    (&["k", "kb", "ki", "kib"], 1_024.0),
    (&["m", "mb", "mi", "mib"], 1_048_576.0),
    (&["g", "gb", "gi", "gib"], 1_073_741_824.0),
    (&["t", "tb", "ti", "tib"], 1_099_511_627_776.0),
];

/// Letters that may be wrong in a name that was meant: three, and no more than a third.
pub(super) fn nearest(given: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let edits_max = 3.min(given.chars().count() / 3);
    let with_edits = known.map(|name| (strsim::damerau_levenshtein(&name, given), name));
    with_edits.filter(|(edits, _)| (1..=edits_max).contains(edits)).min().map(|(_, name)| name)
}

/// The hint after the range of a value that is not allowed; empty where nothing is near. Only values that are
/// `allowed` are suggested.
pub(super) fn hint(kind: Kind, text: &str, allowed: impl Fn(&str) -> bool) -> String {
    let bare = |units: &[&str]| {
        let with = units.iter().map(|unit| format!("{text}{unit}"));
        with.into_iter()
            .find(|with| allowed(with))
            .map(|with| format!("; a number needs its unit, such as {with}"))
    };
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    let meant = |meant: Option<String>| {
        meant.filter(|meant| meant != text && allowed(meant)).map(|meant| format!("; did you mean {meant}?"))
    };
    let said = match kind {
        Kind::Choice(words) => meant(word(words, text)),
        // A value with the right unit is only out of the range.
        Kind::Time(..) if is_number => {
            bare(&["s", "ms", "m", "h"]).or_else(|| meant(time(&format!("{text}s"))))
        }
        Kind::Time(..) => meant(time(text)),
        Kind::Size(..) if is_number => bare(&["MiB"])
            .or_else(|| meant(size(&format!("{text}B"))))
            .or_else(|| meant(size(&format!("{text}MiB")))),
        Kind::Size(..) => meant(size(text)),
        Kind::Share if is_number => bare(&["%"]),
        Kind::Share => meant(share(text)),
        Kind::Count(..) => meant(count(text)),
        Kind::Address => address(text, allowed),
        _ => None,
    };
    said.unwrap_or_default()
}

fn word(words: &[&str], text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase().replace('_', "-");
    let same = words.iter().find(|word| **word == lower).map(|word| (*word).to_owned());
    same.or_else(|| nearest(&lower, words.iter().map(|word| (*word).to_owned())))
}

fn time(text: &str) -> Option<String> {
    Some(format_duration(Duration::from_millis(whole(sum(text, TIME_WORDS)?)?)))
}

fn size(text: &str) -> Option<String> {
    let bytes = whole(sum(text, SIZE_WORDS)?)?;
    bytes.is_multiple_of(1 << 10).then(|| format_size(bytes))
}

/// Numbers with units, one after the other: `10 GB`, `1h30m`, `0.5s`.
fn sum(text: &str, units: &[(&[&str], f64)]) -> Option<f64> {
    let (mut rest, mut sum) = (text.trim(), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))?;
        let (digits, after) = rest.split_at(number);
        let after = after.trim_start();
        let unit = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (word, after) = after.split_at(unit);
        let word = word.to_lowercase();
        let scale = units.iter().find(|(names, _)| names.contains(&word.as_str()))?.1;
        sum += digits.replace('_', "").parse::<f64>().ok()? * scale;
        rest = after.trim_start();
    }
    Some(sum)
}

/// A whole number that a double holds exactly.
fn whole(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let fits = (0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0;
    fits.then(|| format!("{number:.0}").parse().ok()).flatten()
}

fn share(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase().replace(',', ".");
    let number = ["percent", "pct", "%"].iter().find_map(|end| lower.strip_suffix(end))?.trim();
    let zero = if number.starts_with('.') { "0" } else { "" };
    Some(format!("{zero}{number}%"))
}

/// `20,000`, `20_000`, `20k`, `1e6`.
fn count(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| !matches!(c, ',' | '_' | '\'' | ' ')).collect();
    let lower = plain.to_ascii_lowercase();
    let (number, scale) = match lower.strip_suffix('k') {
        Some(number) => (number, 1e3),
        None => (lower.strip_suffix('m').unwrap_or(&lower), if lower.ends_with('m') { 1e6 } else { 1.0 }),
    };
    Some(whole(number.parse::<f64>().ok()? * scale)?.to_string())
}

/// An address without a host or a port, or one that stands in a URL.
fn address(text: &str, allowed: impl Fn(&str) -> bool) -> Option<String> {
    let bare = text.trim().split_once("://").map_or(text.trim(), |(_, rest)| rest);
    let bare = bare.split(['/', '?', '#']).next().unwrap_or_default();
    if !bare.is_empty() && bare != text && allowed(bare) {
        return Some(format!("; did you mean {bare}?"));
    }
    let port = bare.strip_prefix([':', '*']).map_or(bare, |rest| rest.trim_start_matches(':'));
    if port.parse::<u16>().is_ok() {
        return Some(format!(
            "; an address has a host: 127.0.0.1:{port} is for this machine only, 0.0.0.0:{port} for every interface"
        ));
    }
    let host = !bare.is_empty() && !bare.contains(':') && allowed(&format!("{bare}:1"));
    host.then(|| format!("; an address has a port, such as {bare}:8080"))
}

#[cfg(test)]
mod tests {
    use super::super::Values;

    /// The hint for a value in a file, after its range.
    fn said(key: &str, value: &str) -> String {
        let text = format!("{key} = {value}");
        let values = Values::resolve(|_| None, |_| None, Some((std::path::Path::new("t.toml"), &text)));
        let [error] = values.errors() else { panic!("{text}: {:?}", values.errors()) };
        error
            .problem
            .split_once("allowed: ")
            .unwrap()
            .1
            .split_once("; ")
            .map_or("", |(_, hint)| hint)
            .to_owned()
    }

    #[test]
    fn a_unit_that_is_not_read_becomes_one_that_is() {
        for (key, value, hint) in [
            ("ledger_max_bytes", "\"10GB\"", "did you mean 10GiB?"),
            ("ledger_max_bytes", "\"10 gib\"", "did you mean 10GiB?"),
            ("ledger_max_bytes", "\"10G\"", "did you mean 10GiB?"),
            ("ledger_max_bytes", "\"1.5 GB\"", "did you mean 1536MiB?"),
            ("ledger_max_bytes", "10737418240", "did you mean 10GiB?"),
            ("ledger_max_bytes", "64", "a number needs its unit, such as 64MiB"),
            ("ledger_max_bytes", "\"1KiB\"", ""),
            ("ledger_max_bytes", "\"much\"", ""),
            ("ledger_max_bytes", "\"10GB of disk\"", ""),
            ("control_interval", "\"5 seconds\"", "did you mean 5s?"),
            ("control_interval", "\"5S\"", "did you mean 5s?"),
            ("control_interval", "\"1h30m\"", "did you mean 90m?"),
            ("control_interval", "\"1.5 min\"", "did you mean 90s?"),
            ("control_interval", "\"2d\"", ""),
            ("control_interval", "\"-5s\"", ""),
            ("control_interval", "60", "a number needs its unit, such as 60s"),
            ("ledger_keep", "\"1 week\"", "did you mean 7d?"),
            ("connect_timeout", "1000", "a number needs its unit, such as 1000ms"),
            ("connect_timeout", "0.5", "did you mean 500ms?"),
            ("drift_sample", "0.5", "a number needs its unit, such as 0.5%"),
            ("drift_sample", "\"1 percent\"", "did you mean 1%?"),
            ("drift_sample", "\".5%\"", "did you mean 0.5%?"),
            ("drift_sample", "\"200%\"", ""),
            ("max_calls", "\"20k\"", "did you mean 20000?"),
            ("max_calls", "\"65,536\"", "did you mean 65536?"),
            ("max_calls", "\"1e5\"", "did you mean 100000?"),
            ("max_calls", "\"-1\"", ""),
            ("log_level", "\"INFO\"", "did you mean info?"),
            ("log_level", "\"wran\"", "did you mean warn?"),
            ("log_level", "\"quiet\"", ""),
            ("caller_trust", "\"shared_secret\"", "did you mean shared-secret?"),
            ("listen", "\"http://127.0.0.1:8080/\"", "did you mean 127.0.0.1:8080?"),
            ("listen", "\"127.0.0.1\"", "an address has a port, such as 127.0.0.1:8080"),
            (
                "listen",
                "\":8080\"",
                "an address has a host: 127.0.0.1:8080 is for this machine only, 0.0.0.0:8080 for every interface",
            ),
            ("listen", "\"127.0.0.1:99999\"", ""),
        ] {
            assert_eq!(said(key, value), hint, "{key} = {value}");
        }
    }
}
