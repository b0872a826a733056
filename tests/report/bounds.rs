//! Inputs that somebody made to fill the memory.

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokenweir::report::{Input, InputBound, OmissionReason, ReportError, report};

use crate::inputs::{a_call, changed, file_of_bytes, joined, of_file, options};
use crate::support::sidecar::binary;
use crate::truth::the_truth;

/// Memory that a command may have, in KiB: more than all bounds together allow.
const MEMORY_KIB: u32 = 3 << 19;

/// An input of more boots than any fleet has ends with an error, and with little memory, whoever reads it.
#[test]
fn an_input_of_countless_boots_is_an_error_and_fills_no_memory() {
    let lines = |boots: std::ops::Range<u32>| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for boot in boots {
            let line = format!(
                r#"{{"specversion":"1.0","id":"{boot:032x}","source":"//tokenweir/{boot}","type":"dev.tokenweir.usage.v1","time":"2026-11-20T12:00:00Z","subject":"a","partitionkey":"a","sequence":"1","data":{{"caller":{{"id":"a"}},"target":{{}},"tokens":{{"input":1,"output":1}},"accounting":{{"input_quality":"exact","output_quality":"exact"}},"stream":{{"outcome":"complete"}},"reporter":{{"instance":"boot {boot}","version":"1"}}}}}}"#
            );
            gzip.write_all(line.as_bytes()).and_then(|()| gzip.write_all(b"\n")).unwrap();
        }
        gzip.finish().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("boots.jsonl.gz");
    std::fs::write(&path, lines(0..1 << 20)).unwrap();
    for command in ["report", "verify"] {
        let limited = format!("ulimit -v {MEMORY_KIB}; exec {} {command} {}", binary(), path.display());
        let output = Command::new("sh").args(["-c", &limited]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        let place = format!(
            "{}:262145: more than 262144 boots of ledgers; give fewer inputs at once",
            path.display()
        );
        assert!(said.contains(&place), "{command}: {said}");
    }
    // As many as there may be are no error.
    std::fs::write(&path, lines(0..1 << 18)).unwrap();
    assert_eq!(of_file(&path).total.get("calls"), Some(1 << 18));
}

/// Numbers of which each lies far from all others cost more than numbers that follow on each other.
#[test]
fn sequence_numbers_that_are_scattered_without_end_are_an_error() {
    let line = |number: u64| {
        format!(
            r#"{{"specversion":"1.0","id":"{number:032x}","source":"s","type":"dev.tokenweir.usage.v1","time":"2026-11-20T12:00:00Z","subject":"a","partitionkey":"a","sequence":"{}","data":{{"caller":{{"id":"a"}},"target":{{}},"tokens":{{"input":1,"output":1}},"accounting":{{"input_quality":"exact","output_quality":"exact"}},"stream":{{"outcome":"complete"}},"reporter":{{"instance":"b","version":"1"}}}}}}"#,
            number << 20
        )
    };
    let (mut gzip, folder) = (GzEncoder::new(Vec::new(), Compression::fast()), tempfile::tempdir().unwrap());
    for number in 1..1_060_000 {
        writeln!(gzip, "{}", line(number)).unwrap();
    }
    let path = folder.path().join("scattered.jsonl.gz");
    std::fs::write(&path, gzip.finish().unwrap()).unwrap();
    let error = report(&options(vec![Input::Files(path)])).unwrap_err();
    let is_scattered = matches!(&error, ReportError::Unbounded { bound: InputBound::Scattered(_), .. });
    assert!(is_scattered, "{error}");
}

/// A name that is longer than any that a sidecar writes is not kept.
#[test]
fn an_event_with_an_endless_name_is_left_out() {
    let (_, lines) = the_truth();
    let call = a_call(lines);
    for pointer in ["/source", "/data/reporter/instance"] {
        let long = changed(call, |event| *event.pointer_mut(pointer).unwrap() = "x".repeat(257).into());
        let (_file, path) = file_of_bytes(&joined(&[long]));
        let report = of_file(&path);
        assert_eq!(report.completeness.omissions.of(OmissionReason::NotOurs), 1, "{pointer}");
    }
}

/// Amounts are added up exactly or not at all.
#[test]
fn a_cost_that_no_number_holds_is_an_error_that_names_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let (events, prices) = (folder.path().join("events.jsonl"), folder.path().join("prices.csv"));
    let report = |input: u64, price: &str| {
        let line = format!(
            r#"{{"specversion":"1.0","id":"{:032x}","source":"s","type":"dev.tokenweir.usage.v1","time":"2026-11-20T12:00:00Z","subject":"a","partitionkey":"a","sequence":"1","data":{{"caller":{{"id":"a"}},"target":{{"model":"m"}},"tokens":{{"input":{input},"output":0}},"accounting":{{"input_quality":"exact","output_quality":"exact"}},"stream":{{"outcome":"complete"}},"reporter":{{"instance":"b","version":"1"}}}}}}"#,
            1
        );
        std::fs::write(&events, line).unwrap();
        let list = format!("model,input,output,currency,per_tokens\nm,{price},0,EUR,1\n");
        std::fs::write(&prices, list).unwrap();
        let arguments = ["report", "--format", "csv", "--prices"];
        Command::new(binary()).args(arguments).arg(&prices).arg(&events).output().unwrap()
    };
    let output = report(1 << 40, "1000");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(",1099511627776000.00,EUR"), "{said}");
    let output = report(1 << 63, "1000");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let place = format!("column `cost`: the sum is larger than 128 bits can hold, at {}:1", events.display());
    assert!(said.contains(&place), "{said}");
    assert!(output.stdout.is_empty());
}
