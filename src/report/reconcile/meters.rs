//! The table of meters: what a name in a bill counts. The built-in lines stand in `meters.csv`; a file's lines go
//! before them.

use std::path::Path;

use csv::StringRecord;
use smol_str::SmolStr;
use strum::{Display, EnumString, VariantNames};

use super::glob::fits;
use crate::report::error::ReportError;
use crate::report::pricing::PriceClass;
use metering::caller::{WrongLines, records};

/// The built-in lines.
const BUILT_IN: &str = include_str!("meters.csv");

/// Tokens or units in one of a meter's quantity: the largest that Azure has is a million, and hours of audio are in
/// milliseconds.
const PER_MAX: u64 = 1_000_000_000;

/// The class of meters that count neither tokens nor units of ours.
const NO_CLASS: &str = "none";

/// How a file of meters looks, for `--help`.
pub const METERS_HELP: &str = "\
Meters are known by a table of their names. --meters FILE adds lines that go before the built-in ones: CSV with a \
header, of which pattern or words, and one more, must be there:

  pattern,words,model,class,tier,per
  gpt 4o 1120 Inp glbl Tokens,,gpt-4o-2024-11-20,input_uncached,,
  Contoso Chat *,,contoso-chat*,,,
  ,contoso output|outp,,output_text,,1000

  pattern  the whole name of the meter, in which * is any text
  words    words that the name has, in any order; a|b is either, * any letters; /word is one of
           the subcategory
  model    the models of ours that it is for: names, or beginnings and *, separated by |
  class    a class of report's prices (input_uncached, input_cached, output_text, ..), or none:
           not to be compared
  tier     batch, or empty
  per      tokens or units in one of the quantity; empty: as the unit says (1K is 1000)

Each column is taken from the first line that fits and says it. Meters without a class are listed.";

/// The classes that a meter counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BillMeter {
    /// The models of ours, separated by `|`; empty: any.
    pub(super) model: SmolStr,
    /// `None`: no line says.
    pub(super) class: Option<MeterClass>,
    pub(super) is_batch: bool,
    pub(super) per: Option<u64>,
}

/// One of a meter's units is this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MeterClass {
    /// Tokens or units that we count as well.
    Counted(PriceClass),
    /// Something else, such as hours.
    Other,
}

/// Every line, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meters(Vec<MeterLine>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct MeterLine {
    pattern: Option<String>,
    words: Vec<Word>,
    model: Option<SmolStr>,
    class: Option<MeterClass>,
    is_batch: bool,
    per: Option<u64>,
}

/// A word of a name, in one of several spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    of_subcategory: bool,
    spellings: Vec<String>,
}

/// The columns of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
enum MeterColumn {
    Pattern,
    Words,
    Model,
    Class,
    Tier,
    Per,
}

/// The tiers that a line may name.
#[derive(Clone, Copy, Debug, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
enum MeterTier {
    Batch,
}

impl Meters {
    /// The built-in table, behind the lines of a file.
    ///
    /// # Errors
    /// If the file cannot be read, or lines are wrong: then with their numbers.
    pub fn read(path: Option<&Path>) -> Result<Meters, ReportError> {
        let mut lines = Vec::new();
        if let Some(path) = path {
            let named = |error| ReportError::File { path: path.to_owned(), error };
            let text = std::fs::read_to_string(path).map_err(named)?;
            let wrong = |wrong: WrongLines| ReportError::Content {
                path: path.to_owned(),
                problem: wrong.to_string(),
            };
            lines = parse(&text).map_err(wrong)?;
        }
        let built_in = |wrong: WrongLines| ReportError::Content {
            path: "meters.csv".into(),
            problem: wrong.to_string(),
        };
        lines.extend(parse(BUILT_IN).map_err(built_in)?);
        Ok(Meters(lines))
    }

    /// Tells what a meter counts, by its name and that of its subcategory.
    pub(super) fn of(&self, name: &str, subcategory: &str) -> BillMeter {
        let (name, subcategory) = (normal(name), normal(subcategory));
        let (words, above): (Vec<&str>, Vec<&str>) =
            (name.split(' ').collect(), subcategory.split(' ').collect());
        let mut meter = BillMeter::default();
        for line in self.0.iter().filter(|line| line.fits(&name, &words, &above)) {
            if meter.model.is_empty() {
                meter.model = line.model.clone().unwrap_or_default();
            }
            meter.class = meter.class.or(line.class);
            meter.is_batch |= line.is_batch;
            meter.per = meter.per.or(line.per);
        }
        meter
    }
}

impl MeterLine {
    fn fits(&self, name: &str, words: &[&str], subcategory: &[&str]) -> bool {
        let has = |word: &Word| {
            let within = if word.of_subcategory { subcategory } else { words };
            within.iter().any(|given| word.spellings.iter().any(|spelling| fits(spelling, given)))
        };
        self.pattern.as_ref().is_none_or(|pattern| fits(pattern, name)) && self.words.iter().all(has)
    }
}

/// A name whose words are apart by one space, in lower case.
fn normal(name: &str) -> String {
    let words = name.split([' ', '-', '_', '/', ',', '(', ')']).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join(" ")
}

fn parse(text: &str) -> Result<Vec<MeterLine>, WrongLines> {
    let mut records = records(text);
    let one = |(line, problem)| WrongLines::one(line, problem);
    let (line, header) = records.next().unwrap_or_else(|| Ok((1, StringRecord::new()))).map_err(one)?;
    let columns = columns(&header).map_err(|problem| WrongLines::one(line, problem))?;
    let (mut wrong, mut lines) = (WrongLines::default(), Vec::new());
    for record in records {
        let read = record
            .and_then(|(line, record)| meter_line(&record, &columns).map_err(|problem| (line, problem)));
        match read {
            Ok(line) => lines.push(line),
            Err((line, problem)) => wrong.add(line, problem),
        }
    }
    wrong.or(lines)
}

fn columns(header: &StringRecord) -> Result<Vec<MeterColumn>, String> {
    let mut columns = Vec::new();
    for name in header {
        let Ok(column) = name.parse::<MeterColumn>() else {
            return Err(format!("`{name}` is no column; allowed: {}", MeterColumn::VARIANTS.join(", ")));
        };
        if columns.contains(&column) {
            return Err(format!("there are two columns `{name}`"));
        }
        columns.push(column);
    }
    if columns.contains(&MeterColumn::Pattern) || columns.contains(&MeterColumn::Words) {
        Ok(columns)
    } else {
        Err("there is no column `pattern` and no column `words`; the first line names the columns".to_owned())
    }
}

fn meter_line(record: &StringRecord, columns: &[MeterColumn]) -> Result<MeterLine, String> {
    if record.len() != columns.len() {
        return Err(format!("has {} fields, the header has {}", record.len(), columns.len()));
    }
    let get = |wanted: MeterColumn| {
        let place = columns.iter().position(|column| *column == wanted)?;
        record.get(place).filter(|text| !text.is_empty())
    };
    let line = MeterLine {
        pattern: get(MeterColumn::Pattern).map(normal),
        words: get(MeterColumn::Words).map_or(Ok(Vec::new()), words)?,
        model: get(MeterColumn::Model).map(model).transpose()?,
        class: get(MeterColumn::Class).map(class).transpose()?,
        is_batch: get(MeterColumn::Tier).map(tier).transpose()?.is_some(),
        per: get(MeterColumn::Per).map(per).transpose()?,
    };
    if line.pattern.is_none() && line.words.is_empty() {
        return Err("pattern and words are empty: one of them says which meters are meant".to_owned());
    }
    if line.model.is_none() && line.class.is_none() && !line.is_batch && line.per.is_none() {
        return Err("says nothing of its meters: give model, class, tier or per".to_owned());
    }
    Ok(line)
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let word = |text: &str| {
        let (of_subcategory, word) = match text.strip_prefix('/') {
            Some(word) => (true, word),
            None => (false, text),
        };
        let spellings: Vec<String> = word.split('|').map(normal).collect();
        let is_whole = spellings.iter().all(|word| !word.is_empty() && !word.contains(' '));
        is_whole.then_some(Word { of_subcategory, spellings }).ok_or_else(|| {
            format!(
                "words has `{text}`; allowed: single words, such as inp|input; names with - or _ are several"
            )
        })
    };
    text.split_ascii_whitespace().map(word).collect()
}

fn model(text: &str) -> Result<SmolStr, String> {
    let is_model = |name: &str| !name.is_empty() && !name.trim_end_matches('*').contains('*') && name != "*";
    if text.split('|').all(is_model) {
        return Ok(super::line_key::lower(text));
    }
    Err(format!(
        "model is {text}; allowed: names, or beginnings and *, separated by |, such as gpt-4o|gpt-4o-20*"
    ))
}

fn class(text: &str) -> Result<MeterClass, String> {
    if text == NO_CLASS {
        return Ok(MeterClass::Other);
    }
    let known = || {
        format!("class is {text}; allowed: {}, {NO_CLASS}", <PriceClass as VariantNames>::VARIANTS.join(", "))
    };
    text.parse().map(MeterClass::Counted).map_err(|_| known())
}

fn tier(text: &str) -> Result<MeterTier, String> {
    text.parse().map_err(|_| format!("tier is {text}; allowed: {}, or empty", MeterTier::VARIANTS.join(", ")))
}

fn per(text: &str) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|per| (1..=PER_MAX).contains(per));
    number.ok_or_else(|| format!("per is {text}; allowed: a whole number from 1 to {PER_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Meters {
        Meters::read(None).unwrap()
    }

    fn said(meters: &Meters, name: &str, subcategory: &str) -> (String, &'static str, bool) {
        let meter = meters.of(name, subcategory);
        let class = match meter.class {
            None => "?",
            Some(MeterClass::Other) => "-",
            Some(MeterClass::Counted(class)) => class.as_str(),
        };
        (meter.model.split('|').next().unwrap().to_owned(), class, meter.is_batch)
    }

    /// Names of the public price list.
    #[test]
    fn the_names_of_the_price_list_are_known() {
        let meters = built_in();
        for (name, model, class, is_batch) in [
            ("gpt 4o 0513 Input global Tokens", "gpt-4o-2024-05-13", "input_uncached", false),
            ("gpt 4o 0513 Batch Outp Data Zone Tokens", "gpt-4o-2024-05-13", "output_text", true),
            ("gpt-4o-0806-Inp-glbl Tokens", "gpt-4o-2024-08-06", "input_uncached", false),
            ("gpt-4o-0806-Batch-Outp-glbl Tokens", "gpt-4o-2024-08-06", "output_text", true),
            ("gpt 4o 1120 cached Inp regnl Tokens", "gpt-4o-2024-11-20", "input_cached", false),
            ("gpt 4o mini0718 BatchOutp DataZone Tokens", "gpt-4o-mini", "output_text", true),
            ("gpt-4o-mini-0718-Outp-glbl Tokens", "gpt-4o-mini", "output_text", false),
            ("gpt 4.1 nano cached Inp glbl Tokens", "gpt-4.1-nano", "input_cached", false),
            ("gpt 4.1 Outp glbl Tokens", "gpt-4.1", "output_text", false),
            ("GPT 5 Inpt Glbl 1M Tokens", "gpt-5", "input_uncached", false),
            ("GPT 5 outpt Glbl 1M Tokens", "gpt-5", "output_text", false),
            ("GPT 5 Mini cchd Inpt DZone 1M Tokens", "gpt-5-mini", "input_cached", false),
            ("o3 0416 Outp glbl Tokens", "o3", "output_text", false),
            ("o3 mini 0131 cached input Data Zone Tokens", "o3-mini*", "input_cached", false),
            ("o4-mini 0416 Inp glbl Tokens", "o4-mini*", "input_uncached", false),
            ("gpt-4o-aud-1217 Inp glbl Tokens", "gpt-4o-audio*", "input_audio", false),
            ("gpt-4o-aud-1217-txt Outp glbl Tokens", "gpt-4o-audio*", "output_text", false),
            ("gpt rt aud 0828 cchd Inp glbl Tokens", "gpt-realtime*", "input_cached_audio", false),
            ("gpt-image-1-inp-txt-glbl Tokens", "gpt-image-1", "input_uncached", false),
            ("gpt-image-1-inp-cached-img-glbl Tokens", "gpt-image-1", "input_cached_image", false),
            ("gpt-image-1-output-img-glbl Tokens", "gpt-image-1", "output_image", false),
            ("Az-Text-Embedding-3-Large Tokens", "text-embedding-3-large", "input_uncached", false),
            ("Az-Embeddings-Ada Tokens", "text-embedding-ada-002", "input_uncached", false),
            ("Provisioned Managed Global Unit", "", "-", false),
            ("Az-GPT35-Turbo-4K-Fine Tuned Hosting", "", "-", false),
            ("Sora 2 glbl Second", "", "video_ms", false),
            ("Standard Text Records", "", "?", false),
        ] {
            let wanted = (model.to_owned(), class, is_batch);
            assert_eq!(said(&meters, name, "Azure OpenAI"), wanted, "{name}");
        }
        let of_gpt5 = said(&meters, "5.4 mini cd inp Gl 1M Tokens", "Azure OpenAI GPT5");
        assert_eq!(of_gpt5, ("gpt-5.4-mini*".to_owned(), "input_cached", false));
        assert_eq!(said(&meters, "5.4 inp Gl 1M Tokens", "Azure Grok Models").0, "", "another 5.4");
    }

    #[test]
    fn lines_of_a_file_go_before_the_built_in_ones() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines =
            "pattern,class,model,per\nContoso-Chat Inp*,input_cached,contoso*,7\ngpt 4o 1120 *,,mine,\n";
        std::fs::write(file.path(), lines).unwrap();
        let meters = Meters::read(Some(file.path())).unwrap();
        let own = meters.of("contoso chat INP glbl tokens", "");
        assert_eq!((&*own.model, own.per), ("contoso*", Some(7)));
        assert_eq!(
            said(&meters, "gpt 4o 1120 Inp glbl Tokens", ""),
            ("mine".to_owned(), "input_uncached", false)
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_is_allowed() {
        for (text, told) in [
            ("", "line 1: there is no column `pattern` and no column `words`"),
            ("pattern,price\n", "line 1: `price` is no column; allowed: pattern, words, model"),
            ("pattern,pattern\n", "line 1: there are two columns `pattern`"),
            ("pattern,class\nx,tokens\n", "line 2: class is tokens; allowed: input_uncached, input_cached"),
            ("pattern,class\nx\n", "line 2: has 1 fields, the header has 2"),
            ("pattern,class\n,none\n", "line 2: pattern and words are empty"),
            ("pattern,class\nx,\n", "line 2: says nothing of its meters"),
            ("pattern,per\nx,0\n", "line 2: per is 0; allowed: a whole number from 1 to"),
            ("pattern,tier\nx,fast\n", "line 2: tier is fast; allowed: batch"),
            ("pattern,model\nx,gpt-*-mini\n", "line 2: model is gpt-*-mini; allowed:"),
            ("words,class\na-b,none\n", "line 2: words has `a-b`; allowed: single words"),
        ] {
            let problem = parse(text).unwrap_err().to_string();
            assert!(problem.starts_with(told), "{text:?}: {problem}");
        }
    }
}
