//! A reported number beside the computed one.

/// A number that the service reported, held against the computed one.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The upstream.
    pub resource: &'a str,
    /// The deployment.
    pub deployment: &'a str,
    /// The model that the response named.
    pub model: &'a str,
    /// Which rules computed it.
    pub class: &'a str,
    /// Reported minus computed.
    pub residual_tokens: i64,
    /// With this call the class began (true) or ceased (false) to be billed otherwise than the rules say.
    pub turned: Option<bool>,
    /// Calls among the last ones of the class whose two numbers differ.
    pub wrong_calls: usize,
}
