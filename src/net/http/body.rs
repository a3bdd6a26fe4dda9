//! Reading request bodies: up to a limit, and not for ever.

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::Body;

use super::HttpReply;
use crate::limits;

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    /// There is more of it than is taken.
    #[error("the body has more than {0} bytes, the most this takes")]
    TooLarge(usize),
    /// It did not come.
    #[error("the body was not complete within {:?}", limits::HTTP_BODY_TIMEOUT)]
    Stalled,
    /// It broke off, or its chunks make no sense.
    #[error("the body broke off")]
    Broken,
}

/// A body as it comes.
pub(crate) type Upload = UnsyncBoxBody<Bytes, Unread>;

/// A body to be read by who wants it, piece by piece.
pub(crate) fn upload<B>(body: B) -> Upload
where
    B: Body<Data = Bytes> + Send + 'static,
{
    body.map_err(|_| Unread::Broken).boxed_unsync()
}

/// A body that was read already.
pub(crate) fn uploaded(body: Bytes) -> Upload {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// The whole body, where it has at most `limit` bytes. A declared length is believed before anything
/// is read; of one without, nothing beyond the limit is read.
pub(crate) async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(Unread::TooLarge(limit));
    }
    let whole = async {
        let mut whole = BytesMut::with_capacity(declared);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(Unread::TooLarge(limit));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    // Real time: this guards the process against clients, it is nothing the device does.
    tokio::time::timeout(limits::HTTP_BODY_TIMEOUT, whole).await.unwrap_or(Err(Unread::Stalled))
}

impl From<Unread> for HttpReply {
    /// The refusal. Its connection cannot go on: where the next request begins is not known.
    fn from(unread: Unread) -> Self {
        let (status, key) = match unread {
            Unread::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Unread::Stalled => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Unread::Broken => (StatusCode::BAD_REQUEST, "incomplete_body"),
        };
        Self::error(status, key, &unread.to_string()).closing()
    }
}

/// Reads past the body of a request that was answered without it, so that the connection can go on;
/// says whether it can.
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

    /// A body of unknown length whose fourth piece nobody may ask for.
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
    async fn the_limit_itself_is_taken() {
        let body = Full::new(Bytes::from(vec![b'x'; 100]));
        assert_eq!(read(body.clone(), 100).await.unwrap().len(), 100);
        assert_eq!(read(body, 99).await, Err(Unread::TooLarge(99)));
    }

    #[tokio::test]
    async fn a_body_without_length_is_read_no_further_than_the_limit() {
        assert_eq!(read(Chunked { asked: 0 }, 25).await, Err(Unread::TooLarge(25)));
    }
}
