//! Blocks of the documents that are written by code: a test compares them, `TOKENWEIR_UPDATE=1` writes
//! them anew.

use std::ops::Range;
use std::path::Path;

/// The block between the two markers of that name.
fn block<'a>(page: &str, text: &'a str, name: &str) -> (&'a str, Range<usize>) {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let from = text.find(&begin).unwrap_or_else(|| panic!("{page} has no {begin}")) + begin.len();
    let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("{page} has no {end}"));
    (&text[from..to], from..to)
}

/// The block `name` of `docs/name.md` is `generated`.
pub(crate) fn check(name: &str, generated: &str) {
    let page = format!("docs/{name}.md");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (found, range) = block(&page, &text, name);
    if found == generated {
        return;
    }
    if std::env::var_os("TOKENWEIR_UPDATE").is_some() {
        let mut updated = text.clone();
        updated.replace_range(range, generated);
        std::fs::write(&path, updated).unwrap();
        return;
    }
    panic!("the table of {page} is not the code's: run with TOKENWEIR_UPDATE=1\n{generated}");
}
