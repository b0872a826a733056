//! As much HTTP/1.1 as the tests need, over plain sockets, so that a broken message is seen as
//! such and not repaired by a client library.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::sidecar::PATIENCE;

/// A message: its head's first line, its fields in order, its body without framing.
pub(crate) struct Message {
    pub(crate) first_line: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

pub(crate) fn connect(addr: SocketAddr) -> BufReader<TcpStream> {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    BufReader::new(socket)
}

/// Reads a head; `None` at a clean end of the connection.
pub(crate) fn read_head(from: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut first_line = String::new();
    if from.read_line(&mut first_line)? == 0 {
        return Ok(None);
    }
    let mut fields = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Message { first_line: first_line.trim_end().to_owned(), fields, body: Vec::new() }))
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
