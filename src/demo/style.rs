//! Emphasis in what the demo writes, where a terminal shows colours.

use anstyle::{AnsiColor, Style};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emphasis {
    Heading,
    Holds,
    Fails,
    Running,
    Quiet,
}

/// Writes emphasis, or leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Styles {
    pub(super) colours: bool,
}

impl Styles {
    /// The text, as a terminal shows it.
    pub(super) fn paint(self, emphasis: Emphasis, text: &str) -> String {
        if !self.colours || text.is_empty() {
            return text.to_owned();
        }
        let style = match emphasis {
            Emphasis::Heading => Style::new().bold(),
            Emphasis::Holds => AnsiColor::Green.on_default(),
            Emphasis::Fails => AnsiColor::Red.on_default().bold(),
            Emphasis::Running => AnsiColor::Yellow.on_default(),
            Emphasis::Quiet => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emphasis_ends_where_the_text_does() {
        let painted = Styles { colours: true }.paint(Emphasis::Holds, "ok");
        assert_eq!(painted, "\x1b[32mok\x1b[0m");
        assert_eq!(Styles { colours: false }.paint(Emphasis::Holds, "ok"), "ok");
    }
}
