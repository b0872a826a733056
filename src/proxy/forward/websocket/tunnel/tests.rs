//! Every way in which a session ends, on sides that do what they are told, when they are told.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use metering::meter::Ending;
use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::*;

/// The next thing that a side does when it is read from.
#[derive(Clone, Debug)]
enum Say {
    Bytes(Vec<u8>),
    /// Nothing yet.
    Wait,
    Fin,
    Reset,
}

/// A side of a session.
#[derive(Debug, Default)]
struct Side {
    says: VecDeque<Say>,
    got: Vec<u8>,
    /// It has been told that no more comes.
    told: bool,
    /// It takes this many bytes at most, then fails.
    takes: Option<usize>,
    /// It takes so many bytes at once, and after each time nothing once.
    sips: Option<usize>,
    full: bool,
}

impl Side {
    fn saying(says: &[Say]) -> Side {
        Side { says: says.iter().cloned().collect(), ..Side::default() }
    }
}

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.says.pop_front() {
            Some(Say::Bytes(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                if !rest.is_empty() {
                    self.says.push_front(Say::Bytes(rest));
                }
                Poll::Ready(Ok(()))
            }
            Some(Say::Wait) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Say::Fin) => Poll::Ready(Ok(())),
            Some(Say::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.full) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = self.takes.map_or(usize::MAX, |takes| takes - self.got.len());
        if room == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.full = self.sips.is_some();
        let taken = buf.len().min(room).min(self.sips.unwrap_or(usize::MAX));
        self.got.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.told = true;
        Poll::Ready(Ok(()))
    }
}

/// Looks at frames alone, a little in each turn, and says whether a response is open.
#[derive(Debug)]
struct Eyes {
    frames: [Frames; 2],
    responding: bool,
    /// Bytes that it looks at in a turn.
    bytes_per_turn: usize,
    left_bytes: usize,
    /// How the session ended, if it has.
    ended: Rc<Cell<Option<Ending>>>,
}

impl Eyes {
    fn framed() -> Eyes {
        Eyes::of([Frames::of_client(None), Frames::of_server(None)])
    }

    fn of(frames: [Frames; 2]) -> Eyes {
        let (bytes_per_turn, left_bytes) = (usize::MAX, usize::MAX);
        Eyes { frames, responding: false, bytes_per_turn, left_bytes, ended: Rc::default() }
    }
}

impl SessionWatch for Eyes {
    fn frames(&self, side: SessionSide) -> &Frames {
        &self.frames[side as usize]
    }

    fn is_responding(&self) -> bool {
        self.responding
    }

    fn begin_turn(&mut self) {
        self.left_bytes = self.bytes_per_turn;
    }

    fn is_turn_over(&self) -> bool {
        self.left_bytes == 0
    }

    fn observe(&mut self, side: SessionSide, bytes: &[u8]) -> usize {
        let seen = bytes.len().min(self.left_bytes);
        self.left_bytes -= seen;
        self.frames[side as usize].push(&bytes[..seen], &mut 0, &mut ())
    }

    fn end(mut self, last: [(SessionSide, &[u8]); 2], judge: impl FnOnce(&Self) -> Option<Ending>) {
        for (side, bytes) in last {
            self.frames[side as usize].push(bytes, &mut 0, &mut ());
        }
        self.ended.set(judge(&self));
    }
}

const TURNS_MAX: usize = 10_000;

/// Runs a session; how it ended, or `None` if it still runs, and what each side got.
fn run(client: Side, upstream: Side, beyond: &[u8], eyes: Eyes) -> (Option<Ending>, Side, Side) {
    let ended = Rc::clone(&eyes.ended);
    let mut session = TunnelSession::new(client, upstream, &Bytes::copy_from_slice(beyond), eyes);
    let mut cx = Context::from_waker(Waker::noop());
    let over = (0..TURNS_MAX).any(|_| Pin::new(&mut session).poll(&mut cx).is_ready());
    let (client, upstream) = (std::mem::take(&mut session.client), std::mem::take(&mut session.upstream));
    drop(session);
    (ended.get().filter(|_| over), client, upstream)
}

fn ending(client: &[Say], upstream: &[Say]) -> Option<Ending> {
    run(Side::saying(client), Side::saying(upstream), b"", Eyes::framed()).0
}

/// The same, with a response left open.
fn ending_within(client: &[Say], upstream: &[Say]) -> Option<Ending> {
    let eyes = Eyes { responding: true, ..Eyes::framed() };
    run(Side::saying(client), Side::saying(upstream), b"", eyes).0
}

fn bytes(bytes: &[u8]) -> Say {
    Say::Bytes(bytes.to_vec())
}

#[test]
fn the_first_end_that_means_something_says_how_a_session_ended() {
    use Say::{Fin, Reset, Wait};
    let (text, close) = (bytes(b"\x81\x02hi"), bytes(b"\x88\x00"));
    let (asked, leave) = (bytes(b"\x81\x82\0\0\0\0hi"), bytes(b"\x88\x80\0\0\0\0"));
    let (half, half_asked) = (bytes(b"\x81\x02h"), bytes(b"\x81\x82\0\0\0\0h"));
    let (eof, left, broke) = (Ending::Eof, Ending::ClientDisconnect, Ending::UpstreamError);
    for (why, client, upstream, expected) in [
        ("a close handshake", vec![leave.clone(), Wait, Fin], vec![Wait, close.clone(), Fin], eof),
        (
            "closed by the upstream",
            vec![Wait, Wait, leave.clone(), Fin],
            vec![close.clone(), Wait, Wait, Fin],
            eof,
        ),
        ("close frames at once", vec![leave.clone(), Fin], vec![close.clone(), Fin], eof),
        ("a close frame and a reset at once", vec![Reset], vec![close.clone(), Fin], eof),
        ("the other way round", vec![leave.clone()], vec![Reset], eof),
        ("a reset behind a close frame", vec![], vec![text.clone(), close.clone(), Reset], eof),
        ("the client's end", vec![asked.clone(), Fin], vec![text.clone(), Wait, Wait, Fin], eof),
        ("both ends at once", vec![Fin], vec![Fin], eof),
        ("the client's end, and a reset for it", vec![Fin], vec![Wait, Wait, Reset], eof),
        ("the client's end, then a cut", vec![Fin], vec![Wait, half.clone(), Fin], broke),
        ("the upstream's end", vec![asked.clone(), Wait, Wait, Fin], vec![text.clone(), Fin], broke),
        ("the client's reset", vec![asked.clone(), Reset], vec![text.clone()], left),
        ("the upstream's reset", vec![asked.clone()], vec![text.clone(), Reset], broke),
        ("both reset at once", vec![Reset], vec![Reset], left),
        ("the client's cut", vec![half_asked.clone(), Fin], vec![Wait, Wait, close.clone(), Fin], left),
        ("the upstream's cut", vec![Wait, Wait, leave.clone(), Fin], vec![half.clone(), Fin], broke),
        ("a close frame that is cut", vec![], vec![bytes(b"\x88\x02\x03"), Reset], broke),
    ] {
        assert_eq!(ending(&client, &upstream), Some(expected), "{why}");
    }
    for (why, client, upstream) in [
        ("half closed", vec![Fin], vec![text.clone()]),
        ("closed, and the connections still there", vec![leave], vec![close]),
        ("the upstream has gone, and the client has not", vec![], vec![text, Fin]),
    ] {
        assert_eq!(ending(&client, &upstream), None, "{why}");
    }
}

/// A side that ends a session in which a response is open breaks that off, however politely.
#[test]
fn who_ends_a_session_with_a_response_open_has_broken_it_off() {
    use Say::{Fin, Wait};
    let (close, leave) = (bytes(b"\x88\x00"), bytes(b"\x88\x80\0\0\0\0"));
    let (left, broke) = (Ending::ClientDisconnect, Ending::UpstreamError);
    for (why, client, upstream, expected) in [
        ("closed by the client", vec![leave.clone(), Wait, Fin], vec![Wait, close.clone(), Fin], left),
        ("closed by the upstream", vec![Wait, Wait, leave, Fin], vec![close, Wait, Wait, Fin], broke),
        ("the client's end", vec![Fin], vec![Wait, Wait, Fin], left),
        ("the upstream's end", vec![Wait, Wait, Fin], vec![Fin], broke),
    ] {
        assert_eq!(ending_within(&client, &upstream), Some(expected), "{why}");
    }
}

#[test]
fn where_the_bytes_are_no_frames_only_a_reset_is_a_break() {
    use Say::{Fin, Reset, Wait};
    let word = bytes(b"word");
    for (client, upstream, expected) in [
        (vec![word.clone(), Wait, Fin], vec![word.clone(), Fin], Ending::Eof),
        (vec![word.clone(), Fin], vec![word.clone(), Wait, Fin], Ending::Eof),
        (vec![word.clone(), Reset], vec![word.clone()], Ending::ClientDisconnect),
        (vec![word.clone()], vec![word, Reset], Ending::UpstreamError),
    ] {
        for eyes in [Eyes::framed(), Eyes::of([Frames::unreadable(), Frames::unreadable()])] {
            let ended = run(Side::saying(&client), Side::saying(&upstream), b"", eyes).0;
            assert_eq!(ended, Some(expected));
        }
    }
    // A close frame means nothing to another protocol.
    let upstream = Side::saying(&[bytes(b"\x88\x00"), Say::Reset]);
    assert_eq!(
        run(Side::default(), upstream, b"", Eyes::of([Frames::unreadable(), Frames::unreadable()])).0,
        Some(Ending::UpstreamError)
    );
}

/// Writing to a side that has gone fails before its last words are read: they are passed on first.
#[test]
fn the_last_words_of_a_side_that_takes_no_more_arrive() {
    let (close, asked) = (b"\x88\x02\x03\xe8", bytes(b"\x81\x82\0\0\0\0hi"));
    let gone = |says: &[Say]| Side { takes: Some(0), ..Side::saying(says) };
    let (ended, client, _) = run(
        Side::saying(std::slice::from_ref(&asked)),
        gone(&[bytes(b"\x81\x02hi"), bytes(close), Say::Reset]),
        b"",
        Eyes::framed(),
    );
    assert_eq!((ended, client.got), (Some(Ending::Eof), [&b"\x81\x02hi"[..], close].concat()));
    let (ended, client, _) = run(
        Side::saying(std::slice::from_ref(&asked)),
        gone(&[bytes(b"\x81\x02hi"), Say::Reset]),
        b"",
        Eyes::framed(),
    );
    assert_eq!((ended, &client.got[..]), (Some(Ending::UpstreamError), &b"\x81\x02hi"[..]));
    // It has nothing more to say.
    assert_eq!(run(Side::saying(&[asked]), gone(&[]), b"", Eyes::framed()).0, Some(Ending::UpstreamError));
    let leave = bytes(b"\x88\x80\0\0\0\0");
    let (ended, _, upstream) =
        run(gone(&[leave]), Side::saying(&[bytes(b"\x81\x02hi")]), b"", Eyes::framed());
    assert_eq!((ended, &upstream.got[..]), (Some(Ending::Eof), &b"\x88\x80\0\0\0\0"[..]));
    assert_eq!(
        run(gone(&[]), Side::saying(&[bytes(b"\x81\x02hi")]), b"", Eyes::framed()).0,
        Some(Ending::ClientDisconnect)
    );
}

fn says() -> impl Strategy<Value = Vec<Say>> {
    let say = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..20_000).prop_map(Say::Bytes),
        1 => Just(Say::Wait),
    ];
    prop::collection::vec(say, 0..12)
}

fn said(says: &[Say]) -> Vec<u8> {
    let bytes = says.iter().map(|say| match say {
        Say::Bytes(bytes) => &bytes[..],
        _ => &[],
    });
    bytes.flatten().copied().collect()
}

proptest! {
    /// Each side gets all that the other says, however slowly it takes it, and is told
    /// of the end.
    #[test]
    fn bytes_arrive_as_they_were_sent(
        mut client in says(), mut upstream in says(),
        beyond in prop::collection::vec(any::<u8>(), 0..20_000),
        sips in prop::option::of(2_000usize..9_000),
        bytes_per_turn in prop_oneof![Just(usize::MAX), 500usize..5_000],
        resets: bool,
    ) {
        let expected = (said(&client), [&beyond[..], &said(&upstream)].concat());
        client.push(Say::Fin);
        upstream.push(if resets { Say::Reset } else { Say::Fin });
        let slow = |says: &[Say]| Side { sips, ..Side::saying(says) };
        let eyes = Eyes { bytes_per_turn, ..Eyes::framed() };
        let (ended, client, upstream) = run(slow(&client), slow(&upstream), &beyond, eyes);
        prop_assert!(ended.is_some());
        prop_assert!(client.got == expected.1, "all that the upstream said before it ended");
        if resets {
            prop_assert!(expected.0.starts_with(&upstream.got));
        } else {
            prop_assert!(upstream.got == expected.0);
            prop_assert!(client.told && upstream.told);
        }
    }
}
