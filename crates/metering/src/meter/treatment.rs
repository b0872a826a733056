//! Whose numbers a call has, as far as its path tells.

/// What is done with a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Treatment {
    /// An event; tokens reported, or counted by the service's rules.
    #[default]
    Metered,
    /// An event; tokens only if the service reports them.
    ReportedOnly,
    /// An event without tokens: what is reported is another call's.
    Unmetered,
    /// An event that says 0, whatever is reported: the service does not bill such a call.
    Free,
    /// No event: the call makes nothing.
    Silent,
}
