//! A command that unwraps: it gets the wrapped key and the name, and is judged by what it says, in time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::capture::seal::{CachedUnwrap, Unwrap, UnwrapCommand, UnwrapError, WrappedKey};

/// A script that a test runs.
fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("unwrap.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn command(dir: &Path, text: &str, arguments: &str) -> UnwrapCommand {
    UnwrapCommand::new(&format!("'{}' {arguments}", script(dir, text).display())).unwrap()
}

fn wrapped(kid: &str) -> WrappedKey {
    WrappedKey { kid: kid.into(), bytes: vec![7; 384] }
}

#[test]
fn it_is_asked_once_for_each_key_and_first_for_the_recipient_that_it_stands_for() {
    let dir = tempfile::tempdir().unwrap();
    // It knows one key by its name, notes each time that it is asked, and gives what came as the content key.
    let text = format!(
        "echo \"$1\" >> '{0}/asked'\n[ \"$1\" = own ] || {{ echo 'another key' >&2; exit 9; }}\nexec head -c 32",
        dir.path().display()
    );
    let mut unwrap = CachedUnwrap::new(command(dir.path(), &text, "{kid}"));
    let key = |byte, kid: &str| WrappedKey { bytes: vec![byte; 384], ..wrapped(kid) };
    for _ in 0..3 {
        for byte in [1, 2] {
            let opened = unwrap.unwrap_key(&[key(byte, "other"), key(byte, "own")]).unwrap();
            assert_eq!(*opened, [byte; 32]);
        }
    }
    let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked, "other\nown\nown\n");
    let error = unwrap.unwrap_key(&[key(1, "other")]).unwrap_err();
    assert_eq!(error, UnwrapError::Command("ended with exit status: 9: another key".to_owned()));
}

#[test]
fn a_command_that_gives_no_key_is_named_and_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let said = |text: &str, kid: &str| {
        let mut command = command(dir.path(), text, "{kid}").within(Duration::from_millis(900));
        match command.unwrap_key(&[wrapped(kid)]) {
            Err(UnwrapError::Command(said)) => said,
            other => panic!("{other:?}"),
        }
    };
    assert!(said("printf 123", "k").contains("gave 3 bytes"));
    assert!(said("head -c 100000 /dev/zero", "k").contains("gave more than 32 bytes"));
    assert!(said("echo no; exit 3", "k").contains("exit status: 3"));
    assert!(said("head -c 100000 /dev/zero >&2; exit 3", "k").len() < 20 << 10);
    for kid in ["--vault=evil", "", "a b", &"k".repeat(257)] {
        assert!(said("head -c 32", kid).contains("was not run"), "{kid}");
    }
    let begun = Instant::now();
    assert!(said("exec sleep 60", "k").contains("was killed"));
    assert!(said("sleep 60 & exit 0", "k").contains("did not close its output"));
    assert!(begun.elapsed() < Duration::from_secs(30));
    let mut absent = UnwrapCommand::new("/nowhere/to/be/found").unwrap();
    let error = absent.unwrap_key(&[wrapped("k")]).unwrap_err().to_string();
    assert!(error.contains("cannot be run"), "{error}");
}

#[test]
fn the_wrapped_key_comes_on_standard_input_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "echo \"$@\" > '{0}/arguments'; env > '{0}/environment'; cat > '{0}/input'; head -c 32 '{0}/input'",
        dir.path().display()
    );
    let secret = b"the wrapped key, which is 384 bytes".repeat(20);
    let asked = WrappedKey { kid: "https://v/keys/k/1".into(), bytes: secret[..384].to_vec() };
    let key = command(dir.path(), &text, "--key {kid}").unwrap_key(&[asked]).unwrap();
    assert_eq!(key.as_slice(), &secret[..32]);
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert_eq!(read("input"), secret[..384]);
    assert_eq!(read("arguments"), b"--key https://v/keys/k/1\n");
    assert!(!String::from_utf8_lossy(&read("environment")).contains("wrapped"));
}
