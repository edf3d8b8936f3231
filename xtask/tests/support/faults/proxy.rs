//! The proxy itself: one thread per connection, one connection to the registry per request.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::wire::{Answer, Head, pieces, reset};
use super::{Course, Kind, Moment};

/// A proxy in front of one registry. It ends when it is dropped.
pub struct Proxy {
    /// `127.0.0.1:PORT`
    pub address: String,
    ending: Arc<AtomicBool>,
}

impl Proxy {
    /// Before the registry at `upstream`, as the destination with this number.
    pub fn start(course: &Arc<Course>, destination: usize, upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let ending = Arc::new(AtomicBool::new(false));
        let (course, upstream) = (Arc::clone(course), upstream.to_owned());
        let (ended, own) = (Arc::clone(&ending), address.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let (course, upstream, own) = (Arc::clone(&course), upstream.clone(), own.clone());
                // Whatever goes wrong here is for the client to bear: that is what it is tested for.
                std::thread::spawn(move || Line { course, destination, upstream, own }.serve(&client));
            }
        });
        Self { address, ending }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

/// One connection of a client.
struct Line {
    course: Arc<Course>,
    destination: usize,
    upstream: String,
    own: String,
}

impl Line {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let _ = client.set_nodelay(true);
        let mut from = BufReader::new(client.try_clone()?);
        while let Some(head) = Head::read(&mut from)? {
            if let Some(answer) = self.course.before(self.destination, &self.own, &head) {
                pieces(&mut from, head.length(), |_| Ok(()))?;
                send(&mut &*client, &answer)?;
                continue;
            }
            let (index, fault) = self.course.enter(self.destination, &head);
            self.course.tell(index, Moment::Arrived);
            if head.header("expect").is_some() {
                (&mut &*client).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            if !self.one(client, &mut from, &head, index, fault)? {
                let _ = client.shutdown(Shutdown::Both);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn one(
        &self,
        client: &TcpStream,
        from: &mut BufReader<TcpStream>,
        head: &Head,
        index: usize,
        fault: Option<Kind>,
    ) -> io::Result<bool> {
        let swallow = |from: &mut BufReader<TcpStream>| {
            pieces(from, head.length(), |piece| {
                self.course.took(index, piece.len());
                Ok(())
            })
        };
        let mut to = client;
        match fault {
            Some(Kind::DropBefore) => {
                reset(client);
                return Ok(false);
            }
            Some(Kind::Unavailable) => {
                let mut answer = Answer::new(503, "Service Unavailable", &[], "");
                answer.head.set("Connection", Some("close".to_owned()));
                send(&mut to, &answer)?;
                // Without this the answer would be lost with the reset that unread bytes cause.
                let _ = client.shutdown(Shutdown::Write);
                let _ = swallow(from);
                return Ok(false);
            }
            Some(
                kind @ (Kind::Unauthorized
                | Kind::LostNotFound
                | Kind::Timeout
                | Kind::BusyUntil
                | Kind::Busy
                | Kind::Error
                | Kind::Page),
            ) => {
                swallow(from)?;
                if let Some(answer) = kind.answer() {
                    send(&mut to, &answer)?;
                }
                return Ok(true);
            }
            _ => {}
        }
        let Some(mut answer) = self.forward(from, head, index, fault == Some(Kind::DropDuring))? else {
            reset(client);
            return Ok(false);
        };
        self.course.answered(index, answer.head.status());
        self.course.tell(index, Moment::Answered);
        match fault {
            Some(Kind::DropAfter) => return Ok(false),
            Some(Kind::Truncated) => {
                let (head, body) = (answer.head.bytes(), &answer.body);
                match body.len() {
                    0 => to.write_all(&head[..head.len() / 2])?,
                    length => to.write_all(&[&head[..], &body[..length / 2]].concat())?,
                }
                return Ok(false);
            }
            Some(Kind::Garbled) => {
                let middle = answer.body.len() / 2;
                for byte in answer.body.iter_mut().skip(middle).take(usize::from(head.method() == "GET")) {
                    *byte ^= 1;
                }
                send(&mut to, &answer)?;
            }
            Some(Kind::Slow) => {
                let bytes = [answer.head.bytes(), answer.body].concat();
                for piece in bytes.chunks(bytes.len() / 3 + 1) {
                    std::thread::sleep(Duration::from_millis(60));
                    to.write_all(piece)?;
                }
            }
            Some(kind @ (Kind::CommittedNotFound | Kind::CommittedTimeout)) => {
                if let Some(answer) = kind.answer() {
                    send(&mut to, &answer)?;
                }
            }
            _ => send(&mut to, &answer)?,
        }
        Ok(true)
    }

    /// Hands the request on, or only half of its body; none where there is no answer.
    fn forward(&self, from: &mut BufReader<TcpStream>, head: &Head, index: usize, half: bool) -> io::Result<Option<Answer>> {
        let mut to = TcpStream::connect(&self.upstream)?;
        let mut outgoing = head.clone();
        outgoing.line = format!("{} {} HTTP/1.0", head.method(), head.target());
        outgoing.set("Connection", None);
        outgoing.set("Expect", None);
        let mut length = head.length();
        if length.is_none() {
            // Only other clients send chunks. The registry gets them in one piece.
            let mut whole = Vec::new();
            pieces(from, None, |piece| {
                self.course.took(index, piece.len());
                whole.extend_from_slice(piece);
                Ok(())
            })?;
            outgoing.set("Transfer-Encoding", None);
            outgoing.set("Content-Length", Some(whole.len().to_string()));
            to.write_all(&outgoing.bytes())?;
            let _ = to.write_all(if half { &whole[..whole.len() / 2] } else { &whole });
            if half {
                return Ok(None);
            }
            length = Some(0);
        } else {
            to.write_all(&outgoing.bytes())?;
        }
        let total = length.unwrap_or_default();
        let (mut passed, mut told) = (0, total == 0);
        let taken = pieces(from, length, |piece| {
            self.course.took(index, piece.len());
            passed += piece.len() as u64;
            let piece = if half && passed > total / 2 { &piece[..piece.len() / 2] } else { piece };
            // A registry that has heard enough answers early; the rest of the body is its client's to send.
            let _ = to.write_all(piece);
            if passed > total / 2 && !std::mem::replace(&mut told, true) {
                self.course.tell(index, Moment::Halfway);
                if half {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
            Ok(())
        });
        match taken {
            Err(_) if half => return Ok(None),
            other => other?,
        }
        let Ok(mut answer) = Answer::read(&mut BufReader::new(to), head.method()) else { return Ok(None) };
        // Uploads stay inside the proxy.
        if let Some(location) = answer.head.header("location").map(|place| place.replace(&self.upstream, &self.own)) {
            answer.head.set("Location", Some(location));
        }
        Ok(Some(answer))
    }
}

fn send(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    to.write_all(&[answer.head.bytes(), answer.body.clone()].concat())
}
