//! Bodies that are written page by page, beside the workers of the runtime.
//!
//! A reply whose size follows stored data, such as a listing of the journal, may have tens of megabytes.
//! A [`PageSource`] writes it as bytes, a page at a time. What it writes at first, in a millisecond at most, is
//! written by the worker that has the request, because most replies end there, everything else on a thread that
//! may be busy for long, so that a listing holds up no other request. The next page is written when the client has taken the one before, so
//! that a listing costs the memory of two pages.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::Semaphore;

use super::HttpReply;
use super::reply::BodyInterrupted;

/// Bytes from which on a page is sent. A body that is shorter is sent as one piece with its length.
pub(crate) const PAGE_BYTES: usize = 64 * 1024;
/// Pages that are written at once. Whatever the number of listings, one core is left for everything else.
const PAGES_AT_ONCE: usize = 1;

/// A source that writes a body page by page.
pub(crate) trait PageSource: Send + 'static {
    /// Appends some of the body to `page`, at most little more than [`PAGE_BYTES`]. Takes a millisecond at
    /// most: a source that searches for what it writes returns in between, even with nothing.
    ///
    /// # Errors
    /// [`PageError::Outdated`] if the rest of the body cannot be written any more.
    fn write_some(&mut self, page: &mut Vec<u8>) -> Result<PageProgress, PageError>;
}

/// The reason why a page was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PageError {
    /// The listed log is gone. A listing that has not begun can be begun anew.
    #[error("what is listed is gone")]
    Outdated,
    /// The source panicked, or the runtime shuts down.
    #[error("the listing could not be written")]
    Failed,
}

/// The progress of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageProgress {
    /// There is more to write.
    More,
    /// All of the body is written.
    Done,
}

/// Writes the pages of all listings of a server, one after another.
#[derive(Debug, Clone)]
pub(crate) struct PageWriter {
    permits: Arc<Semaphore>,
}

/// A written page, and the source of those that follow; `None` if it is the last.
struct WrittenPage<S> {
    bytes: Vec<u8>,
    source: Option<S>,
}

/// The beginning of a body, with its source.
pub(crate) struct BodyStart<S> {
    bytes: Vec<u8>,
    /// The source of the body.
    pub(crate) source: S,
    progress: PageProgress,
}

type WritingPage =
    Pin<Box<dyn Future<Output = Result<WrittenPage<Box<dyn PageSource>>, PageError>> + Send>>;

/// The rest of a body that is sent page by page.
pub(super) struct PagedBody {
    writer: PageWriter,
    /// The page that is already written.
    first: Option<Bytes>,
    /// The page that is being written. `None` after the last.
    writing: Option<WritingPage>,
}

impl fmt::Debug for PagedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagedBody").finish_non_exhaustive()
    }
}

impl PageWriter {
    pub(crate) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(PAGES_AT_ONCE)) }
    }

    /// Returns the reply whose body `source` writes: with its length if it is short, else in chunks.
    pub(crate) async fn reply(
        &self,
        status: StatusCode,
        source: impl PageSource,
    ) -> Result<HttpReply, PageError> {
        Ok(self.finish(status, self.start(source).await?))
    }

    /// Writes the first page of a body.
    pub(crate) async fn start<S: PageSource>(
        &self,
        mut source: S,
    ) -> Result<BodyStart<S>, PageError> {
        let mut bytes = Vec::new();
        let mut progress = source.write_some(&mut bytes)?;
        while progress == PageProgress::More && bytes.len() < PAGE_BYTES {
            (source, bytes, progress) = self.write_some(source, bytes).await?;
        }
        Ok(BodyStart { bytes, source, progress })
    }

    /// Returns the reply whose body begins with `start`.
    pub(crate) fn finish<S: PageSource>(
        &self,
        status: StatusCode,
        start: BodyStart<S>,
    ) -> HttpReply {
        let BodyStart { bytes, source, progress } = start;
        if progress == PageProgress::Done {
            return HttpReply::raw_json(status, bytes);
        }
        HttpReply::json_pages(
            status,
            PagedBody {
                writer: self.clone(),
                first: Some(bytes.into()),
                writing: Some(self.clone().next_page(Box::new(source))),
            },
        )
    }

    /// Writes the next page. Nothing happens before the returned future is polled.
    fn next_page(self, mut source: Box<dyn PageSource>) -> WritingPage {
        Box::pin(async move {
            let mut bytes = Vec::new();
            loop {
                let progress;
                (source, bytes, progress) = self.write_some(source, bytes).await?;
                if progress == PageProgress::Done || bytes.len() >= PAGE_BYTES {
                    let source = (progress == PageProgress::More).then_some(source);
                    return Ok(WrittenPage { bytes, source });
                }
            }
        })
    }

    async fn write_some<S: PageSource>(
        &self,
        mut source: S,
        mut bytes: Vec<u8>,
    ) -> Result<(S, Vec<u8>, PageProgress), PageError> {
        // The semaphore is never closed.
        let permit =
            Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PageError::Failed)?;
        let written = tokio::task::spawn_blocking(move || {
            let progress = source.write_some(&mut bytes);
            drop(permit);
            progress.map(|progress| (source, bytes, progress))
        });
        written.await.unwrap_or(Err(PageError::Failed))
    }
}

impl PageSource for Box<dyn PageSource> {
    fn write_some(&mut self, page: &mut Vec<u8>) -> Result<PageProgress, PageError> {
        (**self).write_some(page)
    }
}

impl PagedBody {
    /// Returns the next page; `None` after the last.
    pub(super) fn poll_page(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyInterrupted>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(writing) = &mut self.writing else { return Poll::Ready(None) };
        let written = ready!(writing.as_mut().poll(context));
        self.writing = None;
        let page = written.map(|WrittenPage { bytes, source }| {
            self.writing = source.map(|source| self.writer.clone().next_page(source));
            bytes.into()
        });
        Poll::Ready(Some(page.map_err(|_| BodyInterrupted)))
    }
}

/// Parts of a body, each written when it is due.
pub(crate) struct Parts<I>(pub(crate) I);

impl<I: Iterator<Item = Vec<u8>> + Send + 'static> PageSource for Parts<I> {
    fn write_some(&mut self, page: &mut Vec<u8>) -> Result<PageProgress, PageError> {
        while page.len() < PAGE_BYTES {
            match self.0.next() {
                Some(part) => page.extend(part),
                None => return Ok(PageProgress::Done),
            }
        }
        Ok(PageProgress::More)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn parts(count: usize, bytes: usize) -> Parts<impl Iterator<Item = Vec<u8>> + Send + 'static> {
        Parts((0..count).map(move |n| vec![b'0' + u8::try_from(n % 10).unwrap_or(0); bytes]))
    }

    async fn body(reply: HttpReply) -> (Option<String>, Vec<usize>, usize) {
        let response = reply.into_response(());
        let length = response.headers().get("content-length");
        let length = length.map(|length| length.to_str().unwrap().to_owned());
        let mut body = response.into_body();
        let mut pages = Vec::new();
        while let Some(frame) = body.frame().await {
            pages.push(frame.unwrap().into_data().unwrap().len());
        }
        let all = pages.iter().sum();
        (length, pages, all)
    }

    #[tokio::test]
    async fn a_short_body_has_its_length_and_a_long_one_comes_in_pages() {
        let writer = PageWriter::new();
        let reply = writer.reply(StatusCode::OK, parts(3, 1000)).await.unwrap();
        assert_eq!(body(reply).await, (Some("3000".into()), vec![3000], 3000));
        let reply = writer.reply(StatusCode::OK, parts(1000, 1000)).await.unwrap();
        let (length, pages, all) = body(reply).await;
        assert_eq!((length, all), (None, 1_000_000));
        assert!(pages.iter().all(|page| *page < PAGE_BYTES + 1000), "{pages:?}");
    }

    #[tokio::test]
    async fn listings_that_nobody_reads_hold_up_no_other() {
        let writer = PageWriter::new();
        let mut unread = Vec::new();
        for _ in 0..8 {
            unread.push(writer.reply(StatusCode::OK, parts(1000, 1000)).await.unwrap());
        }
        let reply = writer.reply(StatusCode::OK, parts(1000, 1000)).await.unwrap();
        assert_eq!(body(reply).await.2, 1_000_000);
        for reply in unread {
            assert_eq!(body(reply).await.2, 1_000_000);
        }
    }

    /// A source that can write one page and nothing after it.
    struct Broken(bool);

    impl PageSource for Broken {
        fn write_some(&mut self, page: &mut Vec<u8>) -> Result<PageProgress, PageError> {
            if std::mem::replace(&mut self.0, true) {
                return Err(PageError::Outdated);
            }
            page.resize(page.len() + PAGE_BYTES, b' ');
            Ok(PageProgress::More)
        }
    }

    #[tokio::test]
    async fn a_body_whose_source_fails_breaks_off() {
        let reply = PageWriter::new().reply(StatusCode::OK, Broken(false)).await.unwrap();
        let mut body = reply.into_response(()).into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap_err(), BodyInterrupted);
        assert!(body.frame().await.is_none());
        let refused = PageWriter::new().reply(StatusCode::OK, Broken(true)).await;
        assert!(refused.is_err());
    }
}
