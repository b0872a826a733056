//! A caller whose response is made in the background: it looks at the work until that is done, which is when its
//! bill comes. A sidecar that is killed meanwhile remembers the work.

use std::time::Duration;

use serde_json::Value;

use super::client::document;
use super::fixtures::Fixture;
use super::traffic::{TrafficGate, TrafficPass};
use super::work;

/// Between two looks at the work.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Asks, and looks until the bill has come. False: a sidecar harmed a response.
pub(super) async fn ask_and_wait(
    fixture: &Fixture,
    headers: &[(&str, &str)],
    door: &TrafficGate,
    pass: TrafficPass,
) -> bool {
    let asked = document(pass.addr, "POST", work::TARGET, headers, work::request_body(fixture)).await;
    let Ok(announced) = asked else { return door.was_killed(pass) };
    let Some(id) = announced["id"].as_str() else { return false };
    let target = format!("{}/{id}", work::TARGET);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(pass) = door.pass() else { continue };
        let looked = document(pass.addr, "GET", &target, headers, Value::Null).await;
        // A sidecar that was killed may have passed on what its ledger does not have, so the next one is asked again.
        let killed = door.was_killed(pass);
        match looked {
            _ if killed => {}
            Ok(response) if work::is_done(&response) => {
                door.count_bill();
                return true;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
