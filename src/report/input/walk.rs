//! The files that arguments name: themselves, standard input, or all in a folder.
//!
//! A folder is walked in the order of names, into folders of it too; hidden files are passed over, as the shell
//! does. Each file is read once, however often it is given and by whatever name.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ledger::DATABASE;
use crate::report::error::ReportError;

/// Name of standard input.
pub(super) const STDIN: &str = "-";

/// Folders within folders. Capture nests eight, a file system some forty at most.
const DEPTH_MAX: usize = 64;

/// Files that are read at once, at some 150 bytes each: Capture makes 280,000 a month of 32 partitions.
const FILES_MAX: usize = 1_000_000;

/// A file to read.
#[derive(Clone, Debug)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    /// Its size; 0 if that is not known.
    pub(super) bytes: u64,
}

impl FoundFile {
    pub(super) fn is_stdin(&self) -> bool {
        self.path.as_os_str() == STDIN
    }

    /// Its name, for people.
    pub(super) fn shown(&self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.path.display().to_string() }
    }
}

/// The files that arguments name.
#[derive(Debug, Default)]
pub(super) struct FoundFiles {
    pub(super) files: Vec<FoundFile>,
    /// Paths in folders that cannot be read, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    /// Notes on files that were given twice.
    pub(super) notes: Vec<String>,
    /// Where each file was met first, by its device and number.
    met: HashMap<(u64, u64), usize>,
    folders: HashMap<(u64, u64), PathBuf>,
}

/// Finds the files that arguments name.
///
/// # Errors
/// If one that is named is not there, is a ledger, or there are too many.
pub(super) fn files_of<'a>(arguments: impl Iterator<Item = &'a Path>) -> Result<FoundFiles, ReportError> {
    let mut found = FoundFiles::default();
    for path in arguments {
        if path.as_os_str() == STDIN {
            found.standard_input();
            continue;
        }
        let metadata = path.metadata().map_err(|error| ReportError::File { path: path.to_owned(), error })?;
        if metadata.is_dir() {
            found.folder(path, &metadata, 0)?;
        } else if path.file_name().is_some_and(|name| name == DATABASE) {
            return Err(ReportError::IsLedger(folder_of(path)));
        } else {
            found.file(path, &metadata)?;
        }
    }
    Ok(found)
}

impl FoundFiles {
    fn standard_input(&mut self) {
        if self.files.iter().any(FoundFile::is_stdin) {
            self.notes.push(format!("{STDIN} is given twice: standard input is read once"));
        } else {
            self.files.push(FoundFile { path: STDIN.into(), bytes: 0 });
        }
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> Result<(), ReportError> {
        if self.files.len() >= FILES_MAX {
            return Err(ReportError::TooManyFiles { max: FILES_MAX, path: path.to_owned() });
        }
        let at = self.files.len();
        let first = *self.met.entry((metadata.dev(), metadata.ino())).or_insert(at);
        if first == at {
            self.files.push(FoundFile { path: path.to_owned(), bytes: metadata.len() });
            return Ok(());
        }
        let known = &self.files[first].path;
        self.notes.push(match known == path {
            true => format!("{} is given twice: it is read once", path.display()),
            false => {
                format!("{} is the same file as {}: it is read once", path.display(), known.display())
            }
        });
        Ok(())
    }

    /// A folder that was met before, perhaps by a link to one of those around it, is not walked again.
    fn folder(&mut self, path: &Path, metadata: &Metadata, depth: usize) -> Result<(), ReportError> {
        if path.join(DATABASE).is_file() {
            return Err(ReportError::IsLedger(path.to_owned()));
        }
        if depth > DEPTH_MAX {
            self.unreadable.push((path.to_owned(), format!("it lies more than {DEPTH_MAX} folders deep")));
            return Ok(());
        }
        if let Some(known) = self.folders.insert((metadata.dev(), metadata.ino()), path.to_owned()) {
            let (again, known) = (path.display(), known.display());
            self.notes.push(format!("{again} is the same folder as {known}: it is read once"));
            return Ok(());
        }
        let mut names = Vec::new();
        match std::fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => names.push(entry.file_name()),
                        Err(error) => self.unreadable.push((path.to_owned(), error.to_string())),
                    }
                }
            }
            Err(error) => self.unreadable.push((path.to_owned(), error.to_string())),
        }
        names.sort_unstable();
        for name in names.iter().filter(|name| !name.as_encoded_bytes().starts_with(b".")) {
            self.entry(&path.join(name), depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, depth: usize) -> Result<(), ReportError> {
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => self.folder(path, &metadata, depth + 1),
            Ok(metadata) if metadata.is_file() => self.file(path, &metadata),
            Ok(_) => {
                self.unreadable.push((path.to_owned(), "it is neither a file nor a folder".to_owned()));
                Ok(())
            }
            Err(error) => {
                self.unreadable.push((path.to_owned(), error.to_string()));
                Ok(())
            }
        }
    }
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
