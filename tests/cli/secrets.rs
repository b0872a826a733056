//! What is refused may be a secret in the wrong place: no command repeats it.
//!
//! Each setting is given a canary in each shape that a secret has, on a flag, in the environment and in the file. Where a
//! setting takes a number, one of some words or an address, a short plain word is shown: there the value helps, and no
//! secret stands there in that shape.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tokenweir::config::settings::{AnySetting, Kind, SETTINGS};

use super::binary;

const CANARY: &str = "zq7Canary41";

/// Texts with a canary in them, as they are pasted, and whether somebody could mean no secret by them.
fn shapes() -> Vec<(String, bool)> {
    let shaped = [
        format!("http://user:{CANARY}@127.0.0.1:1"),
        format!("NAME=https://{CANARY}@h"),
        format!("https://h/?api-key={CANARY}"),
        format!("127.0.0.1:1@{CANARY}"),
        format!("Endpoint=sb://ns/;SharedAccessKeyName=k;SharedAccessKey={CANARY}"),
        format!("endpoint=sb://ns/;sharedaccesskey={CANARY}"),
        format!("SharedAccessSignature sr=x&sig={CANARY}"),
        format!("password={CANARY}"),
        format!("eyJhbGciOiJub25lIn0.{CANARY}.c2ln"),
        format!("sk-{CANARY}"),
        format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"),
        CANARY.repeat(12),
    ];
    shaped.map(|text| (text, false)).into_iter().chain([(CANARY.to_owned(), true)]).collect()
}

/// A plain word of this setting may be shown.
fn is_harmless(setting: &AnySetting) -> bool {
    match setting.kind {
        Kind::Address | Kind::Choice(_) | Kind::Count(..) | Kind::Time(..) | Kind::Size(..) | Kind::Share => {
            true
        }
        // A host without its port, a word that is no source, a name.
        Kind::List(_) => true,
        // Where things lie.
        Kind::Path => !["secret", "key", "password", "string"].iter().any(|part| setting.name.contains(part)),
        Kind::Text(_) => setting.name == "kafka-topic",
        Kind::Repeated(_) | Kind::Secret => false,
    }
}

/// What makes the setting matter: others that it needs.
fn company(setting: &AnySetting, dir: &Path) -> Vec<(&'static str, String)> {
    let file = dir.join("password").display().to_string();
    std::fs::write(&file, "hush").unwrap();
    let mut company = vec![("upstream", "http://127.0.0.1:1".to_owned())];
    if setting.name.starts_with("kafka-") {
        company.push(("kafka-brokers", "b:1".to_owned()));
        company.push(("kafka-auth", "sasl".to_owned()));
        if !setting.name.contains("connection-string") {
            company.push(("kafka-sasl-username", "u".to_owned()));
            company.push(("kafka-sasl-password-file", file));
        }
        if setting.name == "kafka-entra-scope" {
            company.truncate(2);
            company.push(("kafka-auth", "entra".to_owned()));
        }
    }
    if setting.name.starts_with("caller-shared-secret") {
        company.push(("caller-trust", "shared-secret".to_owned()));
    }
    if let Some(other) = setting.name.strip_suffix("-key-file").filter(|start| *start != "caller-hash") {
        company
            .push((if other == "listen" { "listen-cert-file" } else { "upstream-cert-file" }, file_of(dir)));
    }
    company.retain(|(name, _)| *name != setting.name);
    company
}

fn file_of(dir: &Path) -> String {
    dir.join("password").display().to_string()
}

/// Runs a command with a setting from one of its three places.
fn run(command: &str, dir: &Path, setting: &AnySetting, value: &str, place: &str) -> Option<Output> {
    let mut run = Command::new("timeout");
    run.args(["20"]).arg(binary()).arg(command).env_clear().current_dir(dir).stdin(Stdio::null());
    run.env("PATH", "/usr/bin:/bin").env("TOKENWEIR_LEDGER", dir.join("ledger"));
    for (name, value) in company(setting, dir) {
        run.arg(format!("--{name}={value}"));
    }
    match (place, setting.flag()) {
        // A secret has no flag: whoever tries one is told so.
        ("flag", flag) => {
            run.arg(format!("{}={value}", flag.unwrap_or_else(|| format!("--{}", setting.name))));
        }
        ("env", _) => {
            run.env(setting.env(), value);
        }
        _ => {
            let text = format!("{} = {}\n", setting.key(), serde_json::Value::from(value));
            let file = dir.join("t.toml");
            std::fs::write(&file, text).unwrap();
            run.arg("--config").arg(file);
        }
    }
    Some(run.output().unwrap())
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn no_setting_s_refused_value_is_repeated_where_it_may_be_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for setting in SETTINGS {
        for (text, plain) in shapes() {
            for place in ["flag", "env", "file"] {
                let Some(output) = run("check", dir.path(), setting, &text, place) else { continue };
                if output.status.success() {
                    continue; // it is not refused: any text is a user's name
                }
                refused += 1;
                if plain && is_harmless(setting) {
                    continue;
                }
                let told = told(&output);
                assert!(!told.contains(CANARY), "{} by {place}, {text:?}:\n{told}", setting.name);
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

/// `serve` says what `check` says, and more: what fails only when it is used.
#[test]
fn serve_repeats_no_more_than_check() {
    let dir = tempfile::tempdir().unwrap();
    for setting in SETTINGS.iter().filter(|setting| !is_harmless(setting)) {
        for (text, _) in shapes().into_iter().rev().take(2) {
            let checked = run("check", dir.path(), setting, &text, "env").unwrap();
            if checked.status.success() {
                continue; // it would run
            }
            let output = run("serve", dir.path(), setting, &text, "env").unwrap();
            assert_eq!(output.status.code(), Some(78), "{}", setting.name);
            assert!(!told(&output).contains(CANARY), "{}: {}", setting.name, told(&output));
        }
    }
}

/// Properties of the Kafka client, whatever is wrong with them.
#[test]
fn no_property_s_refused_value_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let setting = SETTINGS.iter().find(|setting| setting.name == "kafka-property").unwrap();
    let names = [
        "sasl.password",
        "SASL.PASSWORD",
        "Sasl.Password",
        "sasl.pasword",
        "sasl_password",
        "sasl.username",
        "ssl.key.pem",
        "ssl.key.password",
        "ssl.key.location",
        "ssl.keystore.password",
        "ssl.ca.location",
        "security.protocol",
        "sasl.mechanism",
        "linger.ms",
        "LINGER.MS",
        "compression.type",
        "acks",
        "debug",
        "enable.ssl.certificate.verification",
        "no.such.property",
        "ssl.endpoint.identification.algorithm",
        "sasl.oauthbearer.client.secret",
        "password",
        "",
        " ",
    ];
    for name in names {
        for place in ["flag", "env", "file"] {
            let output = run("check", dir.path(), setting, &format!("{name}={CANARY}"), place).unwrap();
            assert_eq!(output.status.code(), Some(78), "{name}: {}", told(&output));
            assert!(!told(&output).contains(CANARY), "{name} by {place}: {}", told(&output));
        }
    }
    // The name itself may be the secret.
    for text in [format!("{CANARY}="), format!("{CANARY}=x"), CANARY.to_owned()] {
        let output = run("check", dir.path(), setting, &text, "flag").unwrap();
        assert!(!told(&output).contains(CANARY), "{text}: {}", told(&output));
    }
}

/// A secret behind a flag that is none, or behind nothing.
#[test]
fn no_stray_argument_is_repeated() {
    use std::os::unix::ffi::OsStringExt;
    let raw = std::ffi::OsString::from_vec([CANARY.as_bytes(), b"\xff"].concat());
    let arguments: [&[std::ffi::OsString]; 6] = [
        &[CANARY.into()],
        &[format!("--kafka-sasl-password={CANARY}").into()],
        &["--kafka-sasl-password".into(), CANARY.into()],
        &["--kafka-sasl-username".into(), "u".into(), CANARY.into()],
        &["--kafka-sasl-username".into(), raw.clone()],
        &[format!("--caller-shared-secret={CANARY}").into(), raw],
    ];
    for arguments in arguments {
        for command in ["check", "serve"] {
            let output = Command::new(binary()).arg(command).args(arguments).env_clear().output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", told(&output));
            assert!(!told(&output).contains(CANARY), "{arguments:?}: {}", told(&output));
        }
    }
}
