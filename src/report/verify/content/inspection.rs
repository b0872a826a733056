//! A part by itself: its id, its header, and with a key what is in it.

use metering::usage::{ContentEvent, ContentPart};

use super::content_findings::{ContentFinding, ContentFindingKind, ContentVerdict};
use crate::capture::seal::{OpenError, Unwrap, check_header, open};

/// Findings that are kept; parts beyond it are only counted.
const FINDINGS_MAX: usize = 30_000;

/// The member of a header whose difference shows that the whole seal is that of another part.
const ID: &str = "id";

/// Looks at each part.
pub(super) struct Inspector {
    unwrap: Option<Box<dyn Unwrap>>,
    opened: u64,
    cleartext: u64,
    findings: Vec<ContentFinding>,
    findings_more: u64,
}

impl Inspector {
    pub(super) fn new(unwrap: Option<Box<dyn Unwrap>>) -> Inspector {
        Inspector { unwrap, opened: 0, cleartext: 0, findings: Vec::new(), findings_more: 0 }
    }

    /// Takes a part of a call that is judged.
    pub(super) fn look(&mut self, event: &ContentEvent) {
        self.cleartext += u64::from(event.data.cleartext.is_some());
        let Err(error) = self.open(&event.data, &event.id) else { return };
        if self.findings.len() >= FINDINGS_MAX {
            self.findings_more += 1;
            return;
        }
        self.findings.push(ContentFinding {
            kind: kind_of(&error),
            source: event.source.to_string(),
            about: event.id.clone(),
            parts: 1,
            detail: error.to_string(),
        });
    }

    /// Tells what was found.
    pub(super) fn tell(self, verdict: &mut ContentVerdict) {
        (verdict.opened, verdict.cleartext) = (self.opened, self.cleartext);
        self.findings.into_iter().for_each(|finding| verdict.add(finding));
        verdict.findings_more += self.findings_more;
        if self.unwrap.is_none() && verdict.parts > 0 {
            let text = "nothing was opened: without --key or --unwrap-command the protected headers are read, and not what they protect";
            verdict.notes.push(text.to_owned());
        }
        verdict.remark(self.cleartext, "parts that are not sealed (--capture-cleartext allow)");
    }

    fn open(&mut self, part: &ContentPart, id: &str) -> Result<(), OpenError> {
        let Some(unwrap) = self.unwrap.as_deref_mut() else { return check_header(part, id).map(drop) };
        // The bytes are dropped at once: nobody here wants to know what they say.
        open(part, id, unwrap).map(drop)?;
        self.opened += 1;
        Ok(())
    }
}

fn kind_of(error: &OpenError) -> ContentFindingKind {
    match error {
        OpenError::HeaderDiffers { member } if member == ID => ContentFindingKind::Swapped,
        error if error.is_alteration() => ContentFindingKind::Altered,
        _ => ContentFindingKind::Unopenable,
    }
}
