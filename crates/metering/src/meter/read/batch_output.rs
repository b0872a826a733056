//! Reads the output of a batch, JSON lines of any number and length, in constant memory: a response on each, whose
//! usages are added up.

use memchr::memchr;
use smol_str::SmolStr;

use super::facts::ResponseFacts;
use super::label::label;
use crate::chunk::{BatchLine, Gist, Reported};

/// The output of a batch so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchOutput {
    line: Gist,
    /// Something of the line has come.
    begun: bool,
    /// Lines that were read.
    lines: u64,
    /// Lines that could not be read.
    unreadable: u64,
    /// It is another file.
    is_other: bool,
    sum: Option<Reported>,
    model: ModelNamed,
}

/// The model that the lines name.
#[derive(Clone, Debug, Default)]
enum ModelNamed {
    #[default]
    None,
    One(SmolStr),
    Several,
}

impl BatchOutput {
    /// The next bytes of the file.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.is_other && !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            self.begun |= !line.trim_ascii().is_empty();
            self.line.push(line);
            let Some(end) = end else { break };
            self.end_line();
            rest = &rest[end + 1..];
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.begun) {
            self.lines += 1;
            if self.read_line().is_none() {
                self.unreadable += 1;
                // A file that does not begin as an output does is none, and the rest of it is not looked at.
                self.is_other = self.lines == 1;
            }
        }
        self.line.restart();
    }

    /// Adds a line up. `None`: it cannot be read.
    fn read_line(&mut self) -> Option<()> {
        if !self.line.is_complete() {
            return None;
        }
        let line = BatchLine::parse(self.line.read()).ok().filter(|line| line.is_output)?;
        let Some(body) = line.body().ok()? else { return Some(()) };
        if let Some(model) = body.model.and_then(|model| label(&model.lossy())) {
            self.model = match std::mem::take(&mut self.model) {
                ModelNamed::None => ModelNamed::One(model),
                ModelNamed::One(other) if other == model => ModelNamed::One(model),
                ModelNamed::One(_) | ModelNamed::Several => ModelNamed::Several,
            };
        }
        let usage = body.charges().and_then(|charges| charges.usage());
        if let Some(usage) = usage.filter(Reported::is_usage) {
            self.sum.get_or_insert_default().add(&usage);
        }
        Some(())
    }

    /// The file has ended. Returns whether it is an output.
    pub(crate) fn finish(&mut self, facts: &mut ResponseFacts) -> bool {
        if !self.is_other {
            self.end_line();
        }
        let is_output = !self.is_other && self.lines > self.unreadable;
        if is_output {
            if let ModelNamed::One(model) = &self.model {
                facts.model = Some(model.clone());
            }
            if let Some(mut sum) = self.sum.take() {
                // Embeddings have no output, and do not say so.
                sum.output =
                    sum.output.or(sum.total.zip(sum.input).map(|(total, input)| total.saturating_sub(input)));
                facts.report(sum, true);
            }
        }
        is_output
    }

    /// Lines that were read, and those that could not be.
    pub(crate) fn lines(&self) -> (u64, u64) {
        (self.lines, self.unreadable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(model: &str, input: u64, output: u64) -> String {
        format!(
            r#"{{"id":"batch_req_1","custom_id":"a","response":{{"status_code":200,"body":{{"id":"c","model":"{model}","choices":[{{"message":{{"content":"a\nb"}}}}],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{},"completion_tokens_details":{{"reasoning_tokens":1}}}}}}}},"error":null}}"#,
            input + output
        )
    }

    fn read<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Option<Reported>, Option<SmolStr>, bool, (u64, u64)) {
        let (mut output, mut facts) = (BatchOutput::default(), ResponseFacts::default());
        pieces.into_iter().for_each(|piece| output.push(piece));
        let is_output = output.finish(&mut facts);
        (facts.reported, facts.model, is_output, output.lines())
    }

    #[test]
    fn the_usages_of_all_lines_are_added_up() {
        let failed = r#"{"custom_id":"b","response":null,"error":{"code":"c"}}"#;
        let file = format!("{}\n\n{failed}\r\n{}", line("m", 100, 20), line("m", 3, 4));
        let (usage, model, is_output, lines) = read([file.as_bytes()]);
        let usage = usage.unwrap();
        assert_eq!(
            (usage.input, usage.output, usage.total, usage.output_reasoning),
            (Some(103), Some(24), Some(127), Some(2))
        );
        assert_eq!((model.as_deref(), is_output, lines), (Some("m"), true, (3, 0)));
        let file = format!("{}\n{}\n", line("m", 1, 1), line("n", 1, 1));
        assert_eq!(read([file.as_bytes()]).1, None, "two models are none");
    }

    #[test]
    fn embeddings_have_no_output() {
        let line = r#"{"custom_id":"a","response":{"status_code":200,"body":{"usage":{"prompt_tokens":7,"total_tokens":7}}}}"#;
        let usage = read([line.as_bytes()]).0.unwrap();
        assert_eq!((usage.input, usage.output), (Some(7), Some(0)));
    }

    #[test]
    fn another_file_is_not_read_to_its_end() {
        let training = format!("{}\n", r#"{"messages":[],"usage":{"prompt_tokens":7}}"#).repeat(3);
        let (usage, _, is_output, lines) = read([training.as_bytes()]);
        assert_eq!((usage, is_output, lines), (None, false, (1, 1)));
        for file in ["", "\n \n", "%PDF-1.7", "[1]"] {
            assert!(!read([file.as_bytes()]).2, "{file}");
        }
        // A line that is cut is not read, and the others are.
        let cut = format!("{}\n{}", line("m", 5, 5), &line("m", 7, 7)[..200]);
        let (usage, _, is_output, lines) = read([cut.as_bytes()]);
        assert_eq!((usage.unwrap().input, is_output, lines), (Some(5), true, (2, 1)));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(numbers in prop::collection::vec((0_u64..999, 0_u64..999), 1..6), size in 1_usize..90) {
            let lines: Vec<_> = numbers.iter().map(|(input, output)| line("m", *input, *output)).collect();
            let file = lines.join("\n");
            let whole = read([file.as_bytes()]);
            prop_assert_eq!(&whole, &read(file.as_bytes().chunks(size)));
            let sum = numbers.iter().map(|(input, _)| input).sum::<u64>();
            let output = numbers.iter().map(|(_, output)| output).sum::<u64>();
            let expected = (sum + output > 0).then_some((Some(sum), Some(output)));
            prop_assert_eq!(whole.0.map(|usage| (usage.input, usage.output)), expected);
        }
    }
}
