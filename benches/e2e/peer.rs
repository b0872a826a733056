//! What may stand between callers and service: nothing, tokenweir, nginx, haproxy. Each with one
//! network thread, connections that are kept on both sides, nothing buffered. The two others count
//! nothing and write nothing; tokenweir accounts for every call in a ledger.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use openssl::rsa::Rsa;
use rustix::process::{Pid, Signal, kill_process};

use super::cpu::Process;

/// How long a peer may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The smallest key to which content is sealed.
const KEY_BITS: u32 = 3072;

/// Where servers are that the path of an ordinary user does not name.
const SERVER_DIRS: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Direct,
    Tokenweir,
    /// The same, which captures both sides of every call.
    Capturing,
    Nginx,
    Haproxy,
    /// Another build of tokenweir, as of the commit before a change.
    Before(&'static Path),
}

/// Where the service is.
pub(crate) struct Upstream<'a> {
    pub(crate) addr: SocketAddr,
    /// The authority of its certificate, if it speaks TLS.
    pub(crate) authority: Option<&'a Path>,
    pub(crate) connections: usize,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Tokenweir => "tokenweir",
            Kind::Capturing => "capture",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Before(_) => "before",
        }
    }

    /// Can it be started here?
    pub(crate) fn installed(self) -> bool {
        self.program().is_some()
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Kind::Direct => Some(PathBuf::new()),
            Kind::Tokenweir | Kind::Capturing => Some(env!("CARGO_BIN_EXE_tokenweir").into()),
            Kind::Before(program) => Some(program.into()),
            Kind::Nginx | Kind::Haproxy => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let dirs = std::env::split_paths(&path).chain(SERVER_DIRS.iter().map(PathBuf::from));
                dirs.map(|dir| dir.join(self.name())).find(|program| program.is_file())
            }
        }
    }

    fn command(self, dir: &Path, port: u16, upstream: &Upstream<'_>) -> Result<Command> {
        let mut command = Command::new(self.program().context("is not installed")?);
        match self {
            Kind::Direct => bail!("nothing to start"),
            Kind::Tokenweir | Kind::Capturing | Kind::Before(_) => {
                let port_up = upstream.addr.port();
                let at = match upstream.authority {
                    Some(_) => format!("https://localhost:{port_up}"),
                    None => format!("http://127.0.0.1:{port_up}"),
                };
                command.args(["serve", "--upstream", &at, "--listen", &format!("127.0.0.1:{port}")]);
                command.args(["--admin-listen", "127.0.0.1:0", "--ledger"]).arg(dir.join("ledger"));
                if let Some(authority) = upstream.authority {
                    command.arg("--upstream-ca-file").arg(authority);
                }
                if self == Kind::Capturing {
                    let key = dir.join("public.pem");
                    std::fs::write(&key, Rsa::generate(KEY_BITS)?.public_key_to_pem()?)?;
                    command.args(["--capture", "both", "--capture-key-file"]).arg(key);
                }
            }
            Kind::Nginx => {
                let config = dir.join("nginx.conf");
                std::fs::write(&config, nginx(port, upstream))?;
                // The workers of a root user stay root, so that they may use the directory.
                command.arg("-p").arg(dir).args(["-e", "stderr", "-g", "user root;", "-c"]).arg(config);
            }
            Kind::Haproxy => {
                let config = dir.join("haproxy.cfg");
                std::fs::write(&config, haproxy(port, upstream))?;
                command.args(["-db", "-f"]).arg(config);
            }
        }
        Ok(command)
    }

    /// Starts it, with its files in a directory, and waits until it listens.
    pub(crate) fn start(self, upstream: &Upstream<'_>, dir: &Path) -> Result<Peer> {
        if self == Kind::Direct {
            return Ok(Peer { addr: upstream.addr, process: Process::none(), child: None });
        }
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = dir.join("log");
        let mut command = self.command(dir, addr.port(), upstream)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name()))?;
        let mut peer = Peer { addr, process: Process::none(), child: Some(child) };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            let ended = peer.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("{} does not listen on {addr}: {said}", self.name());
            }
            std::thread::sleep(ASK_AGAIN);
        }
        peer.process = peer.child.as_ref().map_or_else(Process::none, |child| Process::tree(child.id()));
        Ok(peer)
    }
}

fn nginx(port: u16, upstream: &Upstream<'_>) -> String {
    let tls = upstream.authority.map(|authority| {
        format!(
            "proxy_ssl_trusted_certificate {};\n            proxy_ssl_verify on;\n            \
             proxy_ssl_name localhost;\n            proxy_ssl_server_name on;\n            \
             proxy_ssl_session_reuse on;\n            proxy_ssl_protocols TLSv1.2 TLSv1.3;",
            authority.display()
        )
    });
    // A connection on each side of a call, and as many again that are free: where few are left, nginx
    // closes those that wait for their next request.
    fill(include_str!("nginx.conf"), port, upstream, tls)
        .replace("@FILES@", &(3 * upstream.connections + 100).to_string())
        .replace("@SCHEME@", if upstream.authority.is_some() { "https" } else { "http" })
}

fn haproxy(port: u16, upstream: &Upstream<'_>) -> String {
    let tls = upstream.authority.map(|authority| {
        let name = "verifyhost localhost sni str(localhost)";
        format!("ssl verify required ca-file {} {name}", authority.display())
    });
    fill(include_str!("haproxy.cfg"), port, upstream, tls)
        .replace("@CONNECTIONS@", &(upstream.connections + 100).to_string())
}

fn fill(template: &str, port: u16, upstream: &Upstream<'_>, tls: Option<String>) -> String {
    let filled = template.replace("@PORT@", &port.to_string());
    filled.replace("@UPSTREAM@", &upstream.addr.to_string()).replace("@TLS@", &tls.unwrap_or_default())
}

/// A running peer; ends when dropped.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) process: Process,
    child: Option<Child>,
}

impl Peer {
    /// Ends it as an operator would, so that its children end with it.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("a peer did not end when it was asked to");
            }
            std::thread::sleep(ASK_AGAIN);
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error}");
        }
    }
}
