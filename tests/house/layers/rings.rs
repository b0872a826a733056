//! The house rule on files: none imports another one that imports it, on whatever way, facades of folders included. So
//! each can be read with those below it and no others, and a type that two files share stands in a third.
//!
//! Read are the paths of `use` and those that begin with `crate` or `super`, outside of comments, literals and the tests
//! within a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::tokens::{Token, text_at, tokens};
use super::{PACKAGES, module_path};
use crate::support::files::{root, rust_files};

/// A module as the names from the root to it.
type ModulePath = Vec<String>;

/// The modules that each one imports.
type Imports = BTreeMap<ModulePath, BTreeSet<ModulePath>>;

#[test]
fn no_file_imports_itself_on_any_way() {
    for package in PACKAGES {
        let src = root().join(package);
        let files = rust_files(&src);
        let read = |file: &std::path::PathBuf| {
            let name = file.strip_prefix(&src).expect("the walk began at src").to_path_buf();
            (name, fs::read_to_string(file).expect("a source file is readable UTF-8"))
        };
        let sources: Vec<_> = files.iter().map(read).collect();
        let imports = imports(sources.iter().map(|(name, text)| (name.as_path(), text.as_str())));
        assert!(imports.len() >= 20, "only {} modules under {package}: the walk is broken", imports.len());
        let ring = in_rings(imports);
        assert!(ring.is_empty(), "files of {package} that import each other:\n{}", shown(&ring));
    }
}

fn shown(ring: &Imports) -> String {
    let line = |(from, to): (&ModulePath, &BTreeSet<ModulePath>)| {
        let to: Vec<String> = to.iter().map(|to| to.join("::")).collect();
        format!("  {} imports {}", from.join("::"), to.join(", "))
    };
    ring.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is left once all is gone that imports nothing of the rest, or that nothing of the rest imports.
fn in_rings(mut imports: Imports) -> Imports {
    loop {
        let wanted: BTreeSet<ModulePath> = imports.values().flatten().cloned().collect();
        let before = imports.len();
        imports.retain(|from, to| !to.is_empty() && wanted.contains(from));
        if imports.len() == before {
            return imports;
        }
        let left: BTreeSet<ModulePath> = imports.keys().cloned().collect();
        imports.values_mut().for_each(|to| to.retain(|to| left.contains(to)));
    }
}

fn imports<'a>(sources: impl Iterator<Item = (&'a Path, &'a str)>) -> Imports {
    let is_test = |name: &Path| {
        name.ends_with("tests.rs")
            || name.parent().is_some_and(|folder| folder.iter().any(|part| part == "tests"))
    };
    let sources = sources.filter(|(name, _)| !is_test(name));
    let files: Vec<(ModulePath, &str)> = sources.map(|(name, text)| (module_path(name), text)).collect();
    let modules: BTreeSet<ModulePath> = files.iter().map(|(module, _)| module.clone()).collect();
    let of_file = |(module, text): &(ModulePath, &str)| {
        let tokens = without_tests(tokens(text));
        let mut found = BTreeSet::new();
        for path in paths(&tokens) {
            found.extend(resolved(&path, module, &modules).filter(|target| target != module));
        }
        (module.clone(), found)
    };
    files.iter().filter(|(module, _)| !module.is_empty()).map(of_file).collect()
}

/// Without the modules that are only compiled for tests.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let begins = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut kept = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        kept.push(token);
        let is_test = kept.len() >= begins.len()
            && kept[kept.len() - begins.len()..].iter().zip(begins).all(|(token, begin)| token.text == begin);
        if !is_test {
            continue;
        }
        let mut braces = 0_usize;
        for token in rest.by_ref() {
            braces += usize::from(token.text == "{");
            braces -= usize::from(token.text == "}");
            if braces == 0 && (token.text == "}" || token.text == ";") {
                break;
            }
        }
    }
    kept
}

/// Every path that may name a module of the package.
fn paths(tokens: &[Token]) -> Vec<ModulePath> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let before = at.checked_sub(1).map_or("", |before| text_at(tokens, before));
        let is_visibility = before == "in" || before == "(" && text_at(tokens, at + 1) == ")";
        match text_at(tokens, at) {
            "crate" | "super" if before != "::" && before != "use" && !is_visibility => {
                tree(tokens, at, &[], &mut found);
            }
            "use" => {
                tree(tokens, at + 1, &[], &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Takes a path, or a tree of paths, and returns where it ends.
fn tree(tokens: &[Token], at: usize, before: &[String], found: &mut Vec<ModulePath>) -> usize {
    if text_at(tokens, at) == "{" {
        let mut next = at + 1;
        while next < tokens.len() && text_at(tokens, next) != "}" {
            next = tree(tokens, next, before, found).max(next + 1);
        }
        return next + 1;
    }
    let mut path = before.to_vec();
    let mut at = at;
    loop {
        let word = text_at(tokens, at);
        if !word.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            break;
        }
        path.push(word.to_owned());
        if text_at(tokens, at + 1) != "::" {
            at += 1;
            break;
        }
        at += 2;
        if text_at(tokens, at) == "{" {
            return tree(tokens, at, &path, found);
        }
    }
    found.push(path);
    // `as x`, and the comma behind it.
    while at < tokens.len() && !["}", ",", ";"].contains(&text_at(tokens, at)) && !before.is_empty() {
        at += 1;
    }
    at + usize::from(text_at(tokens, at) == ",")
}

/// The module that a path leads to, if it is one of the package.
fn resolved(path: &ModulePath, module: &ModulePath, modules: &BTreeSet<ModulePath>) -> Option<ModulePath> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let full: ModulePath = match path.first().map(String::as_str) {
        Some("crate") => path[1..].to_vec(),
        Some("super") if ups <= module.len() => {
            module[..module.len() - ups].iter().chain(&path[ups..]).cloned().collect()
        }
        Some("self") => module.iter().chain(&path[1..]).cloned().collect(),
        Some(first) => {
            let child: ModulePath = module.iter().cloned().chain([first.to_owned()]).collect();
            modules.contains(&child).then(|| module.iter().chain(path).cloned().collect())?
        }
        None => return None,
    };
    (1..=full.len()).rev().map(|length| full[..length].to_vec()).find(|target| modules.contains(target))
}

/// The checker on made-up files: it must see every ring, and no other.
mod the_checker {
    use super::*;

    fn ring(files: &[(&str, &str)]) -> Vec<String> {
        let found = in_rings(imports(files.iter().map(|(name, text)| (Path::new(*name), *text))));
        found.keys().map(|module| module.join("::")).collect()
    }

    #[test]
    fn sees_files_that_import_each_other() {
        let a = ("x/a.rs", "use super::b::{self, B};\nuse std::fmt;");
        for b in [
            "use super::a::A;",
            "use crate::x::{c, a::A};",
            "fn f() { super::a::f(1) }",
            "fn f() -> crate::x::a::A<u8> {}",
            "use crate::{x::{c::{C as D, E}, a}, y};",
        ] {
            assert_eq!(ring(&[a, ("x/b.rs", b), ("x/c.rs", "use std::fmt;")]), ["x::a", "x::b"], "{b}");
        }
    }

    #[test]
    fn sees_a_file_that_imports_the_facade_of_its_folder() {
        let facade = ("x/mod.rs", "mod a;\nmod b;\npub use a::A;\npub(crate) use b::B as C;\npub struct D;");
        assert_eq!(ring(&[facade, ("x/a.rs", "use super::D;"), ("x/b.rs", "")]), ["x", "x::a"]);
        assert_eq!(
            ring(&[facade, ("x/b.rs", "use crate::x::D;"), ("x/a.rs", "use super::b;")]),
            ["x", "x::a", "x::b"]
        );
    }

    #[test]
    fn sees_a_ring_through_another_folder() {
        let files = [
            ("x/a.rs", "use crate::y::B;"),
            ("y/mod.rs", "mod b;\npub use b::B;"),
            ("y/b.rs", "use crate::x::c::C;"),
            ("x/c.rs", "use super::a;"),
        ];
        assert_eq!(ring(&files), ["x::a", "x::c", "y", "y::b"]);
    }

    #[test]
    fn lets_pass_what_is_no_import() {
        let files = [
            ("x/mod.rs", "mod a;\npub use a::A;"),
            (
                "x/a.rs",
                "// use super::b::B;\npub(in crate::x) struct A;\n#[cfg(test)]\nmod tests {\n use super::super::b::B;\n}\nuse std::x;",
            ),
            ("x/a/tests.rs", "use crate::x::b::B;"),
            ("x/b.rs", "use super::a::A;\nuse super::A as C;"),
        ];
        assert_eq!(ring(&files), Vec::<String>::new());
    }
}
