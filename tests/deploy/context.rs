//! What Docker gets to see: everything that the program's sources include, and that cargo reads, is let through.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{read, root};

/// Folders whose sources are compiled into the program or its build script.
const COMPILED: [&str; 2] = ["src", "crates"];

/// The names that the ignore file lets through. Its first pattern leaves everything out, the others bring back.
fn let_through() -> BTreeSet<PathBuf> {
    let text = read("deploy/docker/Dockerfile.dockerignore");
    let mut patterns = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(patterns.next(), Some("*"), "nothing that is not named goes in");
    patterns
        .map(|pattern| {
            let name = pattern.strip_prefix('!').unwrap_or_else(|| panic!("{pattern} leaves something out"));
            assert!(!name.contains(['*', '?', '[']), "{pattern}: .ci/image understands plain names only");
            PathBuf::from(name)
        })
        .collect()
}

/// Every file below a folder of the repository, with its path from the root; nothing if there is no such folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    let paths = entries.map(|entry| folder.join(entry.expect("an entry").file_name()));
    paths.flat_map(|path| if root().join(&path).is_dir() { below(&path) } else { vec![path] }).collect()
}

/// `folder/path` without `.` and `..`.
fn join(folder: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => assert!(joined.pop(), "{path} is outside of the repository"),
            Component::CurDir => {}
            other => joined.push(other),
        }
    }
    joined
}

/// Each piece of text between double quotes; an escaped quote ends none.
fn literals(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
}

/// What a source file includes: `include_str!`, `include_bytes!` and `include!` of a name, and modules with a path.
/// What stands in `OUT_DIR` is made by the build script, and no file of the repository.
fn included(file: &Path) -> Vec<PathBuf> {
    let text = read(file);
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let folder = file.parent().expect("a file is in a folder");
    let mut found = Vec::new();
    for begin in ["include_str!(", "include_bytes!(", "include!(", "#[path ="] {
        for rest in code.split(begin).skip(1) {
            match rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                Some((name, _)) => found.push(join(folder, name)),
                None => assert!(rest.contains("OUT_DIR"), "{}: {begin}.. of what?", file.display()),
            }
        }
    }
    found
}

/// Files that cargo itself reads before it compiles: all that a manifest names and that there is, and the targets that
/// it names without a path.
fn named_by_a_manifest(manifest: &Path) -> Vec<PathBuf> {
    let folder = manifest.parent().expect("a file is in a folder");
    let table: toml::Table = read(manifest).parse().expect("a manifest is TOML");
    let mut texts = Vec::new();
    collect(&toml::Value::Table(table.clone()), &mut texts);
    let named = texts.iter().map(|text| folder.join(text));
    let build = [folder.join("build.rs"), folder.join("src/main.rs"), folder.join("src/lib.rs")];
    let targets = ["bench", "test", "example"].into_iter().flat_map(|kind| {
        let home = folder.join(if kind == "bench" { "benches".to_owned() } else { format!("{kind}s") });
        let listed = table.get(kind).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        listed.into_iter().filter(|target| target.get("path").is_none()).map(move |target| {
            let name = target["name"].as_str().expect("a target has a name").to_owned();
            let file = home.join(format!("{name}.rs"));
            if root().join(&file).exists() { file } else { home.join(name).join("main.rs") }
        })
    });
    // Of a member of the workspace its folder is named; its files are compiled, and found by that.
    named.chain(build).chain(targets).filter(|path| root().join(path).is_file()).collect()
}

fn collect(value: &toml::Value, texts: &mut Vec<String>) {
    match value {
        toml::Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => {
            texts.push(text.clone());
        }
        toml::Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        toml::Value::Table(table) => table.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

/// Paths that a build script writes down: it may read them, or wait for them to change.
fn named_by_a_build_script(script: &Path) -> Vec<PathBuf> {
    let folder = script.parent().expect("a file is in a folder");
    let text = read(script);
    let paths = literals(&text).filter(|name| !name.is_empty() && !name.contains(char::is_whitespace));
    let paths = paths.filter(|name| !name.starts_with('/') && !matches!(*name, "." | ".."));
    paths.map(|name| folder.join(name)).filter(|path| root().join(path).exists()).collect()
}

/// Files of a crate that cargo looks for by their names.
fn is_cargos(path: &Path) -> bool {
    matches!(path.file_name().and_then(|name| name.to_str()), Some("Cargo.toml" | "build.rs"))
}

/// Everything that the build of the program reads.
fn needed() -> BTreeSet<PathBuf> {
    let folders = COMPILED.iter().flat_map(|folder| below(Path::new(folder)));
    // Beside the sources of a crate may lie tests of its own; those of a module are compiled by nobody here, but
    // stand between its files.
    let folders = folders.filter(|path| {
        !path.starts_with("crates") || path.iter().any(|part| part == "src") || is_cargos(path)
    });
    let own = ["Cargo.toml", "Cargo.lock"].map(PathBuf::from);
    let files: Vec<PathBuf> =
        own.into_iter().chain(folders).filter(|file| root().join(file).exists()).collect();
    let mut needed: BTreeSet<PathBuf> = files.iter().cloned().collect();
    for file in &files {
        if file.extension().is_some_and(|extension| extension == "rs") {
            needed.extend(included(file));
        }
        match file.file_name().and_then(|name| name.to_str()) {
            Some("Cargo.toml") => needed.extend(named_by_a_manifest(file)),
            Some("build.rs") => needed.extend(named_by_a_build_script(file)),
            _ => {}
        }
    }
    needed
}

#[test]
fn the_context_has_all_that_the_build_reads_and_nothing_else() {
    let through = let_through();
    let needed = needed();
    assert!(needed.len() > 100 && needed.contains(Path::new("fixtures/demo/tea-house.json")), "{needed:?}");
    let missing: Vec<_> =
        needed.iter().filter(|path| !through.iter().any(|name| path.starts_with(name))).collect();
    assert!(missing.is_empty(), "Dockerfile.dockerignore keeps these out of the build: {missing:?}");
    for name in through {
        assert!(root().join(&name).exists(), "{} is let through, and is not there", name.display());
        // Whether a manifest names a program there is nothing that the image should depend on.
        let targets = ["benches", "tests"].iter().any(|folder| name == Path::new(folder));
        let used = targets || needed.iter().any(|path| path.starts_with(&name));
        assert!(used, "nothing of {} is needed", name.display());
    }
}

#[test]
fn what_sources_name_is_found() {
    let tables = included(Path::new("src/demo/fixtures.rs"));
    assert!(tables.contains(&PathBuf::from("fixtures/demo/boathouse-draft.json")), "{tables:?}");
    let modules = included(Path::new("crates/metering/build.rs"));
    assert!(modules.contains(&PathBuf::from("crates/metering/src/tokens/layout.rs")), "{modules:?}");
    assert!(
        named_by_a_build_script(Path::new("crates/metering/build.rs"))
            .contains(&PathBuf::from("crates/metering/src/tokens/build"))
    );
    let named = named_by_a_manifest(Path::new("Cargo.toml"));
    for file in ["benches/e2e/main.rs", "benches/tokens.rs", "src/main.rs"] {
        assert!(named.contains(&PathBuf::from(file)), "{file}: {named:?}");
    }
}
