//! Whether a statement is of all that there was, and what the proof of its events says.

use maud::{Markup, html};

use super::data::{Statement, StatementCompleteness};
use metering::names;

impl Statement {
    /// The answer among the sums.
    pub(super) fn complete_or_not(&self) -> Markup {
        let is_complete = self.completeness.is_complete;
        html! {
            div class=(class(is_complete)) { dt { "Complete" } dd { (if is_complete { "yes" } else { "no" }) } }
        }
    }

    /// The answer in a sentence, with whatever is missing, and the proof.
    pub(super) fn completeness(&self) -> Markup {
        let StatementCompleteness { is_complete, summary, faults, remarks } = &self.completeness;
        html! {
            section.notes aria-labelledby="completeness" {
                h2 id="completeness" { "Is it complete?" }
                ul {
                    li class=(class(*is_complete)) {
                        strong { (if *is_complete { "Complete: " } else { "Not complete: " }) } (names::shown(summary))
                    }
                    @for fault in faults { li.wrong { (names::shown(fault)) } }
                    (self.proof_line())
                    @for remark in remarks { li { (names::shown(remark)) } }
                }
            }
        }
    }

    fn proof_line(&self) -> Markup {
        match &self.proof {
            Some((holds, proof)) => html! {
                li class=(class(*holds)) { strong { (if *holds { "Proof: " } else { "Not proven: " }) } (names::shown(proof)) }
            },
            None => html! {
                li { strong { "No proof: " } "nobody asked for one. " code { "tokenweir verify" } " tells whether events are missing or altered." }
            },
        }
    }
}

/// How a sentence looks.
fn class(is_good: bool) -> &'static str {
    if is_good { "good" } else { "wrong" }
}
