//! Blocks of the README that are written by code: a test compares them, `TOKENWEIR_UPDATE=1` writes
//! them anew.

use std::path::PathBuf;

/// What stands between the two markers of that name.
fn block<'a>(readme: &'a str, name: &str) -> (&'a str, std::ops::Range<usize>) {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let from = readme.find(&begin).unwrap_or_else(|| panic!("README has no {begin}")) + begin.len();
    let to = from + readme[from..].find(&end).unwrap_or_else(|| panic!("README has no {end}"));
    (&readme[from..to], from..to)
}

/// The block of that name is `generated`.
pub(crate) fn check(name: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (found, range) = block(&readme, name);
    if found == generated {
        return;
    }
    if std::env::var_os("TOKENWEIR_UPDATE").is_some() {
        let mut updated = readme.clone();
        updated.replace_range(range, generated);
        std::fs::write(&path, updated).unwrap();
        return;
    }
    panic!("README's {name} table is not the code's: run with TOKENWEIR_UPDATE=1\n{generated}");
}
