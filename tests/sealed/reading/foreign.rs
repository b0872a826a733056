//! Readers that share no code with the sidecar: a JOSE library of Python, and OpenSSL's own command as one that unwraps.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::rig::{Rig, open};
use super::support::packages::{jose_reader, run};
use super::support::skip;

/// The script reads a dozen parts.
const READ_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_jose_library_opens_what_is_sealed_to_one_and_to_three() {
    let Some(folder) = jose_reader().installed() else {
        return skip::test("parts were opened by our own code alone: jwcrypto could not be installed by pip");
    };
    for recipients in [1, 3] {
        let mut rig = Rig::new(recipients);
        let content = "é and more of it, ".repeat(200);
        let call = rig.call(content.as_bytes(), "text/plain", b"short");
        for auditor in &rig.auditors {
            let mut python = Command::new(folder.join("bin/python"));
            python.arg(folder.join("read.py")).arg(&auditor.private_file);
            python.stdin(Stdio::from(fs::File::open(rig.events()).unwrap()));
            let read = run(python, READ_MAX).unwrap();
            assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
            let sides: Vec<Value> = String::from_utf8(read.stdout)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let sha256 = |bytes: &[u8]| -> String {
                openssl::sha::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
            };
            assert_eq!(sides.len(), 2);
            for (side, bytes) in sides.iter().zip([content.as_bytes(), b"short"]) {
                assert_eq!((&side["call"], &side["last"]), (&Value::from(call.clone()), &Value::from(true)));
                assert_eq!(side["sha256"], sha256(bytes), "{recipients} recipients");
            }
        }
    }
}

#[test]
fn a_command_that_unwraps_with_openssl_opens_them() {
    if Command::new("openssl").arg("version").output().is_err() {
        return skip::test("keys were unwrapped by our own code alone: there is no openssl");
    }
    let mut rig = Rig::new(3);
    let call = rig.call(b"{}", "text/plain", "what was said".repeat(300).as_bytes());
    let key = rig.auditors[2].private_file.display();
    let line = format!(
        "openssl pkeyutl -decrypt -inkey '{key}' -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256"
    );
    // Found where PATH says: nothing else of the environment is needed.
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(super::support::sidecar::binary());
    command.arg("open").arg(rig.events()).args([
        "--unwrap-command",
        &line,
        "--format",
        "raw",
        "--side",
        "response",
    ]);
    command.args(["--call", &call]).env_clear().env("PATH", path);
    let told = run(command, READ_MAX).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "what was said".repeat(300),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let told = open(&["--unwrap-command", "/bin/false"], &rig.events());
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.status.code() == Some(4) && said.contains("the command ended with exit status: 1"),
        "{said}"
    );
}
