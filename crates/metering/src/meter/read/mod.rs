//! Readers of response bodies: one for each kind of body, which the table of APIs names. All of
//! them put labels, errors and costs into [`ResponseFacts`].
//!
//! | file | idea |
//! |---|---|
//! | `response` | the events of a stream, or a document, put into a reader |
//! | `reader` | the kinds of readers; a new one gets its variant here |
//! | `choices`, `choice` | chat completions and the older completions |
//! | `items`, `item` | the Responses API |
//! | `messages` | Anthropic's Messages |
//! | `realtime` | responses and transcriptions of the Realtime API |
//! | `top_level` | all of which nothing is counted: images, sound, video, whatever is not known |
//! | `facts` | labels, errors and costs, in any API |
//! | `work` | work that goes on after the response |
//! | `batch_output` | the file with the responses of a batch |
//! | `charged` | tools and units that are billed beside tokens |
//! | `shape` | deltas that differ in their text alone need no parser |
//! | `text` | a text that comes in deltas, and its count |
//! | `label` | names that may stand in an event |

mod batch_output;
mod charged;
mod choice;
mod choices;
mod facts;
mod item;
mod items;
mod label;
mod messages;
mod reader;
mod realtime;
mod response;
mod shape;
mod text;
mod top_level;
mod work;

pub(super) use batch_output::BatchOutput;
pub(super) use choice::{SeenCall, SeenChoice};
pub(super) use choices::ChoicesReader;
pub(super) use facts::ResponseFacts;
pub(super) use item::{SeenItem, SeenItems, SeenPart};
pub(super) use items::ItemsReader;
pub(crate) use label::label;
pub(super) use reader::BodyReader;
pub(super) use response::{EventSink, ResponseReader};
pub(super) use top_level::SeenMedia;
pub(super) use work::{SeenWork, WorkState};
