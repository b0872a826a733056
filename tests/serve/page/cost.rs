//! What ten open pages cost under load: memory and time on the CPU, beside a run without a page.
//!
//! The run of every day is short and at a lower rate; `TOKENWEIR_LONG=1` runs 2,000 calls a second.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::cpu::Process;
use super::super::memory::Memory;
use super::super::rate::{Form, calls, metric, service};
use super::super::sidecar::{Sidecar, wait_for};
use super::super::skip::long;
use super::Events;

const PAGES: usize = 10;

const SHORT: Form = Form { per_second: 300, warm_up: Duration::from_secs(1), time: Duration::from_secs(4) };
const LONG: Form = Form { per_second: 2_000, warm_up: Duration::from_secs(5), time: Duration::from_secs(30) };

/// What a process with ten pages may hold more than one without: their buffers and the figures are some hundred kB,
/// and two runs differ by more than that.
const MORE_BYTES_MAX: usize = 4 << 20;

/// What ten pages may take of a core at any rate, in thousandths: each gets a view a second.
const MORE_CPU_MAX: f64 = 60.0;

struct Taken {
    anonymous_bytes: usize,
    /// Thousandths of a core.
    cpu: f64,
}

fn taken(upstream: SocketAddr, ledger: &Path, form: &Form, flag: &str, pages: usize) -> Taken {
    let sidecar = Sidecar::start(upstream, ledger, &["--admin-page", flag]);
    let over = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        for _ in 0..pages {
            scope.spawn(|| {
                let mut events = Events::open(sidecar.admin, "/events");
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(events.next()[0].0, "view");
                }
            });
        }
        calls(sidecar.addr, form, form.warm_up);
        let process = Process::tree(sidecar.pid());
        let before = process.run_time();
        let made = calls(sidecar.addr, form, form.time).len();
        let used_ns = (process.run_time() - before).all_ns;
        over.store(true, Ordering::Relaxed);
        wait_for("rest", || (metric(&sidecar, "tokenweir_calls_open") == 0).then_some(()));
        assert!(made > 0);
        Taken {
            anonymous_bytes: Memory::of(sidecar.pid()).anonymous_bytes,
            cpu: used_ns as f64 / form.time.as_nanos() as f64 * 1e3,
        }
    });
    assert_eq!(sidecar.stop().0, Some(0));
    taken
}

#[test]
fn ten_open_pages_cost_little() {
    let form = if long() { LONG } else { SHORT };
    let (dir, upstream) = (tempfile::tempdir().unwrap(), service());
    let run = |name: &str, flag, pages| {
        let taken = taken(upstream, &dir.path().join(name), &form, flag, pages);
        println!(
            "{} calls/s, {name}: {:.1} thousandths of a core, {} KiB",
            form.per_second,
            taken.cpu,
            taken.anonymous_bytes >> 10
        );
        taken
    };
    let (off, on, ten) =
        (run("off", "off", 0), run("no page open", "on", 0), run("ten pages open", "on", PAGES));
    assert!(
        ten.anonymous_bytes <= off.anonymous_bytes + MORE_BYTES_MAX,
        "{} bytes more",
        ten.anonymous_bytes - off.anonymous_bytes
    );
    assert!(ten.cpu <= on.cpu + MORE_CPU_MAX, "{} thousandths of a core more", ten.cpu - on.cpu);
}
