//! The cost of what a model says to tools that are no functions.
//!
//! Its text is billed as any other. Of the frame around it recordings show one: a call of a custom tool by a
//! model that thinks, in a response of the Responses API, costs its name joined to ` to=functions.`, its input,
//! and 5: 2 less than a function, whose arguments are announced as JSON (4 of 4). All other frames count as nothing,
//! so the count is a lower bound. A search is part of the thoughts of a model that thinks, and is not counted
//! beside them; of a classic one it is billed as text (8 of 8).

use super::exchange::{MeteredExchange, signed};
use crate::chunk::ItemKind;
use crate::meter::read::{SeenChoice, SeenItems};
use crate::prompt::Bill;
use crate::tokens;

/// The cost of a custom tool's call beside its name and its input.
const CUSTOM_CALL_FRAME: i64 = 5;

impl MeteredExchange<'_> {
    /// The part of a response of the Responses API that went to tools which are no functions; `None` if its text is
    /// lost. `framed`: the frame of a single call was seen to its end, and is known.
    pub(super) fn said_to_tools(&self, items: &SeenItems, framed: bool, bill: &mut Bill) -> Option<()> {
        let encoding = self.model.encoding;
        for custom in items.customs() {
            bill.add("custom tool name", self.tool_name(&custom.name));
            bill.add("custom tool input", signed(custom.arguments.count(encoding)?));
        }
        let single = items.customs().nth(1).is_none() && items.customs().next().is_some();
        bill.add("custom tool frame", if framed && single { CUSTOM_CALL_FRAME } else { 0 });
        for (kind, text) in items.own() {
            let thought = kind == ItemKind::Search && self.model.frames.thinks;
            bill.add("tool input", if thought { 0 } else { signed(text.count(encoding)?) });
        }
        Some(())
    }

    /// The same of a chat's choice.
    pub(super) fn said_to_custom_tools(
        &self,
        choice: &SeenChoice,
        place: Option<usize>,
        bill: &mut Bill,
    ) -> Option<()> {
        for custom in &choice.customs {
            bill.add_at("custom tool name", place, self.tool_name(&custom.name));
            bill.add_at("custom tool input", place, signed(custom.arguments.count(self.model.encoding)?));
        }
        Some(())
    }

    fn tool_name(&self, name: &str) -> i64 {
        if name.is_empty() {
            return 0; // it has not been seen
        }
        signed(tokens::count(self.model.encoding, &format!(" to=functions.{name}")))
    }
}
