//! Everything on IPv6: both ports, the service, the hop's network, and the probe.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::http::{Message, connect, exchange, get, post};
use super::sidecar::{Sidecar, binary, usage_events, wait_for};
use super::upstream;
use crate::skip;
use crate::support::fake_service::{converse, serve_port};

fn answer(_: &Message, to: &mut TcpStream) -> io::Result<()> {
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    upstream::write_chunk(to, upstream::delta("Hi").as_bytes())?;
    upstream::write_chunk(to, upstream::stop().as_bytes())?;
    upstream::write_end(to)
}

#[test]
fn calls_probes_and_the_service_may_be_on_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return skip::test("a loopback interface with IPv6");
    };
    let service = serve_port(listener, |socket| drop(converse(&socket, &answer)));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let mut command = Command::new(binary());
    command
        .args(["serve", "--upstream", &format!("http://{service}")])
        .args(["--listen", "[::1]:0", "--admin-listen", "[::1]:0", "--ledger"])
        .arg(&ledger)
        .args(["--caller-trust", "network", "--caller-networks", "::1/128"]);
    let sidecar = Sidecar::run(&mut command);
    assert!(sidecar.addr.is_ipv6() && sidecar.admin.is_ipv6(), "{} {}", sidecar.addr, sidecar.admin);
    let path = "/openai/deployments/d/chat/completions?api-version=1";
    let fields = [("x-apim-subscription-id", "team-a")];
    let request = post(path, &fields, r#"{"stream":true,"messages":[]}"#);
    assert_eq!(exchange(&mut connect(sidecar.addr), &request).status(), 200);
    wait_for("the call's event", || (usage_events(&ledger).len() == 1).then_some(()));
    let caller = &usage_events(&ledger)[0]["data"]["caller"];
    assert_eq!((&caller["id"], &caller["trust"]), (&"team-a".into(), &"network".into()));
    assert_eq!(get(sidecar.admin, "/readyz").status(), 200);
    let asked = [format!("http://{}/livez", sidecar.admin), sidecar.admin.to_string()];
    for health in [["--url", &asked[0]], ["--admin-listen", &asked[1]]] {
        assert!(Command::new(binary()).arg("health").args(health).status().unwrap().success(), "{health:?}");
    }
    let (code, _) = sidecar.stop();
    assert_eq!(code, Some(0));
}
