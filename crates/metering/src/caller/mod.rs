//! Who pays: identity, taken from headers that the gateway sets.
//!
//! A list of sources is asked in order and the first that names a caller wins. A value that is
//! doubled, too long or not printable is no name: the call is then [`UNATTRIBUTED`] rather than
//! charged to the next source, because a forged header must not pick its payer.
//!
//! | file | idea |
//! |---|---|
//! | `identity` | the `caller` of an event |
//! | `resolver` | from a request's headers to that |
//! | `source` | where a name may come from, as it is configured |
//! | `fields` | the header fields that a gateway sets |
//! | `tag` | second keys beside the payer, as they are configured |
//! | `token` | the claims of a bearer token |
//! | `certificate`, `peer` | the connection: client certificate and address |
//! | `strength` | whether a shared secret can be guessed |
//! | `trust`, `network` | whether a hop may name the caller |
//! | `hash` | pseudonyms for API keys and people |
//! | `map`, `lines` | departments and cost centres, and the lines of such a file |
//! | `reload` | a value that is read from a file, and read again |

mod certificate;
mod fields;
mod hash;
mod identity;
mod lines;
mod map;
mod network;
mod peer;
mod reload;
mod resolver;
mod source;
mod strength;
mod tag;
mod token;
mod trust;

pub use certificate::Certificate;
pub use fields::{ATTEMPT, GATEWAY_DEPLOYMENT, REQUEST_ID, api_key_headers, gateway_headers, name_in};
pub(crate) use hash::hex;
pub use hash::{HashKey, SecretError};
pub use identity::{Caller, IdSource, Trust, UNATTRIBUTED, Unproven};
pub use lines::{WrongLines, records, version};
pub use map::{CallerMap, CallerPlace, MAP_COLUMNS, instant};
pub use network::{Network, ParseNetworkError};
pub use peer::Peer;
pub use reload::{FromFile, Reload};
pub use resolver::{Resolved, Resolver, ResolverConfig, UnattributedReason, UserIds};
pub use source::{CallerSource, ParseSourceError};
pub use tag::{CallerTag, ParseTagError, TAGS_MAX};
pub use trust::{HopTest, Secrets};
