//! The log lines of this process, as the program would write them.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex};

use serde_json::Value;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Lines are collected from the first call on.
static STARTED: LazyLock<()> = LazyLock::new(|| {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(|| Writer).init();
});

struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on lines are collected. Tests run beside each other, so each looks for lines of its own.
pub(crate) fn collect() {
    LazyLock::force(&STARTED);
}

/// The lines that name this upstream.
pub(crate) fn of_upstream(name: &str) -> Vec<Value> {
    let text = String::from_utf8(LINES.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["upstream"] == name).collect()
}
