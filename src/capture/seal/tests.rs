//! Parts that are sealed and opened, by those who may and by those who may not.

mod command;
pub(in crate::capture::seal) mod keys;
mod parts;
mod reading_keys;
mod sealing;
