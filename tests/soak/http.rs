//! An HTTP client that keeps its connection, on blocking sockets.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest time for which an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    address: SocketAddr,
    patience: Duration,
    connection: Option<BufReader<TcpStream>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, patience: PATIENCE, connection: None }
    }

    pub(crate) fn with_patience(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, connection: None }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send("GET", path, b"")
    }

    /// Sends a request and reads its answer. A kept connection that the server has closed meanwhile is replaced once.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let was_kept = self.connection.is_some();
        match self.exchange(method, path, body) {
            Err(error)
                if was_kept
                    && matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof
                            | ErrorKind::ConnectionReset
                            | ErrorKind::BrokenPipe
                    ) =>
            {
                self.exchange(method, path, body)
            }
            answer => answer,
        }
    }

    fn exchange(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(connect(self.address, self.patience)?),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        connection.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let (answer, is_kept) = read_answer(&mut connection)?;
        if is_kept {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// Opens a connection whose reads and writes end after a time.
pub(crate) fn connect(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer, and returns whether the connection is kept.
pub(crate) fn read_answer(reader: &mut impl BufRead) -> io::Result<(Answer, bool)> {
    let first = line(reader)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| invalid(format!("no status line: {first:?}")))?;
    let (mut length, mut is_chunked, mut is_kept, mut location) = (None, false, true, None);
    loop {
        let header = line(reader)?;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else {
            return Err(invalid(format!("no header: {header:?}")));
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<usize>().ok(),
            "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => is_kept = !value.eq_ignore_ascii_case("close"),
            "location" => location = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = Vec::new();
    if is_chunked {
        read_chunks(reader, &mut body)?;
    } else if let Some(length) = length {
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    } else if status != 204 && status != 304 {
        reader.read_to_end(&mut body)?;
        is_kept = false;
    }
    Ok((Answer { status, location, body }, is_kept))
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(reader)?;
        let size = usize::from_str_radix(size.trim(), 16)
            .map_err(|_| invalid(format!("no size of a chunk: {size:?}")))?;
        let begin = body.len();
        body.resize(begin + size, 0);
        reader.read_exact(&mut body[begin..])?;
        line(reader)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if reader.take(64 * 1024).read_line(&mut text)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}
