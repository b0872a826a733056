//! The opener of captured content for a command that reads it: private keys, or a command that asks a vault.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgMatches, Command};
use zeroize::Zeroizing;

use super::arguments::{file, option};
use super::failure::Failure;
use crate::capture::seal::{CachedUnwrap, PrivateKeys, Unwrap, UnwrapCommand};
use crate::serve;

/// Bytes of a file of private keys.
const KEY_FILE_BYTES_MAX: u64 = 256 << 10;

/// The arguments that say who opens.
const KEY: &str = "key";
const UNWRAP_COMMAND: &str = "unwrap-command";

/// The arguments that name them.
pub(super) fn with_keys(command: Command) -> Command {
    let key = file(
        KEY,
        "PEM file with RSA private keys (PKCS#8 or PKCS#1, not encrypted); may be given more than once",
    );
    let asks = "Command that unwraps content keys, such as a client of a vault";
    command.arg(key.action(ArgAction::Append)).arg(option(UNWRAP_COMMAND, "CMD", asks).conflicts_with(KEY))
}

/// Whether somebody is named.
pub(super) fn is_opening(matches: &ArgMatches) -> bool {
    matches.contains_id(KEY) || matches.contains_id(UNWRAP_COMMAND)
}

/// Whoever is named; `None` if nobody is.
pub(super) fn unwrap(matches: &ArgMatches) -> Result<Option<Box<dyn Unwrap>>, Failure> {
    if !is_opening(matches) {
        return Ok(None);
    }
    // Keys and content are in this process: a core dump would hold both. Where the system does not let it be forbidden,
    // whoever has a key may read on all the same.
    let _ = serve::hide_memory();
    if let Some(line) = matches.get_one::<String>(UNWRAP_COMMAND) {
        let command = UnwrapCommand::new(line);
        let command = command.map_err(|problem| Failure::usage(format!("--{UNWRAP_COMMAND} {problem}")))?;
        return Ok(Some(Box::new(CachedUnwrap::new(command))));
    }
    let mut keys = PrivateKeys::default();
    for path in matches.get_many::<PathBuf>(KEY).into_iter().flatten() {
        let named = |problem: String| Failure::run(format!("--{KEY}: {} {problem}", path.display())).alone();
        keys.add(&key_text(path).map_err(named)?).map_err(named)?;
    }
    Ok(Some(Box::new(CachedUnwrap::new(keys))))
}

fn key_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    // It does not grow, so nothing of it is left elsewhere.
    let mut text =
        Zeroizing::new(String::with_capacity(usize::try_from(KEY_FILE_BYTES_MAX + 1).unwrap_or(0)));
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(format!("is longer than {KEY_FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}
