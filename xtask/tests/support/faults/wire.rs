//! As much of HTTP/1.1 as a proxy needs: heads, bodies, answers.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A method and path, or a status line, with its headers.
#[derive(Debug, Clone)]
pub struct Head {
    /// The first line.
    pub line: String,
    /// Names as they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// None where the other side has closed the connection.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return if lines.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            match line.trim_end() {
                "" if lines.is_empty() => {}
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let line = lines.remove(0);
        let header = |line: &String| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Ok(Some(Self { line, headers: lines.iter().filter_map(header).collect() }))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Replaces a header, or takes it away.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|value| (name.to_owned(), value)));
    }

    /// `PUT`
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// `/v2/team/image/manifests/aws`
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.target().parse().unwrap_or_default()
    }

    /// The bytes of its body; none where it comes in chunks.
    pub fn length(&self) -> Option<u64> {
        let chunked = self.header("transfer-encoding").is_some_and(|value| value.to_lowercase().contains("chunked"));
        if chunked { None } else { Some(self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)) }
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        (text + "\r\n").into_bytes()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status and headers.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// One that is made up.
    pub fn new(status: u16, words: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut head = Head { line: format!("HTTP/1.1 {status} {words}"), headers: headers.collect() };
        head.set("Content-Length", Some(body.len().to_string()));
        Self { head, body: body.as_bytes().to_vec() }
    }

    /// Reads one to the end of the connection; one that ends early is an error.
    pub fn read(from: &mut impl BufRead, method: &str) -> io::Result<Self> {
        let mut head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut body = Vec::new();
        from.read_to_end(&mut body)?;
        if method != "HEAD" && head.status() != 204 && head.status() != 304 {
            if head.header("content-length").is_some() && head.length() != Some(body.len() as u64) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.set("Content-Length", Some(body.len().to_string()));
        }
        head.line = head.line.replacen("HTTP/1.0", "HTTP/1.1", 1);
        head.set("Connection", None);
        Ok(Self { head, body })
    }
}

/// The pieces of a request's body, as they come; what comes in chunks ends with an empty one.
pub fn pieces(from: &mut impl BufRead, length: Option<u64>, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut exactly = |from: &mut dyn Read, mut left: u64| {
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = from.read(&mut buffer[..want])?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            take(&buffer[..read])?;
            left -= read as u64;
        }
        Ok(())
    };
    if let Some(length) = length {
        return exactly(from, length);
    }
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16);
        let size = size.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        exactly(from, size)?;
        from.read_line(&mut line)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Closes a connection as a crash does: with a reset, not with an end.
pub fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// One request of the test's own, past every proxy. The connection is closed after it.
pub fn ask(address: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut head = Head { line: format!("{method} {target} HTTP/1.0"), headers: headers.collect() };
    head.set("Host", Some(address.to_owned()));
    head.set("Content-Length", Some(body.len().to_string()));
    stream.write_all(&head.bytes())?;
    stream.write_all(body)?;
    Answer::read(&mut io::BufReader::new(stream), method)
}
