//! The page in Chromium, as people see it: its numbers, that it follows, that nobody is left out and nothing is let in.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::sidecar::{usage_events, wait_for};
use super::super::skip;
use super::super::support::packages::{Packages, run};
use super::{HOSTILE, by_label, by_name, call, call_all, metrics, sidecar};

/// A browser that starts on a busy machine, and five views with axe-core.
const LOOK_MAX: Duration = Duration::from_secs(180);

/// What the script tells of the page.
struct Look {
    /// One a view: width and colours.
    views: Vec<Value>,
    /// What the page says.
    page: Value,
}

fn look(installed: &Path, url: &str, folder: &Path) -> Look {
    let mut command = Command::new("node");
    command.arg("live.mjs").arg(url).arg(folder).current_dir(installed);
    let output = run(command, LOOK_MAX).expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut views: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let page = views.pop().expect("the page itself");
    Look { views, page }
}

/// The numbers in a text.
fn number(text: &Value) -> u64 {
    let digits: String = text.as_str().unwrap().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{text}"))
}

/// Of the packages that the statement's page is looked at with; that browser, or the one that `CHROMIUM` names.
fn installed() -> Option<std::path::PathBuf> {
    Packages {
        sources: "tests/report/page",
        folder: "report-page",
        scripts: vec!["look.mjs", "live.mjs"],
        pins: &["package.json", "package-lock.json"],
        install: &[&["npm", "ci", "--no-audit", "--no-fund"]],
    }
    .installed()
}

#[test]
fn the_page_follows_and_is_right_and_whole_for_everybody() {
    let Some(installed) = installed() else {
        return skip::test(
            "the live page was not looked at: Chromium and axe-core could not be installed by npm",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = sidecar(&ledger, &[]);
    let url = format!("http://localhost:{}/", sidecar.admin.port());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-page");
    std::fs::create_dir_all(&folder).unwrap();

    let over = AtomicBool::new(false);
    let followed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                call(sidecar.addr, "load", 7);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let look = std::panic::catch_unwind(|| look(&installed, &url, &folder));
        over.store(true, Ordering::Relaxed);
        look.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    for view in &followed.views {
        assert_eq!((&view["violations"], &view["said"]), (&json!([]), &json!([])), "{view}");
        assert!(view["passes"].as_u64() > Some(25), "axe-core looked: {view}");
        assert_eq!(view["wide"], view["width"], "nothing but a table is wider than the window: {view}");
        let expected = [url.clone(), format!("{url}events")];
        assert_eq!(view["asked"], json!(expected), "nothing else is asked for");
    }
    assert_eq!(followed.views.len(), 5);
    assert_ne!(followed.views[0]["paper"], followed.views[1]["paper"], "dark is dark");
    let page = &followed.page;
    let seen: Vec<u64> = page["calls_seen"].as_array().unwrap().iter().map(number).collect();
    assert!(seen.len() == 4 && seen.windows(2).all(|two| two[0] < two[1]), "it follows: {seen:?}");
    assert!(page["line"].as_str().unwrap().len() > 8, "something is drawn: {page}");
    let paused: Vec<u64> = page["paused"].as_array().unwrap().iter().map(number).collect();
    assert!(paused[0] == paused[1] && paused[2] > paused[1], "a pause holds until it is over: {paused:?}");
    assert_eq!((&page["pressed"], &page["animation"]), (&json!("true"), &json!("none")));

    // Now that it rests, its numbers are those of the metrics and of the events.
    call_all(sidecar.addr);
    let rests = || by_name(&metrics(sidecar.admin), "tokenweir_calls_open") == 0;
    wait_for("rest", || rests().then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    let page = look(&installed, &url, &folder).page;
    assert_eq!(page["pwned"], Value::Null, "no name was run");
    let events = usage_events(&ledger);
    let rows = page["callers"].as_array().unwrap();
    assert_eq!(rows.len(), HOSTILE.len() + 1);
    for caller in HOSTILE.iter().copied().chain(["load"]) {
        let row = rows.iter().find(|row| row["name"] == caller).unwrap_or_else(|| panic!("{caller}: {page}"));
        assert_eq!(row["elements"], 0, "a name is text: {row}");
        let own: Vec<&Value> =
            events.iter().filter(|event| event["data"]["caller"]["id"] == caller).collect();
        let sum =
            |side: &str| own.iter().filter_map(|event| event["data"]["tokens"][side].as_u64()).sum::<u64>();
        let shown: Vec<u64> = row["cells"].as_array().unwrap()[..4].iter().map(number).collect();
        assert_eq!(
            shown,
            [own.len() as u64, sum("input"), sum("output"), sum("input") + sum("output")],
            "{caller}"
        );
    }
    let metrics = metrics(sidecar.admin);
    let of_class = by_label(&metrics, "tokenweir_tokens_total", "class");
    let total: Vec<u64> = page["total"].as_array().unwrap()[..3].iter().map(number).collect();
    assert_eq!(total, [events.len() as u64, of_class["input"], of_class["output"]]);
    for (outcome, count) in by_label(&metrics, "tokenweir_requests_total", "outcome") {
        assert_eq!(number(&page["outcomes"][outcome.replace('_', " ")]), count, "{outcome}");
    }
    assert_eq!(number(&page["ledger"]["events stored"]), by_name(&metrics, "tokenweir_events_stored_total"));
    assert_eq!(
        page["sorted"],
        json!(["descending", "ascending"]),
        "a head sorts, and sorts back, by the keyboard"
    );
    assert_eq!(sidecar.stop().0, Some(0));
}
