//! A small HTTP server that answers what a test says: alone, or in front of a real registry to which it passes what it
//! does not answer itself.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Handle, Runtime};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// What came, whole.
pub type Asked = Request<Bytes>;

/// What is done about it.
pub enum Say {
    /// This.
    Answer(Response<Bytes>),
    /// The connection ends without a word.
    Drop,
    /// The answer, but no more than so many bytes of its body; then the connection ends.
    Cut(Response<Bytes>, usize),
    /// Nothing, for ever.
    Hang,
}

/// A request as it was seen, for what a test asserts.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `PUT`
    pub method: Method,
    /// `/v2/team/image/blobs/uploads/`
    pub path: String,
    /// Without the question mark.
    pub query: String,
    /// All of them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Seen {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The server. It ends when it is dropped.
pub struct Front {
    /// `127.0.0.1:PORT`
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: AbortHandle,
}

/// All of them share one, and one client: each client reads the system's certificates.
fn shared() -> &'static (Runtime, reqwest::Client) {
    static SHARED: OnceLock<(Runtime, reqwest::Client)> = OnceLock::new();
    SHARED.get_or_init(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        (runtime.expect("a runtime"), client.expect("a client"))
    })
}

/// The registry behind.
#[derive(Clone)]
pub struct Behind {
    client: reqwest::Client,
    address: String,
    handle: Handle,
}

impl Behind {
    /// What the registry answers. It is told the front's name, so that its links lead here again.
    pub fn answer(&self, asked: &Asked) -> Response<Bytes> {
        let url = format!("http://{}{}", self.address, asked.uri());
        let request =
            self.client.request(asked.method().clone(), url).headers(asked.headers().clone()).body(asked.body().clone());
        self.handle.block_on(async {
            let response = request.send().await.expect("the registry answers");
            let (status, mut headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await.expect("a body");
            headers.remove(header::TRANSFER_ENCODING);
            headers.remove(header::CONNECTION);
            if asked.method() != Method::HEAD {
                headers.insert(header::CONTENT_LENGTH, body.len().into());
            }
            let mut answer = Response::new(body);
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            answer
        })
    }
}

impl Front {
    /// One that answers everything itself.
    pub fn alone(say: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        Self::before("127.0.0.1:9", move |asked, _| say(asked))
    }

    /// One in front of the registry at `address`. `say` may take its time.
    pub fn before(address: &str, say: impl Fn(&Asked, &Behind) -> Say + Send + Sync + 'static) -> Self {
        Self::start(address, None, say)
    }

    /// One that speaks TLS.
    pub fn secure(tls: TlsAcceptor, say: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        Self::start("127.0.0.1:9", Some(tls), move |asked, _| say(asked))
    }

    fn start(address: &str, tls: Option<TlsAcceptor>, say: impl Fn(&Asked, &Behind) -> Say + Send + Sync + 'static) -> Self {
        let (runtime, client) = shared();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("an address").to_string();
        listener.set_nonblocking(true).expect("a socket");
        let behind = Behind { client: client.clone(), address: address.to_owned(), handle: runtime.handle().clone() };
        let (say, seen) = (Arc::new(say), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&seen);
        let accepting = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, _)) = listener.accept().await {
                let (say, seen, behind, tls) = (Arc::clone(&say), Arc::clone(&kept), behind.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, say, seen, behind).await;
                            }
                        }
                        None => serve(stream, say, seen, behind).await,
                    }
                });
            }
        });
        Self { address: own, seen, accepting: accepting.abort_handle() }
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("what was seen").clone()
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        self.seen.lock().expect("what was seen").clear();
    }

    /// `GET /v2/`, one line each.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    say: Arc<S>,
    seen: Arc<Mutex<Vec<Seen>>>,
    behind: Behind,
) where
    S: Fn(&Asked, &Behind) -> Say + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (say, seen, behind) = (Arc::clone(&say), Arc::clone(&seen), behind.clone());
        async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await else { return Err(std::io::Error::other("the request broke off")) };
            let asked = Request::from_parts(parts, body.to_bytes());
            seen.lock().expect("what was seen").push(Seen {
                method: asked.method().clone(),
                path: asked.uri().path().to_owned(),
                query: asked.uri().query().unwrap_or_default().to_owned(),
                headers: asked.headers().clone(),
                body: asked.body().clone(),
            });
            let said = tokio::task::spawn_blocking(move || say(&asked, &behind)).await.expect("an answer");
            let (answer, cut) = match said {
                Say::Answer(answer) => (answer, None),
                Say::Cut(answer, at) => (answer, Some(at)),
                Say::Drop => return Err(std::io::Error::other("dropped on purpose")),
                Say::Hang => std::future::pending().await,
            };
            let (mut parts, body) = answer.into_parts();
            // Who chunks does not say how much comes.
            if !parts.headers.contains_key(header::TRANSFER_ENCODING) {
                parts.headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(body.len()));
            }
            let first = cut.map_or(body.clone(), |at| body.slice(..at.min(body.len())));
            let end = cut.map(|_| async {
                // What comes before the end is to be on its way: an error throws away what is not.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("cut on purpose"))
            });
            let frames = stream::once(async { Ok(Frame::data(first)) }).chain(stream::iter(end).then(|end| end));
            Ok::<_, std::io::Error>(Response::from_parts(parts, StreamBody::new(Box::pin(frames))))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An answer.
pub fn answer(status: u16, kind: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    let built = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    built.body(body.into()).expect("an answer")
}

/// A registry's error.
pub fn error(status: u16, code: &str, message: &str) -> Response<Bytes> {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
    answer(status, "application/json", body.to_string())
}

/// A page for people, as proxies in between send it.
pub fn page(status: u16) -> Response<Bytes> {
    answer(status, "text/html; charset=utf-8", "<html><body>Unicorn!</body></html>")
}
