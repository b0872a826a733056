//! A statement, and how it is made of a report.

use jiff::Timestamp;

use crate::report::calendar::Calendar;
use crate::report::columns::Column;
use crate::report::group_by::GroupBy;
use crate::report::key_value::KeyValue;
use crate::report::rows::{ReportLine, ReportView};
use crate::report::sums::ReportSums;
use crate::report::tally::Report;
use metering::usage::TokenClass;

/// Lines of a table; the others are added up into one.
const TABLE_LINES_MAX: usize = 50;

/// A statement of usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Its heading.
    pub title: String,
    /// The calendar of its days.
    pub calendar: Calendar,
    /// The beginning of its time; `None`: that of the events.
    pub from: Option<Timestamp>,
    /// The end of its time, which is no part of it; `None`: that of the events.
    pub to: Option<Timestamp>,
    /// The currency of all costs; `None`: nothing has a cost.
    pub currency: Option<String>,
    /// The currency of all costs once more, by the rates of their days.
    pub currency_2: Option<String>,
    /// Over everything, each event once.
    pub total: ReportSums,
    /// Usage by day, in order.
    pub days: Vec<ReportLine>,
    /// Usage by other keys.
    pub tables: Vec<StatementTable>,
    /// Where the numbers come from, each with its name: versions of prices and map, sources.
    pub facts: Vec<(String, String)>,
    /// A sentence for each thing that a reader has to know, such as what has no price.
    pub notes: Vec<String>,
    /// Whether it is of all that there was.
    pub completeness: StatementCompleteness,
    /// The verdict on the events, and whether it is good; `None`: nobody asked for one.
    pub proof: Option<(bool, String)>,
}

/// Usage by some keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementTable {
    /// Its heading.
    pub caption: String,
    /// The names of its keys.
    pub keys: Vec<String>,
    /// Its lines, as they are shown.
    pub lines: Vec<ReportLine>,
    /// So many lines more, and their sums.
    pub others: Option<(usize, ReportSums)>,
}

/// Whether a statement is of all that there was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementCompleteness {
    /// Nothing is missing, and where there are prices everything has one.
    pub is_complete: bool,
    /// One sentence that says so, or what kind of thing is missing.
    pub summary: String,
    /// A line for whatever is missing, with its reason and number.
    pub faults: Vec<String>,
    /// A line for whatever is worth a word and changes nothing.
    pub remarks: Vec<String>,
}

impl StatementCompleteness {
    /// That of a report.
    pub fn of(report: &Report) -> StatementCompleteness {
        StatementCompleteness {
            is_complete: report.is_complete(),
            summary: summary(report),
            faults: report.completeness.faults_by_reason(),
            remarks: report.completeness.notes.clone(),
        }
    }
}

impl Statement {
    /// The keys that a statement of a whole report is made of, besides those that were asked for.
    pub fn views() -> Vec<Vec<GroupBy>> {
        [GroupBy::Day, GroupBy::Department, GroupBy::Caller, GroupBy::Model].map(|key| vec![key]).to_vec()
    }

    /// The statement of a whole report, which must have the [`Statement::views`].
    pub fn of(report: &Report) -> Statement {
        let versions = report.cost.versions.named();
        let versions = versions
            .map(|(file, version)| (format!("version of {}", file.replace('_', " ")), version.to_owned()));
        let notes = [report.unpriced_text(), report.repeated_bills_text()];
        let mut statement = Statement {
            title: "Usage statement".to_owned(),
            calendar: report.calendar.clone(),
            from: report.from,
            to: report.to,
            currency: report.currency.clone(),
            currency_2: report.cost.currency_2.clone(),
            total: report.total,
            notes: notes.into_iter().flatten().chain(report.cost.notes.iter().cloned()).collect(),
            facts: versions.collect(),
            completeness: StatementCompleteness::of(report),
            ..Statement::default()
        };
        let asked = ReportView { by: report.by.clone(), lines: report.lines.clone() };
        let is_asked = |view: &&ReportView| view.by != asked.by || view.by == [GroupBy::Day];
        for view in report.views.iter().filter(is_asked).chain([&asked]) {
            match view.by.as_slice() {
                [] => {}
                [GroupBy::Day] => view.lines.clone_into(&mut statement.days),
                keys => {
                    let words: Vec<String> =
                        keys.iter().map(|key| key.to_string().replace('_', " ")).collect();
                    statement.tables.push(StatementTable::of(format!("By {}", words.join(" and ")), view));
                }
            }
        }
        statement
    }
}

impl StatementTable {
    /// The table of a view: what weighs most comes first, and times in their order.
    pub fn of(caption: String, view: &ReportView) -> StatementTable {
        let mut lines = view.lines.clone();
        if !lines.iter().any(|line| line.keys.first().is_some_and(is_time)) {
            lines.sort_by(|a, b| weight(&b.sums).cmp(&weight(&a.sums)).then_with(|| a.keys.cmp(&b.keys)));
        }
        let others = lines.split_off(lines.len().min(TABLE_LINES_MAX));
        let rest = others.iter().try_fold(ReportSums::default(), |sum, line| sum.plus(&line.sums));
        StatementTable {
            caption,
            keys: view.by.iter().map(ToString::to_string).collect(),
            lines,
            others: rest.ok().filter(|_| !others.is_empty()).map(|rest| (others.len(), rest)),
        }
    }
}

/// Says in one sentence whether anything is missing, and what kind of thing.
fn summary(report: &Report) -> String {
    let is_part = report.from.or(report.to).is_some();
    let lacks = if is_part { "not all of the range is there" } else { "not all that was stored is there" };
    let missing = [
        (!report.completeness.omissions.is_empty(), "something was left out"),
        (!report.completeness.lacks.is_empty(), lacks),
        (!report.is_priced(), "not everything has a price"),
    ];
    let missing: Vec<&str> = missing.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect();
    if !missing.is_empty() {
        return missing.join(", ");
    }
    let there = if is_part { "no hole in the range is known" } else { "no hole is known" };
    match report.currency {
        Some(_) => format!("nothing was left out, {there}, and everything has a price"),
        None => format!("nothing was left out, and {there}"),
    }
}

fn is_time(key: &KeyValue) -> bool {
    matches!(key, KeyValue::Hour(..) | KeyValue::Day(_) | KeyValue::Week(_) | KeyValue::Month(_))
}

/// How much a line matters: by what it costs, then by its tokens.
pub(super) fn weight(sums: &ReportSums) -> (u128, u128) {
    (sums.cost().map_or(0, |cost| cost.whole()), tokens(sums))
}

/// Input and output tokens.
pub(super) fn tokens(sums: &ReportSums) -> u128 {
    let of = |class| u128::from(sums.of_column(Column::Tokens(class)));
    of(TokenClass::Input) + of(TokenClass::Output)
}
