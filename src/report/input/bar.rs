//! A bar on standard error that says how far reading has come, where a terminal shows it and it takes some seconds.

use std::cell::Cell;
use std::io::{self, IsTerminal, Read, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use metering::names;

/// A read that takes less needs no bar.
const SILENT: Duration = Duration::from_secs(2);

/// Where a whole is known, and where it is not.
const OF_BYTES: &str = "{wide_msg} {bytes} of {total_bytes} [{bar:24}] {eta}";
const OF_EVENTS: &str = "{wide_msg} {human_pos} of {human_len} events [{bar:24}] {eta}";
const OF_STREAM: &str = "{wide_msg} {bytes} {bytes_per_sec}";

/// How far reading has come.
pub(crate) struct ReadingBar {
    bar: ProgressBar,
    begun: Instant,
    is_shown: Cell<bool>,
}

impl ReadingBar {
    pub(super) fn new() -> ReadingBar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        ReadingBar { bar, begun: Instant::now(), is_shown: Cell::new(!stderr().is_terminal()) }
    }

    /// Begins with so many events.
    pub(super) fn begin_events(&self, name: &str, events: u64) {
        self.begin(events, OF_EVENTS);
        self.name(name);
    }

    /// Begins with so many bytes; 0: nobody knows how many.
    pub(super) fn begin_bytes(&self, bytes: u64) {
        self.begin(bytes, if bytes == 0 { OF_STREAM } else { OF_BYTES });
    }

    /// Takes the name of what is read now.
    pub(super) fn name(&self, name: &str) {
        self.bar.set_message(names::shown(name).into_owned());
    }

    /// So much more has been read.
    pub(super) fn advance(&self, more: u64) {
        self.bar.inc(more);
        if !self.is_shown.get() && self.begun.elapsed() > SILENT {
            self.is_shown.set(true);
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Takes the bar away, so that what follows begins a line.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// A reader that says how far it has come.
    pub(super) fn counted<'a>(&'a self, reader: impl Read + 'a) -> impl Read + 'a {
        CountedReader { reader, bar: self }
    }

    fn begin(&self, length: u64, template: &str) {
        self.bar.reset();
        self.bar.set_length(length);
        // A template that cannot be read leaves the one of the library.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }
}

struct CountedReader<'a, R> {
    reader: R,
    bar: &'a ReadingBar,
}

impl<R: Read> Read for CountedReader<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(bytes)?;
        self.bar.advance(read as u64);
        Ok(read)
    }
}
