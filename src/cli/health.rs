//! `tokenweir health`: one GET over a plain socket, for images that have no curl.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ArgMatches;
use http::Uri;
use http::uri::Authority;

use super::{Done, Failure};

/// Less than the three seconds or so that orchestrators grant a probe.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A status line is all that is read.
const ANSWER_BYTES_MAX: u64 = 1_024;

pub(super) fn run(matches: &ArgMatches) -> Done {
    let url = matches.get_one::<String>("url").map_or("", String::as_str);
    let status = ask(url)?;
    if status == "200" {
        return Ok(ExitCode::SUCCESS);
    }
    Err(anyhow::anyhow!("{url} answered {status}").into())
}

/// The status of the answer.
fn ask(url: &str) -> Result<String, Failure> {
    let uri: Uri = url.parse().map_err(|error| Failure::usage(format!("--url {url:?}: {error}")))?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Failure::usage(format!("--url {url:?} is not allowed; allowed: http://host:port/path")));
    };
    get(authority, &uri).with_context(|| url.to_owned()).map_err(Failure::from)
}

fn get(authority: &Authority, uri: &Uri) -> anyhow::Result<String> {
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let address = address.to_socket_addrs()?.next().context("the host has no address")?;
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).unwrap_or("no HTTP").to_owned())
}
