//! Arguments in, exit code out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tokenweir::cli::run(std::env::args_os())
}
