//! SIGHUP: the log level is read again, and what needs a restart is said; a file that is wrong changes nothing and says
//! why.

use std::io::{self, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::http::{Message, connect, exchange, get, post};
use super::sidecar::{Sidecar, wait_for};
use super::upstream;

fn answer(_: &Message, to: &mut TcpStream) -> io::Result<()> {
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    upstream::write_chunk(to, upstream::delta("Hi").as_bytes())?;
    upstream::write_chunk(to, upstream::stop().as_bytes())?;
    upstream::write_end(to)
}

fn lines(sidecar: &Sidecar, message: &str) -> Vec<Value> {
    let log = sidecar.log();
    let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"].as_str().is_some_and(|said| said.contains(message))).collect()
}

fn calls(sidecar: &Sidecar) -> usize {
    lines(sidecar, "call").iter().filter(|line| line["message"] == "call").count()
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}

fn metric(sidecar: &Sidecar, name: &str) -> u64 {
    let metrics = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value).unwrap_or(0)
}

fn reloads(sidecar: &Sidecar, result: &str) -> u64 {
    metric(sidecar, &format!("tokenweir_reloads_total{{result=\"{result}\",setting=\"log-level\"}}"))
}

#[test]
fn the_log_level_is_read_again_and_a_broken_file_keeps_the_old() {
    let upstream = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokenweir.toml");
    write(&file, "log_level = \"info\"\n");
    let path = file.to_str().unwrap();
    let sidecar = Sidecar::start(upstream, &dir.path().join("ledger"), &["--config", path]);
    // A call is told at the level of the moment in which it settles, a little after its answer.
    let call = || {
        let settled = metric(&sidecar, "tokenweir_calls_settled_total");
        let body = "{\"stream\":true,\"messages\":[]}";
        let path = "/openai/deployments/d/chat/completions?api-version=1";
        exchange(&mut connect(sidecar.addr), &post(path, &[], body));
        wait_for("the call to settle", || {
            (metric(&sidecar, "tokenweir_calls_settled_total") > settled).then_some(())
        });
    };
    call();
    wait_for("the first call's line", || (calls(&sidecar) == 1).then_some(()));

    write(&file, "log_level = \"error\"\n");
    sidecar.hang_up();
    wait_for("the new level", || (reloads(&sidecar, "changed") == 1).then_some(()));
    call();
    // What is wrong is told at every level, with all that is wrong; and what was right before holds.
    write(&file, "log_level = \"quiet\"\nthreds = 1\n");
    sidecar.hang_up();
    let said = wait_for("what is wrong", || lines(&sidecar, "cannot be read again").pop());
    let error = said["error"].as_str().unwrap();
    for part in ["log_level", "\"quiet\"", "error | warn | info", "threds", "did you mean threads?"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert_eq!((said["level"].as_str(), said["setting"].as_str()), (Some("ERROR"), Some("log-level")));
    assert!(reloads(&sidecar, "failed") > 0);
    call();

    write(&file, "log_level = \"info\"\n");
    sidecar.hang_up();
    wait_for("the old level again", || (reloads(&sidecar, "changed") == 2).then_some(()));
    call();
    wait_for("the last call's line", || (calls(&sidecar) == 2).then_some(()));
    let (code, _) = sidecar.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn what_a_restart_would_change_is_said_at_each_request() {
    let upstream = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokenweir.toml");
    write(&file, "max_in_flight = 100\n");
    let sidecar = Sidecar::start(
        upstream,
        &dir.path().join("ledger"),
        &["--config", file.to_str().unwrap(), "--threads", "2"],
    );
    let said = || {
        let lines = lines(&sidecar, "restart to use these settings");
        lines.iter().map(|line| line["settings"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let read_again = || lines(&sidecar, "read again").len();
    let hang_up = || {
        let before = read_again();
        sidecar.hang_up();
        wait_for("the file to be read again", || (read_again() > before).then_some(()));
    };
    hang_up();
    assert_eq!(said(), Vec::<String>::new(), "nothing has changed");
    // A flag wins over the file, so that its threads would be no others; and the level holds at once.
    write(&file, "max_in_flight = 7\nidle_timeout = \"10s\"\nthreads = 3\nlog_level = \"warn\"\n");
    let both = "max_in_flight, idle_timeout";
    sidecar.hang_up();
    wait_for("what needs a restart", || (said() == [both]).then_some(()));
    sidecar.hang_up();
    wait_for("it to be said again", || (said() == [both, both]).then_some(()));
    write(&file, "max_in_flight = 100\n");
    hang_up();
    assert_eq!(said().len(), 2, "all is as it was at the start");
    let (code, _) = sidecar.stop();
    assert_eq!(code, Some(0));
}
