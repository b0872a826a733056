//! The price of an image of a known size, by model.
//!
//! | models | rule | evidence |
//! |---|---|---|
//! | gpt-4o, gpt-4.1, gpt-4.5, gpt-4-turbo | 85 + 170 a tile | 11 of 11 recordings of gpt-4o, 2 sizes |
//! | gpt-4o-mini | 2833 + 5667 a tile | 30 of 30, 2 sizes |
//! | gpt-5, gpt-5.1 | 70 + 140 a tile | 1 of 1 |
//! | o1, o3 | 75 + 150 a tile | documented |
//! | computer-use-preview | 65 + 129 a tile | documented |
//! | gpt-4.1-mini, gpt-4.1-nano, o4-mini | patches x 1.62, 2.46, 1.72 | 21 recordings, 3 sizes: within 1 |
//! | gpt-5-mini, gpt-5-nano | patches x 1.2, 1.5, not the documented 1.62 and 2.46 | 8 recordings, 3 sizes: within 1 |
//! | gpt-5.2 and later | patches x 1.2 | 1 recording: 1 off |
//!
//! Tiles: the image is made to fit into a square of 2048 pixels, then its shorter side is brought down
//! to 768 pixels; nothing is enlarged (recorded); tiles are squares of 512. With `detail: low` there
//! are no tiles (documented). Patches are squares of 32 pixels; an image of more than 1536 is scaled down until
//! 1536 suffice; `detail: low` changes nothing. Without `detail`, or with `auto`, it is `high`.
//! Scaling is as documented: no recorded image had to be scaled.

use super::header::Size;

/// How a model's images are priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePrice {
    /// A base and an amount for each tile of 512 by 512 pixels.
    Tiles {
        /// Tokens of each image.
        base: u64,
        /// Tokens of each tile.
        tile: u64,
        /// Recordings agree.
        proven: bool,
    },
    /// An amount for each patch of 32 by 32 pixels.
    Patches {
        /// Thousandths of a token for each patch.
        per_thousand: u64,
    },
    /// The model takes no images, or nothing is known.
    Unknown,
}

const TILE_PIXELS: f64 = 512.0;
const PATCH_PIXELS: f64 = 32.0;

/// Patches that an image is scaled down to.
const PATCHES_MAX: u64 = 1536;

/// Starts of names and their prices; the first that fits holds.
const PRICES: [(&str, ImagePrice); 18] = [
    ("gpt-4o-mini", tiles(2833, 5667, true)),
    ("gpt-4o", tiles(85, 170, true)),
    ("chatgpt-4o", tiles(85, 170, false)),
    ("gpt-4.1-mini", patches(1620)),
    ("gpt-4.1-nano", patches(2460)),
    ("gpt-4.1", tiles(85, 170, true)),
    ("gpt-4.5", tiles(85, 170, false)),
    ("gpt-4-turbo", tiles(85, 170, false)),
    ("gpt-5-mini", patches(1200)),
    ("gpt-5-nano", patches(1500)),
    ("gpt-5.1", tiles(70, 140, false)),
    ("gpt-5.", patches(1200)),
    ("gpt-5", tiles(70, 140, false)),
    ("o4-mini", patches(1720)),
    ("codex-mini", patches(1720)),
    ("o1", tiles(75, 150, false)),
    ("o3", tiles(75, 150, false)),
    ("computer-use", tiles(65, 129, false)),
];

const fn tiles(base: u64, tile: u64, proven: bool) -> ImagePrice {
    ImagePrice::Tiles { base, tile, proven }
}

const fn patches(per_thousand: u64) -> ImagePrice {
    ImagePrice::Patches { per_thousand }
}

impl ImagePrice {
    /// The price list of a model, by its name without vendor.
    pub fn of(model: &str) -> ImagePrice {
        let found = PRICES.iter().find(|(start, _)| model.starts_with(start));
        found.map_or(ImagePrice::Unknown, |(_, price)| *price)
    }

    /// Tokens of an image with `detail: low`; `None` where its size matters even then.
    pub(super) fn low(self) -> Option<u64> {
        match self {
            ImagePrice::Tiles { base, .. } => Some(base),
            ImagePrice::Patches { .. } | ImagePrice::Unknown => None,
        }
    }

    /// Tokens of an image, and whether recordings prove that. `None` if unknown.
    pub(super) fn price(self, size: Size, detail: &str) -> Option<(u64, bool)> {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let known = matches!(detail, "" | "auto" | "high");
        match self {
            ImagePrice::Tiles { base, proven, .. } if detail == "low" => Some((base, proven)),
            ImagePrice::Tiles { base, tile, proven } => {
                let scale = tile_scale(width, height);
                let tiles = squares(width * scale, height * scale, TILE_PIXELS);
                Some((base + tile * tiles, proven && known && scale >= 1.0))
            }
            ImagePrice::Patches { per_thousand } => {
                let scale = patch_scale(width, height);
                let patches = squares(width * scale, height * scale, PATCH_PIXELS).min(PATCHES_MAX);
                // The one more is what the recordings show in most cases, and never more than 1 off.
                Some(((patches * per_thousand).div_ceil(1000) + 1, false))
            }
            ImagePrice::Unknown => None,
        }
    }
}

/// By how much an image is scaled down before it is cut into tiles.
fn tile_scale(width: f64, height: f64) -> f64 {
    let fit = f64::min(1.0, 2048.0 / width.max(height));
    fit * f64::min(1.0, 768.0 / (width.min(height) * fit))
}

/// By how much an image is scaled down to have few enough patches: to the area, then on to whole
/// patches on the side where that takes more.
fn patch_scale(width: f64, height: f64) -> f64 {
    if squares(width, height, PATCH_PIXELS) <= PATCHES_MAX {
        return 1.0;
    }
    let area = f64::sqrt(PATCHES_MAX as f64 * PATCH_PIXELS * PATCH_PIXELS / (width * height));
    let whole = |side: f64| {
        let patches = side * area / PATCH_PIXELS;
        if patches < 1.0 { 1.0 } else { patches.floor() / patches }
    };
    area * f64::min(whole(width), whole(height))
}

/// Squares that cover an image. A side is at most 2^32 pixels, so their number is well within a u64.
fn squares(width: f64, height: f64, pixels: f64) -> u64 {
    // A side that was scaled to a whole number of squares may be off by the last bit.
    let along = |side: f64| (side / pixels - 1e-6).ceil().max(1.0) as u64;
    along(width) * along(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn high(model: &str, width: u32, height: u32) -> Option<u64> {
        Some(ImagePrice::of(model).price(Size { width, height }, "")?.0)
    }

    #[test]
    fn documented_examples() {
        assert_eq!(high("gpt-4o", 1024, 1024), Some(765));
        assert_eq!(high("gpt-4o", 2048, 4096), Some(1105));
        assert_eq!(ImagePrice::of("gpt-4o").low(), Some(85));
        // 1452 patches, and 1024.
        assert_eq!(high("gpt-5.2", 1800, 2400), Some((1452 * 12_u64).div_ceil(10) + 1));
        assert_eq!(high("o4-mini", 1024, 1024), Some((1024 * 172_u64).div_ceil(100) + 1));
    }

    #[test]
    fn nothing_is_enlarged() {
        assert_eq!(high("gpt-4o-2024-08-06", 1, 1), Some(255));
        assert_eq!(high("gpt-4o-mini", 512, 512), Some(8500));
        assert_eq!(high("gpt-4.1", 513, 512), Some(85 + 2 * 170));
        assert_eq!(high("gpt-3.5-turbo", 1, 1), None);
    }

    #[test]
    fn the_number_of_squares_is_bounded() {
        for width in [1, 31, 32, 33, 511, 512, 513, 767, 769, 2047, 2049, 10_000, 1_000_000, u32::MAX] {
            for height in [1, 2, 32, 300, 768, 1025, 2048, 16_383, u32::MAX] {
                let tiles = high("gpt-4o", width, height).unwrap();
                assert_eq!((tiles - 85) % 170, 0);
                // 2048 by 768 is the most that is left: 4 by 2 tiles.
                assert!((1..=8).contains(&((tiles - 85) / 170)), "{width} x {height}: {tiles}");
                assert_eq!(high("gpt-4o", height, width), Some(tiles), "{width} x {height}");
                let patches = high("gpt-4.1-nano", width, height).unwrap();
                assert!((4..=3_780).contains(&patches), "{width} x {height}: {patches}");
                assert_eq!(high("gpt-4.1-nano", height, width), Some(patches), "{width} x {height}");
            }
        }
    }

    #[test]
    fn only_what_was_recorded_is_proven() {
        let proven =
            |model, width, height| ImagePrice::of(model).price(Size { width, height }, "").unwrap().1;
        assert!(proven("gpt-4o", 640, 480) && proven("gpt-4o-mini", 2048, 768));
        assert!(!proven("gpt-4o", 1024, 1024) && !proven("gpt-4o", 2049, 10) && !proven("o3", 10, 10));
        assert!(!proven("gpt-4.1-mini", 640, 480));
    }
}
