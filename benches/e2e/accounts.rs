//! That accounting was on, and that its cost was seen: every answer that a caller saw whole has its
//! event, and the event says what the service billed.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::answer::{Answer, Question};
use super::load::Measured;

const USAGE: &str = "dev.tokenweir.usage.v1";
const SUMMARY: &str = "dev.tokenweir.summary.v1";

/// Holds the ledger of a peer that has ended against what the callers saw.
pub(crate) fn check(
    dir: &Path,
    question: &Question,
    answer: &Answer,
    callers: usize,
    measured: &Measured,
) -> Result<()> {
    let cpu = measured.cpu;
    // Some kernels do not tell the time of threads.
    let told = std::fs::exists("/proc/self/schedstat")?;
    ensure!(!told || (cpu.network_ns > 0 && cpu.network_ns <= cpu.all_ns), "time on the CPU: {cpu:?}");
    ensure!(measured.idle_bytes > 0 && measured.peak_bytes > 0, "no memory");
    ensure!(!measured.latencies.is_empty() && measured.reads > 0, "nothing within the window");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenweir"));
    let output = command.arg("events").arg("--ledger").arg(dir.join("ledger")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout)?;
    let mut complete = 0;
    for line in output.lines() {
        let event: Value = serde_json::from_str(line)?;
        let data = &event["data"];
        // What a disk that stood still left no place for.
        complete += data["calls"].as_u64().filter(|_| event["type"] == SUMMARY).unwrap_or_default();
        if event["type"] != USAGE || data["stream"]["outcome"] != "complete" {
            continue;
        }
        complete += 1;
        let told = (data["tokens"]["input"].as_u64(), data["tokens"]["output"].as_u64());
        let billed = (Some(question.tokens as u64), Some(answer.tokens as u64));
        ensure!(told == billed, "{told:?} tokens instead of {billed:?}: {line}");
        // What was reported was also counted, and in the same way.
        let counted = data["accounting"]["computed_output"].as_u64();
        ensure!(counted == billed.1, "counted {counted:?} of {billed:?}: {line}");
    }
    // An answer may have been whole at the proxy, and its caller gone before it read the end.
    let (seen, most) = (measured.calls_ever, measured.calls_ever + callers as u64);
    ensure!((seen..=most).contains(&complete), "{seen} answers, {complete} events");
    Ok(())
}
