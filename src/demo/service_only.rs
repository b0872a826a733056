//! The service of the demo alone, behind which a sidecar can be tried without Azure.

use std::io::{Write, stdout};
use std::net::SocketAddr;

use anyhow::Context;

use super::paced::Pace;
use super::service::{KNOWN_PROMPT, Options, ReplayService};

/// Runs the service until `ended`, having said where it is and what it can be asked.
///
/// # Errors
/// The address cannot be had.
pub(super) async fn serve(listen: SocketAddr, ended: impl Future<Output = ()>) -> anyhow::Result<()> {
    let service = ReplayService::start_at(listen, Options { pace: Pace::MODEL });
    let service = service.with_context(|| format!("--listen {listen}"))?;
    writeln!(stdout(), "{}", invitation(service.addr()))?;
    ended.await;
    Ok(())
}

/// What the service is, and a call that it answers.
fn invitation(addr: SocketAddr) -> String {
    format!(
        "\
This service answers as Azure OpenAI does, at http://{addr}, until Ctrl-C.
It knows only the requests in fixtures/demo, such as this one:

  curl 'http://{addr}/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21' \\
    -H 'api-key: any' -H 'content-type: application/json' \\
    -d '{{\"messages\":[{{\"role\":\"user\",\"content\":\"{KNOWN_PROMPT}\"}}]}}'"
    )
}
