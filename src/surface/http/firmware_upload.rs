//! `/load`: the upload of a firmware image as multipart form data, which is never in memory as a whole
//! (FIRMWARE-5, FIRMWARE-6).

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

use super::reboot::reboot_after;
use super::routes::ReplyFuture;
use super::{Call, HttpReply};
use crate::device::{FirmwareImage, RebootCause};
use crate::journal::{self, Event};
use crate::limits;
use crate::net::http::body;

/// Bytes of an upload without the image: the heads of its parts, and small fields.
const EXTRA_BYTES: u64 = 16 * 1024;

/// Bytes of a whole upload.
#[expect(clippy::cast_possible_truncation, reason = "some megabytes")]
pub(super) const UPLOAD_BYTES: usize = (limits::FIRMWARE_BYTES + EXTRA_BYTES) as usize;

/// The name of the field that carries the image.
const IMAGE_FIELD: &str = "file";

/// A body that yields one frame per poll, because the form parser reads all that is ready before it parses
/// any of it. The parser scans all bytes outside of fields again each time more arrive, so these are
/// bounded.
struct PacedBody {
    body: body::BodyStream,
    /// True if the last poll yielded a frame; the next one returns pending.
    yielded: bool,
    /// Bytes yielded since the parser last returned a field or a piece of one.
    outside_fields: Arc<AtomicU64>,
}

/// The error of a body that cannot be read to its end.
#[derive(Debug, thiserror::Error)]
enum UploadBodyError {
    #[error(transparent)]
    Unread(#[from] body::BodyReadError),
    #[error("more than {} bytes that belong to no field", EXTRA_BYTES)]
    TooMuchOutsideFields,
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = UploadBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadBodyError>>> {
        if std::mem::take(&mut self.yielded) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.outside_fields.load(Ordering::Relaxed) > EXTRA_BYTES {
            return Poll::Ready(Some(Err(UploadBodyError::TooMuchOutsideFields)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.outside_fields.fetch_add(bytes, Ordering::Relaxed);
            self.yielded = true;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UploadBodyError::from)))
    }
}

/// A completely received image.
struct ReceivedUpload {
    name: String,
    size: u64,
    md5: [u8; 16],
}

/// Receives an image. The device reboots after the reply is sent, with another firmware if the scenario
/// knows the image.
pub(super) fn upload<'a>(call: &'a Call<'a>, body: body::BodyStream) -> ReplyFuture<'a> {
    Box::pin(async move {
        let Some(_permit) = call.acquire_upload_permit() else {
            let message = "another upload is under way; try again when it has ended";
            return HttpReply::error(StatusCode::SERVICE_UNAVAILABLE, "busy", message).with_close();
        };
        let declared = call.head().headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > UPLOAD_BYTES) {
            return too_large().with_close();
        }
        // Real time, because the timeout protects the process against clients.
        let received = tokio::time::timeout(limits::UPLOAD_TIMEOUT, receive(call, body)).await;
        match received {
            Ok(Ok(image)) => install(call, image),
            Ok(Err(error)) => error.with_close(),
            Err(_) => body::BodyReadError::Stalled.into(),
        }
    })
}

/// Records the upload and sets the firmware that the next boot runs, if the scenario knows the image.
fn install(call: &Call<'_>, image: ReceivedUpload) -> HttpReply {
    let ReceivedUpload { name, size, md5 } = image;
    let device = call.device();
    let known = device.hardware().images.iter().find(|image| image.matches(&name, size, &md5));
    let firmware = known.map(|FirmwareImage { firmware, .. }| *firmware);
    device.record(|device| Event::FirmwareUploaded {
        device,
        name: journal::truncate_text(name),
        size,
        firmware: firmware.map(|firmware| firmware.to_string()),
    });
    if let Some(firmware) = firmware {
        device.stage_firmware(firmware);
    }
    let text =
        format!("Receiving image: {size} bytes\nVerifying image: OK\nUpdate complete, rebooting\n");
    let reply = HttpReply::content(StatusCode::OK, "text/plain", text);
    // Bytes after the form are not read, so the connection cannot be used again.
    reboot_after(call, reply.with_close(), RebootCause::FirmwareUpload)
}

/// Parses the form and returns the image, or the error reply.
async fn receive(call: &Call<'_>, body: body::BodyStream) -> Result<ReceivedUpload, HttpReply> {
    let kind = call.head().headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = match multer::parse_boundary(kind.unwrap_or_default()) {
        Ok(boundary) => boundary,
        Err(multer::Error::NoBoundary) => {
            return Err(bad_request("missing_boundary", "the Content-Type has no boundary"));
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
    let max_bytes = limits::FIRMWARE_BYTES + EXTRA_BYTES;
    let size =
        SizeLimit::new().whole_stream(max_bytes).for_field(IMAGE_FIELD, limits::FIRMWARE_BYTES);
    let constraints = Constraints::new().size_limit(size);
    let outside_fields = Arc::new(AtomicU64::new(0));
    let body = PacedBody { body, yielded: false, outside_fields: Arc::clone(&outside_fields) };
    let stream = http_body_util::BodyDataStream::new(body);
    let mut form = Multipart::with_constraints(stream, boundary, constraints);
    let mut image = None;
    while let Some(mut field) = form.next_field().await.map_err(form_error)? {
        outside_fields.store(0, Ordering::Relaxed);
        let name = field.file_name().map(str::to_owned);
        let is_image = field.name() == Some(IMAGE_FIELD) && image.is_none();
        let (mut size, mut sum) = (0, Md5::new());
        while let Some(piece) = field.chunk().await.map_err(form_error)? {
            outside_fields.store(0, Ordering::Relaxed);
            size += piece.len() as u64;
            sum.update(&piece);
        }
        if is_image {
            image = Some(ReceivedUpload {
                name: name.unwrap_or_default(),
                size,
                md5: sum.finalize().into(),
            });
        }
    }
    let image = image.ok_or_else(|| bad_request("missing_file", "there is no field `file`"))?;
    if !image.name.to_ascii_lowercase().ends_with(".bin") {
        let name = journal::truncate_text(image.name);
        return Err(bad_request("invalid_file", &format!("file `{name}`: expected a .bin file")));
    }
    if image.size == 0 {
        return Err(bad_request("invalid_file", "the file is empty"));
    }
    Ok(image)
}

fn bad_request(key: &str, message: &str) -> HttpReply {
    HttpReply::error(StatusCode::BAD_REQUEST, key, message)
}

fn form_error(error: multer::Error) -> HttpReply {
    match error {
        multer::Error::FieldSizeExceeded { .. } | multer::Error::StreamSizeExceeded { .. } => {
            too_large()
        }
        error => bad_request("invalid_form", &format!("the form cannot be read: {error}")),
    }
}

fn too_large() -> HttpReply {
    let message =
        format!("the image has more than the {} bytes there is room for", limits::FIRMWARE_BYTES);
    HttpReply::error(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", &message)
}
