//! Reads request bodies, up to a size and within a time.

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::Body;

use super::HttpReply;
use crate::limits;

/// The reason why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyReadError {
    /// The body is larger than the limit.
    #[error("the body has more than {0} bytes, the most this takes")]
    TooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body was not complete within {:?}", limits::HTTP_BODY_TIMEOUT)]
    Stalled,
    /// The body broke off, or its chunks are malformed.
    #[error("the body broke off")]
    Broken,
}

/// A body that is read piece by piece.
pub(crate) type BodyStream = UnsyncBoxBody<Bytes, BodyReadError>;

/// Returns a body that its reader can read piece by piece.
pub(crate) fn stream_body<B>(body: B) -> BodyStream
where
    B: Body<Data = Bytes> + Send + 'static,
{
    body.map_err(|_| BodyReadError::Broken).boxed_unsync()
}

/// Returns a body that was read already.
pub(crate) fn buffered_body(body: Bytes) -> BodyStream {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// Reads the whole body if it has at most `limit` bytes. A declared length above the limit is
/// refused before anything is read; of a body without a length, nothing beyond the limit is read.
pub(crate) async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, BodyReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(BodyReadError::TooLarge(limit));
    }
    // On the heap, because it would make the future of each request larger, most of which have no body.
    let whole = async {
        let mut whole = BytesMut::with_capacity(declared);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyReadError::Broken)?.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(BodyReadError::TooLarge(limit));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    // Real time, because this protects the process from clients; the device does not do it.
    Box::pin(tokio::time::timeout(limits::HTTP_BODY_TIMEOUT, whole))
        .await
        .unwrap_or(Err(BodyReadError::Stalled))
}

impl From<BodyReadError> for HttpReply {
    /// Returns the refusal. The connection is closed after it, because the beginning of the next
    /// request is unknown.
    fn from(error: BodyReadError) -> Self {
        let (status, error_code) = match error {
            BodyReadError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            BodyReadError::Stalled => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            BodyReadError::Broken => (StatusCode::BAD_REQUEST, "incomplete_body"),
        };
        Self::error(status, error_code, &error.to_string()).with_close()
    }
}

/// Reads and discards the body of a request whose reply does not depend on it, at most
/// [`limits::JSON_BODY_BYTES`]. Returns true if the whole body was read, so that the connection can
/// serve the next request.
pub(crate) async fn discard<B>(body: B) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    read(body, limits::JSON_BODY_BYTES).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// A body of unknown length that fails the test at its fourth piece.
    struct Chunked {
        asked: usize,
    }

    impl Body for Chunked {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.asked += 1;
            assert!(self.asked <= 3, "read beyond the limit");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))))
        }
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_is_read() {
        let body = Full::new(Bytes::from(vec![b'x'; 100]));
        assert_eq!(read(body.clone(), 100).await.unwrap().len(), 100);
        assert_eq!(read(body, 99).await, Err(BodyReadError::TooLarge(99)));
    }

    #[tokio::test]
    async fn a_body_without_length_is_read_up_to_the_limit() {
        assert_eq!(read(Chunked { asked: 0 }, 25).await, Err(BodyReadError::TooLarge(25)));
    }
}
