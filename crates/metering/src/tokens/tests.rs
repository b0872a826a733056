//! The counter against tiktoken and against itself.

mod adversarial;
mod oracle;
mod stream;
mod tables;
mod texts;
mod words;
