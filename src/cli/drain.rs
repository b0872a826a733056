//! `drain`: what a dead instance left is published.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::arguments::{KAFKA, config_file, named, with_settings};
use super::failure::{Done, FAILED, Failure};
use super::inputs::{ledger_dir, of_ledger};
use super::layers::{checked, values};
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::settings::{
    AnySetting, CAPTURE_DIR, CAPTURE_SPOOL_MAX_BYTES, CAPTURE_TOPIC, CONTROL_HMAC_KEY_FILE, FLUSH_TIMEOUT,
    KAFKA_BROKERS, LEDGER, LEDGER_KEEP, LEDGER_MAX_BYTES, LEDGER_NETWORK_FS,
};
use crate::config::{self, Values};
use crate::ledger;
use crate::publish::KafkaConfig;
use crate::report::{self, DrainOptions, DrainProgress, DrainedSpool, SpoolToDrain};
use crate::telemetry;
use crate::telemetry::log::{LogFormat, LogLevel};

pub(super) fn command() -> Command {
    let command = named(Subcommand::Drain)
        .about("Publish what a dead instance left; exit 0 only if nothing is left")
        .after_help(
            "Takes the ledger as `serve` does, settles the calls that were cut, and publishes until nothing is left, or until \
             nothing was delivered for --flush-timeout. A spool of captured content is published too, to --capture-topic. It may be \
             killed and run again: events keep their ids and bytes.",
        )
        .arg(config_file());
    let ledger: [&AnySetting; 9] = [
        &LEDGER,
        &LEDGER_KEEP,
        &LEDGER_MAX_BYTES,
        &LEDGER_NETWORK_FS,
        &CONTROL_HMAC_KEY_FILE,
        &FLUSH_TIMEOUT,
        &CAPTURE_TOPIC,
        &CAPTURE_DIR,
        &CAPTURE_SPOOL_MAX_BYTES,
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
    let spool = spool(&mut values, &dir, &config)?;
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
            spool,
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
    to_stdout(|out| {
        writeln!(out, "{delivered} delivered, {refused} refused, {left} left in {dir}{own}")?;
        drained.spool.iter().try_for_each(|spool| writeln!(out, "{}", spool_line(spool)))
    })?;
    let left = left + drained.spool.map_or(0, |spool| spool.left);
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn spool_line(spool: &DrainedSpool) -> String {
    let DrainedSpool { delivered, refused, left } = spool;
    format!("captured content: {delivered} delivered, {refused} refused, {left} left")
}

/// The spool that lies in the ledger's directory or in its own, if there is one.
fn spool(values: &mut Values, ledger: &Path, config: &KafkaConfig) -> Result<Option<SpoolToDrain>, Failure> {
    let dir = values.get(&CAPTURE_DIR).unwrap_or_else(|| ledger.to_owned());
    if !SpoolToDrain::is_in(&dir) {
        return Ok(None);
    }
    let topic = config::capture_topic(values, Some(config));
    checked(values)?;
    let bytes_max = values.get(&CAPTURE_SPOOL_MAX_BYTES).unwrap_or_default();
    Ok(topic.map(|topic| SpoolToDrain::new(&dir, bytes_max, config::network_fs(values), topic)))
}
