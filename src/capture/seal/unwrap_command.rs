//! A command that unwraps content keys, where the private key lies in an HSM or a vault. It is run without a shell: the
//! wrapped key comes on its standard input, the 32 bytes of the content key are expected on its standard output, and
//! neither stands in arguments, environment or a log.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use metering::names;
use smol_str::SmolStr;
use zeroize::Zeroizing;

use super::command_words::words;
use super::content_key::{ContentKey, KEY_BYTES, content_key};
use super::unwrap::{Unwrap, UnwrapError, WrappedKey};

/// How long a command may take: a vault answers within a second, its login within ten.
const COMMAND_MAX: Duration = Duration::from_secs(30);

/// The pause between two looks for its end.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Bytes of its standard output that are read: one more than a key, so that a longer answer is seen to be one.
const ANSWER_BYTES_MAX: usize = KEY_BYTES + 1;

/// Bytes of its standard error that are shown.
const COMPLAINT_BYTES_MAX: usize = 2 << 10;

/// Stands for the name of the key in an argument.
const KID: &str = "{kid}";

/// Bytes of a name that an argument may have: no key that parts are sealed to has a longer one.
const KID_BYTES_MAX: usize = 256;

/// A command that unwraps keys.
pub struct UnwrapCommand {
    words: Vec<String>,
    time_max: Duration,
    /// The recipient for whom it last unwrapped a key, which is asked for first the next time.
    kid: Option<SmolStr>,
}

impl UnwrapCommand {
    /// The command of this line: see `command_words` for how it becomes words.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(line: &str) -> Result<UnwrapCommand, &'static str> {
        Ok(UnwrapCommand { words: words(line)?, time_max: COMMAND_MAX, kid: None })
    }

    /// The same command with another bound on its time.
    #[must_use]
    pub fn within(self, time_max: Duration) -> UnwrapCommand {
        UnwrapCommand { time_max, ..self }
    }

    fn ask(&self, wrapped: &WrappedKey) -> Result<ContentKey, String> {
        let mut child = self.spawn(&wrapped.kid)?;
        let (answer, complaint) = (
            first_bytes(child.stdout.take(), ANSWER_BYTES_MAX),
            first_bytes(child.stderr.take(), COMPLAINT_BYTES_MAX),
        );
        let deadline = Instant::now() + self.time_max;
        if let Some(mut stdin) = child.stdin.take() {
            // It fits into a pipe, so this does not wait. A command that reads nothing is judged by what it answers.
            let _ = stdin.write_all(&wrapped.bytes);
        }
        let status = ended(&mut child, deadline).map_err(|error| format!("cannot be waited for: {error}"))?;
        let Some(status) = status else {
            return Err(format!("was killed: it took more than {} s", self.time_max.as_secs_f32()));
        };
        // What it has left running may hold the pipes open.
        let left = deadline.saturating_duration_since(Instant::now());
        if !status.success() {
            let said = complaint.recv_timeout(left.min(LOOK_EVERY * 20)).unwrap_or_default();
            return Err(format!("ended with {status}{}", shown(&said)));
        }
        let answer = answer.recv_timeout(left).map_err(|_| "did not close its output".to_owned())?;
        content_key(&answer).ok_or_else(|| wrong_length(answer.len()))
    }

    fn spawn(&self, kid: &str) -> Result<Child, String> {
        let takes_kid = self.words.iter().any(|word| word.contains(KID));
        if takes_kid && !is_harmless(kid) {
            return Err(
                "was not run: the name of the recipient's key is none that an argument may have".to_owned()
            );
        }
        let mut words = self.words.iter().map(|word| word.replace(KID, kid));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|error| format!("cannot be run: {error}"))
    }
}

impl Unwrap for UnwrapCommand {
    /// Nobody but the command knows which recipient it stands for, so it is asked for one after the other.
    fn unwrap_key(&mut self, wrapped: &[WrappedKey]) -> Result<ContentKey, UnwrapError> {
        let mut in_order: Vec<&WrappedKey> = wrapped.iter().collect();
        in_order.sort_by_key(|one| Some(&one.kid) != self.kid.as_ref());
        let mut first_problem = None;
        for one in in_order {
            match self.ask(one) {
                Ok(key) => {
                    self.kid = Some(one.kid.clone());
                    return Ok(key);
                }
                Err(problem) => _ = first_problem.get_or_insert(problem),
            }
        }
        Err(first_problem.map_or(UnwrapError::NoKey, UnwrapError::Command))
    }
}

/// A name comes from the topic, where nothing proves it: as an argument it must be no flag.
fn is_harmless(kid: &str) -> bool {
    !kid.is_empty()
        && kid.len() <= KID_BYTES_MAX
        && !kid.starts_with('-')
        && kid.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The first bytes of a stream, once it is over; the rest is passed over.
fn first_bytes(stream: Option<impl Read + Send + 'static>, bytes_max: usize) -> Receiver<Zeroizing<Vec<u8>>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        // It does not grow, so nothing is left of it elsewhere.
        let mut bytes = Zeroizing::new(vec![0; bytes_max]);
        let mut length = 0;
        if let Some(mut stream) = stream {
            while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
                match stream.read(room) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => length += read,
                }
            }
            let _ = io::copy(&mut stream, &mut io::sink());
        }
        bytes.truncate(length);
        let _ = sender.send(bytes);
    });
    receiver
}

/// How the child ended; `None` if it did not in time and was killed.
fn ended(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn wrong_length(bytes: usize) -> String {
    let said = if bytes < ANSWER_BYTES_MAX { bytes.to_string() } else { format!("more than {KEY_BYTES}") };
    format!("gave {said} bytes, where the {KEY_BYTES} of a key were expected: raw, without a line end")
}

fn shown(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {}", names::shown_lines(text)) }
}
