//! The figures of one moment, of which four are to be one number at the end.

/// The figures of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Calls that the callers began, responses that they asked for in sessions, and bills that they were shown.
    pub(super) sent: u64,
    /// Usage events in both ledgers.
    pub(super) stored: u64,
    /// Distinct usage events read from the topic.
    pub(super) delivered: u64,
    /// Events in the table.
    pub(super) counted: u64,
    /// Calls whose client is still reading.
    pub(super) open: u64,
}

impl Figures {
    /// The four numbers are one.
    pub(super) fn agree(&self) -> bool {
        [self.stored, self.delivered, self.counted].iter().all(|&number| number == self.sent)
    }

    /// Events that are stored and not yet read from the topic.
    pub(super) fn waiting(&self) -> u64 {
        self.stored.saturating_sub(self.delivered)
    }

    /// All of them in one line.
    pub(super) fn line(&self) -> String {
        let Figures { sent, stored, delivered, open, .. } = self;
        let waiting = self.waiting();
        format!("sent {sent}  open {open}  stored {stored}  delivered {delivered}  waiting {waiting}")
    }

    /// `sent N = stored N = delivered N = counted N`, with `!=` where two neighbours differ.
    pub(super) fn proof(&self) -> String {
        let mut line = format!("sent {}", self.sent);
        let mut before = self.sent;
        for (name, number) in
            [("stored", self.stored), ("delivered", self.delivered), ("counted", self.counted)]
        {
            let sign = if number == before { "=" } else { "!=" };
            line.push_str(&format!(" {sign} {name} {number}"));
            before = number;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_shows_where_numbers_part() {
        let figures = Figures { sent: 7, stored: 7, delivered: 7, counted: 7, open: 1 };
        assert!(figures.agree());
        assert_eq!(figures.proof(), "sent 7 = stored 7 = delivered 7 = counted 7");
        let figures = Figures { delivered: 6, counted: 6, ..figures };
        assert!(!figures.agree());
        assert_eq!(figures.proof(), "sent 7 = stored 7 != delivered 6 = counted 6");
        assert_eq!(figures.waiting(), 1);
    }
}
