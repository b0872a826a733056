//! Keys at a terminal, read one by one and not shown. The terminal is as before when this is dropped.

use std::io::stdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// Keys that wait to be looked at; more are dropped, as of a key that is held down.
const KEYS_WAITING_MAX: usize = 8;

/// A read waits so long for a key, in tenths of a second (termios(3), VTIME).
const READ_DECISECONDS: u8 = 1;

/// Where nothing can be read, it is looked so often whether that has changed.
const PAUSE: Duration = Duration::from_millis(100);

/// The most bytes of one key; those of an arrow or of a function key are a few.
const KEY_BYTES_MAX: usize = 16;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Broker,
    HangUp,
    Forge,
    Kill,
    Restart,
    Quit,
}

/// What the keys do, for the screen.
pub(super) const KEYS_LINE: &str =
    "b break or mend the broker  h hang up  f forge  k kill -9  r restart  q end";

impl Key {
    /// The keys in what one read gave. A sequence that begins with an escape is some other key.
    fn of(bytes: &[u8]) -> Vec<Key> {
        if bytes.first() == Some(&b'\x1b') {
            return Vec::new();
        }
        let key = |byte: &u8| match byte.to_ascii_lowercase() {
            b'b' => Some(Key::Broker),
            b'h' => Some(Key::HangUp),
            b'f' => Some(Key::Forge),
            b'k' => Some(Key::Kill),
            b'r' => Some(Key::Restart),
            b'q' => Some(Key::Quit),
            _ => None,
        };
        bytes.iter().filter_map(key).collect()
    }
}

/// The terminal's keys, as they are pressed.
#[derive(Debug)]
pub(super) struct Keyboard {
    pressed: Receiver<Key>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// How the terminal was.
    before: Termios,
}

impl Keyboard {
    /// Reads keys from now on; `None`: standard input is no terminal, or not ours to read.
    pub(super) fn open() -> Option<Keyboard> {
        let before = tcgetattr(stdin()).ok().filter(|_| is_foreground())?;
        let read = without_lines(before.clone());
        tcsetattr(stdin(), OptionalActions::Now, &read).ok()?;
        let (send, pressed) = sync_channel(KEYS_WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let mut keyboard = Keyboard { pressed, stop: stop.clone(), thread: None, before };
        let thread = std::thread::Builder::new().name("demo-keys".into());
        keyboard.thread = Some(thread.spawn(move || read_keys(&read, &send, &stop)).ok()?);
        Some(keyboard)
    }

    /// The next key that was pressed.
    pub(super) fn next(&self) -> Option<Key> {
        self.pressed.try_recv().ok()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// This process may read the terminal: another one may have been put before it.
fn is_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// Keys come one by one and are not echoed. Ctrl-C and Ctrl-Z are signals as ever.
fn without_lines(mut modes: Termios) -> Termios {
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    modes.special_codes[SpecialCodeIndex::VMIN] = 0;
    modes.special_codes[SpecialCodeIndex::VTIME] = READ_DECISECONDS;
    modes
}

fn read_keys(modes: &Termios, send: &SyncSender<Key>, stop: &AtomicBool) {
    let mut bytes = [0; KEY_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        if !is_foreground() {
            std::thread::sleep(PAUSE);
            continue;
        }
        // A shell that has stopped and continued us has set its own modes.
        if tcgetattr(stdin()).is_ok_and(|now| now.local_modes.contains(LocalModes::ICANON)) {
            let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
        }
        let begun = Instant::now();
        match rustix::io::read(stdin(), &mut bytes) {
            Ok(0) | Err(_) => std::thread::sleep(PAUSE.saturating_sub(begun.elapsed())),
            Ok(read) => {
                for key in Key::of(&bytes[..read]) {
                    // What does not fit is a key held down.
                    let _ = send.try_send(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_a_key_and_an_arrow_is_not() {
        assert_eq!(Key::of(b"bQ"), [Key::Broker, Key::Quit]);
        assert_eq!(Key::of(b"x\n "), []);
        assert_eq!(Key::of(b"\x1b[B"), [], "the arrow down");
    }

    #[test]
    fn the_line_of_keys_fits_eighty_columns() {
        assert!(KEYS_LINE.len() <= 80);
    }
}
