//! Two callers whose streams overlap, over and over: no token of one is ever the other's.
//!
//! Each pair of calls goes through the same sidecar at the same time, on connections that are kept
//! and swapped, and the service lets neither finish before both have begun. Every call's numbers are
//! its own, so an event that has any of another call's is found. `TOKENWEIR_LONG=1`: 10,000 pairs.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};

use serde_json::json;

use super::{Arrived, Rig, bearer};
use crate::http::{Message, connect, post, read_message};
use crate::skip::long;
use crate::upstream;

const PAIRS: usize = 300;
const PAIRS_LONG: usize = 10_000;

/// What the call of a caller uses: numbers that no other call has.
fn tokens(pair: usize, side: usize) -> (u64, u64) {
    let call = (2 * pair + side) as u64;
    (1_000_000 + call, 2_000_000 + call)
}

/// A stream, written in turns with the other one of its pair.
fn stream(request: &Message, to: &mut TcpStream, turn: &Barrier) -> io::Result<()> {
    let call: Vec<usize> = request.field("x-call").unwrap().split('-').map(|n| n.parse().unwrap()).collect();
    let (input, output) = tokens(call[0], call[1]);
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    turn.wait(); // both have begun
    for word in ["One", " two"] {
        upstream::write_chunk(to, upstream::delta(word).as_bytes())?;
        turn.wait();
    }
    let usage = json!({"id": "c", "model": "gpt-4o-2024-11-20", "choices": [],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}});
    let stop = upstream::stop().replace("data: [DONE]\n\n", "");
    upstream::write_chunk(to, format!("{stop}data: {usage}\n\ndata: [DONE]\n\n").as_bytes())?;
    turn.wait(); // neither is over before the other has its numbers
    upstream::write_end(to)
}

/// One call of a caller. Its name comes as a subscription or in a token, in turns.
fn call(connection: &mut BufReader<TcpStream>, pair: usize, side: usize) {
    let name = format!("{pair}-{side}");
    let id = format!("caller-{side}");
    let identity = match pair % 2 {
        0 => ("x-apim-subscription-id", id),
        _ => ("authorization", bearer(&format!(r#"{{"azp":"{id}"}}"#))),
    };
    let fields = [
        ("x-call", name.as_str()),
        ("x-ms-client-request-id", name.as_str()),
        (identity.0, identity.1.as_str()),
    ];
    let body = r#"{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}"#;
    connection.get_mut().write_all(&post(super::PATH, &fields, body)).unwrap();
    let answer = read_message(connection).unwrap().unwrap();
    let expected = format!("\"prompt_tokens\":{}", tokens(pair, side).0);
    assert!(String::from_utf8_lossy(&answer.body).contains(&expected), "the answer is the other's");
}

#[test]
fn no_token_of_one_caller_is_the_others() {
    let pairs = if long() { PAIRS_LONG } else { PAIRS };
    let turn = Arc::new(Barrier::new(2));
    let service =
        upstream::start(Arc::new(move |request: &Message, to: &mut TcpStream| stream(request, to, &turn)));
    let rig = Rig::before(service, Arrived::default(), &[], &[]);
    let began = std::time::Instant::now();
    let (mut one, mut other) = (connect(rig.sidecar.addr), connect(rig.sidecar.addr));
    for pair in 0..pairs {
        let (left, right) = if pair % 3 == 0 { (&mut other, &mut one) } else { (&mut one, &mut other) };
        std::thread::scope(|scope| {
            scope.spawn(|| call(left, pair, 0));
            call(right, pair, 1);
        });
    }
    println!("{pairs} pairs of streams in {:.1?}", began.elapsed());
    let left = rig.stop();
    assert_eq!(left.events.len(), 2 * pairs, "each call has its event");
    let mut sums: HashMap<String, (u64, u64)> = HashMap::new();
    for (name, event) in &left.events {
        let (pair, side) = name.split_once('-').unwrap();
        let (pair, side) = (pair.parse().unwrap(), side.parse().unwrap());
        let used = (event["tokens"]["input"].as_u64().unwrap(), event["tokens"]["output"].as_u64().unwrap());
        let caller = event["caller"]["id"].as_str().unwrap();
        assert_eq!((caller, used), (format!("caller-{side}").as_str(), tokens(pair, side)), "{name}");
        let sum = sums.entry(caller.to_owned()).or_default();
        *sum = (sum.0 + used.0, sum.1 + used.1);
    }
    for side in 0..2 {
        let expected = (0..pairs)
            .map(|pair| tokens(pair, side))
            .fold((0, 0), |sum, used| (sum.0 + used.0, sum.1 + used.1));
        assert_eq!(sums[&format!("caller-{side}")], expected);
    }
}
