//! A bare hyper server, the reference of `scripts/measure-http`. It requests one reply from a
//! device, and then answers every request with the same head and body, without parsing its path.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http1 as client;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // cargo passes --bench; without a device there is nothing to measure.
    let Some(url) = std::env::args().skip(1).find(|argument| argument.starts_with("http://"))
    else {
        return Ok(());
    };
    let (headers, body) = reply(&url.parse()?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (headers, body) = (headers.clone(), body.clone());
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let mut response = Response::new(Full::new(body.clone()));
                *response.headers_mut() = headers.clone();
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

/// Returns the headers and the body of the device's reply.
async fn reply(url: &Uri) -> Result<(HeaderMap, Bytes), Box<dyn Error>> {
    let authority = url.authority().ok_or("expected a URL with host and port")?.as_str();
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(url.path()).header(HOST, authority).body(Empty::<Bytes>::new())?;
    let (mut head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    head.headers.remove(CONTENT_LENGTH);
    Ok((head.headers, body))
}
