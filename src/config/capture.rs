//! Whether content is captured, whose and how, and where it goes.

use std::sync::Arc;

use super::choices::{CaptureCleartext, CaptureMode, OnCaptureFailure};
use super::place;
use super::resolve::Values;
use super::setting::AnySetting;
use super::settings::{
    CAPTURE, CAPTURE_CALLERS_FILE, CAPTURE_CLEARTEXT, CAPTURE_DIR, CAPTURE_KEY_FILE, CAPTURE_MAX_BYTES,
    CAPTURE_MEMORY, CAPTURE_PART_BYTES, CAPTURE_SHARE, CAPTURE_SPOOL_MAX_BYTES, CAPTURE_TOPIC,
    CONTROL_INTERVAL, KAFKA_TOPIC, ON_CAPTURE_FAILURE,
};
use crate::capture::seal::SealMode;
use crate::capture::{CaptureOptions, CaptureShare, CaptureSides};
use crate::publish::KafkaConfig;
use metering::caller::{FromFile, Reload};

/// How content is captured; `None`: it is not, or something is wrong: then `values` holds the errors.
pub(super) fn capture(values: &mut Values) -> Option<CaptureOptions> {
    let mode = values.get(&CAPTURE)?;
    if mode == CaptureMode::Off {
        refuse_unused(values);
        return None;
    }
    let seal = seal(values);
    let callers = file(values, &CAPTURE_CALLERS_FILE);
    spool_place(values);
    if values.is_wrong(&CAPTURE_CALLERS_FILE) {
        return None;
    }
    Some(CaptureOptions {
        sides: CaptureSides {
            request: mode != CaptureMode::Response,
            response: mode != CaptureMode::Request,
        },
        share: CaptureShare { share: values.get(&CAPTURE_SHARE)?, callers },
        seal: seal?,
        side_bytes_max: values.get(&CAPTURE_MAX_BYTES)?,
        part_bytes: values.get(&CAPTURE_PART_BYTES)?,
        memory_bytes: values.get(&CAPTURE_MEMORY)?,
        dir: values.get(&CAPTURE_DIR),
        spool_bytes_max: values.get(&CAPTURE_SPOOL_MAX_BYTES)?,
        network_fs: place::network_fs(values),
        control_interval: values.get(&CONTROL_INTERVAL)?,
        rejects: values.get(&ON_CAPTURE_FAILURE)? == OnCaptureFailure::Reject,
    })
}

/// Refuses settings by which somebody expects a record, or that there is no call without one, where nothing is captured.
fn refuse_unused(values: &mut Values) {
    let cleartext = values.get(&CAPTURE_CLEARTEXT) == Some(CaptureCleartext::Allow);
    let rejects = values.get(&ON_CAPTURE_FAILURE) == Some(OnCaptureFailure::Reject);
    let unused: [(&AnySetting, bool); 4] = [
        (&CAPTURE_KEY_FILE, values.is_set(&CAPTURE_KEY_FILE)),
        (&CAPTURE_CLEARTEXT, cleartext),
        (&CAPTURE_CALLERS_FILE, values.is_set(&CAPTURE_CALLERS_FILE)),
        (&ON_CAPTURE_FAILURE, rejects),
    ];
    for (setting, _) in unused.into_iter().filter(|(_, is_used)| *is_used) {
        values.error_in(setting, "needs --capture request, response or both: nothing is captured");
    }
}

/// Where captured content goes: to the brokers of the usage events, and a topic of its own. `None`: nothing is
/// published, or the topic is wrong: then `values` says why.
pub fn capture_topic(values: &mut Values, usage: Option<&KafkaConfig>) -> Option<KafkaConfig> {
    let topic = values.get(&CAPTURE_TOPIC)?;
    let config = KafkaConfig { topic, ..usage?.clone() };
    if config.topic == usage?.topic && !values.is_wrong(&KAFKA_TOPIC) {
        let problem = format!(
            "{:?} is the topic of the usage events, whose readers must not see content",
            config.topic
        );
        values.error_in(&CAPTURE_TOPIC, problem);
        return None;
    }
    // All else was told of the usage topic.
    for error in config.check().into_iter().filter(|error| error.key == KAFKA_TOPIC.key()) {
        values.error_in(&CAPTURE_TOPIC, error.problem);
    }
    Some(config)
}

/// To whom content is sealed; `None` if that makes no sense: then `values` says why.
fn seal(values: &mut Values) -> Option<SealMode> {
    let cleartext = values.get(&CAPTURE_CLEARTEXT)? == CaptureCleartext::Allow;
    match (values.is_set(&CAPTURE_KEY_FILE), cleartext) {
        (true, true) => {
            values.error_in(
                &CAPTURE_CLEARTEXT,
                "\"allow\" and --capture-key-file exclude each other: choose one",
            );
            None
        }
        (false, true) => Some(SealMode::Cleartext),
        (true, false) => file(values, &CAPTURE_KEY_FILE).map(SealMode::To),
        (false, false) if values.is_wrong(&CAPTURE_KEY_FILE) => None,
        (false, false) => {
            let problem = "needs --capture-key-file with the public keys of those who may read what is captured \
                           (openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072), or --capture-cleartext allow";
            values.error_in(&CAPTURE, problem);
            None
        }
    }
}

fn file<T: FromFile>(
    values: &mut Values,
    setting: &super::setting::Setting<std::path::PathBuf>,
) -> Option<Arc<Reload<T>>> {
    let path = values.file_path(setting)?;
    Reload::file(&path).map(Arc::new).map_err(|problem| values.error_in(setting, problem)).ok()
}

fn spool_place(values: &mut Values) {
    let dir = values.get(&CAPTURE_DIR);
    if let Some(problem) = dir.and_then(|dir| place::problem(&dir, place::network_fs(values))) {
        values.error_in(&CAPTURE_DIR, problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[(&str, &str)]) -> (Option<CaptureOptions>, Vec<String>) {
        let flag = |name: &str| {
            let found: Vec<_> =
                flags.iter().filter(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()).collect();
            (!found.is_empty()).then_some(found)
        };
        let mut values = Values::resolve(flag, |_| None, None);
        let options = capture(&mut values);
        (options, values.errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_is_captured_unless_it_is_asked_for() {
        let (options, errors) = read(&[]);
        assert!(options.is_none() && errors.is_empty(), "{errors:?}");
        for (setting, value) in [
            ("capture-key-file", "/some/file"),
            ("capture-callers-file", "/some/file"),
            ("capture-cleartext", "allow"),
            ("on-capture-failure", "reject"),
        ] {
            let (options, errors) = read(&[(setting, value)]);
            assert!(options.is_none() && errors.len() == 1, "{errors:?}");
            assert!(errors[0].contains(setting) && errors[0].contains("needs --capture"), "{errors:?}");
        }
    }

    #[test]
    fn a_key_or_the_word_that_none_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key.pem");
        let pem = openssl::rsa::Rsa::generate(3072).unwrap().public_key_to_pem().unwrap();
        std::fs::write(&key, pem).unwrap();
        let key = key.to_str().unwrap();
        for (flags, needle) in [
            (vec![("capture", "both")], "needs --capture-key-file"),
            (vec![("capture", "both"), ("capture-key-file", "/gone")], "/gone cannot be read"),
            (
                vec![("capture", "both"), ("capture-key-file", key), ("capture-cleartext", "allow")],
                "exclude each other",
            ),
        ] {
            let (options, errors) = read(&flags);
            assert!(options.is_none() && errors.len() == 1 && errors[0].contains(needle), "{errors:?}");
        }
        let (options, errors) = read(&[("capture", "request"), ("capture-key-file", key)]);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(options.unwrap().sides, CaptureSides { request: true, response: false });
        let (options, _) = read(&[("capture", "response"), ("capture-cleartext", "allow")]);
        let options = options.unwrap();
        assert!(
            matches!(options.seal, SealMode::Cleartext) && options.sides.response && !options.sides.request
        );
    }

    #[test]
    fn content_has_a_topic_of_its_own() {
        let flags = |name: &str| match name {
            "kafka-brokers" => Some(vec!["kafka:9092".to_owned()]),
            "capture-topic" => Some(vec!["ai-usage".to_owned()]),
            _ => None,
        };
        let mut values = Values::resolve(flags, |_| None, None);
        let usage = super::super::publish_config(&mut values);
        assert!(capture_topic(&mut values, usage.as_ref()).is_none());
        assert!(values.errors()[0].to_string().contains("--capture-topic"), "{:?}", values.errors());
    }
}
