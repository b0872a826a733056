//! `check --connect`: a line for each thing that a start needs, tried.

use std::io::Write;

use super::failure::{Done, Failure, plural};
use super::output::to_stdout;
use crate::serve::{self, Trial};
use metering::names;

pub(super) fn run(config: &serve::Config) -> Done {
    let trials = serve::try_all(config);
    let done = to_stdout(|out| trials.iter().try_for_each(|trial| writeln!(out, "{}", line(trial))))?;
    let failed = trials.iter().filter(|trial| trial.found.is_err()).count();
    if failed == 0 {
        return Ok(done);
    }
    Err(Failure::run(format!("{failed} of {} failed", plural(trials.len(), "trial"))))
}

fn line(trial: &Trial) -> String {
    let (word, said) = match &trial.found {
        Ok(said) => ("ok", said),
        Err(said) => ("failed", said),
    };
    format!("{word:<7} {}: {}", names::shown(&trial.what), names::shown(said))
}
