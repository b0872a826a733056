//! Aligned columns that fit a terminal.
//!
//! A table that is too wide is made to fit, in this order: headers go over several lines, names are cut in their middle, and
//! columns that say least are left out, which is said below the table. Without a terminal nothing is cut.

use comfy_table::{CellAlignment, Table, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Names are not cut below this.
const NAME_COLUMNS_MIN: usize = 12;

/// Between two columns.
const GAP: usize = 2;

/// Stands for the middle of a name that was cut.
const CUT: char = '…';

/// The line below the header, and above the total: no name can draw it, since a name has numbers beside it.
const RULE: &str = "═";

/// Whether a column may be left out, and when: the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Importance {
    /// The least of all are left out first.
    LeftOutAt(u8),
    Kept,
}

/// How the cells of a column are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// They are cut in their middle where there is no room.
    Name,
    /// They stand at the right and are never cut.
    Number,
    /// They go over several lines where there is no room, and no word is cut.
    Words,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct TextColumn {
    pub(crate) header: String,
    pub(crate) kind: CellKind,
    pub(crate) importance: Importance,
    /// One for each line.
    pub(crate) cells: Vec<String>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct TextTable {
    pub(crate) columns: Vec<TextColumn>,
    /// Its last line is the total.
    pub(crate) has_total: bool,
}

impl TextColumn {
    /// The width that it needs with its header in one line.
    fn natural(&self) -> usize {
        self.content().max(self.header.width())
    }

    /// The width of its cells.
    fn content(&self) -> usize {
        self.cells.iter().map(|cell| cell.width()).max().unwrap_or(0)
    }

    /// The least width that it can have.
    fn least(&self) -> usize {
        let pieces = pieces(&self.header).map(UnicodeWidthStr::width).max().unwrap_or(0);
        let words = || self.cells.iter().flat_map(|cell| cell.split(' ')).map(UnicodeWidthStr::width);
        let cells = match self.kind {
            CellKind::Name => self.content().min(NAME_COLUMNS_MIN),
            CellKind::Number => self.content(),
            CellKind::Words => words().max().unwrap_or(0),
        };
        cells.max(pieces)
    }

    /// A cell as it is drawn.
    fn drawn(&self, line: usize, width: usize) -> String {
        match self.kind {
            CellKind::Words => folded(&self.cells[line], width),
            CellKind::Name | CellKind::Number => cut(&self.cells[line], width),
        }
    }
}

impl TextTable {
    /// The table as text; with `columns` it fits a terminal of so many.
    pub(crate) fn text(mut self, columns: Option<usize>) -> String {
        let Some(room) = columns else { return self.drawn(&self.widths(TextColumn::natural)) };
        let mut left_out = Vec::new();
        while total(&self.widths(TextColumn::least)) > room {
            let least = self.columns.iter().enumerate().min_by_key(|(_, column)| column.importance);
            let Some((at, _)) = least.filter(|(_, column)| column.importance != Importance::Kept) else {
                break;
            };
            left_out.push(self.columns.remove(at).header);
        }
        let mut text = self.drawn(&self.fitted(room));
        if !left_out.is_empty() {
            text.push_str(&folded(&format!("no room for {}; --wide shows all", left_out.join(", ")), room));
            text.push('\n');
        }
        text
    }

    fn widths(&self, width: impl Fn(&TextColumn) -> usize) -> Vec<usize> {
        self.columns.iter().map(width).collect()
    }

    /// The least widths, and what is left of the room: for names first, then for headers.
    fn fitted(&self, room: usize) -> Vec<usize> {
        let mut widths = self.widths(TextColumn::least);
        let mut left = room.saturating_sub(total(&widths));
        for wanted in
            [self.widths(|column| column.content().max(column.least())), self.widths(TextColumn::natural)]
        {
            // A column at a time, so that two long ones share.
            while left > 0 {
                let smallest =
                    (0..widths.len()).filter(|at| widths[*at] < wanted[*at]).min_by_key(|at| widths[*at]);
                let Some(at) = smallest else { break };
                widths[at] += 1;
                left -= 1;
            }
        }
        widths
    }

    fn drawn(&self, widths: &[usize]) -> String {
        let mut table = Table::new();
        let columns = || self.columns.iter().zip(widths);
        table.load_preset(presets::NOTHING);
        table.set_header(columns().map(|(column, width)| lined(&column.header, *width)));
        for line in 0..self.columns.first().map_or(0, |column| column.cells.len()) {
            table.add_row(columns().map(|(column, width)| column.drawn(line, *width)));
        }
        for (at, (column, _)) in columns().enumerate() {
            if let Some(drawn) = table.column_mut(at) {
                drawn.set_padding((0, if at + 1 < self.columns.len() { GAP as u16 } else { 0 }));
                drawn.set_cell_alignment(match column.kind {
                    CellKind::Number => CellAlignment::Right,
                    CellKind::Name | CellKind::Words => CellAlignment::Left,
                });
            }
        }
        let tallest = |texts: &dyn Fn(&TextColumn, usize) -> String| {
            columns().map(|(column, width)| texts(column, *width).lines().count()).max().unwrap_or(0)
        };
        let header = tallest(&|column, width| lined(&column.header, width));
        let last = self.columns.first().and_then(|column| column.cells.len().checked_sub(1));
        let total = last.filter(|_| self.has_total);
        ruled(
            &table.to_string(),
            header,
            total.map_or(0, |total| tallest(&|column, width| column.drawn(total, width))),
        )
    }
}

/// Rules below the header and above the total, which take so many lines; only one if nothing is in between.
fn ruled(table: &str, header: usize, total: usize) -> String {
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    let rule = RULE.repeat(lines.iter().map(|line| line.width()).max().unwrap_or(0));
    let above_total = lines.len().saturating_sub(total);
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at == header || at == above_total && above_total > header {
            out.push_str(&rule);
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The columns of a line.
fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// The words of a name, each with the sign behind it.
fn pieces(name: &str) -> impl Iterator<Item = &str> {
    name.split_inclusive(['_', ' '])
}

/// A sentence in lines that fit, between words.
fn folded(sentence: &str, room: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in sentence.split(' ') {
        let sign = if used > 0 && used + 1 + word.width() > room { '\n' } else { ' ' };
        if used > 0 {
            lines.push(sign);
        }
        used = if sign == '\n' { 0 } else { used + usize::from(used > 0) } + word.width();
        lines.push_str(word);
    }
    lines
}

/// A header in as few lines as fit.
fn lined(header: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces(header) {
        match lines.last_mut() {
            Some(line) if (line.width() + piece.trim_end().width()) <= width => line.push_str(piece),
            _ => lines.push(piece.to_owned()),
        }
    }
    lines.join("\n")
}

/// A text that is cut in its middle where it is wider: names that begin alike often end differently.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let head: String = fitting(text.chars(), room.div_ceil(2)).collect();
    let tail: Vec<char> = fitting(text.chars().rev(), room - head.width()).collect();
    head + &CUT.to_string() + &tail.into_iter().rev().collect::<String>()
}

/// The first characters that fit.
fn fitting(characters: impl Iterator<Item = char>, width: usize) -> impl Iterator<Item = char> {
    let mut used = 0;
    characters.take_while(move |character| {
        used += character.width().unwrap_or(0);
        used <= width
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(header: &str, kind: CellKind, importance: Importance, cells: &[&str]) -> TextColumn {
        let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
        TextColumn { header: header.to_owned(), kind, importance, cells }
    }

    fn table() -> TextTable {
        let names = ["contoso-claims-production-01", "contoso-claims-production-02", "total"];
        TextTable {
            columns: vec![
                column("caller", CellKind::Name, Importance::Kept, &names),
                column("calls", CellKind::Number, Importance::Kept, &["1", "12", "13"]),
                column(
                    "lower_bound_tokens",
                    CellKind::Number,
                    Importance::LeftOutAt(2),
                    &["1", "1234567", "1234568"],
                ),
                column("output_reasoning", CellKind::Number, Importance::LeftOutAt(1), &["0", "5", "5"]),
            ],
            has_total: true,
        }
    }

    #[test]
    fn words_go_over_lines_and_no_rule_stands_above_a_line_that_is_no_total() {
        let causes = ["cut_streams +1200, bypass +5 !", "failures -7"];
        let columns = vec![
            column(
                "deployment",
                CellKind::Name,
                Importance::Kept,
                &["chat", "a-deployment-with-a-long-name"],
            ),
            column("delta", CellKind::Number, Importance::Kept, &["1205", "-7"]),
            column("causes", CellKind::Words, Importance::Kept, &causes),
        ];
        assert_eq!(
            TextTable { columns, has_total: false }.text(Some(36)),
            "deployment      delta  causes\n\
             ════════════════════════════════════\n\
             chat             1205  cut_streams\n\
             \u{20}                      +1200, bypass\n\
             \u{20}                      +5 !\n\
             a-deplo…g-name     -7  failures -7\n"
        );
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        assert_eq!(
            table().text(None),
            "caller                        calls  lower_bound_tokens  output_reasoning\n\
             ═════════════════════════════════════════════════════════════════════════\n\
             contoso-claims-production-01      1                   1                 0\n\
             contoso-claims-production-02     12             1234567                 5\n\
             ═════════════════════════════════════════════════════════════════════════\n\
             total                            13             1234568                 5\n"
        );
    }

    #[test]
    fn headers_go_over_lines_then_names_are_cut_then_columns_left_out() {
        assert_eq!(
            table().text(Some(56)),
            "caller                        calls   lower_    output_\n\
             \u{20}                                     bound_  reasoning\n\
             \u{20}                                     tokens\n\
             ═══════════════════════════════════════════════════════\n\
             contoso-claims-production-01      1        1          0\n\
             contoso-claims-production-02     12  1234567          5\n\
             ═══════════════════════════════════════════════════════\n\
             total                            13  1234568          5\n"
        );
        let narrow = table().text(Some(45));
        assert!(narrow.contains("contoso-c…ction-01") && narrow.contains("contoso-c…ction-02"), "{narrow}");
        let least = table().text(Some(30));
        assert!(
            !least.contains("reasoning ")
                && least.ends_with("no room for output_reasoning;\n--wide shows all\n"),
            "{least}"
        );
        let none = table().text(Some(8));
        assert!(
            none.contains("calls")
                && none.replace('\n', " ").contains("no room for output_reasoning, lower_bound_tokens"),
            "{none}"
        );
    }

    proptest! {
        #[test]
        fn it_fits_and_no_number_is_cut(
            names in prop::collection::vec("[a-z支é]{1,30}", 1..5),
            number in any::<u64>(),
            room in 60..200_usize,
        ) {
            let numbers = vec![number.to_string(); names.len()];
            let columns = vec![
                TextColumn { header: "caller".to_owned(), kind: CellKind::Name, importance: Importance::Kept, cells: names },
                TextColumn { header: "calls".to_owned(), kind: CellKind::Number, importance: Importance::Kept, cells: numbers.clone() },
                TextColumn { header: "lower_bound_tokens".to_owned(), kind: CellKind::Number, importance: Importance::LeftOutAt(1), cells: numbers },
            ];
            let text = TextTable { columns, has_total: true }.text(Some(room));
            for line in text.lines() {
                prop_assert!(line.width() <= room, "{line}");
            }
            prop_assert!(text.contains(&number.to_string()));
        }
    }
}
