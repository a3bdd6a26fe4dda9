//! `/load`: a firmware image as multipart form data, never as a whole in memory (FIRMWARE-5,
//! FIRMWARE-6).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use md5::{Digest, Md5};
use multer::{Constraints, Multipart, SizeLimit};

use super::power::down;
use super::{Call, HttpReply};
use crate::device::{FirmwareImage, RebootCause};
use crate::journal::{self, Event};
use crate::limits;
use crate::net::http::body;

/// The name of the field that carries the image.
const FIELD: &str = "file";

/// A body that gives out one piece a turn: the reader of the form takes all it can get before it looks
/// at any of it. It looks through all that belongs to no field each time more comes, so that there is an
/// end to that.
struct Paced {
    body: body::BodyStream,
    gave: bool,
    /// Bytes given out since the form gave out a field or any of its own.
    idle: Arc<AtomicU64>,
}

/// Why a body cannot be read on.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Unread(#[from] body::BodyReadError),
    #[error("more than {} bytes that belong to no field", limits::UPLOAD_EXTRA_BYTES)]
    Idle,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Unfit;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unfit>>> {
        if std::mem::take(&mut self.gave) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.idle.load(Ordering::Relaxed) > limits::UPLOAD_EXTRA_BYTES {
            return Poll::Ready(Some(Err(Unfit::Idle)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.idle.fetch_add(bytes, Ordering::Relaxed);
            self.gave = true;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Unfit::from)))
    }
}

/// An image that was received whole.
struct ReceivedUpload {
    name: String,
    size: u64,
    md5: [u8; 16],
}

/// Takes an image; the device reboots once the reply is out, with another firmware where the scenario
/// knows the image.
pub(super) fn upload<'a>(
    call: &'a Call<'a>,
    body: body::BodyStream,
) -> Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>> {
    Box::pin(async move {
        let Some(_alone) = call.begin_upload() else {
            let message = "another upload is under way; try again when it has ended";
            return HttpReply::error(StatusCode::SERVICE_UNAVAILABLE, "busy", message).with_close();
        };
        let declared = call.head().headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > limits::UPLOAD_BYTES) {
            return too_large().with_close();
        }
        // Real time: it guards the process against clients.
        let received = tokio::time::timeout(limits::UPLOAD_TIMEOUT, receive(call, body)).await;
        match received {
            Ok(Ok(image)) => accept(call, image),
            Ok(Err(refused)) => refused.with_close(),
            Err(_) => body::BodyReadError::Stalled.into(),
        }
    })
}

fn accept(call: &Call<'_>, image: ReceivedUpload) -> HttpReply {
    let ReceivedUpload { name, size, md5 } = image;
    let device = call.device();
    let known = device.hardware().images.iter().find(|image| image.fits(&name, size, &md5));
    let firmware = known.map(|FirmwareImage { firmware, .. }| *firmware);
    device.journal_upload(Event::FirmwareUploaded {
        device: device.identity().id.shared(),
        name: journal::truncate_text(name),
        size,
        firmware: firmware.map(|firmware| firmware.to_string()),
    });
    if let Some(firmware) = firmware {
        device.upgrade(firmware);
    }
    let text =
        format!("Receiving image: {size} bytes\nVerifying image: OK\nUpdate complete, rebooting\n");
    let reply = HttpReply::content(StatusCode::OK, "text/plain", text);
    // What comes behind the form is not read.
    down(call, reply.with_close(), RebootCause::Updated)
}

async fn receive(call: &Call<'_>, body: body::BodyStream) -> Result<ReceivedUpload, HttpReply> {
    let kind = call.head().headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = match multer::parse_boundary(kind.unwrap_or_default()) {
        Ok(boundary) => boundary,
        Err(multer::Error::NoBoundary) => {
            return Err(bad("missing_boundary", "the Content-Type has no boundary"));
        }
        Err(_) => {
            let message = "expected multipart/form-data with the image in the field `file`";
            return Err(HttpReply::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                message,
            ));
        }
    };
    let most = limits::FIRMWARE_BYTES + limits::UPLOAD_EXTRA_BYTES;
    let size = SizeLimit::new().whole_stream(most).for_field(FIELD, limits::FIRMWARE_BYTES);
    let constraints = Constraints::new().size_limit(size);
    let idle = Arc::new(AtomicU64::new(0));
    let body = Paced { body, gave: false, idle: Arc::clone(&idle) };
    let stream = http_body_util::BodyDataStream::new(body);
    let mut form = Multipart::with_constraints(stream, boundary, constraints);
    let mut image = None;
    while let Some(mut field) = form.next_field().await.map_err(refused)? {
        idle.store(0, Ordering::Relaxed);
        let name = field.file_name().map(str::to_owned);
        let wanted = field.name() == Some(FIELD) && image.is_none();
        let (mut size, mut sum) = (0, Md5::new());
        while let Some(piece) = field.chunk().await.map_err(refused)? {
            idle.store(0, Ordering::Relaxed);
            size += piece.len() as u64;
            sum.update(&piece);
        }
        if wanted {
            image = Some(ReceivedUpload {
                name: name.unwrap_or_default(),
                size,
                md5: sum.finalize().into(),
            });
        }
    }
    let image = image.ok_or_else(|| bad("missing_file", "there is no field `file`"))?;
    if !image.name.to_ascii_lowercase().ends_with(".bin") {
        let name = journal::truncate_text(image.name);
        return Err(bad("invalid_file", &format!("file `{name}`: expected a .bin file")));
    }
    if image.size == 0 {
        return Err(bad("invalid_file", "the file is empty"));
    }
    Ok(image)
}

fn bad(key: &str, message: &str) -> HttpReply {
    HttpReply::error(StatusCode::BAD_REQUEST, key, message)
}

fn refused(error: multer::Error) -> HttpReply {
    match error {
        multer::Error::FieldSizeExceeded { .. } | multer::Error::StreamSizeExceeded { .. } => {
            too_large()
        }
        error => bad("invalid_form", &format!("the form cannot be read: {error}")),
    }
}

fn too_large() -> HttpReply {
    let message =
        format!("the image has more than the {} bytes there is room for", limits::FIRMWARE_BYTES);
    HttpReply::error(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", &message)
}
