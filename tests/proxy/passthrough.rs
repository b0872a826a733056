//! What goes in comes out: bodies in either direction, in any framing, cut anywhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::rig::{CHUNKED, Message, Rig, Script, Setup, Wire, eventually};

/// One exchange: the bodies, their framing, and where their bytes are cut on the wire.
#[derive(Clone, Debug)]
struct Exchange {
    request: Vec<u8>,
    request_chunks: Option<usize>,
    response: Vec<u8>,
    response_chunks: Option<usize>,
    cut: usize,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let body = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..20_000),
            (any::<u8>(), 100_000usize..400_000)
                .prop_map(|(byte, len)| (0..len).map(|n| byte ^ n as u8).collect()),
        ]
    };
    let chunks = || prop::option::of(1usize..9000);
    (body(), chunks(), body(), chunks(), prop_oneof![1usize..8, 100usize..70_000]).prop_map(
        |(request, request_chunks, response, response_chunks, cut)| {
            // Single bytes on the wire only for small bodies: each is a system call.
            let cut = cut.max((request.len() + response.len()) / 500).max(1);
            Exchange { request, request_chunks, response, response_chunks, cut }
        },
    )
}

/// A body on the wire, with its framing field.
fn framed(body: &[u8], chunks: Option<usize>) -> (String, Vec<u8>) {
    match chunks {
        None => (format!("Content-Length: {}", body.len()), body.to_vec()),
        Some(size) => {
            let mut wire = Vec::new();
            for chunk in body.chunks(size) {
                wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            ("Transfer-Encoding: chunked".to_owned(), wire)
        }
    }
}

fn send_cut(wire: &mut Wire, bytes: &[u8], cut: usize) {
    for piece in bytes.chunks(cut) {
        wire.send(piece);
    }
}

type Plans = Arc<Mutex<HashMap<String, (Exchange, Option<Vec<u8>>)>>>;

/// Answers each request as its plan says, and keeps what it got.
fn planned(plans: Plans) -> Script {
    Script::start(move |mut wire, _| {
        loop {
            let Message { head, body, broken } = wire.message();
            if head.is_empty() {
                return;
            }
            assert!(!broken, "{head}");
            let key = head.split(' ').nth(1).unwrap().to_owned();
            let plan = {
                let mut plans = plans.lock().unwrap();
                let plan = plans.get_mut(&key).unwrap();
                plan.1 = Some(body);
                plan.0.clone()
            };
            let (field, bytes) = framed(&plan.response, plan.response_chunks);
            wire.send(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n"));
            send_cut(&mut wire, &bytes, plan.cut);
        }
    })
}

fn run(rig: &Rig, plans: &Plans, wire: &mut Wire, key: &str, plan: &Exchange) {
    plans.lock().unwrap().insert(key.to_owned(), (plan.clone(), None));
    let (field, bytes) = framed(&plan.request, plan.request_chunks);
    let mut sender = Wire::new(wire.tcp.try_clone().unwrap());
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(format!("POST {key} HTTP/1.1\r\nHost: gw\r\n{field}\r\n\r\n"));
            send_cut(&mut sender, &bytes, plan.cut);
        });
        wire.message()
    });
    assert!(!answer.broken);
    assert!(answer.body == plan.response, "the answer differs");
    let received = plans.lock().unwrap().remove(key).unwrap().1.unwrap();
    assert!(received == plan.request, "the request differs");
    eventually("all but one have settled", || rig.accounts.counters().calls_open() <= 1);
}

#[test]
fn any_bodies_in_any_framing_cut_anywhere_pass_unchanged() {
    let plans = Plans::default();
    let script = planned(Arc::clone(&plans));
    let rig = Setup::to(script.addr).start();
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 96, ..ProptestConfig::default() });
    let wire = std::cell::RefCell::new(rig.connect());
    let number = std::cell::Cell::new(0);
    runner
        .run(&exchange(), |plan| {
            number.set(number.get() + 1);
            run(
                &rig,
                &plans,
                &mut wire.borrow_mut(),
                &format!("/v1/chat/completions?n={}", number.get()),
                &plan,
            );
            Ok(())
        })
        .unwrap();
    rig.heard.calls(number.get());
    assert_eq!(script.connections(), 1, "one connection serves them all");
}

#[test]
fn case_15_each_piece_of_a_stream_arrives_before_the_next_is_sent() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        for n in 0..50 {
            wire.chunk(format!("data: {n}\n\n"));
            gone.lock().unwrap().recv().unwrap(); // the caller has it
        }
        wire.chunk("");
    });
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.send(crate::rig::post("{}"));
    assert!(wire.head().starts_with("HTTP/1.1 200"));
    for n in 0..50 {
        let expected = format!("data: {n}\n\n");
        assert_eq!(wire.read_chunks(expected.len()), expected.as_bytes());
        go.send(()).unwrap();
    }
    assert_eq!(wire.read_chunk().unwrap(), b"");
    rig.heard.calls(1);
}

#[test]
fn an_upload_goes_on_while_its_answer_streams() {
    let script = Script::start(|mut wire, _| {
        wire.head();
        let first = wire.read_chunk().unwrap();
        wire.send(CHUNKED);
        wire.chunk(&first);
        loop {
            let data = wire.read_chunk().unwrap();
            wire.chunk(&data);
            if data.is_empty() {
                return;
            }
        }
    });
    let rig = Setup::to(script.addr).start();
    let mut wire =
        rig.send("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n");
    for round in 0..100 {
        let piece = vec![round as u8; 1 + round * 97];
        wire.chunk(&piece);
        if round == 0 {
            assert!(wire.head().starts_with("HTTP/1.1 200"));
        }
        assert_eq!(wire.read_chunks(piece.len()), piece);
    }
    wire.chunk("");
    assert_eq!(wire.read_chunk().unwrap(), b"");
    rig.heard.calls(1);
}

#[test]
fn a_large_upload_and_a_large_answer_cross() {
    const PIECE: [u8; 10_000] = [7; 10_000];
    let script = Script::start(|mut wire, _| {
        wire.head();
        wire.send(CHUNKED);
        let mut writer = Wire::new(wire.tcp.try_clone().unwrap());
        let writing = std::thread::spawn(move || (0..500).for_each(|_| writer.chunk(PIECE)));
        assert_eq!(wire.read_chunks(5_000_000).len(), 5_000_000);
        assert_eq!(wire.read_chunk().unwrap(), b"");
        writing.join().unwrap();
        wire.chunk("");
    });
    let rig = Setup::to(script.addr).start();
    let mut wire =
        rig.send("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut sender = Wire::new(wire.tcp.try_clone().unwrap());
    let sending = std::thread::spawn(move || {
        (0..500).for_each(|_| sender.chunk(PIECE));
        sender.chunk("");
    });
    let answer = wire.message();
    assert!(!answer.broken && answer.body.len() == 5_000_000);
    sending.join().unwrap();
    rig.heard.calls(1);
}

#[test]
fn case_50_a_slow_caller_slows_the_service() {
    let (sent, total) = std::sync::mpsc::channel();
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        wire.tcp.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let chunk = [b"10000\r\n", &[1; 0x10000][..], b"\r\n"].concat();
        let mut written = 0;
        while written < 400_000_000 && std::io::Write::write_all(&mut wire.tcp, &chunk).is_ok() {
            written += chunk.len();
        }
        sent.send(written).unwrap();
    });
    let rig = Setup::to(script.addr).start();
    let wire = rig.send(crate::rig::post("{}"));
    let written = total.recv().unwrap();
    // What the kernel's socket buffers take, and little more.
    assert!(written < 60_000_000, "{written} bytes were taken though nobody read");
    wire.close();
    rig.heard.calls(1);
}
