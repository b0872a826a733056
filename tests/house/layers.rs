//! The house rule on imports, kept by a test: a module imports rows below its own, and modules to
//! its right in its own row. The order is total, so an import that goes up is also the only way to
//! close a ring.
//!
//! Read are `crate::..` and `super::..` paths outside comments and literals, `#[cfg(test)]` code
//! included: a test that needs a higher row belongs in `tests/`. Not read: what a macro pastes
//! together, and a `super` inside the braces of a `use`.

mod rings;
pub(crate) mod tokens;

use std::fs;
use std::path::Path;

use crate::support::files::{root, rust_files};
use tokens::{Token, text_at, tokens};

/// The rows of the program and of what it counts with, from top to bottom. A new module gets its place here, or the
/// test fails. That `metering` imports nothing of the program is cargo's to say.
const ROWS: &[&[&str]] = &[
    // src
    &["cli", "config"],
    &["demo", "serve", "report"],
    &["proxy", "admin"],
    &["capture"],
    &["tee", "pool"],
    &["publish"],
    &["ledger"],
    &["telemetry"],
    // crates/metering/src
    &["account"],
    &["session"],
    &["meter"],
    &["prompt", "tokens", "chunk", "sse", "frames"],
    &["usage", "caller", "reload", "names", "api"],
];

/// Where the sources of the packages begin.
const PACKAGES: [&str; 2] = ["src", "crates/metering/src"];

#[test]
fn imports_go_down() {
    let mut broken = Vec::new();
    for package in PACKAGES {
        let src = root().join(package);
        let files = rust_files(&src);
        assert!(files.len() >= 5, "only {} files under {package}: the walk is broken", files.len());
        for file in files {
            let name = file.strip_prefix(&src).expect("the walk began at src").to_path_buf();
            let text = fs::read_to_string(&file).expect("a source file is readable UTF-8");
            broken.extend(check(&name, &text).into_iter().map(|what| format!("  {package}/{what}")));
        }
    }
    assert!(broken.is_empty(), "imports that break the order of modules:\n{}", broken.join("\n"));
}

/// The table in ARCHITECTURE.md has the modules in the order that is held here.
#[test]
fn the_code_map_has_this_order() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let names =
        rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    assert!(names.eq(ROWS.concat()), "the code map in ARCHITECTURE.md has another order, or other modules");
}

/// What is wrong with one file, `name` being its path under `src/`.
fn check(name: &Path, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let module = module_path(name);
    let say = |line: usize, what: String| format!("{}:{line}: {what}", name.display());
    match module.first().map(String::as_str) {
        None if name == Path::new("main.rs") => tokens
            .iter()
            .filter(|token| token.text == "crate" || token.text == "mod")
            .map(|token| {
                say(token.line, "the binary has no modules, it names the library `tokenweir::`".to_owned())
            })
            .collect(),
        None => not_a_declaration(&tokens)
            .map(|line| say(line, "lib.rs only declares modules".to_owned()))
            .into_iter()
            .collect(),
        Some(from) if place(from).is_none() => {
            vec![say(1, format!("`{from}` has no place in ROWS of tests/house/layers.rs"))]
        }
        Some(from) => inner_paths(&tokens, &module)
            .into_iter()
            .filter_map(|path| refusal(from, &path.target).map(|what| say(path.line, what)))
            .collect(),
    }
}

/// Why `from` may not import `target`; `None` if it may.
fn refusal(from: &str, target: &Target) -> Option<String> {
    match target {
        Target::Module(to) if to == from => None,
        Target::Module(to) => match (place(from), place(to)) {
            (_, None) => Some(format!("`{to}` has no place in ROWS of tests/house/layers.rs")),
            (from_place, to_place) if to_place > from_place => None,
            _ => Some(format!("`{from}` imports `{to}`, which is not below it or to its right")),
        },
        Target::Root => Some("a path to the crate's root hides which module is meant".to_owned()),
    }
}

/// Row and column; a larger one is lower, or further right.
fn place(module: &str) -> Option<(usize, usize)> {
    ROWS.iter().enumerate().find_map(|(row, names)| {
        let column = names.iter().position(|name| *name == module)?;
        Some((row, column))
    })
}

/// `ledger/mod.rs` is `[ledger]`, `ledger/writer.rs` is `[ledger, writer]`, `lib.rs` is `[]`.
fn module_path(name: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        name.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let alone = path.len() == 1;
    if path.last().is_some_and(|last| last == "mod" || alone && (last == "lib" || last == "main")) {
        path.pop();
    }
    path
}

/// A path that starts at the crate's root.
#[derive(Debug, PartialEq)]
struct InnerPath {
    target: Target,
    line: usize,
}

#[derive(Debug, PartialEq)]
enum Target {
    /// A top-level module.
    Module(String),
    /// The root itself: `crate::*`, `crate as x`, `extern crate self`.
    Root,
}

/// Every path of a file that starts at the root, by `crate` or by enough `super`s.
fn inner_paths(tokens: &[Token], module: &[String]) -> Vec<InnerPath> {
    let mut found = Vec::new();
    let mut inline_modules = Vec::new();
    let mut braces = 0_usize;
    for at in 0..tokens.len() {
        let before = at.checked_sub(1).map_or("", |before| text_at(tokens, before));
        match text_at(tokens, at) {
            "{" => {
                braces += 1;
                if at >= 2 && text_at(tokens, at - 2) == "mod" {
                    inline_modules.push(braces);
                }
            }
            "}" => {
                if inline_modules.last() == Some(&braces) {
                    inline_modules.pop();
                }
                braces = braces.saturating_sub(1);
            }
            // `pub(crate)` and `pub(in crate::x)` say who may see, they import nothing.
            "crate" if before == "(" && text_at(tokens, at + 1) == ")" => {}
            "crate" | "super" if before == "in" => {}
            "crate" => targets(tokens, at + 1, &mut found),
            "super" if before != "::" && text_at(tokens, at + 1) == "::" => {
                let mut next = at + 1;
                let mut ups = 1;
                while text_at(tokens, next) == "::" && text_at(tokens, next + 1) == "super" {
                    ups += 1;
                    next += 2;
                }
                if ups >= module.len() + inline_modules.len() {
                    targets(tokens, next, &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

/// The modules that follow a root: `::a::b`, `::{a::b, c}`, `::*`.
fn targets(tokens: &[Token], after_root: usize, found: &mut Vec<InnerPath>) {
    let line = tokens.get(after_root.saturating_sub(1)).map_or(0, |token| token.line);
    let first = after_root + 1;
    let target_at = |at: usize| {
        let text = text_at(tokens, at);
        let word = text.starts_with(|first: char| first.is_alphabetic() || first == '_') && text != "self";
        if word { Target::Module(text.to_owned()) } else { Target::Root }
    };
    if text_at(tokens, after_root) != "::" {
        found.push(InnerPath { target: Target::Root, line });
    } else if text_at(tokens, first) == "{" {
        let mut depth = 1;
        let mut at = first + 1;
        let mut begins = true;
        while depth > 0 && at < tokens.len() {
            let text = text_at(tokens, at);
            if begins && depth == 1 && text != "}" {
                found.push(InnerPath { target: target_at(at), line: tokens[at].line });
            }
            begins = text == "," && depth == 1;
            depth += usize::from(text == "{");
            depth -= usize::from(text == "}");
            at += 1;
        }
    } else {
        found.push(InnerPath { target: target_at(first), line });
    }
}

/// The line of the first thing in lib.rs that is no attribute and no `mod x;`.
fn not_a_declaration(tokens: &[Token]) -> Option<usize> {
    let mut at = 0;
    while at < tokens.len() {
        let is = |offset: usize, text: &str| text_at(tokens, at + offset) == text;
        if is(0, "#") {
            at += tokens[at..].iter().position(|token| token.text == "]")? + 1;
        } else {
            let shift = usize::from(is(0, "pub"));
            if !is(shift, "mod") || !is(shift + 2, ";") {
                return Some(tokens[at].line);
            }
            at += shift + 3;
        }
    }
    None
}

/// The checker on made-up files: it must see what is wrong, and only that.
mod the_checker {
    use super::*;

    const NOTHING: [usize; 0] = [];

    fn lines(name: &str, text: &str) -> Vec<usize> {
        let broken = check(Path::new(name), text);
        broken
            .iter()
            .map(|message| {
                let at = message.split(':').nth(1).expect("a message has a line");
                at.parse().expect("which is a number")
            })
            .collect()
    }

    #[test]
    fn lets_imports_go_down_and_right() {
        let text = "use crate::usage::Usage;\nuse crate::{sse::Event, usage::{self, Api}};\nfn f() { crate::tokens::load() }";
        assert_eq!(lines("meter/mod.rs", text), NOTHING);
        assert_eq!(lines("prompt/rules.rs", "use crate::tokens::Counter;"), NOTHING);
        assert_eq!(
            lines(
                "usage/control.rs",
                "use super::Target;\nuse crate::usage::Api;\nuse crate::caller::Caller;"
            ),
            NOTHING
        );
    }

    #[test]
    fn sees_an_import_that_goes_up() {
        assert_eq!(lines("usage/mod.rs", "\nuse crate::meter::Meter;"), [2]);
        assert_eq!(lines("ledger/writer.rs", "fn f() {\n    crate::publish::wake();\n}"), [2]);
        assert_eq!(lines("ledger/writer.rs", "fn f(x: &crate::publish::Wake) {}"), [1]);
        assert_eq!(lines("tee.rs", "use crate::{\n    meter::{Meter, Ending},\n    proxy::Call,\n};"), [3]);
        assert_eq!(
            lines("tee.rs", "use ::bytes::Bytes;\nmacro_rules! m { () => { $crate::proxy::x() } }"),
            [2]
        );
        assert_eq!(lines("sse.rs", "#[cfg(test)]\nmod tests {\n    use crate::meter::Meter;\n}"), [3]);
    }

    #[test]
    fn sees_an_import_to_the_left_and_so_every_ring() {
        assert_eq!(lines("sse.rs", "use crate::chunk::Chunk;"), [1]);
        assert_eq!(lines("chunk.rs", "use crate::sse::Event;"), NOTHING);
        for (a, row_a) in ROWS.iter().flat_map(|row| row.iter().map(move |name| (name, row))) {
            for b in ROWS.iter().copied().flatten().filter(|b| *b != a) {
                let one = lines(&format!("{a}.rs"), &format!("use crate::{b}::X;")).len();
                let other = lines(&format!("{b}.rs"), &format!("use crate::{a}::X;")).len();
                assert_eq!(one + other, 1, "{a} of {row_a:?} and {b}: exactly one may import the other");
            }
        }
    }

    #[test]
    fn sees_through_super() {
        assert_eq!(lines("caller.rs", "use super::usage::Api;"), [1]);
        assert_eq!(lines("usage/mod.rs", "use super::caller::Caller;"), NOTHING);
        assert_eq!(lines("caller.rs", "fn f() { g(super::usage::h()) }"), [1]);
        assert_eq!(lines("usage/control.rs", "use super::super::meter::Meter;"), [1]);
        assert_eq!(
            lines(
                "caller.rs",
                "mod tests {\n use super::*;\n use super::super::usage::Api;\n}\nuse super::usage::Api;"
            ),
            [3, 5]
        );
        assert_eq!(
            lines(
                "caller.rs",
                "pub(super) fn f() {}\npub(in super::super) fn e() {}\npub(crate) fn g() {}\npub(in crate::caller) fn h() {}"
            ),
            NOTHING
        );
    }

    #[test]
    fn sees_a_root_that_hides_the_module() {
        assert_eq!(lines("serve.rs", "use crate::*;"), [1]);
        assert_eq!(lines("serve.rs", "use crate as all;"), [1]);
        assert_eq!(lines("serve.rs", "extern crate self as all;"), [1]);
        assert_eq!(lines("serve.rs", "use crate::{self, meter};"), [1]);
        assert_eq!(lines("usage/mod.rs", "use super::*;"), [1]);
    }

    #[test]
    fn reads_neither_comments_nor_literals() {
        let text = r####"
//! crate::meter::Meter
/* crate::meter /* crate::proxy */ crate::tee */
const A: &str = "crate::meter \" crate::meter";
const B: &str = r#"crate::meter " crate::meter"#;
const C: &[u8] = b"crate::meter";
const D: (char, char, u8) = ('"', '\'', b'"');
fn f<'a>(x: &'a str) -> &'a str { x }
use crate::meter::Meter;
"####;
        assert_eq!(lines("usage/mod.rs", text), [9]);
    }

    #[test]
    fn wants_every_module_in_the_table() {
        assert_eq!(lines("helper.rs", "fn f() {}"), [1]);
        assert_eq!(lines("meter/mod.rs", "use crate::helper::f;"), [1]);
    }

    #[test]
    fn keeps_the_root_and_the_binary_thin() {
        assert_eq!(lines("lib.rs", "//! Doc.\n#![forbid(unsafe_code)]\npub mod usage;\nmod meter;"), NOTHING);
        assert_eq!(lines("lib.rs", "pub mod usage;\npub use usage::Usage;"), [2]);
        assert_eq!(lines("lib.rs", "pub mod usage { }"), [1]);
        assert_eq!(lines("main.rs", "use tokenweir::cli;\nfn main() {}"), NOTHING);
        assert_eq!(lines("main.rs", "mod x;\nuse crate::x::y;"), [1, 2]);
    }
}
