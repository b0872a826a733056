//! The rules of an HTTP intermediary, as the two peers see them (RFC 9110, RFC 9112).

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use metering::usage::Api;

use crate::rig::{CHUNKED, Message, Rig, Script, Setup, ok, post};

/// A service that answers `answer` and shows each request that it gets.
fn echo(answer: &'static str) -> (Script, Receiver<Message>) {
    Script::telling(answer)
}

fn rig(answer: &'static str) -> (Rig, Receiver<Message>) {
    let (script, told) = echo(answer);
    (Setup::to(script.addr).start(), told)
}

#[test]
fn case_53_fields_of_this_hop_and_of_the_payer_do_not_reach_the_service() {
    let (rig, told) = rig(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: d\r\n\r\nok",
    );
    let answer = rig
        .send(
            "POST /v1/chat/completions?a=%20b&subscription-key=secret HTTP/1.1\r\nHost: gateway.example\r\n\
             Connection: keep-alive, x-apim-subscription-id, x-mine\r\nX-Mine: 1\r\nX-Apim-Subscription-Id: team-a\r\n\
             Keep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: p\r\napi-key: k\r\nAuthorization: Bearer t\r\n\
             X-Two: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\n{}",
        )
        .message();
    let seen = told.recv().unwrap();
    assert_eq!(seen.target(), "/v1/chat/completions?a=%20b");
    for gone in ["x-mine", "x-apim-subscription-id", "keep-alive", "te", "proxy-authorization", "connection"]
    {
        assert_eq!(seen.fields(gone), [""; 0], "{gone}");
    }
    assert_eq!(seen.fields("api-key"), ["k"]);
    assert_eq!(seen.fields("authorization"), ["Bearer t"]);
    assert_eq!(seen.fields("x-two"), ["1", "2"]);
    assert_eq!(seen.fields("via"), ["1.1 tokenweir"]);
    assert!(seen.fields("host")[0].starts_with("127.0.0.1:"), "{:?}", seen.fields("host"));
    assert_eq!((answer.fields("x-hop").len(), answer.fields("keep-alive").len()), (0, 0));
    assert_eq!(answer.fields("set-cookie"), ["a", "b"]);
    assert_eq!(answer.fields("date"), ["d"], "the service's own");
    assert_eq!(rig.heard.calls(1)[0].usage.caller.id, "team-a", "Connection must not hide the payer");
}

#[test]
fn case_60_paths_and_queries_keep_their_bytes() {
    let (rig, told) = rig("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for target in [
        "//openai//x%2Fy;z/?a=&&b=%3D+",
        "/openai/deployments/gpt%2D4/embeddings?api-version=2024-10-21",
        "/?",
        "/",
    ] {
        rig.send(format!("POST {target} HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n")).message();
        let seen = told.recv().unwrap();
        assert_eq!(seen.target(), target);
        assert_eq!(seen.fields("content-length"), ["0"]);
    }
    rig.send("POST http://other.example/x?y HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n").message();
    assert_eq!(told.recv().unwrap().target(), "/x?y");
    let calls = rig.heard.calls(5);
    let target = &calls.iter().find(|call| call.usage.target.api == Api::Embeddings).unwrap().usage.target;
    assert_eq!(
        (target.deployment.as_deref(), target.api_version.as_deref()),
        (Some("gpt-4"), Some("2024-10-21"))
    );
    assert_eq!(target.resource, "127.0.0.1");
}

#[test]
fn the_first_segment_chooses_among_named_upstreams() {
    let ((eu, told_eu), (us, told_us)) = (
        echo("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\neu"),
        echo("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nus"),
    );
    let rig = Setup::urls(vec![
        (Some("eu"), format!("http://{}", eu.addr)),
        (Some("us"), format!("http://{}", us.addr)),
    ])
    .start();
    let call = |path: &str| {
        rig.send(format!("POST {path} HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n")).message()
    };
    assert_eq!(call("/eu/openai/v1/embeddings?a").body, b"eu");
    assert_eq!(told_eu.recv().unwrap().target(), "/openai/v1/embeddings?a");
    assert_eq!(call("/us").body, b"us");
    assert_eq!(told_us.recv().unwrap().target(), "/");
    for unknown in ["/asia/openai/v1/embeddings", "/", "/EU/x", "/eux", "//eu/x"] {
        let answer = call(unknown);
        assert_eq!(answer.status(), 404, "{unknown}");
        assert!(String::from_utf8(answer.body).unwrap().contains("unknown_upstream"));
    }
    let calls = rig.heard.calls(2);
    assert_eq!(calls[0].usage.target.resource, "eu");
}

#[test]
fn case_90_reading_calls_make_no_event() {
    let (rig, told) = rig("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for method in ["GET", "DELETE", "OPTIONS"] {
        let answer = rig.send(format!("{method} /openai/models HTTP/1.1\r\nHost: gw\r\n\r\n")).message();
        assert_eq!(answer.body, b"ok");
        assert!(told.recv().unwrap().head.starts_with(method));
    }
    rig.send(post("{}")).message();
    rig.heard.calls(1);
}

#[test]
fn case_58_answers_without_a_body_keep_their_framing() {
    for (method, answer, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 123\r\n\r\n", vec!["123"]),
        ("POST", "HTTP/1.1 204 No Content\r\n\r\n", vec![]),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", vec![]),
    ] {
        let (rig, _told) = rig(answer);
        let mut wire = rig.connect();
        for _ in 0..3 {
            wire.send(format!("{method} /x HTTP/1.1\r\nHost: gw\r\n\r\n"));
            let got = wire.bodiless();
            assert_eq!(got.fields("content-length"), length, "{method}");
            assert_eq!(got.fields("transfer-encoding").len(), 0);
            assert_eq!(got.head.split(' ').nth(1), answer.split(' ').nth(1));
        }
    }
}

#[test]
fn case_57_interim_answers_are_taken_off() {
    let (rig, _told) = rig(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let mut wire = rig.connect();
    for _ in 0..3 {
        wire.send(post("{}"));
        let got = wire.message();
        assert_eq!((got.status(), &got.body[..]), (200, &b"ok"[..]));
    }
}

#[test]
fn case_58_a_1_0_caller_gets_the_body_without_chunks() {
    let script = Script::start(|mut wire, _| {
        let head = wire.message().head;
        assert!(head.contains("via: 1.0 tokenweir") && head.contains(" HTTP/1.1\n"), "{head}");
        wire.send(CHUNKED);
        wire.chunk("hello");
        wire.chunk("");
    });
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.send("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}");
    let got = wire.message();
    assert_eq!(got.fields("transfer-encoding").len(), 0);
    assert_eq!(got.body, b"hello");
}

#[test]
fn case_59_trailers_are_dropped_and_never_become_fields() {
    let (rig, told) = rig(
        "HTTP/1.1 200 OK\r\nTrailer: x-t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    );
    let mut wire = rig.send("POST /v1/embeddings HTTP/1.1\r\nHost: gw\r\nTrailer: x-u\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-U: 1\r\n\r\n");
    let got = wire.message();
    assert_eq!((&got.body[..], got.fields("x-t").len(), got.fields("trailer").len()), (&b"ok"[..], 0, 0));
    let seen = told.recv().unwrap();
    assert_eq!((&seen.body[..], seen.fields("x-u").len(), seen.fields("trailer").len()), (&b"{}"[..], 0, 0));
}

#[test]
fn case_54_requests_that_two_readers_could_read_differently_are_refused() {
    let (rig, told) = rig("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let inner = "GET /smuggled HTTP/1.1\r\nHost: gw\r\n\r\n";
    for (fields, status) in [
        ("Content-Length: 3\r\nContent-Length: 4", 400),
        ("Content-Length: +3", 400),
        ("Content-Length: x", 400),
        ("Transfer-Encoding: chunked, identity", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
        ("Content-Length : 3", 400),
        ("A: b\r\n c\r\nContent-Length: 0", 400),
        ("A: b\rc\r\nContent-Length: 0", 400),
    ] {
        let mut wire = rig.send(format!("POST /x HTTP/1.1\r\nHost: gw\r\n{fields}\r\n\r\n0\r\n\r\n{inner}"));
        assert_eq!(wire.message().status(), status, "{fields}");
        assert!(told.try_recv().is_err(), "forwarded: {fields}");
    }
    let mut wire =
        rig.send(format!("POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"));
    assert_eq!(wire.message().status(), 400);
    assert!(told.try_recv().is_err());
}

#[test]
fn case_54_both_framings_at_once_mean_chunked_and_the_end_of_the_connection() {
    // RFC 9112 6.3: Transfer-Encoding wins, Content-Length is removed, the connection is closed.
    let (rig, told) = rig("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let inner = "POST /smuggled HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n";
    for fields in
        ["Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6"]
    {
        let mut wire =
            rig.send(format!("POST /x HTTP/1.1\r\nHost: gw\r\n{fields}\r\n\r\n2\r\nhi\r\n0\r\n\r\n{inner}"));
        assert_eq!(wire.message().body, b"ok");
        wire.rest();
        let seen = told.recv().unwrap();
        assert_eq!((seen.target(), &seen.body[..]), ("/x", &b"hi"[..]));
        assert_eq!(seen.fields("content-length").len(), 0);
        assert!(told.try_recv().is_err(), "what follows is not served");
    }
}

#[test]
fn case_56_an_expectation_is_the_services_to_meet() {
    let request =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let script = Script::start(|mut wire, n| {
        let head = wire.head();
        assert!(head.contains("expect: 100-continue"), "{head}");
        match n {
            // Wants the body.
            0 => {
                wire.send("HTTP/1.1 100 Continue\r\n\r\n");
                assert_eq!(wire.take(4), b"body");
                wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\ngot it");
            }
            // Does not, and sees none of it.
            1 => {
                wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
                wire.closed();
            }
            // Says nothing.
            _ => {
                assert_eq!(wire.take(4), b"body");
                wire.send(ok("at last"));
            }
        }
    });
    let rig = Setup::to(script.addr).start();
    for (status, body) in [(200, "got it"), (401, "no"), (200, "at last")] {
        let mut wire = rig.send(request);
        let mut got = wire.bodiless();
        if got.status() == 100 {
            wire.send("body");
            got = wire.message();
        } else {
            got.body = wire.take(2);
        }
        assert_eq!((got.status(), String::from_utf8(got.body).unwrap()), (status, body.to_owned()));
    }
    rig.heard.calls(3);
}

#[test]
fn case_62_a_websocket_is_a_tunnel_and_one_call() {
    let (tell, told) = channel();
    let script = Script::start(move |mut wire, n| {
        tell.send(wire.message()).unwrap();
        if n > 0 {
            return wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        }
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: realtime\r\n\r\nearly");
        let got = wire.take(5);
        wire.send([&got[..], b"!"].concat());
        wire.closed();
    });
    let rig = Setup::to(script.addr).start();
    let request = "GET /openai/realtime?deployment=rt&api-key=k HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: a\r\n\r\n";
    let mut wire = rig.send(request);
    let got = wire.bodiless();
    assert_eq!(got.status(), 101);
    assert_eq!(got.fields("sec-websocket-protocol"), ["realtime"]);
    assert_eq!((got.fields("upgrade"), got.fields("connection").len()), (vec!["websocket"], 1));
    assert_eq!(wire.take(5), b"early");
    wire.send("hello");
    assert_eq!(wire.take(6), b"hello!");
    let seen = told.recv().unwrap();
    assert_eq!(seen.target(), "/openai/realtime?deployment=rt&api-key=k");
    assert_eq!((seen.fields("upgrade"), seen.fields("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!(rig.accounts.counters().calls_open(), 1, "the call lasts as long as the tunnel");
    wire.close();
    let target = &rig.heard.calls(1)[0].usage.target;
    assert_eq!((target.api, target.deployment.as_deref()), (Api::Realtime, Some("rt")));

    let got = rig.send(request).message();
    assert_eq!((got.status(), &got.body[..]), (403, &b"no"[..]));
    rig.heard.calls(2);
}

#[test]
fn two_threads_share_the_port_and_the_accounts() {
    let (script, told) = echo("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let told = Mutex::new(told);
    let rig = Setup { threads: 2, ..Setup::to(script.addr) }.start();
    for _ in 0..40 {
        assert_eq!(rig.send(post("{}")).message().body, b"ok");
    }
    assert_eq!(told.lock().unwrap().try_iter().count(), 40);
    rig.heard.calls(40);
}
