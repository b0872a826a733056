//! All that a response says of what it costs, wherever in it that stands: its `usage`, what hosted tools
//! used beside it, and what is not billed by tokens.
//!
//! Values are looked up by the names on the way to them from the response itself. Of what is too long to be
//! kept a gist is read in the same way.

use super::json::{Malformed, Value, members};
use super::reported::{Reported, UsageReader};

/// Names on the way to a value that is asked for:
/// `tool_usage.image_gen.input_tokens_details.cached_tokens_details.text_tokens`.
const DEPTH_MAX: usize = 5;

/// Bytes of a model's name: as many as go into an event. A gist cuts what is longer than twice that.
const MODEL_BYTES_MAX: usize = 128;

/// The cost of a response, as the response names it.
#[derive(Clone, Debug, Default)]
pub struct Charges {
    usage: Option<UsageReader>,
    /// `meta.billed_units`, or `usage.billed_units` of Cohere's chats, which have tokens under the same names.
    billed: Option<UsageReader>,
    duration: Duration,
    tools: Vec<Tool>,
    units: BilledUnits,
}

/// Units that are billed otherwise than by tokens. `None`: the response names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BilledUnits {
    /// `usage.seconds`, where its `type` is `duration`: milliseconds of audio that was heard.
    pub audio_ms: Option<u64>,
    /// `meta.billed_units.images`
    pub images: Option<u64>,
    /// `usage_info.pages_processed` or `meta.billed_units.pages`
    pub pages: Option<u64>,
    /// `meta.billed_units.search_units`
    pub search_units: Option<u64>,
    /// `tool_usage.web_search.num_requests`, or `server_tool_use.web_search_requests` of Anthropic's Messages
    pub web_searches: Option<u64>,
    /// `server_tool_use.web_fetch_requests` of Anthropic's Messages
    pub web_fetches: Option<u64>,
}

/// Tokens of another model that a tool used inside the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCharge {
    /// Which tool.
    pub tool: ToolName,
    /// The model, where it is named.
    pub model: Option<String>,
    /// Its numbers.
    pub usage: Reported,
}

/// A tool that says what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToolName {
    /// `tool_usage.image_gen`
    ImageGeneration,
    /// `svg_usage`, of a response or of an item.
    Svg,
    /// An `advisor_message` of Anthropic's Messages.
    Advisor,
}

#[derive(Clone, Debug)]
struct Tool {
    name: ToolName,
    model: Option<String>,
    usage: UsageReader,
}

/// A `usage` that is a time.
#[derive(Clone, Copy, Debug, Default)]
struct Duration {
    is_meant: bool,
    ms: Option<u64>,
}

impl Charges {
    /// Reads what stands in an object of the response; `path`: the names on the way to it. If it is no JSON
    /// its numbers count for nothing.
    pub(super) fn read_whole(&mut self, path: &[&[u8]], object: &[u8]) {
        let before = self.clone();
        if self.read(path, object).is_err() {
            *self = before;
            self.open(path);
        }
    }

    /// After an error all that came before the malformed place has been read.
    fn read(&mut self, path: &[&[u8]], object: &[u8]) -> Result<(), Malformed> {
        self.open(path);
        if path.len() == DEPTH_MAX {
            return Ok(());
        }
        let mut names = [&b""[..]; DEPTH_MAX];
        names[..path.len()].copy_from_slice(path);
        let mut all_read = Ok(());
        members(object, |key, value| {
            let mut names = names;
            names[path.len()] = key;
            let path = &names[..=path.len()];
            match value {
                Value::Object(object) => all_read = all_read.and(self.read(path, object)),
                Value::Number(digits) => self.scalar(path, digits),
                Value::Text(text) => self.text(path, &text.key()),
                _ => {}
            }
        })?;
        all_read
    }

    /// An object begins: of equal members the last stands.
    fn open(&mut self, path: &[&[u8]]) {
        match path {
            [b"usage"] => (self.usage, self.duration) = (Some(UsageReader::default()), Duration::default()),
            [b"meta" | b"usage", b"billed_units"] => self.billed = Some(UsageReader::default()),
            _ => {
                if let Some((name, [])) = tool_at(path) {
                    self.tools.retain(|tool| tool.name != name);
                    self.tools.push(Tool { name, model: None, usage: UsageReader::default() });
                }
            }
        }
    }

    /// A number, or `true`, `false` or `null`, which are passed over.
    fn scalar(&mut self, path: &[&[u8]], digits: &[u8]) {
        if !matches!(digits.first(), Some(b'-' | b'0'..=b'9')) {
            return;
        }
        let number = Value::Number(digits).whole();
        match path {
            [b"usage", b"seconds"] => self.duration.ms = milliseconds(digits),
            [b"usage_info", b"pages_processed"] => self.units.pages = self.units.pages.max(number),
            [b"meta" | b"usage", b"billed_units", rest @ ..] => self.billed_unit(rest, number),
            [b"usage", rest @ ..] => {
                if let Some(usage) = &mut self.usage {
                    usage.set(rest, number);
                }
            }
            [b"tool_usage", b"web_search", b"num_requests"] => self.units.web_searches = number,
            _ => {
                if let Some((name, rest)) = tool_at(path)
                    && let Some(tool) = self.tool(name)
                {
                    tool.usage.set(rest, number);
                }
            }
        }
    }

    fn billed_unit(&mut self, path: &[&[u8]], number: Option<u64>) {
        match path {
            [b"pages"] => self.units.pages = self.units.pages.max(number),
            [b"images"] => self.units.images = number,
            [b"search_units"] => self.units.search_units = number,
            _ => {
                if let Some(billed) = &mut self.billed {
                    billed.set(path, number);
                }
            }
        }
    }

    /// A string, unescaped.
    fn text(&mut self, path: &[&[u8]], text: &[u8]) {
        match path {
            [b"usage", b"type"] => self.duration.is_meant = text == b"duration",
            _ => {
                if let Some((name, [b"model"])) = tool_at(path)
                    && let Some(tool) = self.tool(name)
                    && text.len() <= MODEL_BYTES_MAX
                {
                    tool.model = Some(String::from_utf8_lossy(text).into_owned());
                }
            }
        }
    }

    fn tool(&mut self, name: ToolName) -> Option<&mut Tool> {
        self.tools.iter_mut().find(|tool| tool.name == name)
    }

    /// The response's `usage`, if it is an object.
    pub fn usage(&self) -> Option<Reported> {
        let read = |reader: &Option<UsageReader>| reader.as_ref().map(UsageReader::read);
        let billed = || read(&self.billed).filter(Reported::is_usage);
        read(&self.usage)
            .filter(|usage| usage.is_usage() || usage.implausible)
            .or_else(billed)
            .or_else(|| read(&self.usage))
    }

    /// The usage of its tools: of those that used something.
    pub fn tools(&self) -> impl Iterator<Item = ToolCharge> {
        let charge =
            |tool: &Tool| ToolCharge { tool: tool.name, model: tool.model.clone(), usage: tool.usage.read() };
        self.tools.iter().map(charge).filter(|tool| tool.usage.usable())
    }

    /// The units that are billed otherwise.
    pub fn units(&self) -> BilledUnits {
        BilledUnits { audio_ms: self.duration.ms.filter(|_| self.duration.is_meant), ..self.units }
    }
}

/// The tool that these names lead to, and the names from there on.
fn tool_at<'p, 'n>(path: &'p [&'n [u8]]) -> Option<(ToolName, &'p [&'n [u8]])> {
    Some(match path {
        [b"tool_usage", b"image_gen", rest @ ..] => (ToolName::ImageGeneration, rest),
        [b"svg_usage", rest @ ..] => (ToolName::Svg, rest),
        _ => return None,
    })
}

/// Seconds as whole milliseconds, rounded half up, once.
pub(super) fn milliseconds(digits: &[u8]) -> Option<u64> {
    /// Ten years: what is longer is no recording.
    const SECONDS_MAX: f64 = 315_360_000.0;
    let seconds: f64 = str::from_utf8(digits).ok()?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to SECONDS_MAX")]
    (0.0..=SECONDS_MAX).contains(&seconds).then(|| (seconds * 1000.0 + 0.5).floor() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Chunk;
    use proptest::prelude::*;

    fn charges(json: &str) -> Charges {
        Chunk::parse(json.as_bytes()).unwrap().charges().unwrap_or_default()
    }

    /// Value after value, in the order of a map.
    fn show(charges: &mut Charges, path: &[&[u8]], value: &serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::Object(members) => {
                charges.open(path);
                for (name, member) in members {
                    show(charges, &[path, &[name.as_bytes()]].concat(), member);
                }
            }
            Value::Array(_) => {}
            Value::String(text) => charges.text(path, text.as_bytes()),
            other => charges.scalar(path, other.to_string().as_bytes()),
        }
    }

    fn said(charges: &Charges) -> (Option<Reported>, Vec<ToolCharge>, BilledUnits) {
        let mut tools: Vec<_> = charges.tools().collect();
        tools.sort_by_key(|tool| tool.tool);
        (charges.usage(), tools, charges.units())
    }

    #[test]
    fn what_tools_used_stands_beside_the_usage() {
        let found = charges(
            r#"{"usage":{"input_tokens":1820,"output_tokens":210,"total_tokens":2030},"tool_usage":{
                "image_gen":{"input_tokens":50,"output_tokens":7024,"total_tokens":7074,"cached_tokens":9,
                    "cached_tokens_details":{"cached_image_tokens":4,"cached_text_tokens":5},
                    "input_tokens_details":{"image_tokens":20,"text_tokens":30},
                    "output_tokens_details":{"image_tokens":7000,"text_tokens":24}},
                "web_search":{"num_requests":3}},
                "svg_usage":{"model":"gpt-x","input_tokens":7,"output_tokens":40,"reasoning_tokens":10,"total_tokens":47}}"#,
        );
        assert_eq!(found.usage().unwrap().output, Some(210));
        assert_eq!(found.units(), BilledUnits { web_searches: Some(3), ..BilledUnits::default() });
        let tools: Vec<_> = found.tools().collect();
        assert_eq!(tools.len(), 2);
        let (image, svg) = (&tools[0], &tools[1]);
        assert_eq!((image.tool, &image.model), (ToolName::ImageGeneration, &None));
        assert_eq!((image.usage.input, image.usage.output), (Some(50), Some(7024)));
        assert_eq!((image.usage.input_cached, image.usage.input_cached_image), (Some(9), Some(4)));
        assert_eq!((image.usage.input_image, image.usage.output_text), (Some(20), Some(24)));
        assert_eq!((svg.tool, svg.model.as_deref()), (ToolName::Svg, Some("gpt-x")));
        assert_eq!((svg.usage.output, svg.usage.output_reasoning), (Some(40), Some(10)));
    }

    #[test]
    fn a_tool_that_used_nothing_is_no_tool() {
        let found = charges(
            r#"{"tool_usage":{"image_gen":{"input_tokens":0,"output_tokens":0,"total_tokens":0},"web_search":{"num_requests":0}}}"#,
        );
        assert_eq!((found.tools().count(), found.units().web_searches, found.usage()), (0, Some(0), None));
    }

    #[test]
    fn what_is_not_billed_by_tokens_is_a_unit() {
        let units = |json: &str| charges(json).units();
        let heard = |ms| BilledUnits { audio_ms: Some(ms), ..BilledUnits::default() };
        assert_eq!(units(r#"{"usage":{"type":"duration","seconds":9}}"#), heard(9_000));
        assert_eq!(units(r#"{"usage":{"seconds":8.4705,"type":"duration"}}"#), heard(8_471));
        for none in [
            r#"{"usage":{"seconds":9}}"#,
            r#"{"usage":{"type":"tokens","seconds":9,"input_tokens":1}}"#,
            r#"{"usage":{"type":"duration","seconds":-1}}"#,
            r#"{"usage":{"type":"duration","seconds":1e300}}"#,
            r#"{"usage":{"type":"duration","seconds":"9"}}"#,
        ] {
            assert_eq!(units(none), BilledUnits::default(), "{none}");
        }
        assert_eq!(units(r#"{"usage_info":{"pages_processed":2,"doc_size_bytes":4096}}"#).pages, Some(2));
        let billed = charges(
            r#"{"meta":{"billed_units":{"search_units":2,"images":1.0,"input_tokens":3,"pages":4}}}"#,
        );
        let units = billed.units();
        assert_eq!((units.search_units, units.images, units.pages), (Some(2), Some(1), Some(4)));
        assert_eq!(billed.usage().unwrap().input, Some(3));
        let chat = charges(
            r#"{"usage":{"billed_units":{"input_tokens":9,"output_tokens":8},"tokens":{"input_tokens":90,"output_tokens":80}}}"#,
        );
        let usage = chat.usage().unwrap();
        assert_eq!((usage.input, usage.output), (Some(9), Some(8)), "what is billed, not what was read");
    }

    #[test]
    fn of_equal_members_the_last_stands() {
        let mut found = Charges::default();
        for (input, model) in [(5, "a"), (7, "b")] {
            let json = serde_json::json!({"usage": {"input_tokens": input}, "svg_usage": {"model": model, "output_tokens": input}});
            show(&mut found, &[], &json);
        }
        found.open(&[b"usage"]);
        assert_eq!(found.usage().unwrap().input, None);
        let tools: Vec<_> = found.tools().collect();
        assert_eq!((tools.len(), tools[0].model.as_deref(), tools[0].usage.output), (1, Some("b"), Some(7)));
    }

    #[test]
    fn an_object_that_is_no_json_says_nothing() {
        assert_eq!(
            charges(r#"{"usage":{"input_tokens":5 "output_tokens":3}}"#).usage(),
            Some(Reported::default())
        );
        let other = charges(
            r#"{"tool_usage":{"image_gen":{"output_tokens":5},"web_search":{"num_requests":2},x},"usage_info":{"pages_processed":2 1}}"#,
        );
        assert_eq!((other.tools().count(), other.units()), (0, BilledUnits::default()));
    }

    /// Members of a usage, and of what stands beside it.
    fn any_numbers() -> impl Strategy<Value = serde_json::Value> {
        let name = prop::sample::select(vec![
            "input_tokens",
            "output_tokens",
            "total_tokens",
            "prompt_tokens",
            "cached_tokens",
            "reasoning_tokens",
            "text_tokens",
            "num_requests",
            "pages_processed",
            "seconds",
            "model",
            "type",
            "new_tokens",
            "image_tokens",
            "search_units",
        ]);
        let leaf = prop_oneof![
            (0_u64..99).prop_map(serde_json::Value::from),
            Just(serde_json::Value::from(1.5)),
            Just(serde_json::Value::Null),
            Just(serde_json::Value::from(true)),
            prop::sample::select(vec!["duration", "m"]).prop_map(serde_json::Value::from),
        ];
        let group = prop::sample::select(vec![
            "usage",
            "tool_usage",
            "image_gen",
            "web_search",
            "svg_usage",
            "usage_info",
            "meta",
            "billed_units",
            "input_tokens_details",
            "cached_tokens_details",
            "output_tokens_details",
        ]);
        leaf.prop_recursive(5, 40, 6, move |inner| {
            let key = prop_oneof![2 => group.clone(), 3 => name.clone()];
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        })
    }

    proptest! {
        /// Each value counts where its names lead to, and the order of the members never matters.
        #[test]
        fn any_order_says_the_same(parts in prop::collection::vec((prop::sample::select(vec![
            "usage", "tool_usage", "svg_usage", "usage_info", "meta", "choices",
        ]), any_numbers()), 0..6)) {
            let document: serde_json::Map<_, _> = parts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            let parsed = charges(&serde_json::Value::Object(document.clone()).to_string());
            let (mut straight, mut back) = (Charges::default(), Charges::default());
            for (name, value) in &document {
                show(&mut straight, &[name.as_bytes()], value);
            }
            for (name, value) in document.iter().rev() {
                show(&mut back, &[name.as_bytes()], value);
            }
            prop_assert_eq!(said(&parsed), said(&straight));
            prop_assert_eq!(said(&straight), said(&back));
        }
    }
}
