//! nginx before the proxy and behind it, with curl as the caller: streams pass as they are, and a broken
//! one is broken at the far end too. nginx speaks HTTP/1.0 to what is behind it unless told otherwise.
//!
//! Needs `nginx` and `curl`; without, it is listed as not run.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use metering::usage::Outcome;

use crate::rig::{CHUNKED, Rig, Script, Setup, eventually};

/// A server of nginx that hands everything on.
struct Nginx {
    child: Child,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Nginx {
    fn start(to: SocketAddr, version: &str) -> Nginx {
        let dir = tempfile::tempdir().unwrap();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // free again, most likely
        let path = dir.path().display();
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;\n\
             uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
             upstream next {{ server {to}; keepalive 8; }}\n\
             server {{ listen {addr}; client_max_body_size 0; location / {{ proxy_pass http://next; proxy_buffering off;\n\
             proxy_http_version {version}; proxy_set_header Connection \"\"; proxy_next_upstream off; }} }} }}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let child = Command::new("nginx")
            .args([
                "-e",
                &format!("{path}/error.log"),
                "-p",
                &path.to_string(),
                "-c",
                &format!("{path}/nginx.conf"),
            ])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        eventually("nginx listens", || TcpStream::connect(addr).is_ok());
        Nginx { child, addr, _dir: dir }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn there_is(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| Path::new(&folder).join(program).is_file())
}

/// What curl gets, and its exit code.
fn curl(to: SocketAddr, fields: &[&str], body: &str) -> (Vec<u8>, i32) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--no-buffer", "--max-time", "30", "--data-binary", body]);
    for field in fields {
        command.args(["--header", field]);
    }
    let output =
        command.arg(format!("http://{to}/openai/v1/chat/completions?api-version=1&x=%2F")).output().unwrap();
    (output.stdout, output.status.code().unwrap())
}

const EVENTS: usize = 200;

fn event(n: usize) -> String {
    format!(
        "data: {{\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{n}\"}}}}]}}\n\n"
    )
}

/// A service whose every second stream breaks off; requests have the body that curl sent.
fn service(body: String) -> Script {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Script::start(move |mut wire, _| {
        loop {
            let request = wire.message();
            if request.head.is_empty() {
                return;
            }
            assert!(request.body == body.as_bytes());
            assert_eq!(request.target(), "/openai/v1/chat/completions?api-version=1&x=%2F");
            wire.send(CHUNKED);
            (0..EVENTS).for_each(|n| wire.chunk(event(n)));
            if calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 == 1 {
                return;
            }
            wire.chunk("data: [DONE]\n\n");
            wire.chunk("");
        }
    })
}

/// Calls four times: whole, broken, whole, broken.
fn call_through(front: SocketAddr, rig: &Rig, body: &str, way: &str) {
    let events = (0..EVENTS).map(event).collect::<String>();
    for (round, expect) in
        ["", "Expect: 100-continue", "Transfer-Encoding: chunked", ""].into_iter().enumerate()
    {
        let fields: &[&str] = if expect.is_empty() { &[] } else { &[expect] };
        let (got, code) = curl(front, fields, body);
        if round % 2 == 0 {
            assert_eq!(
                (String::from_utf8(got).unwrap(), code),
                (events.clone() + "data: [DONE]\n\n", 0),
                "{way}"
            );
        } else {
            assert_ne!(code, 0, "a broken stream ended cleanly: {way}");
            assert!(events.as_bytes().starts_with(&got), "{way}");
        }
    }
    let calls = rig.heard.calls(4);
    let broken = calls.iter().filter(|call| call.usage.stream.outcome == Outcome::UpstreamError);
    assert_eq!(broken.count(), 2, "{way}");
}

#[test]
fn nginx_before_and_behind_and_curl() {
    if !there_is("nginx") || !there_is("curl") {
        return crate::skip::test("nginx or curl is not installed");
    }
    let body = format!(
        "{{\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}",
        "hello ".repeat(10_000)
    );
    for version in ["1.0", "1.1"] {
        let script = service(body.clone());
        let rig = Setup::to(script.addr).start();
        call_through(rig.addr, &rig, &body, "curl alone");

        let rig = Setup::to(script.addr).start();
        let front = Nginx::start(rig.addr, version);
        call_through(front.addr, &rig, &body, &format!("nginx before it, HTTP/{version}"));

        let behind = Nginx::start(script.addr, "1.1");
        let rig = Setup::to(behind.addr).start();
        let front = Nginx::start(rig.addr, version);
        call_through(front.addr, &rig, &body, &format!("nginx on both sides, HTTP/{version}"));
    }
}
