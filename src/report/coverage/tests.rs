//! Where ranges end, and what topics have let go; what lies between is in `tests/report/inputs`.

use jiff::{SignedDuration, Timestamp};
use metering::usage::StoredEvent;

use super::*;

const NOW: &str = "2026-12-01T12:00:00Z";

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The id of a boot that began at a time.
fn boot_at(time: Timestamp) -> String {
    let ms = time.as_millisecond();
    format!("{:08x}-{:04x}-7000-8000-000000000000", ms >> 16, ms & 0xffff)
}

struct History {
    seen: Seen,
    boot: String,
    began: Timestamp,
    sequence: u64,
}

impl History {
    fn new(began: &str) -> History {
        let began = instant(began);
        History { seen: Seen::default(), boot: boot_at(began), began, sequence: 0 }
    }

    /// One event so many minutes after the boot began.
    fn event(&mut self, minutes: i64, kind: &str, data: &serde_json::Value) {
        self.sequence += 1;
        let time = self.began + SignedDuration::from_mins(minutes);
        let event = serde_json::json!({
            "specversion": "1.0", "id": format!("{:032x}", self.sequence), "source": "//tokenweir/x", "type": kind,
            "time": time.to_string(), "subject": self.boot, "datacontenttype": "application/json",
            "partitionkey": "k", "sequence": format!("{:020}", self.sequence), "data": data
        });
        let text = event.to_string();
        let stored = StoredEvent::read(&text).unwrap();
        self.seen.note(&stored, &stored.data().unwrap());
    }

    fn call(&mut self, minutes: i64) {
        let data = serde_json::json!({
            "caller": {"id": "a"}, "target": {}, "tokens": {"input": 1, "output": 1}, "stream": {"outcome": "complete"},
            "accounting": {"input_quality": "exact", "output_quality": "exact"},
            "reporter": {"instance": self.boot, "version": "1"}
        });
        self.event(minutes, "dev.tokenweir.usage.v1", &data);
    }

    fn control(&mut self, minutes: i64, is_final: bool, before: Option<&str>) {
        let data = serde_json::json!({
            "schema_version": "1.1", "instance": self.boot, "first_sequence": 1, "last_sequence": self.sequence.max(1),
            "events": self.sequence, "tokens": {"input": 1, "output": 1}, "accepted": 1, "settled": 1, "open": 0, "summed": 0,
            "refused": 0, "degraded": false, "final": is_final, "previous_instance": before
        });
        self.event(minutes, "dev.tokenweir.control.v1", &data);
    }

    fn judged(&self, edges: &InputEdges, from: Option<&str>, to: Option<&str>) -> Completeness {
        let mut completeness = Completeness::default();
        let range = TimeRange { from: from.map(instant), to: to.map(instant) };
        judge(&self.seen, edges, range, instant(NOW), &mut completeness);
        completeness
    }

    fn lacks(&self, from: Option<&str>, to: Option<&str>) -> Vec<LackReason> {
        reasons(&self.judged(&InputEdges::default(), from, to))
    }
}

fn reasons(completeness: &Completeness) -> Vec<LackReason> {
    completeness.lacks.iter().map(|lack| lack.reason).collect()
}

#[test]
fn a_range_is_whole_up_to_the_last_control_event_of_whoever_still_runs() {
    let mut history = History::new("2026-11-30T00:00:00Z");
    history.call(1);
    history.control(60, false, None);
    let to = |to| history.lacks(Some("2026-11-30T00:00:00Z"), Some(to));
    assert_eq!(to("2026-11-30T01:00:00Z"), []);
    assert_eq!(to("2026-11-30T01:00:00.001Z"), [LackReason::NotCovered]);
    assert_eq!(to("2026-12-01T12:00:00Z"), [LackReason::NotCovered]);
    assert_eq!(to("2026-12-01T12:00:00.001Z"), [LackReason::Future]);
    assert_eq!(history.lacks(Some("2026-11-30T00:00:00Z"), None), [], "as far as there is anything");
    // Silent before the range: it is said, and nothing of the range is missing.
    let silent =
        history.judged(&InputEdges::default(), Some("2026-11-30T02:00:00Z"), Some("2026-12-01T00:00:00Z"));
    assert!(silent.lacks.is_empty() && silent.notes[0].contains("silent"), "{silent:?}");
    history.control(90, true, None);
    assert_eq!(history.lacks(None, Some("2026-12-01T00:00:00Z")), [], "it has ended");
}

#[test]
fn a_boot_of_which_only_its_successor_tells_is_missing() {
    let mut history = History::new("2026-11-30T00:00:00Z");
    let before = boot_at(instant("2026-11-20T00:00:00Z"));
    history.call(1);
    history.control(2, true, Some(&before));
    let completeness = history.judged(&InputEdges::default(), None, None);
    assert_eq!(reasons(&completeness), [LackReason::Beginning]);
    assert!(completeness.lacks[0].detail.contains(&before), "{completeness:?}");
    assert_eq!(history.lacks(Some("2026-11-29T00:00:00Z"), None), [LackReason::Beginning]);
    assert_eq!(history.lacks(Some("2026-11-30T00:00:00.001Z"), None), []);
    assert_eq!(history.lacks(None, Some("2026-11-20T00:00:00Z")), []);
}

#[test]
fn a_source_that_begins_in_the_middle_says_from_when_on_it_is_whole() {
    let mut history = History::new("2026-11-30T00:00:00Z");
    history.sequence = 500;
    history.call(60);
    history.control(61, true, None);
    assert_eq!(history.lacks(None, None), [LackReason::Beginning]);
    assert_eq!(history.lacks(Some("2026-11-30T00:30:00Z"), None), [LackReason::Beginning]);
    assert_eq!(history.lacks(Some("2026-11-30T02:00:00Z"), None), []);
    assert_eq!(history.lacks(None, Some("2026-11-29T00:00:00Z")), [], "it had not begun");
}

#[test]
fn a_topic_that_was_cut_is_whole_from_the_newest_of_its_beginnings_on() {
    let mut history = History::new("2026-11-30T00:00:00Z");
    history.sequence = 3;
    history.call(60);
    history.sequence += 2;
    history.call(61);
    history.control(62, true, None);
    let ms = |text| Some(instant(text).as_millisecond());
    let (first, last) = (ms("2026-11-30T01:00:00Z"), ms("2026-11-30T01:01:30Z"));
    let edges = InputEdges { cut: [(0, first), (3, last)].into(), ..InputEdges::default() };
    let all = history.judged(&edges, None, None);
    // The holes that cutting has left are no other news.
    assert_eq!(reasons(&all), [LackReason::TopicRetention]);
    assert!(
        all.lacks[0].detail.ends_with("in partition 0, 3; it is whole from 2026-11-30T01:01:30Z on"),
        "{all:?}"
    );
    let later = history.judged(&edges, Some("2026-11-30T01:02:00Z"), None);
    assert!(later.is_whole(), "{later:?}");
    // Files beside it may hold what it has let go: then the numbers tell.
    let edges = InputEdges { has_files: true, ..edges };
    assert_eq!(reasons(&history.judged(&edges, None, None)), [LackReason::Beginning, LackReason::Missing]);
}

#[test]
fn no_event_at_all_is_no_answer_of_files() {
    let seen = History::new(NOW);
    assert!(seen.judged(&InputEdges::default(), None, None).is_whole());
    let edges = InputEdges { has_files: true, ..InputEdges::default() };
    assert_eq!(reasons(&seen.judged(&edges, None, None)), [LackReason::NoEvents]);
}
