//! Names of files after departments, whatever these are called: letters and digits that people recognise, and a mark that
//! tells apart what looks the same. They are no path, no device of Windows, and differ by more than their case.

use std::collections::BTreeSet;

use metering::caller::version;

/// Letters of a name that are kept.
const SLUG_MAX: usize = 40;

/// Gives each name a stem of its own.
#[derive(Debug, Default)]
pub(super) struct FileStems {
    taken: BTreeSet<String>,
}

impl FileStems {
    /// The stem of a file about `name`.
    pub(super) fn stem(&mut self, name: &str) -> String {
        let own = format!("{}-{}", slug(name), version(name));
        // Two marks may be the same if somebody wants that.
        let numbered = (2..).map(|number: u64| format!("{own}-{number}"));
        let free = std::iter::once(own.clone()).chain(numbered).find(|stem| !self.taken.contains(stem));
        let stem = free.unwrap_or(own);
        self.taken.insert(stem.clone());
        stem
    }
}

fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars().map(|letter| letter.to_ascii_lowercase()) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
        if slug.len() >= SLUG_MAX {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "department".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_can_be_recognised() {
        let stem = FileStems::default().stem("Legal & Risk");
        assert!(stem.starts_with("legal-risk-") && stem.len() == "legal-risk-".len() + 12, "{stem}");
    }

    proptest! {
        /// No name leaves the folder, is hidden, or is the name of another one, also where case does not count.
        #[test]
        fn every_name_has_a_safe_file_of_its_own(
            names in prop::collection::btree_set(
                prop_oneof![
                    ".{0,60}",
                    prop::sample::select(vec!["../../etc/passwd", "..", "CON", "con", "nul.txt", "a\0b", "Claims", "claims",
                        "CLAIMS", " claims ", "clàims", "-", "", "C:\\x", "部門", "x\u{202e}y", "~root", "$(id)"])
                        .prop_map(str::to_owned),
                ],
                1..20,
            )
        ) {
            let mut stems = FileStems::default();
            let made: BTreeSet<String> = names.iter().map(|name| stems.stem(name).to_lowercase()).collect();
            prop_assert_eq!(made.len(), names.len());
            for stem in made {
                prop_assert!(stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
                prop_assert!(stem.len() > 12 && stem.len() <= 80 && !stem.starts_with('-'), "{}", stem);
            }
        }
    }
}
