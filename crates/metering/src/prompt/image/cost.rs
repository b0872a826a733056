//! Images in a prompt, of any API: what one costs, from its `data:` URL, `detail` and the model.

use super::header;
use super::price::ImagePrice;
use crate::usage::Reason;

/// The price of an image, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its tokens; 0 if they cannot be told.
    pub(crate) tokens: u64,
    /// Why the tokens are not certain; `None` if recordings prove them.
    pub(crate) doubt: Option<Reason>,
}

/// Prices an image. `source` stands in the place of a URL; `detail` is empty if it is not given.
pub(crate) fn image(source: &str, detail: &str, prices: ImagePrice) -> Image {
    let of = |tokens, doubt| Image { tokens, doubt };
    // The price of low detail needs no size, where there is one.
    let low = if detail == "low" { prices.low() } else { None };
    let Some(base64) = inline(source) else { return of(low.unwrap_or(0), Some(Reason::RemoteImage)) };
    match header::size(base64).and_then(|size| prices.price(size, detail)) {
        Some((tokens, proven)) => of(tokens, (!proven).then_some(Reason::Image)),
        None => of(low.unwrap_or(0), Some(Reason::Image)),
    }
}

/// The base64 text of a `data:` URL; `None` of any other URL, or of a file's id. A `data:` URL of
/// another form is an image that cannot be read.
fn inline(source: &str) -> Option<&str> {
    let (scheme, rest) = source.split_at_checked("data:".len())?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let (kind, data) = rest.split_once(',').unwrap_or_default();
    let is_base64 = kind.rsplit(';').next().is_some_and(|last| last.eq_ignore_ascii_case("base64"));
    Some(if is_base64 { data } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn cost(source: &str, detail: &str, name: &str) -> (u64, Option<Reason>) {
        let image = image(source, detail, ImagePrice::of(name));
        (image.tokens, image.doubt)
    }

    #[test]
    fn by_source_and_detail() {
        let gif = |width: u16| {
            let file = [b"GIF89a", &width.to_le_bytes()[..], b"\xE0\x01"].concat();
            format!("data:image/gif;base64,{}", STANDARD.encode(file))
        };
        let image = gif(640);
        for (source, detail, model, expected) in [
            (image.as_str(), "", "gpt-4o", (425, None)),
            (&image, "auto", "gpt-4o-mini", (14_167, None)),
            (&image, "low", "gpt-4o", (85, None)),
            (&image, "low", "gpt-4o-mini", (2833, None)),
            (&image, "blurred", "gpt-4o", (425, Some(Reason::Image))),
            (&image, "high", "gpt-5", (350, Some(Reason::Image))),
            (&image, "low", "gpt-5-mini", (361, Some(Reason::Image))),
            (&image, "", "gpt-3.5-turbo", (0, Some(Reason::Image))),
            (&gif(60_000), "high", "gpt-4o", (85 + 4 * 170, Some(Reason::Image))),
            ("https://example.org/a.gif", "", "gpt-4o", (0, Some(Reason::RemoteImage))),
            ("https://example.org/a.gif", "low", "gpt-4o", (85, Some(Reason::RemoteImage))),
            ("file-abc", "", "gpt-4o", (0, Some(Reason::RemoteImage))),
            ("data:image/gif;base64,R0lG", "", "gpt-4o", (0, Some(Reason::Image))),
            ("data:image/gif;base64,R0lG", "low", "gpt-4o", (85, Some(Reason::Image))),
            ("data:image/svg+xml,<svg/>", "", "gpt-4o", (0, Some(Reason::Image))),
            ("data:", "", "gpt-4o", (0, Some(Reason::Image))),
            ("d\u{e9}", "", "gpt-4o", (0, Some(Reason::RemoteImage))),
        ] {
            assert_eq!(cost(source, detail, model), expected, "{source} {detail} {model}");
        }
    }
}
