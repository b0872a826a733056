//! The memory of the process, in which prompts and secrets are: no core dump, and no other process of the same user
//! reads it. What the process needs of `/proc` itself it has.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::http::get;
use super::sidecar::{Sidecar, binary, serve_arguments};

/// A user who owns nothing: `nobody`. The superuser may read everything, so the test is about another.
const NOBODY: u32 = 65534;

#[test]
fn the_memory_of_the_process_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, program) = (dir.path().join("ledger"), dir.path().join("tokenweir"));
    let me = dir.path().metadata().unwrap().uid();
    fs::copy(binary(), &program).unwrap(); // where it lies, nobody may not look
    fs::create_dir(&ledger).unwrap();
    for path in [dir.path(), ledger.as_path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new("sh");
    // As much as may be dumped here: where that is nothing already, the other half is seen all the same.
    command.args(["-c", "ulimit -c unlimited 2> /dev/null; exec \"$@\"", "sh"]).arg(&program);
    serve_arguments(&mut command, "127.0.0.1:1".parse().unwrap(), &ledger, &["--log-level", "debug"]);
    command.env("TOKENWEIR_CALLER_HASH_KEY", "k");
    if me == 0 {
        command.uid(NOBODY);
    }
    let sidecar = Sidecar::run(&mut command);
    let proc = |file: &str| format!("/proc/{}/{file}", sidecar.pid());
    let limits = fs::read_to_string(proc("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What the kernel gives to the superuser it gives to no other process of this user.
    for file in ["environ", "mem", "maps", "fd"] {
        assert_eq!(fs::metadata(proc(file)).unwrap().uid(), 0, "{file}");
    }
    let page = get(sidecar.admin, "/metrics");
    let page = String::from_utf8(page.body).unwrap();
    for metric in ["process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_threads"]
    {
        let value = page.lines().find_map(|line| line.strip_prefix(&format!("{metric} ")));
        assert!(value.is_some_and(|value| value.parse::<f64>().unwrap() > 0.0), "{metric}: {value:?}");
    }
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0));
    assert!(!log.iter().any(|line| line.contains("core dump")), "{log:?}");
}
