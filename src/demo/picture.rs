//! One picture of the demo at a terminal, made to fit it.

use super::acts::Acts;
use super::style::{Emphasis, Styles};

/// What is to be seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Picture<'a> {
    pub(super) acts: &'a Acts,
    /// What the keys did, a line each.
    pub(super) deeds: &'a [String],
    pub(super) table: &'a str,
    pub(super) legend: &'a [String],
    /// The legend where there is less room.
    pub(super) short_legend: &'a [&'a str],
    /// The figures of the moment.
    pub(super) counts: &'a str,
    /// What goes on.
    pub(super) now: &'a str,
    /// What the keys do, where there are keys.
    pub(super) keys: Option<&'a str>,
}

impl Picture<'_> {
    /// Its lines, at most so many: as much of it as there is room for.
    pub(super) fn lines(&self, rows: usize, styles: Styles) -> Vec<String> {
        let table = table_lines(self.table, styles);
        let quiet = |line: &str| styles.paint(Emphasis::Quiet, line);
        let legend: Vec<String> = self.legend.iter().map(|line| quiet(line)).collect();
        let short_legend: Vec<String> = self.short_legend.iter().map(|line| quiet(line)).collect();
        let acts = self.acts.lines(styles);
        let strip = vec![self.acts.strip(styles)];
        let blank = vec![String::new()];
        let foot = self.foot(styles);
        let deeds = self.deeds.to_vec();
        let variants: [&[&[String]]; 6] = [
            &[&acts, &deeds, &blank, &table, &legend, &blank, &foot],
            &[&acts, &deeds, &table, &short_legend, &foot],
            &[&strip, &table, &legend, &foot],
            &[&strip, &table, &short_legend, &foot],
            &[&strip, &table, &foot],
            &[&acts, &deeds, &foot],
        ];
        let fits = variants.into_iter().map(<[&[String]]>::concat).find(|lines| lines.len() <= rows);
        fits.unwrap_or_else(|| [strip, foot].concat().into_iter().take(rows).collect())
    }

    fn foot(&self, styles: Styles) -> Vec<String> {
        let keys = self.keys.map(|keys| styles.paint(Emphasis::Quiet, keys));
        let now = styles.paint(Emphasis::Running, self.now);
        [now, self.counts.to_owned()].into_iter().chain(keys).collect()
    }
}

/// The lines of a table, whose header and total are headings.
pub(super) fn table_lines(table: &str, styles: Styles) -> Vec<String> {
    let lines: Vec<&str> = table.lines().collect();
    let is_rule = |line: &str| line.starts_with('═');
    let rules: Vec<usize> = (0..lines.len()).filter(|at| is_rule(lines[*at])).collect();
    let (first, last) = (rules.first().copied().unwrap_or(0), rules.last().copied().unwrap_or(lines.len()));
    let line = |(at, line): (usize, &&str)| match at {
        at if is_rule(line) => styles.paint(Emphasis::Quiet, lines[at]),
        at if at < first || at > last => styles.paint(Emphasis::Heading, line),
        _ => (*line).to_owned(),
    };
    lines.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Styles = Styles { colours: false };

    #[test]
    fn it_fits_whatever_the_height_and_keeps_the_figures() {
        let (acts, deeds) = (Acts::default(), ["you broke the broker".to_owned()]);
        let table = "caller  calls\n═════════════\na           1\n═════════════\ntotal       1\n";
        let legend = ["calls_exact  ..".to_owned()];
        let picture = Picture {
            acts: &acts,
            deeds: &deeds,
            table,
            legend: &legend,
            short_legend: &["exact: .."],
            counts: "sent 1",
            now: "all is well",
            keys: Some("q end"),
        };
        for rows in 4..40 {
            let lines = picture.lines(rows, PLAIN);
            assert!(lines.len() <= rows, "{rows}: {lines:?}");
            assert!(lines.contains(&"sent 1".to_owned()) && lines.contains(&"q end".to_owned()), "{rows}");
        }
        let all = picture.lines(40, PLAIN);
        for line in ["you broke the broker", "total       1", "calls_exact  .."] {
            assert!(all.contains(&line.to_owned()), "{line}");
        }
    }

    #[test]
    fn only_the_header_and_the_total_stand_out() {
        let table = "a  b\n════\n1  2\n════\n3  4\n";
        let lines = table_lines(table, Styles { colours: true });
        let bold: Vec<bool> = lines.iter().map(|line| line.starts_with("\x1b[1m")).collect();
        assert_eq!(bold, [true, false, false, false, true]);
        assert_eq!(lines[2], "1  2");
    }
}
