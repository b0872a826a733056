//! Arguments in, exit code out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use tokenweir::telemetry::BuildInfo;

fn main() -> ExitCode {
    // Here and not in the library: only this crate is compiled again for another commit.
    let (commit, committed_s, compiler) = build_stamp::build_stamp!();
    tokenweir::cli::run(std::env::args_os(), BuildInfo { commit, committed_s, compiler })
}
