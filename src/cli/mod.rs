//! The command line: arguments in, exit code out.

mod commands;
mod health;

use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::config::{self, Origin, Values, settings};
use crate::report::{self, DrainOptions, EventsOptions, Format, Input, ReportError, ReportOptions};
use crate::report::{Prices, Progress, VerdictFormat, VerifyOptions};
use crate::{account, demo, ledger, serve, telemetry, usage};

/// Failed while running.
const FAILED: u8 = 1;
/// The command line was wrong.
const USAGE: u8 = 2;
/// `verify` found something.
const FOUND: u8 = 3;
/// The configuration was wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIG: u8 = 78;

/// Runs the command that the arguments name; they come with the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match commands::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are errors to clap too, with exit code 0. A closed pipe is no news.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(USAGE) };
    let done = match name {
        "serve" => run_serve(matches),
        "demo" => run_demo(matches),
        "events" => run_events(matches),
        "report" => run_report(matches),
        "verify" => run_verify(matches),
        "drain" => run_drain(matches),
        "account" => run_account(matches),
        "count" => run_count(matches),
        "check" => run_check(matches),
        "schema" => run_schema(matches),
        "health" => health::run(matches),
        _ => Err(Failure::usage(format!("{name} is no command"))),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "tokenweir {name}: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command did not do its work.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: String) -> Failure {
        Failure { code: USAGE, message }
    }

    fn config(errors: &[config::ConfigError]) -> Failure {
        let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
        let message = format!("the configuration has {} error(s)\n{}", errors.len(), lines.join("\n"));
        Failure { code: BAD_CONFIG, message }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { code: FAILED, message: format!("{:#}", error.into()) }
    }
}

type Done = Result<ExitCode, Failure>;

/// The settings of a command from all layers.
fn values(matches: &ArgMatches) -> Result<Values, Failure> {
    let flag = |name: &str| {
        let given = matches.try_get_many::<String>(name).ok().flatten()?;
        (matches.value_source(name) == Some(ValueSource::CommandLine)).then(|| given.cloned().collect())
    };
    let env = |name: &str| std::env::var(name).ok();
    let config_flag = matches.try_get_one::<String>("config").ok().flatten().cloned();
    let Some(path) = config_flag.or_else(|| env("TOKENWEIR_CONFIG")).map(PathBuf::from) else {
        return Ok(Values::resolve(flag, env, None));
    };
    let text = std::fs::read_to_string(&path).map_err(|error| Failure {
        code: BAD_CONFIG,
        message: format!("--config: {} cannot be read: {error}", path.display()),
    })?;
    Ok(Values::resolve(flag, env, Some((&path, &text))))
}

/// Ends with every error, if there is one.
fn checked(values: &Values) -> Result<(), Failure> {
    if values.errors().is_empty() { Ok(()) } else { Err(Failure::config(values.errors())) }
}

fn run_serve(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let config = config::serve_config(&mut values).ok_or_else(|| Failure::config(values.errors()))?;
    let _lines = telemetry::log::init(log_level(&values));
    telemetry::log::hush_panics();
    for variable in unknown_variables() {
        tracing::warn!("{variable}");
    }
    let again = matches.clone();
    serve::run(config, move || read_again(&again))?;
    Ok(ExitCode::SUCCESS)
}

fn log_level(values: &Values) -> &str {
    values.text("log-level").unwrap_or("info")
}

/// The log level that file and environment ask for now. All of the file must be right; what the
/// files hold that it names is not looked at: they are read again for themselves.
fn read_again(matches: &ArgMatches) -> anyhow::Result<String> {
    let read = || {
        let values = values(matches)?;
        checked(&values)?;
        Ok(log_level(&values).to_owned())
    };
    read().map_err(|failure: Failure| anyhow::anyhow!(failure.message))
}

fn unknown_variables() -> Vec<config::ConfigError> {
    config::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

fn run_schema(matches: &ArgMatches) -> Done {
    let of_config = matches.get_one::<String>("of").is_some_and(|of| of == "config");
    to_stdout(|out| {
        if of_config {
            serde_json::to_writer_pretty(&mut *out, &config::json_schema())?;
            writeln!(out)
        } else {
            write!(out, "{}", usage::SCHEMA)
        }
    })
}

fn run_check(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    for variable in unknown_variables() {
        writeln!(io::stderr(), "tokenweir check: warning: {variable}")?;
    }
    if config::serve_config(&mut values).is_none() {
        return Err(Failure::config(values.errors()));
    }
    let mut out = io::stdout().lock();
    if matches.get_flag("print") {
        for setting in settings::SETTINGS {
            let Some(origin) = values.origin(setting.name) else { continue };
            let secret = matches!(setting.kind, settings::Kind::Secret);
            let shown = if secret { "(secret)".to_owned() } else { values.all(setting.name).join(", ") };
            writeln!(out, "{} = {shown}  # {}", setting.key(), format!("{origin:?}").to_lowercase())?;
        }
    } else {
        writeln!(out, "ok")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_demo(matches: &ArgMatches) -> Done {
    let seconds = matches.get_one::<u64>("seconds").copied().unwrap_or_default();
    let options = demo::Options::new(Duration::from_secs(seconds))?;
    Ok(if demo::run(&options)? { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn run_events(matches: &ArgMatches) -> Done {
    let values = values(matches)?;
    checked(&values)?;
    let options = EventsOptions {
        dir: ledger_dir(&values),
        follow: matches.get_flag("follow"),
        refused: matches.get_flag("refused"),
    };
    to_stdout(|out| report::events(&options, out, &mut io::stderr()))
}

fn run_report(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let input = input(&mut values)?;
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let time = |name: &str| matches.get_one::<String>(name).map(|text| report::parse_time(text)).transpose();
    let wrong = |error: ReportError| Failure::usage(error.to_string());
    let prices = matches.get_one::<String>("prices");
    let options = ReportOptions {
        input,
        by: text("by").split(',').map(|key| key.trim().parse()).collect::<Result<_, _>>().map_err(wrong)?,
        from: time("from").map_err(wrong)?,
        to: time("to").map_err(wrong)?,
        prices: prices.map(|path| Prices::read(Path::new(path))).transpose().map_err(wrong)?,
    };
    let format: Format = text("format").parse().map_err(wrong)?;
    let report = report::report(&options)?;
    if let Some(unpriced) = report.unpriced_text() {
        let _ = writeln!(io::stderr(), "tokenweir report: {unpriced}");
    }
    to_stdout(|out| report.write(format, out))
}

fn run_verify(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let lines = matches.get_one::<String>("file").map(|file| Input::Lines(PathBuf::from(file)));
    let input = match lines {
        Some(lines) => lines,
        None => input(&mut values)?,
    };
    checked(&values)?;
    let format = matches.get_one::<String>("format").map_or("", String::as_str);
    let format: VerdictFormat =
        format.parse().map_err(|error: ReportError| Failure::usage(error.to_string()))?;
    let verdict = report::verify(&VerifyOptions {
        input,
        control_interval: values.time("control-interval"),
        allow_repeats: matches.get_flag("allow-repeats"),
        allow_open: matches.get_flag("allow-open"),
        allow_cut: matches.get_flag("allow-cut"),
    })?;
    to_stdout(|out| verdict.write(format, out))?;
    Ok(if verdict.complete { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// A ledger or a topic; a flag that names the one wins over settings that name the other.
fn input(values: &mut Values) -> Result<Input, Failure> {
    let topic = config::publish_config(values);
    checked(values)?;
    let flag = |name: &str| values.origin(name) == Some(Origin::Flag);
    match topic {
        Some(_) if flag("ledger") && flag("kafka-brokers") => {
            Err(Failure::usage("--ledger and --kafka-brokers: give one of them".to_owned()))
        }
        Some(config) if !flag("ledger") => Ok(Input::Topic(config)),
        _ => Ok(Input::Ledger(ledger_dir(values))),
    }
}

fn run_drain(matches: &ArgMatches) -> Done {
    let mut values = values(matches)?;
    let config = config::publish_config(&mut values);
    if config.is_none() && values.errors().is_empty() {
        values.error_in("kafka-brokers", "is not set: where should the events go?");
    }
    checked(&values)?;
    let Some(config) = config else { return Err(Failure::config(values.errors())) };
    let dir = ledger_dir(&values);
    let mut progress = Progress::new();
    let _lines = telemetry::log::init("warn");
    let drained = report::drain(
        &DrainOptions {
            ledger: ledger::Options {
                keep: values.time("ledger-keep"),
                max_bytes: values.size_bytes("ledger-max-bytes"),
                network_fs: values.text("ledger-network-fs") == Some("allow"),
                ..ledger::Options::new(&dir)
            },
            config,
            patience: values.time("flush-timeout"),
        },
        |state| progress.show(state),
    );
    progress.clear();
    let drained = drained?;
    let (delivered, refused, left) = (drained.delivered, drained.refused, drained.left);
    writeln!(io::stdout(), "{delivered} delivered, {refused} refused, {left} left in {}", dir.display())?;
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn run_account(matches: &ArgMatches) -> Done {
    let values = values(matches)?;
    checked(&values)?;
    let explain = match matches.get_one::<String>("explain").map(String::as_str) {
        None => account::Explain::No,
        Some("text") => account::Explain::Text,
        // People read text, programs JSON.
        Some("auto") if io::stdout().is_terminal() => account::Explain::Text,
        Some(_) => account::Explain::Json,
    };
    let options = account::Options { end_of_turn: config::end_of_turn(&values), explain };
    let input = BufReader::new(open(matches)?);
    let mut bad_lines = 0;
    to_stdout(|out| account::run(input, out, &options).map(|summary| bad_lines = summary.bad_lines))?;
    Ok(if bad_lines == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn run_count(matches: &ArgMatches) -> Done {
    let model = matches.get_one::<String>("model").map_or("", String::as_str);
    match account::count(model, open(matches)?) {
        Ok(tokens) => to_stdout(|out| writeln!(out, "{tokens}")),
        Err(account::CountError::UnknownModel(error)) => Err(Failure::usage(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

fn ledger_dir(values: &Values) -> PathBuf {
    values.path("ledger").unwrap_or_default()
}

/// Writes to standard output in large pieces. A reader that has left, such as `head`, is no error.
fn to_stdout<E: Into<anyhow::Error>>(
    write: impl FnOnce(&mut io::BufWriter<io::StdoutLock>) -> Result<(), E>,
) -> Done {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = write(&mut out).map_err(Into::into).and_then(|()| out.flush().map_err(Into::into));
    match done {
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        done => done.map(|()| ExitCode::SUCCESS).map_err(Failure::from),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Opens a file, or standard input for `-`.
fn open(matches: &ArgMatches) -> Result<Box<dyn Read>, Failure> {
    let name = matches.get_one::<String>("file").map_or("-", String::as_str);
    if name == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = std::fs::File::open(Path::new(name));
    let file = file.map_err(|error| Failure { code: FAILED, message: format!("{name}: {error}") })?;
    Ok(Box::new(file))
}
