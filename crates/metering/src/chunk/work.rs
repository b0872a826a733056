//! Work that goes on after the response of the call that began it: batches, videos, runs. A response in the
//! background is one too, and has its own reader (`responses`).

use super::charges::milliseconds;
use super::chat::Chunk;
use super::json::{Malformed, Text, Value, members};

/// An object that stands for work which is done after the call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work<'a> {
    /// `object`: the kind of work.
    pub object: Option<Text<'a>>,
    /// `status`
    pub status: Option<Text<'a>>,
    /// `output_file_id` of a batch.
    pub output_file: Option<Text<'a>>,
    /// `seconds` of a video, as a number or as a text, or the `n_seconds` of all `n_variants` that an older job
    /// makes, in milliseconds.
    pub length_ms: Option<u64>,
}

impl<'a> Work<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// [`Malformed`] if `object` is no JSON object.
    pub fn parse(object: &'a [u8]) -> Result<Work<'a>, Malformed> {
        let (mut work, mut of_each_ms, mut variants) = (Work::default(), None, None);
        members(object, |key, value| match key {
            b"object" => work.object = value.text(),
            b"status" => work.status = value.text(),
            b"output_file_id" => work.output_file = value.text(),
            b"seconds" => work.length_ms = length_ms(value),
            b"n_seconds" => of_each_ms = length_ms(value),
            b"n_variants" => variants = value.whole(),
            _ => {}
        })?;
        let of_all = |of_each_ms: u64| of_each_ms.saturating_mul(variants.unwrap_or(1));
        work.length_ms = work.length_ms.or(of_each_ms.map(of_all));
        Ok(work)
    }
}

fn length_ms(seconds: Value<'_>) -> Option<u64> {
    match seconds {
        Value::Number(digits) => milliseconds(digits),
        Value::Text(text) => milliseconds(&text.key()),
        _ => None,
    }
}

/// A line of a batch's output: the response to one of its calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchLine<'a> {
    /// It has a `response` or an `error`, as lines of an output have and others do not.
    pub is_output: bool,
    body: Option<&'a [u8]>,
}

impl<'a> BatchLine<'a> {
    /// Reads a line, or the gist of one.
    ///
    /// # Errors
    /// [`Malformed`] if it is no JSON object.
    pub fn parse(line: &'a [u8]) -> Result<BatchLine<'a>, Malformed> {
        let (mut read, mut response) = (BatchLine::default(), None);
        members(line, |key, value| match key {
            b"response" => (read.is_output, response) = (true, value.object()),
            b"error" => read.is_output = true,
            _ => {}
        })?;
        if let Some(response) = response {
            members(response, |key, value| {
                if key == b"body" {
                    read.body = value.object();
                }
            })?;
        }
        Ok(read)
    }

    /// The body of its response, if it is an object.
    ///
    /// # Errors
    /// [`Malformed`] if it is not JSON.
    pub fn body(&self) -> Result<Option<Chunk<'a>>, Malformed> {
        self.body.map(Chunk::parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_says_how_far_its_work_has_come() {
        let text = |text: Option<Text<'_>>| text.map(|text| text.lossy().into_owned());
        let video =
            br#"{"id":"video_1","object":"video","status":"completed","seconds":"8","size":"1280x720"}"#;
        let work = Work::parse(video).unwrap();
        assert_eq!(
            (text(work.object).as_deref(), text(work.status).as_deref()),
            (Some("video"), Some("completed"))
        );
        assert_eq!(work.length_ms, Some(8_000));
        for (seconds, expected) in [("4.5", Some(4_500)), ("null", None), ("\"x\"", None), ("[8]", None)] {
            let json = format!(r#"{{"seconds":{seconds},"output_file_id":null}}"#);
            let work = Work::parse(json.as_bytes()).unwrap();
            assert_eq!((work.length_ms, work.output_file.is_some()), (expected, false), "{json}");
        }
        for (job, expected) in [
            (r#"{"n_seconds":5,"n_variants":2}"#, Some(10_000)),
            (r#"{"n_seconds":5}"#, Some(5_000)),
            (r#"{"n_variants":2}"#, None),
            (r#"{"n_seconds":5,"n_variants":2,"seconds":"8"}"#, Some(8_000)),
            (r#"{"n_seconds":300000000,"n_variants":18446744073709551615}"#, Some(u64::MAX)),
        ] {
            assert_eq!(Work::parse(job.as_bytes()).unwrap().length_ms, expected, "{job}");
        }
        assert!(Work::parse(b"[]").is_err());
    }

    #[test]
    fn a_line_holds_the_body_of_a_response() {
        let usage = |line: &str| {
            let line = BatchLine::parse(line.as_bytes()).unwrap();
            let body = line.body().unwrap();
            (line.is_output, body.and_then(|body| body.charges()?.usage()?.input))
        };
        let line = r#"{"custom_id":"a","error":null,"response":{"status_code":200,"body":{"usage":{"prompt_tokens":7}}}}"#;
        assert_eq!(usage(line), (true, Some(7)));
        assert_eq!(usage(r#"{"custom_id":"a","response":null,"error":{"code":"c"}}"#), (true, None));
        assert_eq!(usage(r#"{"messages":[],"usage":{"prompt_tokens":7}}"#), (false, None));
    }
}
