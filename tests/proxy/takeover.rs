//! Streams that wait, which are taken over from hyper: whole, in order with what else comes on their
//! connection, and ended as their request wants it.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use crate::rig::{CHUNKED, Message, Rig, Script, Setup, Wire, post};

/// A service that answers each request with the chunks that it is told, and ends with an empty one.
fn told() -> (Rig, Sender<Vec<u8>>) {
    let (tell, told) = channel::<Vec<u8>>();
    let told = Mutex::new(told);
    let script = Script::start(move |mut wire, _| {
        while !wire.message().head.is_empty() {
            wire.send(CHUNKED);
            loop {
                let Ok(chunk) = told.lock().unwrap().recv() else { return };
                wire.chunk(&chunk);
                if chunk.is_empty() {
                    break;
                }
            }
        }
    });
    (Setup::to(script.addr).start(), tell)
}

/// The head of an answer, and one chunk after the other, each told once the last one has come.
fn stream(wire: &mut Wire, tell: &Sender<Vec<u8>>, chunks: usize) -> String {
    let head = wire.head();
    for n in 0..chunks {
        let chunk = format!("chunk {n}{}", "x".repeat(n * 7));
        tell.send(chunk.clone().into_bytes()).unwrap();
        assert_eq!(wire.read_chunk().unwrap(), chunk.as_bytes());
    }
    head
}

fn end(wire: &mut Wire, tell: &Sender<Vec<u8>>) {
    tell.send(Vec::new()).unwrap();
    assert_eq!(wire.read_chunk().unwrap(), b"");
}

#[test]
fn one_connection_carries_streams_in_turn() {
    let (rig, tell) = told();
    let mut wire = rig.connect();
    for round in 0..20 {
        wire.send(post("{}"));
        let head = stream(&mut wire, &tell, round % 4);
        assert!(head.starts_with("HTTP/1.1 200") && !head.contains("connection"), "{head}");
        end(&mut wire, &tell);
    }
    rig.heard.calls(20);
}

#[test]
fn a_request_that_comes_during_a_stream_is_answered_after_it() {
    let (rig, tell) = told();
    // Longer than what is read of it at once.
    let next = post(&"y".repeat(5_000));
    for cut in [0, 1, 60, 700, next.len()] {
        let (ahead, behind) = next.split_at(cut);
        let mut wire = rig.send(post("{}"));
        stream(&mut wire, &tell, 2);
        wire.send(ahead);
        tell.send(b"more".to_vec()).unwrap();
        assert_eq!(wire.read_chunk().unwrap(), b"more");
        end(&mut wire, &tell);
        wire.send(behind);
        stream(&mut wire, &tell, 3);
        end(&mut wire, &tell);
    }
    rig.heard.calls(10);
}

#[test]
fn a_stream_that_is_the_last_ends_its_connection() {
    let (rig, tell) = told();
    let mut wire = rig.send(post("{}").replace("Host", "Connection: close\r\nHost"));
    let head = stream(&mut wire, &tell, 3);
    assert!(head.contains("connection: close"), "{head}");
    end(&mut wire, &tell);
    wire.closed();
}

#[test]
fn a_stream_of_a_caller_that_reads_slowly_is_whole() {
    let (rig, tell) = told();
    let mut wire = rig.send(post("{}"));
    let head = stream(&mut wire, &tell, 1);
    let data: Vec<u8> = (0..6_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut rest = &data[..];
    for size in (1..).map(|n: usize| n * n * 37 % 70_000 + 1) {
        let (piece, left) = rest.split_at(size.min(rest.len()));
        tell.send(piece.to_vec()).unwrap();
        rest = left;
        if rest.is_empty() {
            break;
        }
    }
    tell.send(Vec::new()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300)); // the socket fills
    let mut message = Message { head, body: Vec::new(), broken: false };
    while let Some(chunk) = wire.read_chunk().filter(|chunk| !chunk.is_empty()) {
        message.body.extend(chunk);
    }
    assert!(message.body == data, "{} bytes of {}", message.body.len(), data.len());
    wire.send(post("{}"));
    stream(&mut wire, &tell, 1);
    end(&mut wire, &tell);
}
