//! The events of a sidecar's admin port.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::time::Duration;

use metering::names;
use serde::de::DeserializeOwned;

use super::told::{Hear, Told, Wanted};
use crate::report::error::ReportError;

/// How long the admin port may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// An event of a sidecar with 500 callers has some 100 kB.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// What is read of an answer that is none.
const REFUSAL_BYTES_MAX: u64 = 1_024;

/// Tells what the admin port tells.
pub(super) fn watch(url: &str, wanted: Wanted, hear: &mut Hear<'_>) -> Result<(), ReportError> {
    let path = match wanted {
        Wanted::Calls => "calls",
        Wanted::Sums => "events",
    };
    let url = format!("{}/{path}", url.trim_end_matches('/'));
    let failed = |why: String| ReportError::AdminPort(format!("{url}: {}", names::shown(why.trim_end())));
    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(ANSWER_MAX))
        .timeout_recv_response(Some(ANSWER_MAX))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent();
    let answer = agent.get(&url).call().map_err(|error| failed(why(error)))?;
    let (status, body) = (answer.status(), answer.into_body().into_reader());
    if status != 200 {
        let mut why = String::new();
        let _ = body.take(REFUSAL_BYTES_MAX).read_to_string(&mut why);
        return Err(failed(format!("{} {why}", status.as_u16())));
    }
    let mut lines = BufReader::new(body);
    let (mut name, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        let count = lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
        match count.map_err(|error| failed(error.to_string()))? {
            0 => return Err(failed("the sidecar has ended".to_owned())),
            _ if !line.ends_with('\n') => return Err(failed("the events cannot be read".to_owned())),
            _ => {}
        }
        let told = match line.trim_end().split_once(": ") {
            Some(("event", event)) => {
                name = event.to_owned();
                continue;
            }
            Some(("data", data)) => {
                told(&name, data).ok_or_else(|| failed("an event cannot be read".to_owned()))?
            }
            // The end of an event, or a line that only says that the sidecar is there.
            _ => Told::UpToDate,
        };
        if hear(told)?.is_break() {
            return Ok(());
        }
    }
}

/// Why there is no answer, and what may help.
fn why(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            format!("{error}; nobody listens there: is `tokenweir serve` running?")
        }
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn told(name: &str, data: &str) -> Option<Told> {
    fn read<T: DeserializeOwned>(data: &str) -> Option<T> {
        serde_json::from_str(data).ok()
    }
    Some(match name {
        "call" => Told::Call(read(data)?),
        "missed" => Told::Missed(read(data)?),
        "view" => Told::View(read(data)?),
        // Of a later version.
        _ => Told::UpToDate,
    })
}
