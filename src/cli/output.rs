//! Standard output, and the files that commands read and write.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;
use uuid::Uuid;

use super::failure::{Done, Failure};

/// Writes to standard output in large pieces. A reader that has left, such as `head`, is no error.
pub(super) fn to_stdout<E: Into<anyhow::Error>>(
    write: impl FnOnce(&mut io::BufWriter<io::StdoutLock>) -> Result<(), E>,
) -> Done {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = write(&mut out).map_err(Into::into).and_then(|()| out.flush().map_err(Into::into));
    match done {
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) if is_full(&error) => Err(Failure::run(format!("standard output: {error:#}"))),
        done => done.map(|()| ExitCode::SUCCESS).map_err(Failure::from),
    }
}

/// Writes a file, which is there as a whole or not at all: a new one takes the place of the old one at the end.
/// A pipe, or anything else that is no file, is written to as it is.
pub(super) fn to_file<E: Into<anyhow::Error>>(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<File>) -> Result<(), E>,
) -> Done {
    let named = |error: anyhow::Error| Failure::run(format!("{}: {error:#}", path.display()));
    let is_file = path.metadata().map_or(true, |found| found.is_file());
    let target = if is_file { beside(path) } else { path.to_owned() };
    let written = File::options().write(true).create(is_file).truncate(is_file).open(&target);
    let written = written.map_err(Into::into).and_then(|file| {
        let mut out = io::BufWriter::new(file);
        write(&mut out).map_err(Into::into)?;
        out.flush()?;
        if is_file {
            out.get_ref().sync_all()?;
            fs::rename(&target, path)?;
        }
        Ok(())
    });
    if written.is_err() && is_file {
        // The rest of it helps nobody, and may not be there at all.
        let _ = fs::remove_file(&target);
    }
    written.map(|()| ExitCode::SUCCESS).map_err(named)
}

/// A name beside a file, on the same volume.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", Uuid::new_v4()))
}

/// Standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Only what is written can meet a full volume.
fn is_full(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Opens FILE, or standard input for `-`. A user who gives no FILE and sits at the terminal is told
/// what is `wanted` instead of being waited for.
pub(super) fn open(matches: &ArgMatches, wanted: &str) -> Result<Box<dyn Read>, Failure> {
    let path = matches.get_one::<PathBuf>("file").map(PathBuf::as_path);
    match path {
        None if io::stdin().is_terminal() => {
            Err(Failure::usage(format!("give FILE, or - to type it: {wanted}")))
        }
        Some(path) if path.as_os_str() != "-" => Ok(Box::new(file(path)?)),
        _ => Ok(Box::new(io::stdin().lock())),
    }
}

fn file(path: &Path) -> Result<File, Failure> {
    let named = |error: io::Error| Failure::run(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(named)?;
    if file.metadata().map_err(named)?.is_dir() {
        return Err(Failure::run(format!("{} is a directory; give a file", path.display())));
    }
    Ok(file)
}
