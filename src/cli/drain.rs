//! `drain`: what a dead instance left is published.

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::arguments::{KAFKA, config_file, named, with_settings};
use super::failure::{Done, FAILED, Failure};
use super::inputs::{ledger_dir, of_ledger};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config;
use crate::config::settings::{
    AnySetting, CONTROL_HMAC_KEY_FILE, FLUSH_TIMEOUT, KAFKA_BROKERS, LEDGER, LEDGER_KEEP, LEDGER_MAX_BYTES,
    LEDGER_NETWORK_FS,
};
use crate::ledger;
use crate::report::{self, DrainOptions, DrainProgress};
use crate::telemetry;
use crate::telemetry::log::{LogFormat, LogLevel};

pub(super) fn command() -> Command {
    let command = named(Subcommand::Drain)
        .about("Publish what a dead instance left; exit 0 only if nothing is left")
        .after_help(
            "Takes the ledger as `serve` does, settles the calls that were cut, and publishes until nothing is left, or until \
             nothing was delivered for --flush-timeout. It may be killed and run again: events keep their ids and bytes.",
        )
        .arg(config_file());
    let ledger: [&AnySetting; 6] = [
        &LEDGER,
        &LEDGER_KEEP,
        &LEDGER_MAX_BYTES,
        &LEDGER_NETWORK_FS,
        &CONTROL_HMAC_KEY_FILE,
        &FLUSH_TIMEOUT,
    ];
    with_settings(with_settings(command, &ledger), KAFKA)
}

pub(super) fn run(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let config = config::publish_config(&mut values);
    let control_key = config::control_key(&mut values);
    if config.is_none() && values.errors().is_empty() {
        values.error_in(
            &KAFKA_BROKERS,
            "is not set: where should the events go? Give --kafka-brokers host:port, key kafka_brokers, or \
             TOKENWEIR_KAFKA_BROKERS",
        );
    }
    checked(&values)?;
    let Some(config) = config else { return Err(Failure::config(values.errors())) };
    let dir = ledger_dir(&values, "")?;
    let mut progress = DrainProgress::default();
    let _lines = telemetry::log::init(LogLevel::Warn, LogFormat::Auto);
    let drained = report::drain(
        &DrainOptions {
            ledger: ledger::LedgerOptions {
                keep: values.get(&LEDGER_KEEP).unwrap_or_default(),
                max_bytes: values.get(&LEDGER_MAX_BYTES).unwrap_or_default(),
                network_fs: config::network_fs(&values),
                control_key,
                ..ledger::LedgerOptions::new(&dir)
            },
            config,
            patience: values.get(&FLUSH_TIMEOUT).unwrap_or_default(),
        },
        |state| progress.show(state),
    );
    let drained = drained.map_err(|error| of_ledger(&values, error))?;
    let (delivered, refused, left) = (drained.delivered, drained.refused, drained.left);
    let own = match delivered {
        1 if drained.own && left == 0 => "; it is the control event of this drain",
        2.. if drained.own && left == 0 => "; one is the control event of this drain",
        _ => "",
    };
    let dir = dir.display();
    to_stdout(|out| writeln!(out, "{delivered} delivered, {refused} refused, {left} left in {dir}{own}"))?;
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
