//! `tokenweir health`: one GET over a plain socket, for images that have no curl.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ArgMatches;
use http::Uri;
use http::uri::Authority;

use super::failure::{Done, Failure};
use super::layers::values;
use crate::config::settings::ADMIN_LISTEN;
use crate::config::{ConfigError, Values};

/// Less than the three seconds or so that orchestrators grant a probe.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A status line is all that is read.
const ANSWER_BYTES_MAX: u64 = 1_024;

pub(super) fn run(matches: &ArgMatches) -> Done {
    let (url, from) = match matches.get_one::<String>("url") {
        Some(url) => (url.clone(), "--url".to_owned()),
        None => configured(&values(matches)?)?,
    };
    let status = ask(&url, &from)?;
    if status == "200" {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::run(format!("{url} answered {status}")))
}

/// The page of the admin port that the configuration names, and what names it.
fn configured(values: &Values) -> Result<(String, String), Failure> {
    let (url, thing) = admin_url(values, "/livez")?;
    Ok((format!("{url}/livez"), thing))
}

/// The admin port that the configuration names, and what names it; `page`: what of it could be given as a URL. Nothing
/// else of the configuration matters: a sidecar that runs is alive, even if its file is wrong by now.
pub(super) fn admin_url(values: &Values, page: &str) -> Result<(String, String), Failure> {
    let thing = values.thing(&ADMIN_LISTEN);
    let address = match values.get(&ADMIN_LISTEN) {
        Some(address) if !values.file_is_broken() && !values.is_wrong(&ADMIN_LISTEN) => address,
        _ => {
            let key = ADMIN_LISTEN.key();
            let mine = |error: &&ConfigError| {
                values.file_is_broken() || error.thing.ends_with(&thing) || error.thing.ends_with(&key)
            };
            return Err(Failure::config(&values.errors().iter().filter(mine).cloned().collect::<Vec<_>>()));
        }
    };
    if address.port() == 0 {
        let problem = format!(
            "port 0 is a free one, which only the start line of `serve` names; give --url http://host:port{page}"
        );
        return Err(Failure::usage(format!("{thing}: {problem}")).alone());
    }
    Ok((format!("http://{}", reachable(address)), thing))
}

/// Where an address can be reached from this machine: a port that is open on every interface is also
/// open on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status of the response; `from` says where the URL is from.
fn ask(url: &str, from: &str) -> Result<String, Failure> {
    let uri: Uri = url.parse().map_err(|error| Failure::usage(format!("--url {url:?}: {error}")).alone())?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        let problem = format!("--url {url:?} is not allowed; allowed: http://host:port/path");
        return Err(Failure::usage(problem).alone());
    };
    get(authority, &uri).map_err(|error| {
        let refused = error.root_cause().to_string().contains("refused");
        let hint = match (refused, from) {
            (false, _) => String::new(),
            (true, "--url") => "; nobody listens there".to_owned(),
            (true, from) => {
                format!("; nobody listens there: is `tokenweir serve` running, and with that {from}?")
            }
        };
        Failure::run(format!("{url}: {error:#}{hint}"))
    })
}

fn get(authority: &Authority, uri: &Uri) -> anyhow::Result<String> {
    let host = authority.host().trim_matches(['[', ']']);
    let address = (host, authority.port_u16().unwrap_or(80));
    let address = address.to_socket_addrs()?.next().context("the host has no address")?;
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // In one piece: a server may answer the first line and hang up.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    let read = socket.take(ANSWER_BYTES_MAX).read_to_string(&mut answer);
    read.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow::anyhow!("no answer within {} s", TIMEOUT.as_secs())
        }
        _ => error.into(),
    })?;
    Ok(answer.split(' ').nth(1).unwrap_or("no HTTP").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_every_interface_is_asked_on_loopback() {
        for (given, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.1.2.3:1", "10.1.2.3:1"),
            ("127.0.0.1:9465", "127.0.0.1:9465"),
        ] {
            assert_eq!(reachable(given.parse().unwrap()).to_string(), asked);
        }
    }
}
