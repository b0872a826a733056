//! Lines in, lines out: each exchange goes through two meters.

use std::io::{self, BufRead, Read, Write};

use serde::Deserialize;

use super::accounted::{Accounted, Replayed};
use super::exchange::replay;
use super::explain;
use super::line::Line;
use super::output::{Account, AccountedLine, BadLine, ReportedTokens, Sides};
use crate::usage::{CloudEvent, EventType, Usage};

/// Bytes of one line. A request with images has tens of megabytes.
const LINE_BYTES_MAX: usize = 256 << 20;

/// A byte order mark.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// `source` of the events.
const SOURCE: &str = "//tokenweir/account";

/// How to account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The token that ends a turn is billed; `None`: it is on Azure, and not elsewhere.
    pub end_of_turn: Option<bool>,
    /// Say how each number came about.
    pub explain: Explain,
}

/// Whether numbers are explained, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Explain {
    /// Not.
    #[default]
    No,
    /// Each line has a member `explain`.
    Json,
    /// In place of each line, some lines for people.
    Text,
}

/// How many lines were read, and how many of them were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Lines read.
    pub lines: u64,
    /// Of these: no exchange. The command then exits with 1.
    pub bad_lines: u64,
}

/// Accounts for each line of `input` with one line of `output`. Blank lines are passed over.
///
/// # Errors
///
/// Reading or writing fails. A bad line is no error: it gives `{"id", "error"}` and is counted.
pub fn run(mut input: impl BufRead, output: &mut impl Write, options: &Options) -> io::Result<RunSummary> {
    let (mut summary, mut line) = (RunSummary::default(), Vec::new());
    let mut number = 0;
    while let Some(read) = next_line(&mut input, &mut line)? {
        number += 1;
        // Editors of another system may begin a file with a byte order mark.
        if number == 1 && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if read.is_ok() && line.trim_ascii().is_empty() {
            continue;
        }
        summary.lines += 1;
        match read.and_then(|()| account(&line, options)) {
            Ok(account) if options.explain == Explain::Text => {
                output.write_all(explain::text(&account).as_bytes())?;
            }
            Ok(account) => serde_json::to_writer(&mut *output, &account)?,
            Err(error) => {
                summary.bad_lines += 1;
                let bad = BadLine { id: id_of(&line), error: format!("line {number}: {error}") };
                match options.explain {
                    Explain::Text => writeln!(output, "{}", explain::bad(&bad))?,
                    _ => serde_json::to_writer(&mut *output, &bad)?,
                }
            }
        }
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(summary)
}

/// The next line, without holding more of it than is allowed. `None` at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<Result<(), String>>> {
    line.clear();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if read <= LINE_BYTES_MAX || line.ends_with(b"\n") {
        return Ok((read > 0).then_some(Ok(())));
    }
    line.clear();
    input.skip_until(b'\n')?;
    Ok(Some(Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"))))
}

/// The id of a line that could not be read otherwise.
fn id_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(line).ok().map(|line| line.id)
}

fn account(line: &[u8], options: &Options) -> Result<AccountedLine, String> {
    let line = Line::parse(line)?;
    let Replayed { call, responses } = replay(&line, options.end_of_turn);
    let (account, event) = told(line.id.clone(), call, options);
    let Some(responses) = responses else {
        return Ok(AccountedLine { account, responses: None, event, events: None });
    };
    let numbered = responses.into_iter().zip(1_u64..);
    let (responses, events): (Vec<_>, Vec<_>) =
        numbered.map(|(response, number)| told(format!("{}/{number}", line.id), response, options)).unzip();
    let events = events.into_iter().flatten().chain(event.clone()).collect();
    Ok(AccountedLine { account, responses: Some(responses), event, events: Some(events) })
}

/// An account as it is told, and its event, which has the same id.
fn told(id: String, accounted: Accounted, options: &Options) -> (Account, Option<CloudEvent<Usage>>) {
    let Accounted { event, blind, explanation } = accounted;
    let account = Account {
        id: id.clone(),
        computed: Sides { input: blind.tokens.input, output: blind.tokens.output },
        reported: event.as_ref().and_then(ReportedTokens::of),
        input_quality: blind.accounting.input_quality,
        output_quality: blind.accounting.output_quality,
        reasons: blind.accounting.reasons,
        explain: (options.explain != Explain::No).then_some(explanation),
    };
    let event = event.map(|event| {
        let payer = event.caller.id.clone();
        CloudEvent::new(EventType::Usage, SOURCE, id, None, payer, event)
    });
    (account, event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lines(input: &str) -> (Vec<Value>, RunSummary) {
        let mut output = Vec::new();
        let summary = run(input.as_bytes(), &mut output, &Options::default()).unwrap();
        (
            String::from_utf8(output)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            summary,
        )
    }

    fn exchange(usage: &Value) -> Value {
        let body = json!({"id": "c", "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": usage});
        json!({"id": "1", "api": "chat", "azure": true, "model": "gpt-4o", "status": 200, "deployment": "d", "extra": 1,
            "request": {"messages": [{"role": "user", "content": "Hello"}]}, "response_kind": "json", "response_body": body.to_string()})
    }

    #[test]
    fn one_line_for_each() {
        let fine = exchange(&json!({"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}));
        let (found, summary) = lines(&format!("{fine}\n\n{{\"id\":\"x\"}}\nnonsense\n{fine}"));
        assert_eq!(summary, RunSummary { lines: 4, bad_lines: 2 });
        assert_eq!(found[0], found[3]);
        assert_eq!((&found[1]["id"], &found[2]["id"]), (&json!("x"), &Value::Null));
        assert!(found[1]["error"].is_string() && found[2]["error"].is_string());
        let first = &found[0];
        assert_eq!(first["computed"], json!({"input": 8, "output": 2}));
        assert_eq!(first["reported"], json!({"input": 8, "output": 2, "total": 10}));
        assert_eq!((&first["input_quality"], &first["reasons"]), (&json!("exact"), &json!([])));
        let event = &first["event"];
        assert_eq!(
            (&event["id"], &event["source"], &event["time"]),
            (&json!("1"), &json!(SOURCE), &Value::Null)
        );
        assert_eq!(event["data"]["accounting"]["input_source"], "reported");
        assert_eq!(
            (&event["data"]["target"]["deployment"], &event["data"]["timing"]["started_at"]),
            (&json!("d"), &Value::Null)
        );
    }

    #[test]
    fn usage_does_not_leak_into_computed() {
        let with = |usage: Value| {
            let mut line = lines(&exchange(&usage).to_string()).0.remove(0);
            line.as_object_mut().unwrap().retain(|key, _| key != "event" && key != "reported");
            line
        };
        let plain = with(Value::Null);
        assert_eq!(plain["computed"], json!({"input": 8, "output": 2}));
        for usage in [
            json!({"prompt_tokens": 999, "completion_tokens": 999, "completion_tokens_details": {"reasoning_tokens": 9}}),
            json!(-1),
        ] {
            assert_eq!(with(usage), plain);
        }
    }

    /// Of Anthropic's Messages nothing is computed; what is reported is as `serve` would have it.
    #[test]
    fn a_message_has_what_was_reported() {
        let usage = json!({"input_tokens": 12, "cache_creation_input_tokens": 3000, "cache_read_input_tokens": 20000,
            "output_tokens": 1});
        let message = |usage: &Value| json!({"id": "msg_1", "type": "message", "model": "claude-sonnet-5", "content": [], "usage": usage});
        let start = format!("data: {}\n\n", json!({"type": "message_start", "message": message(&usage)}));
        let change = "data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":9}}\n\n";
        let stop = "data: {\"type\":\"message_stop\"}\n\n";
        let mut last = usage.clone();
        last["output_tokens"] = json!(9);
        let whole = message(&last).to_string();
        for (kind, body, output, quality, outcome) in [
            ("json", whole.clone(), Some(9), "exact", "complete"),
            ("sse", start.clone() + change + stop, Some(9), "exact", "complete"),
            ("sse", start + change, Some(9), "lower_bound", "upstream_eof"),
            ("json", whole[..whole.len() - 9].to_owned(), None, "unknown", "complete"),
        ] {
            let line = json!({"id": "1", "api": "messages", "request": {"model": "claude-team", "messages": []},
                "response_kind": kind, "response_body": body});
            let account = lines(&line.to_string()).0.remove(0);
            assert_eq!(account["computed"], json!({"input": null, "output": null}), "{body}");
            assert_eq!(account["reasons"], json!(["input:no_usage", "output:no_usage"]), "{body}");
            let (input, cached) = (output.map(|_| 23012), output.map(|_| 20000));
            let reported = output.map(|_| json!({"input": input, "output": output, "input_cached": cached}));
            assert_eq!(account["reported"], json!(reported), "{body}");
            let data = &account["event"]["data"];
            assert_eq!(
                (&data["tokens"]["input"], &data["tokens"]["output"]),
                (&json!(input), &json!(output))
            );
            assert_eq!(data["accounting"]["output_quality"], quality, "{body}");
            assert_eq!(data["stream"]["outcome"], outcome, "{body}");
            assert_eq!(data["target"]["model"], "claude-sonnet-5");
        }
    }

    #[test]
    fn a_number_says_what_it_is_made_of() {
        let line = exchange(&json!({"prompt_tokens": 9, "completion_tokens": 2}));
        let with = |explain| {
            let options = Options { explain, ..Options::default() };
            let mut output = Vec::new();
            run(line.to_string().as_bytes(), &mut output, &options).unwrap();
            String::from_utf8(output).unwrap()
        };
        let json: Value = serde_json::from_str(&with(Explain::Json)).unwrap();
        for side in ["input", "output"] {
            let parts = json["explain"][side].as_array().unwrap();
            let sum: i64 = parts.iter().map(|part| part["tokens"].as_i64().unwrap()).sum();
            assert_eq!(json["computed"][side], sum, "the parts make up the number");
        }
        let text = with(Explain::Text);
        let expected = "1: chat_completions, gpt-4o-2024-08-06, d, rules RULES
  input 8, exact; reported 9, 1 more
          3  start of the answer
          5  user message 1
  output 2, exact; reported 2
          1  text
          1  end of turn

";
        assert_eq!(text, expected.replace("RULES", crate::prompt::RULES));
        let mut bad = Vec::new();
        let options = Options { explain: Explain::Text, ..Options::default() };
        run(&b"{\"id\":\"x\\u001b\"}\n\nnonsense\n"[..], &mut bad, &options).unwrap();
        let bad = String::from_utf8(bad).unwrap();
        assert!(bad.starts_with("no exchange: x\\u{1b}: line 1: `api` is missing: chat"), "{bad}");
        assert!(bad.contains("\n\nno exchange: line 3: is no JSON: "), "{bad}");
    }
}
