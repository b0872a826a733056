//! Computes from a request body the tokens that the service charges for its prompt.
//!
//! The rules were fitted on recorded exchanges with api.openai.com and Azure OpenAI and held against
//! the `usage` that the service reported. `N(s)` is the number of tokens of `s` in the model's
//! encoding, special tokens being ordinary text. *Classic* is gpt-3.5-turbo since June 2023, gpt-4
//! since November 2023, gpt-4o, gpt-4.1 and gpt-4.5; which model goes by which rules, and what differs
//! between them, says `model.rs`.
//!
//! # Chat completions
//!
//! Of the prompts of text in 4,496 exchanges of two sets, 2,333 of 2,339 classic ones are exact, 252 of
//! 255 of gpt-5, 56 of 59 of the o-series, 182 of 184 of those on Azure. Of the classic ones that are off, five
//! come from a recorder that sorted the keys of tools: the service saw them in another order.
//!
//! `prompt = 3 + sum over messages` (gpt-5, o3, o4: `2 + ..`). In the table, "n" are the exact ones of
//! the recorded prompts that a rule has a part in, "programs" where they come from.
//!
//! | message | tokens | n, programs |
//! |---|---|---|
//! | text | `3 + N(role) + N(content)`; parts are joined without anything between them | 851 of 853, 10 |
//! | with `name` | `N(role + ":" + name)` in place of `N(role)` | 5 of 5, 1 |
//! | assistant's text where a JSON schema is asked for | `+ N(schema's name) + 2`, the head of such a response | 4 of 4, 1 |
//! | assistant, one call | `4 + N(content) + N(" to=functions." + name) + N(compact arguments)` | 142 of 144, 8 |
//! | assistant, several calls | `4 + N(" to=multi_tool_use.parallel") + N(wrapper)` | 36 of 36, 7; gpt-5 7 of 7, 2 |
//! | assistant with calls and `name` | `+ N(name)` | 2 of 2, 1 |
//! | assistant's `refusal` | as its text | 2 of 2, 1 |
//! | result of one call | `6 + N(function's name) + N(content)`; the name is looked up by `tool_call_id` | as the calls |
//! | results of calls made together | `10 + N(list of the results as JSON)`, one message for all | as the calls |
//! | image | by its size, and it parts the texts beside it: see `image/price.rs` | 37 of 37 of proven prices, 3 |
//!
//! The wrapper is `{"tool_uses":[{"recipient_name":"functions.NAME","parameters":ARGUMENTS},..]}`; in the
//! list of results JSON objects and arrays stand as such (3 of 3), other results as strings, and
//! some models escape what is not ASCII (see [`Model::ascii_results`]). gpt-5 adds 2 to each earlier
//! text of the assistant (8 of 8 prompts of the Responses API), 6 to each message with calls (16 of
//! 16); gpt-4 of June 2023 has 1 in place of 4 in a call (1 of 1, and 19 of 19 responses).
//!
//! Tools are text joined to the first system message, or in one of their own, `- 1` (325 of 330;
//! the o-series: `- 0`, o4-mini joined `+ 3`, 12 of 12; gpt-5: a hidden preamble, `+ 84` or `+ 81`, one less
//! if the first function has no description, 98 of 98): see `tools/types.rs`. A JSON schema is text joined behind it
//! (160 of 160): see `schema.rs`. Where there are no tools the response is begun for the model, and the
//! prompt has the head that names the schema, `N(name) + 2` (146 of 146); where there are, or with
//! gpt-5, the model writes that head itself, and it is on the bill of the response. A `tool_choice` that
//! names a function costs `N(" to=functions." + name) + 4` (13 of 13; gpt-4 of June 2023: `+ 1`, 6 of 6; gpt-5
//! and the o-series: 0, 20 of 20), `none` costs 1 (gpt-5: 0).
//!
//! # What is not proven is said
//!
//! [`PromptCount::reasons`] names everything in a request that the recordings do not cover, and a
//! model whose vocabulary is not known has no count at all. In a chat: `unknown_model`, also of one that is
//! known by texts alone, where there are functions or a schema; `unknown_fields`, a key that was never recorded, at any
//! depth; `tool_schema`, a function whose schema has a keyword or a
//! shape that fewer than two recorded programs have; `json_schema`, the same of a response's schema, and
//! any with a model that thinks; `parallel_calls`, several calls in one turn with a model that
//! thinks, or results that are not ASCII; `tool_history`, the older form of calls, text and calls
//! in one message, or any call with the o-series; `tool_choice`, `none` or a name where no recording has it; `image`, one that was
//! scaled down, cannot be read, or has a price that was not proven; `remote_image`, counted without its
//! pixels; `audio`, `file`, `hosted_tool`, `custom_tool`, `prediction`. `data_sources` make the count unknown.
//!
//! | file | idea |
//! |---|---|
//! | `dispatch` | from a request to the rules of its API |
//! | `count`, `bill` | the number, and its parts |
//! | `chat/`, `responses/`, `plain` | the rules of chat completions, of the Responses API, of texts alone |
//! | `model` | which model goes by which rules |
//! | `tools/`, `schema`, `image/` | tools, JSON schemas and images |
//! | `read`, `object`, `content`, `json` | a request as the service reads and writes it |

mod bill;
mod chat;
mod content;
mod count;
mod dispatch;
mod image;
mod json;
mod model;
mod object;
mod plain;
mod read;
mod responses;
mod schema;
mod tools;

pub use bill::{Bill, BillPart};
pub use count::PromptCount;
pub use dispatch::{count, rules};
pub use image::ImagePrice;
pub use json::{compact, is_spaced, parallel};
pub use model::{Model, ModelRules, Proof, ThinkingFrames, model};
pub use responses::EARLY_RESPONSES_END;

/// Version of the rules; stands in `accounting.rules`.
pub const RULES: &str = "3";
