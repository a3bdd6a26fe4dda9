//! A bare hyper server, the reference of `scripts/measure-http`. It sends one request to a device, and then
//! answers every request with the head and body of that reply, without parsing its path.
//!
//! ```text
//! bare_http http://127.0.0.1:8080/api/v1/settings [METHOD]
//! ```

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http1 as client;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// The reply that is sent to every request.
#[derive(Clone)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // cargo passes --bench; without a device there is nothing to measure.
    let mut arguments = std::env::args().skip_while(|argument| !argument.starts_with("http://"));
    let Some(url) = arguments.next() else { return Ok(()) };
    let method = arguments.next().unwrap_or_else(|| "GET".to_owned());
    let reply = copy_reply(&url.parse()?, method.parse()?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let reply = reply.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let mut response = Response::new(Full::new(reply.body.clone()));
                *response.status_mut() = reply.status;
                *response.headers_mut() = reply.headers.clone();
                async move { Ok::<_, Infallible>(response) }
            });
            // The same settings as the device's, so that only the device's own work is measured.
            let mut http = server::Builder::new();
            http.timer(TokioTimer::new()).auto_date_header(false).title_case_headers(true);
            // Ends when the client leaves.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Returns the device's reply to a request without a body.
async fn copy_reply(url: &Uri, method: Method) -> Result<Reply, Box<dyn Error>> {
    let authority = url.authority().ok_or("expected a URL with host and port")?.as_str();
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::builder().method(method).uri(target).header(HOST, authority);
    let (mut head, body) =
        sender.send_request(request.body(Empty::<Bytes>::new())?).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    head.headers.remove(CONTENT_LENGTH);
    Ok(Reply { status: head.status, headers: head.headers, body })
}
