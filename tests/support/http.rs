//! As much HTTP/1.1 as the tests need, over plain sockets, so that a broken message is seen as
//! such and not repaired by a client library.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::wait::PATIENCE;

/// A message as it came: its head, its body without framing, and whether its framing was kept.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The body ended before its framing said so.
    pub(crate) broken: bool,
}

impl Message {
    fn of(head: String) -> Message {
        Message { head, body: Vec::new(), broken: false }
    }

    pub(crate) fn first_line(&self) -> &str {
        self.head.lines().next().unwrap_or("")
    }

    /// 0 if there is none.
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// All fields, in order.
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name, value.trim()))
    }

    /// The values of a field, in order.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.all_fields().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| value).collect()
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }
}

pub(crate) fn connect(addr: SocketAddr) -> BufReader<TcpStream> {
    try_connect(addr).unwrap()
}

/// The same, to somebody who may have died.
pub(crate) fn try_connect(addr: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    Ok(BufReader::new(socket))
}

/// Reads a head; `None` at a clean end of the connection.
pub(crate) fn read_head(from: &mut impl BufRead) -> io::Result<Option<Message>> {
    let (mut head, mut line) = (String::new(), String::new());
    while from.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        head.push_str(line.trim_end());
        head.push('\n');
        line.clear();
    }
    Ok((!head.is_empty()).then(|| Message::of(head)))
}

/// Reads a whole message; an error if it breaks off.
pub(crate) fn read_message(from: &mut impl BufRead) -> io::Result<Option<Message>> {
    let Some(mut message) = read_head(from)? else { return Ok(None) };
    if message.field("transfer-encoding").is_some() {
        while let Some(chunk) = read_chunk(from)? {
            message.body.extend_from_slice(&chunk);
        }
    } else if let Some(length) = message.field("content-length") {
        message.body = vec![0; length.parse().unwrap()];
        from.read_exact(&mut message.body)?;
    }
    Ok(Some(message))
}

/// The next chunk of a chunked body; `None` at its proper end, an error if it breaks off.
pub(crate) fn read_chunk(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut size = String::new();
    if from.read_line(&mut size)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let size = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
    let mut chunk = vec![0; size + 2];
    from.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok((size > 0).then_some(chunk))
}

/// A POST with a JSON body.
pub(crate) fn post(path: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n");
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    request.into_bytes()
}

/// Sends a request and reads the whole answer.
pub(crate) fn exchange(connection: &mut BufReader<TcpStream>, request: &[u8]) -> Message {
    connection.get_mut().write_all(request).unwrap();
    read_message(connection).unwrap().unwrap()
}

/// GETs a page of the admin port.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Message {
    let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
    exchange(&mut connect(addr), request.as_bytes())
}

/// A connection, read with patience.
pub(crate) struct Wire {
    pub(crate) tcp: TcpStream,
    ahead: VecDeque<u8>,
    /// The stream ended with a reset.
    pub(crate) was_reset: bool,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream) -> Wire {
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire { tcp, ahead: VecDeque::new(), was_reset: false }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn chunk(&mut self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        self.send([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat());
    }

    /// The next byte; `None` at the end, clean or not.
    fn byte(&mut self) -> Option<u8> {
        if self.ahead.is_empty() {
            let mut buf = [0; 16 * 1024];
            match self.tcp.read(&mut buf) {
                Ok(n) => self.ahead.extend(&buf[..n]),
                Err(error) => {
                    let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!late, "nothing came for {PATIENCE:?}");
                    self.was_reset = true;
                }
            }
        }
        self.ahead.pop_front()
    }

    /// Exactly these many bytes, or fewer if the stream ends.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map_while(|_| self.byte()).collect()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.byte()?);
        }
        line.truncate(line.len() - 2);
        Some(String::from_utf8(line).unwrap())
    }

    /// A head up to its empty line; empty at the end of the stream.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while let Some(line) = self.line() {
            if line.is_empty() {
                return head;
            }
            head.push_str(&line);
            head.push('\n');
        }
        assert!(head.is_empty(), "a head broke off: {head}");
        head
    }

    /// One chunk; `None` if the stream ends before it is whole.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let data = self.take(size);
        let whole = data.len() == size && self.line()?.is_empty();
        whole.then_some(data)
    }

    /// Some chunks that together are this long.
    pub(crate) fn read_chunks(&mut self, bytes: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < bytes {
            data.extend(self.read_chunk().expect("the stream ended"));
        }
        data
    }

    /// A whole message. `bodiless`: an answer that has no body whatever its fields say.
    fn message_of(&mut self, bodiless: bool) -> Message {
        let head = self.head();
        let mut message = Message::of(head);
        if bodiless {
        } else if message.fields("transfer-encoding") == ["chunked"] {
            loop {
                match self.read_chunk() {
                    None => message.broken = true,
                    Some(data) if data.is_empty() => {}
                    Some(data) => {
                        message.body.extend(data);
                        continue;
                    }
                }
                break;
            }
        } else if let [length] = message.fields("content-length")[..] {
            let length = length.parse().unwrap();
            message.body = self.take(length);
            message.broken = message.body.len() < length;
        } else if message.head.starts_with("HTTP/") {
            message.body = self.rest();
        }
        message
    }

    pub(crate) fn message(&mut self) -> Message {
        self.message_of(false)
    }

    pub(crate) fn bodiless(&mut self) -> Message {
        self.message_of(true)
    }

    /// Everything to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.byte()).collect()
    }

    /// Waits until the peer has closed; it must send nothing more.
    pub(crate) fn closed(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "");
    }

    pub(crate) fn close(self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
