//! `completions` and `man`: what shells and `man` are given, made of the command line itself.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::shells;
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::arguments::{named, one_of};
use super::failure::Done;
use super::output::to_stdout;
use super::subcommand::Subcommand;
use crate::config::settings::{Kind, SETTINGS};
use crate::telemetry::BuildInfo;

/// A shell whose completions are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn completions_command() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(one_of::<Shell>());
    named(Subcommand::Completions)
        .about("What a shell completes the command line by, on standard output")
        .arg(shell.help("The shell"))
}

pub(super) fn man_command() -> Command {
    let command = Arg::new("command").value_name("COMMAND").value_parser(one_of::<Subcommand>());
    named(Subcommand::Man)
        .about("A page of the manual, on standard output")
        .arg(command.help("The command; without it, the page of the program"))
}

/// Prints the completions of the `whole` command line.
pub(super) fn run_completions(matches: &ArgMatches, whole: Command) -> Done {
    let mut command = with_words(whole);
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    match matches.get_one::<Shell>("shell") {
        Some(Shell::Zsh) => clap_complete::generate(shells::Zsh, &mut command, name, &mut script),
        Some(Shell::Fish) => clap_complete::generate(shells::Fish, &mut command, name, &mut script),
        Some(Shell::Bash) | None => clap_complete::generate(shells::Bash, &mut command, name, &mut script),
    }
    to_stdout(|out| std::io::Write::write_all(out, &script))
}

/// The words of settings that take one of a few: a shell offers them. When a command runs they are read later, so that
/// all errors are told at once.
fn with_words(mut command: Command) -> Command {
    for setting in SETTINGS {
        let Kind::Choice(words) = setting.kind else { continue };
        command = command.mut_subcommands(|command| {
            let has = command.get_arguments().any(|argument| argument.get_id() == setting.name);
            if !has {
                return command;
            }
            command.mut_arg(setting.name, |argument| argument.value_parser(PossibleValuesParser::new(words)))
        });
    }
    command
}

/// Prints a page of the manual of the `whole` command line.
pub(super) fn run_man(matches: &ArgMatches, mut whole: Command) -> Done {
    whole.build();
    let asked = matches.get_one::<Subcommand>("command").map(|command| command.name());
    let command = asked.and_then(|name| whole.find_subcommand(name)).unwrap_or(&whole).clone();
    let mut page = Vec::new();
    let source = format!("tokenweir {}", BuildInfo::VERSION);
    clap_mangen::Man::new(command).source(source).manual("tokenweir").render(&mut page)?;
    to_stdout(|out| std::io::Write::write_all(out, &page))
}
