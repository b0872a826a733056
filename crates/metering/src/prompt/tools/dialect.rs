//! The APIs render tools a little differently.

/// Who renders: the text differs a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Chat completions.
    Chat,
    /// Chat completions of gpt-4 of June 2023: titles and bounds are left out, and each member has a line of
    /// its own (8 of 8 recordings, three schemas).
    ChatEarly,
    /// The Responses API: a list of types is one type, whose description is not repeated (2 of 2
    /// recordings, one schema).
    Responses,
}
