//! `docs/getting-started.md` is followed literally: each of its commands is typed, and prints what the page shows.
//!
//! A block of the page that begins with a program is a command, another one is what the command before it prints, where
//! `..` stands for anything. A sentence with `Ctrl-C` ends the sidecar. Ports are free ones.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::files::root;
use crate::support::sidecar::signal;
use crate::support::skip;
use crate::support::turn;
use crate::support::wait::eventually;

const PAGE: &str = "docs/getting-started.md";

/// Lines that a newcomer has the patience for.
const LINES_MAX: usize = 90;

/// Where the page says that the service and the sidecar listen.
const SERVICE: &str = "127.0.0.1:8081";
const SIDECAR: &str = "127.0.0.1:8080";

/// An event is in the ledger within this, on a busy machine too.
const AGAIN_MAX: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum Step {
    Command(String),
    Prints(String),
    EndSidecar,
}

/// The steps of the page, in order. `..` at the end of a line goes on in the next one.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut block = String::new();
    for line in page.lines().chain([""]) {
        match line.strip_prefix("    ") {
            Some(line) => block.push_str(&format!("{line}\n")),
            None if !block.is_empty() => {
                let block = std::mem::take(&mut block);
                let is_command = ["tokenweir ", "curl "].iter().any(|program| block.starts_with(program));
                steps.push(if is_command { Step::Command(block) } else { Step::Prints(block) });
            }
            None => {}
        }
        if line.contains("Ctrl-C") && !line.starts_with("    ") {
            steps.push(Step::EndSidecar);
        }
    }
    steps
}

/// The pieces between `..` stand in the text, in order, the first at its beginning and the last at its end.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.trim_end().replace("..\n", "..");
    let mut pieces = pattern.split("..").peekable();
    let Some(mut rest) = text.trim_end().strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty()
}

/// A program that goes on, and all that it says.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let said = Arc::new(Mutex::new(String::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
        for mut output in outputs {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = output.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..read]);
                    said.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                }
            });
        }
        Running { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The address behind these words, once it has said them.
    fn address(&self, before: &str) -> String {
        let find = || {
            let said = self.said();
            let rest = said.split_once(before)?.1;
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
            Some(rest[..end].to_owned())
        };
        eventually("it says where it listens", || find().is_some());
        find().expect("an address")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reader of the page, at the root of a repository of his own.
struct Reader<'a> {
    dir: &'a Path,
    service: Option<(Running, String)>,
    sidecar: Option<(Running, String)>,
    /// The last command, if it may be typed again: an event is stored some milliseconds after its call.
    again: Option<String>,
    /// What it printed.
    printed: String,
}

impl Reader<'_> {
    fn shell(&self, line: &str) -> Command {
        let bin = Path::new(env!("CARGO_BIN_EXE_tokenweir")).parent().expect("a folder");
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.dir).stdin(Stdio::null());
        shell.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH")));
        // As a person sees it, who has a terminal.
        shell.env("TOKENWEIR_LOG_FORMAT", "text");
        shell.env("TOKENWEIR_LISTEN", "127.0.0.1:0").env("TOKENWEIR_ADMIN_LISTEN", "127.0.0.1:0");
        shell
    }

    /// With the addresses that there really are.
    fn here(&self, text: &str) -> String {
        let service = self.service.as_ref().map_or(SERVICE, |(_, addr)| addr);
        let sidecar = self.sidecar.as_ref().map_or(SIDECAR, |(_, addr)| addr);
        text.replace(SERVICE, service).replace(SIDECAR, sidecar)
    }

    /// What a command prints that comes to an end.
    fn printed_by(&self, line: &str) -> String {
        let output = self.shell(&self.here(line)).output().expect("it runs");
        assert!(output.status.success(), "{line}{output:?}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        String::from_utf8(output.stdout).expect("text") + &errors
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Command(line) if line.contains("--service-only") => {
                let line = format!("exec {} --listen 127.0.0.1:0", line.trim_end());
                let service = Running::start(&mut self.shell(&line));
                let addr = service.address("http://");
                eventually("the call is shown", || service.said().contains("-d '"));
                (self.printed, self.again) = (service.said(), None);
                self.service = Some((service, addr));
            }
            Step::Command(line) if line.starts_with("tokenweir serve") => {
                let sidecar = Running::start(&mut self.shell(&format!("exec {}", self.here(&line))));
                let addr = sidecar.address(" listen=");
                (self.printed, self.again) = (sidecar.said(), None);
                self.sidecar = Some((sidecar, addr));
            }
            Step::Command(line) => {
                self.printed = self.printed_by(&line);
                self.again = line.starts_with("tokenweir").then_some(line);
            }
            Step::Prints(pattern) => {
                let pattern = self.here(&pattern);
                let began = Instant::now();
                while let Some(line) = self.again.clone().filter(|_| !matches(&pattern, &self.printed)) {
                    if began.elapsed() > AGAIN_MAX {
                        break;
                    }
                    self.printed = self.printed_by(&line);
                }
                assert!(matches(&pattern, &self.printed), "the page:\n{pattern}\nreally:\n{}", self.printed);
            }
            Step::EndSidecar => {
                let (mut sidecar, _) = self.sidecar.take().expect("a sidecar");
                signal(sidecar.child.id(), "INT");
                let status = sidecar.child.wait().expect("it ends");
                assert!(status.success(), "{status}\n{}", sidecar.said());
            }
        }
    }
}

#[test]
fn the_page_can_be_followed_literally() {
    let _turn = turn::beside();
    if Command::new("curl").arg("--version").output().is_err() {
        return skip::test("curl");
    }
    let page = fs::read_to_string(root().join(PAGE)).expect("the page");
    assert!(page.lines().count() <= LINES_MAX, "the page has {} lines", page.lines().count());
    let dir = tempfile::tempdir().expect("directory");
    std::os::unix::fs::symlink(root().join("fixtures"), dir.path().join("fixtures")).expect("a link");
    let mut reader =
        Reader { dir: dir.path(), service: None, sidecar: None, again: None, printed: String::new() };
    let steps = steps(&page);
    assert!(steps.iter().filter(|step| matches!(step, Step::Command(_))).count() >= 6, "{steps:?}");
    assert!(steps.iter().filter(|step| matches!(step, Step::Prints(_))).count() >= 6, "{steps:?}");
    steps.into_iter().for_each(|step| reader.take(step));
}

#[test]
fn a_page_is_held_to_what_it_shows() {
    assert!(matches("a .. c\n", "a b c\n") && matches("a\n..\nd", "a\nb\nc\nd\n") && matches("a", "a\n"));
    assert!(matches("a..\nd ..\n", "a b c d e"));
    assert!(!matches("a .. d", "a b c") && !matches("a", "a b") && !matches("b", "a b"));
}
