//! The boots that the events of an input name, each with its number; and bounds of these names, which whoever wrote the
//! input has chosen.

use std::collections::HashMap;

use metering::usage::{StoredData, StoredEvent};

/// Boots of all inputs. A ledger that is begun anew ten times a day has 300 a month, so this is a month of 870 of them. A
/// boot takes 1.5 KiB where events are added up and 4 KiB where they are proven, besides its events: 1 GiB.
pub(super) const BOOTS_MAX: usize = 1 << 18;

/// Bytes of a name; a sidecar writes 36 for a boot, and 49 for a ledger.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// Boots by the names of their ledgers and their own.
#[derive(Debug, Default)]
pub(super) struct BootNames {
    ledgers: HashMap<String, LedgerBoots>,
    boots: usize,
}

#[derive(Debug, Default)]
struct LedgerBoots {
    /// Stands for the ledger.
    number: usize,
    boots: HashMap<String, usize>,
}

impl BootNames {
    /// The number of a boot, if it was met.
    pub(super) fn find(&self, source: &str, boot: &str) -> Option<usize> {
        self.ledgers.get(source)?.boots.get(boot).copied()
    }

    /// The number of a boot. One that was not met before has the next one, from 0 on.
    pub(super) fn number(&mut self, source: &str, boot: &str) -> usize {
        if let Some(number) = self.find(source, boot) {
            return number;
        }
        let next = self.ledgers.len();
        let ledger = self.ledgers.entry(source.to_owned());
        let ledger = ledger.or_insert_with(|| LedgerBoots { number: next, ..LedgerBoots::default() });
        let number = self.boots;
        ledger.boots.insert(boot.to_owned(), number);
        self.boots += 1;
        number
    }

    /// The number of a ledger of which a boot was met.
    pub(super) fn ledger(&self, source: &str) -> Option<usize> {
        Some(self.ledgers.get(source)?.number)
    }

    /// There are more than are kept.
    pub(super) fn is_over(&self) -> bool {
        self.boots > BOOTS_MAX
    }
}

/// No sidecar has written the names by which the event says where it belongs.
pub(super) fn has_foreign_names(event: &StoredEvent<'_>, data: &StoredData) -> bool {
    let about = match data {
        StoredData::Control(control) => {
            [control.instance.as_str(), control.previous_instance.as_deref().unwrap_or_default()]
        }
        StoredData::Call(..) | StoredData::Sum(..) => [""; 2],
    };
    let names = [&event.source, event.boot(data)].into_iter().chain(about);
    names.into_iter().any(|name| name.len() > NAME_BYTES_MAX)
}
