//! The variants of the service's rules.

/// Facts of a service that the rules need and the exchange does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The service bills the token that ends a turn (Azure does, api.openai.com does not).
    pub end_of_turn: bool,
}
