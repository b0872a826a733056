//! Places where no ledger can be, which cannot be made without another user or a volume of one's own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use super::binary;

/// A user who owns nothing: `nobody`.
const NOBODY: u32 = 65534;

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_this_user_may_not_write_is_told_with_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let me = dir.path().metadata().unwrap().uid();
    // The superuser may write everywhere.
    let user = if me == 0 { NOBODY } else { me };
    let copy = dir.path().join("tokenweir");
    if me == 0 {
        // Where the binary lies, nobody may not look.
        fs::copy(binary(), &copy).unwrap();
    }
    let program = if me == 0 { copy.as_path() } else { binary() };
    mode(dir.path(), 0o755);
    if Command::new(program).arg("--version").uid(user).output().is_err() {
        return crate::skip::test("another user cannot look into the folder of temporary files");
    }
    let run = |command: &str, ledger: &Path| {
        let mut run = Command::new(program);
        run.args([command, "--upstream", "http://127.0.0.1:9", "--ledger"]).arg(ledger).current_dir("/");
        if me == 0 {
            run.uid(user);
        }
        said(&run.output().unwrap())
    };
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    mode(&closed, 0o555);
    for (command, ledger) in
        [("check", closed.clone()), ("serve", closed.clone()), ("check", closed.join("a/b"))]
    {
        let (code, text) = run(command, &ledger);
        let expected = format!(
            "--ledger: {}: Permission denied (os error 13) (it belongs to user {me}, mode 555; this is user {user}); let the \
             user that runs this read and write it (chown; fsGroup in Kubernetes), or name another directory\n",
            closed.display()
        );
        assert!(code == Some(78) && text.ends_with(&expected), "{command} {ledger:?}: {code:?} {text}");
    }
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    mode(&foreign, 0o777);
    fs::write(foreign.join("ledger.sqlite3"), "").unwrap();
    mode(&foreign.join("ledger.sqlite3"), 0o444);
    let (code, text) = run("check", &foreign);
    let expected = format!("--ledger: {}/ledger.sqlite3: Permission denied", foreign.display());
    assert!(code == Some(78) && text.contains(&expected), "{code:?} {text}");
    mode(&closed, 0o755);
}

#[test]
fn volumes_that_are_full_or_read_only_are_told_before_and_at_the_start() {
    for (options, says) in [
        ("size=64k", "No space left on device (os error 28); make room on its volume"),
        ("size=64m,nr_inodes=1", "No space left on device (os error 28); make room on its volume"),
        ("ro", "Read-only file system (os error 30); mount the volume for writing"),
    ] {
        for command in ["check", "serve"] {
            let dir = tempfile::tempdir().unwrap();
            let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" || exit 99; shift; ledger=$1/ledger; shift; \
                          exec \"$@\" --upstream http://127.0.0.1:9 --ledger \"$ledger\"";
            let output = Command::new("unshare")
                .args(["--mount", "sh", "-c", script, "sh", options])
                .arg(dir.path())
                .arg(binary())
                .arg(command)
                .output();
            let mounted =
                |output: &Output| output.status.code() != Some(99) && !said(output).1.starts_with("unshare:");
            let Some(output) = output.ok().filter(mounted) else {
                return crate::skip::test(crate::skip::NO_MOUNT);
            };
            let (code, text) = said(&output);
            let expected = format!("--ledger: {}: {says}", dir.path().display());
            assert!(code == Some(78) && text.contains(&expected), "{options} {command}: {code:?} {text}");
        }
    }
}

/// What only shows when it is opened: the same words, and the setting's name.
#[test]
fn what_shows_only_when_the_ledger_is_opened_names_the_setting_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lock")).unwrap();
    let output = Command::new(binary())
        .args([
            "serve",
            "--upstream",
            "http://127.0.0.1:9",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .arg("--ledger")
        .arg(dir.path())
        .output()
        .unwrap();
    let (code, text) = said(&output);
    let expected = format!(
        "tokenweir serve: --ledger: {}/lock: Is a directory (os error 21); name a directory of its own; it is made if it is \
         not there\n",
        dir.path().display()
    );
    assert!(code == Some(1) && text.ends_with(&expected), "{code:?} {text}");
}
