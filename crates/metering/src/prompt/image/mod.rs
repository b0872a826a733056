//! Images in a prompt, of any API.
//!
//! The size comes from the first bytes of the image (`header`), the tokens from the size by the
//! model's price list (`price`). An image behind a URL is never fetched: its size is not known,
//! and it is counted only where the size does not matter.

mod cost;
mod header;
mod price;

pub(super) use cost::image;
pub use price::ImagePrice;
