//! `/sdcard` and everything below it (`docs/device/sd-card.md`).

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::mpsc;

use super::routes::ReplyFuture;
use super::{Call, HttpReply};
use crate::device::sd::{SdCard, SdEntry, SdError, SdFileReader, SdPath};
use crate::device::{Device, Feature, Profile};

/// Returns the listing of a folder, or a file.
pub(super) fn get<'a>(call: &'a Call<'a>) -> ReplyFuture<'a> {
    Box::pin(async move {
        let (card, path) = match target(call) {
            Ok(target) => target,
            Err(refused) => return refused,
        };
        if path.is_folder() {
            return match card.list(&path).await {
                Ok(files) => listing_reply(&path, &files),
                Err(error) => read_error(call, &error),
            };
        }
        match card.read(&path).await {
            Ok(file) => file_reply(call, &path, file),
            Err(error) => read_error(call, &error),
        }
    })
}

/// Deletes a file, or a folder with its contents.
pub(super) fn delete<'a>(call: &'a Call<'a>) -> ReplyFuture<'a> {
    Box::pin(async move {
        let (card, path) = match target(call) {
            Ok(target) => target,
            Err(refused) => return refused,
        };
        if path.is_root() {
            let message = "the card itself cannot be deleted; name a file or folder on it";
            return HttpReply::error(StatusCode::BAD_REQUEST, "invalid_path", message);
        }
        match card.delete(&path).await {
            Ok(()) => HttpReply::empty(StatusCode::NO_CONTENT),
            Err(SdError::NotFound) => not_found(),
            Err(error) => card_error(&error),
        }
    })
}

/// Returns the card and the path on it, or the error reply.
fn target<'a>(call: &'a Call<'_>) -> Result<(&'a SdCard, SdPath), HttpReply> {
    let card = call.device().sd().ok_or_else(|| {
        HttpReply::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "sd_card_not_mounted",
            "there is no SD card",
        )
    })?;
    let path = call.path().strip_prefix("/sdcard").unwrap_or_default();
    let path = SdPath::parse(path).map_err(|malformed| {
        HttpReply::error(StatusCode::BAD_REQUEST, "invalid_path", &malformed.to_string())
    })?;
    Ok((card, path))
}

/// An entry of a listing, as the device prints it.
#[derive(Debug, Serialize)]
struct ListedFile<'a> {
    name: &'a str,
    size: u64,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A listing. A folder may have thousands of files, so no tree is made of them.
#[derive(Debug, Serialize)]
struct FolderListing<'a> {
    path: String,
    files: Vec<ListedFile<'a>>,
}

fn listing_reply(path: &SdPath, files: &[SdEntry]) -> HttpReply {
    let files = files.iter().map(|file| ListedFile {
        name: &file.name,
        size: file.size.unwrap_or(0),
        kind: if file.size.is_some() { "file" } else { "dir" },
    });
    let listing = FolderListing { path: path.display_path(), files: files.collect() };
    HttpReply::json(StatusCode::OK, &listing)
}

/// Streams the whole file, even if the request asks for a range (observed).
fn file_reply(call: &Call<'_>, path: &SdPath, file: SdFileReader) -> HttpReply {
    let kind = media_type(path.parts().last().map_or("", String::as_str));
    if file.size == 0 {
        return HttpReply::content(StatusCode::OK, kind, Bytes::new());
    }
    // The reader is one piece ahead of the client.
    let (sender, receiver) = mpsc::channel(1);
    let size = file.size;
    // The task ends when the client disconnects, at the end of the file, or with the streams of the
    // device, so that it has no effect on a device after a reset.
    let task = send_file(Arc::clone(call.device()), file, sender);
    call.api().streams.spawn(call.clock().activity().track(task));
    HttpReply::sized_stream(kind, size, receiver)
}

/// Reads a file piece by piece and sends the pieces to the client.
async fn send_file(device: Arc<Device>, mut file: SdFileReader, sender: mpsc::Sender<Bytes>) {
    loop {
        match file.next_chunk().await {
            Ok(Some(piece)) => {
                let bytes = piece.len();
                if sender.send(piece).await.is_err() {
                    return;
                }
                device.drain_supercapacitor(bytes);
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(device = device.identity().id.as_str(), %error, "download broke off");
                return;
            }
        }
    }
}

/// Returns the media type of a file by its extension, in any case.
fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "csv" => "text/csv",
        "txt" | "log" | "be" => "text/plain",
        "json" => "application/json",
        "htm" | "html" => "text/html",
        "css" => "text/css",
        "js" => "text/javascript",
        "xml" => "text/xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        _ => "application/octet-stream",
    }
}

/// Returns the reply to a GET that failed. The reply for a missing file depends on the firmware
/// (FIRMWARE-1).
fn read_error(call: &Call<'_>, error: &SdError) -> HttpReply {
    match error {
        SdError::NotFound if Profile::new(call.view.firmware).has(Feature::MissingFileIs500) => {
            HttpReply::content(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                "Failed to open the file",
            )
        }
        SdError::NotFound => not_found(),
        error => card_error(error),
    }
}

fn not_found() -> HttpReply {
    let message = "there is no such file or folder on the card";
    HttpReply::error(StatusCode::NOT_FOUND, "not_found", message)
}

/// Returns the error that a device would send, and logs that of the file system.
fn card_error(error: &SdError) -> HttpReply {
    tracing::warn!(%error, "SD card");
    HttpReply::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "sd_card_not_mounted",
        "the SD card does not answer",
    )
}
