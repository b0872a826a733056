//! A connection that never blocks, plain or TLS, with what the socket would not take yet.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::Connection;

use super::poll::Poller;

/// What a read leaves room for: a TLS record.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// What a read brought.
pub(crate) enum Brought {
    Bytes(usize),
    Nothing,
    End,
}

pub(crate) struct Wire {
    tcp: TcpStream,
    tls: Option<Connection>,
    /// Its number at the poller.
    number: usize,
    waiting: Vec<u8>,
    wants_write: bool,
}

impl Wire {
    pub(crate) fn new(
        tcp: TcpStream,
        mut tls: Option<Connection>,
        poller: &Poller,
        number: usize,
    ) -> io::Result<Wire> {
        if let Some(tls) = &mut tls {
            tls.set_buffer_limit(None); // a request waits as a whole
        }
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        poller.add(&tcp, number)?;
        Ok(Wire { tcp, tls, number, waiting: Vec::new(), wants_write: false })
    }

    /// Reads what is there, into a buffer that is much longer than a TLS record.
    pub(crate) fn read(&mut self, poller: &Poller, buffer: &mut [u8]) -> io::Result<Brought> {
        let Some(tls) = &mut self.tls else {
            return match self.tcp.read(buffer) {
                Ok(0) => Ok(Brought::End),
                Ok(read) => Ok(Brought::Bytes(read)),
                Err(error) if blocked(&error) => Ok(Brought::Nothing),
                Err(error) => Err(error),
            };
        };
        let (mut read, mut ended) = (0, false);
        while !ended && buffer.len() - read > RECORD_BYTES_MAX {
            match tls.read_tls(&mut self.tcp) {
                Ok(0) => ended = true,
                Ok(_) => {}
                Err(error) if blocked(&error) => break,
                Err(error) => return Err(error),
            }
            let left = tls.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read();
            let left = left.min(buffer.len() - read);
            tls.reader().read_exact(&mut buffer[read..read + left])?;
            read += left;
        }
        self.flush(poller)?; // what the handshake has to say
        match read {
            0 if ended => Ok(Brought::End),
            0 => Ok(Brought::Nothing),
            _ => Ok(Brought::Bytes(read)),
        }
    }

    /// Writes; returns whether all of it has left.
    pub(crate) fn write(&mut self, poller: &Poller, bytes: &[u8]) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
        } else if self.waiting.is_empty() {
            let written = match self.tcp.write(bytes) {
                Ok(written) if written == bytes.len() => return Ok(true),
                Ok(written) => written,
                Err(error) if blocked(&error) => 0,
                Err(error) => return Err(error),
            };
            self.waiting.extend_from_slice(&bytes[written..]);
        } else {
            self.waiting.extend_from_slice(bytes);
        }
        self.flush(poller)
    }

    /// Something waits until the socket takes it.
    pub(crate) fn waits(&self) -> bool {
        self.wants_write
    }

    /// Writes what has waited; returns whether all of it has left.
    pub(crate) fn flush(&mut self, poller: &Poller) -> io::Result<bool> {
        let whole = self.drain()?;
        if self.wants_write == whole {
            self.wants_write = !whole;
            poller.want_write(&self.tcp, self.number, !whole)?;
        }
        Ok(whole)
    }

    fn drain(&mut self) -> io::Result<bool> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if blocked(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        while !self.waiting.is_empty() {
            match self.tcp.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if blocked(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
