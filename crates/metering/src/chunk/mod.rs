//! Wire shapes: what a response, a chunk of one, and a request look like in JSON.
//!
//! Tolerant by design: a field that is absent, null or of another type is not there, unknown fields
//! are ignored, of equal keys the last wins, lone surrogates count as U+FFFD. Only a document that
//! is not a JSON object is [`Malformed`].
//!
//! | file | idea |
//! |---|---|
//! | `json` | a reader that lends from a document in memory |
//! | `scan` | a reader of documents of any size, in any pieces |
//! | `chat` | chunks and documents of chat and older completions, and the members that other APIs share with them |
//! | `logprobs` | how many tokens a text has by the service's own list |
//! | `responses`, `whose` | events and items of the Responses API, and whose text is in them |
//! | `realtime` | events of the Realtime API |
//! | `messages` | events of Anthropic's Messages, and what a message costs |
//! | `work` | work that goes on after a response, and a line of a batch's output |
//! | `charges`, `reported` | the cost that a response names |
//! | `media` | what it tells of images, sound and video |
//! | `failure` | the names of an error |
//! | `slim` | a response in pieces without its `logprobs` |
//! | `gist` | a response of any size without its texts, for the readers of short ones |
//! | `request`, `form` | the facts of a request, as JSON and as a form |
//! | `characters` | the characters of a string that is billed by them |
//! | `edit`, `hide` | a request is made to ask for usage, and the event with it taken out |

mod characters;
mod charges;
mod chat;
mod edit;
mod failure;
mod form;
mod gist;
mod hide;
mod json;
#[cfg(test)]
mod large;
mod logprobs;
mod media;
mod messages;
mod realtime;
mod reported;
mod request;
mod responses;
mod scan;
mod slim;
mod whose;
mod work;

pub use charges::{BilledUnits, Charges, ToolCharge, ToolName};
pub use chat::{Call, Choice, Chunk, Message};
pub use edit::{Edit, Inspected, Inspection, edit};
pub use failure::Failure;
pub use form::{FormFacts, FormScan, form_boundary};
pub use gist::Gist;
pub use hide::{HideUsage, is_usage_event};
pub use json::{Joiner, Malformed, Text, place_in};
pub use logprobs::Logprobs;
pub use media::Media;
pub use messages::{AnthropicMessage, MessagesCost, MessagesEvent, MessagesEventKind, MessagesUsage};
pub use realtime::{RealtimeEvent, RealtimeEventKind, RealtimeResponse, RealtimeSession};
pub use reported::Reported;
pub use request::{RequestFacts, RequestScan, SIZE_CHARS_MAX, Stop, ToolChoice};
pub use responses::{Item, Part, Response, ResponsesEvent};
pub use scan::{JsonScanner, JsonSink, JsonToken};
pub use slim::Slim;
pub use whose::{EventKind, ItemKind};
pub use work::{BatchLine, Work};
