//! Patterns in which `*` stands for any text.

/// The text fits the pattern.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|begin| text.strip_prefix(begin)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Letters of a pattern that it asks for; a whole name is more than any beginning.
pub(super) fn specificity(pattern: &str) -> (bool, usize) {
    (!pattern.contains('*'), pattern.bytes().filter(|byte| *byte != b'*').count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, by what it means.
    fn means(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| means(rest, &text[at..])),
            Some((first, rest)) => text.first() == Some(first) && means(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_star_is_any_text(pattern in "[ab*]{0,6}", text in "[ab]{0,7}") {
            prop_assert_eq!(fits(&pattern, &text), means(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn a_whole_name_is_more_than_a_beginning() {
        assert!(specificity("gpt-4o") > specificity("gpt-4o-mini*"));
        assert!(specificity("gpt-4o-mini*") > specificity("gpt-4o*"));
    }
}
