//! Callers as a table that is drawn again as numbers change.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::names;
use metering::usage::{Quality, Side};

use super::source::WatchSource;
use super::told::{BEGIN, Told, Wanted};
use crate::report::error::ReportError;
use crate::report::money_text::grouped;
use crate::report::render::{CellKind, Importance, TextColumn, TextTable};
use crate::report::terminal::{terminal_columns, terminal_rows};
use crate::telemetry::live::{CallTotals, Gauges, Health, LiveCall, LiveSums, LiveView};

/// How often the table is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// Lines of the screen that are no callers: those above and below the table, its head, its rules and its total.
const OTHER_LINES: usize = 10;

/// Callers that are shown where the screen says nothing of its height.
const CALLERS_SHOWN: usize = 20;

/// How `top` draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopOptions {
    /// One table, and no other over it.
    pub once: bool,
}

/// Draws the callers of a source until `out` is closed, or once.
///
/// # Errors
/// If the source cannot be read or ends, or `out` cannot be written for another reason than being closed.
pub fn top(source: &WatchSource, options: TopOptions, out: &mut impl Write) -> Result<(), ReportError> {
    let mut own = OwnSums::begin();
    let (mut screen, mut drawn_at) = (Screen::default(), None::<Instant>);
    source.watch(Wanted::Sums, &mut |told| {
        let view = match told {
            Told::View(view) => *view,
            Told::Call(call) => {
                own.add(*call);
                return Ok(ControlFlow::Continue(()));
            }
            Told::UpToDate if !source.has_sums() => own.view(),
            Told::Behind if !options.once => own.view(),
            Told::Behind | Told::UpToDate | Told::Missed(_) => return Ok(ControlFlow::Continue(())),
        };
        if drawn_at.is_some_and(|at| at.elapsed() < DRAW_EVERY / 2) {
            return Ok(ControlFlow::Continue(()));
        }
        drawn_at = Some(Instant::now());
        let text = text(&source.name(), &view, terminal_columns(), callers_shown(options));
        let written = if options.once { out.write_all(text.as_bytes()) } else { screen.draw(&text, out) };
        match written.and_then(|()| out.flush()) {
            Ok(()) if options.once => Ok(ControlFlow::Break(())),
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(error.into()),
        }
    })
}

/// The sums of a source that has none itself.
struct OwnSums {
    sums: LiveSums,
    begin: Timestamp,
}

impl OwnSums {
    fn begin() -> OwnSums {
        let mut sums = LiveSums::default();
        sums.sample(Gauges::default(), 0);
        OwnSums { sums, begin: Timestamp::now() - BEGIN }
    }

    /// Adds a call, unless it is older than what is looked at.
    fn add(&mut self, call: LiveCall) {
        if call.time >= self.begin {
            let second = self.second(call.time);
            self.sums.add(call, second, false);
        }
    }

    fn view(&self) -> LiveView {
        self.sums.view(self.second(Timestamp::now()))
    }

    fn second(&self, time: Timestamp) -> u64 {
        u64::try_from(time.as_second() - self.begin.as_second()).unwrap_or(0)
    }
}

fn callers_shown(options: TopOptions) -> usize {
    if options.once {
        return usize::MAX;
    }
    terminal_rows().map_or(CALLERS_SHOWN, |lines| lines.saturating_sub(OTHER_LINES).max(1))
}

/// A table that is drawn over the last one.
#[derive(Debug, Default)]
struct Screen {
    lines: usize,
}

impl Screen {
    fn draw(&mut self, text: &str, out: &mut impl Write) -> std::io::Result<()> {
        // Back to where the last one began, and all from there is cleared (ECMA-48 CPL, ED); lines are not folded
        // (DECAWM), so that they are as many as we count.
        let back = if self.lines > 0 { format!("\x1b[{}F\x1b[J", self.lines) } else { String::new() };
        self.lines = text.matches('\n').count();
        write!(out, "{back}\x1b[?7l{text}\x1b[?7h")
    }
}

/// The table, with what is said above and below it.
fn text(source: &str, view: &LiveView, columns: Option<usize>, shown: usize) -> String {
    let mut text = format!("{}\n{}\n", names::shown(source), now(view));
    if let Some(health) = &view.health {
        text.push_str(&format!("{}\n", doing(health)));
    }
    text.push('\n');
    text.push_str(table(view, shown).text(columns).trim_end());
    text.push('\n');
    let hidden = view.callers.len().saturating_sub(shown);
    if hidden > 0 {
        text.push_str(&format!("and {hidden} more callers, which are in the total\n"));
    }
    text
}

fn now(view: &LiveView) -> String {
    let recent = view.recent;
    let since = match &view.health {
        Some(_) => format!("up for {}", span(view.up_s)),
        None => format!("the last {}", span(view.up_s)),
    };
    let number = |sum: u64| grouped(&format!("{:.1}", view.a_second(sum)));
    let (input, output, calls) = (number(recent.input), number(recent.output), number(recent.calls));
    format!("{since}; of late {input} tokens in and {output} out a second, {calls} calls")
}

/// How the sidecar does, in a line.
fn doing(health: &Health) -> String {
    let ledger = &health.ledger;
    let oldest = if ledger.undelivered > 0 {
        format!(" (the oldest {})", span(ledger.oldest_undelivered_s))
    } else {
        String::new()
    };
    let degraded = if ledger.degraded { "; LEDGER DEGRADED, calls are summed" } else { "" };
    let kafka = match &health.kafka {
        None => "nothing is published".to_owned(),
        Some(kafka) if kafka.backing_off => "KAFKA AWAY: nothing gets through".to_owned(),
        Some(kafka) => format!("{} of {} brokers up", kafka.brokers_up, kafka.brokers),
    };
    let (streams, undelivered) =
        (grouped(&health.streams.to_string()), grouped(&ledger.undelivered.to_string()));
    format!("{streams} streams in flight; {undelivered} events to deliver{oldest}; {kafka}{degraded}")
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A part of all in percent, rounded down: what is not all of it is not said to be.
fn share(part: u64, all: u64) -> String {
    let thousandths = u128::from(part) * 1_000 / u128::from(all.max(1));
    if all == 0 { "-".to_owned() } else { format!("{}.{}%", thousandths / 10, thousandths % 10) }
}

/// A line of the table.
struct Line {
    name: String,
    totals: CallTotals,
    recent_tokens: u64,
}

fn table(view: &LiveView, shown: usize) -> TextTable {
    let recent_tokens = view.recent.input.saturating_add(view.recent.output);
    let callers = view.callers.iter().take(shown).map(|caller| Line {
        // It comes from elsewhere, and may hold anything.
        name: if names::has_control(&caller.caller) {
            names::shown(&caller.caller).into_owned()
        } else {
            caller.caller.to_string()
        },
        totals: caller.totals,
        recent_tokens: caller.recent_tokens,
    });
    let other =
        view.other.map(|totals| Line { name: "(other callers)".to_owned(), totals, recent_tokens: 0 });
    let total = Line { name: "total".to_owned(), totals: view.totals, recent_tokens };
    let lines: Vec<Line> = callers.chain(other).chain([total]).collect();
    let column = |header: &str, kind, importance, cell: &dyn Fn(&Line) -> String| TextColumn {
        header: header.to_owned(),
        kind,
        importance,
        cells: lines.iter().map(cell).collect(),
    };
    let kept = Importance::Kept;
    let count = |number: u64| grouped(&number.to_string());
    let columns = vec![
        column("caller", CellKind::Name, kept, &|line| line.name.clone()),
        column("tokens/s", CellKind::Number, kept, &|line| {
            grouped(&format!("{:.1}", view.a_second(line.recent_tokens)))
        }),
        column("calls", CellKind::Number, kept, &|line| count(line.totals.calls)),
        column(Side::Input.as_str(), CellKind::Number, kept, &|line| count(line.totals.input)),
        column(Side::Output.as_str(), CellKind::Number, kept, &|line| count(line.totals.output)),
        column(Quality::Exact.as_str(), CellKind::Number, kept, &|line| {
            share(line.totals.qualities[0], line.totals.calls)
        }),
    ];
    TextTable { columns, has_total: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::live::{CallerView, KafkaHealth, RecentSums};

    fn view() -> LiveView {
        let totals = CallTotals { calls: 3, input: 1_234, output: 56, qualities: [2, 1, 0, 0] };
        let caller = |name: &str| CallerView {
            caller: name.into(),
            totals,
            recent_tokens: 123,
            ..CallerView::default()
        };
        LiveView {
            up_s: 7_300,
            totals: CallTotals { calls: 6, input: 2_468, output: 112, qualities: [4, 2, 0, 0] },
            recent_s: 10,
            recent: RecentSums { calls: 6, input: 10_000, output: 56 },
            callers: vec![caller("team-a"), caller("evil\x1b[2J")],
            health: Some(Health {
                streams: 4,
                kafka: Some(KafkaHealth { brokers: 3, brokers_up: 2, ..KafkaHealth::default() }),
                ..Health::default()
            }),
            ..LiveView::default()
        }
    }

    #[test]
    fn a_table_says_who_and_how_much_and_steers_no_terminal() {
        let said = text("http://127.0.0.1:9464", &view(), Some(80), 20);
        for wanted in [
            "up for 2 h",
            "1\u{202f}000.0 tokens in and 5.6 out a second, 0.6 calls",
            "4 streams in flight; 0 events to deliver; 2 of 3 brokers up",
            "team-a",
            "evil\\u{1b}[2J",
            "2\u{202f}468",
            "66.6%",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(!said.contains('\x1b') && said.lines().all(|line| line.chars().count() <= 80), "{said}");
        let short = text("x", &view(), Some(80), 1);
        assert!(short.contains("and 1 more callers") && !short.contains("evil"), "{short}");
        assert!(short.lines().last().is_some_and(|line| line.starts_with("and 1")));
    }

    #[test]
    fn what_is_drawn_again_takes_the_place_of_the_last() {
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        screen.draw("a\nb\n", &mut out).unwrap();
        screen.draw("c\n", &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\x1b[?7la\nb\n\x1b[?7h\x1b[2F\x1b[J\x1b[?7lc\n\x1b[?7h");
    }
}
