//! `/sdcard` and what is below it (`docs/device/sd-card.md`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Call, HttpReply};
use crate::device::sd::{Listed, OpenedFile, SdCard, SdError, SdPath};
use crate::device::{Device, Feature, Profile};

/// A listing, or a file.
pub(super) fn get<'a>(call: &'a Call<'a>) -> Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>> {
    Box::pin(async move {
        let (card, path) = match target(call) {
            Ok(target) => target,
            Err(refused) => return refused,
        };
        if path.is_folder() {
            return match card.list(&path).await {
                Ok(files) => listing(&path, &files),
                Err(error) => failed(call, &error),
            };
        }
        match card.read(&path).await {
            Ok(file) => download(call, &path, file),
            Err(error) => failed(call, &error),
        }
    })
}

/// A file is gone, or a folder with all that is in it.
pub(super) fn delete<'a>(
    call: &'a Call<'a>,
) -> Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>> {
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
            Err(SdError::Missing) => missing(),
            Err(error) => broken(&error),
        }
    })
}

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

fn listing(path: &SdPath, files: &[Listed]) -> HttpReply {
    let entry = |file: &Listed| {
        let kind = if file.size.is_some() { "file" } else { "dir" };
        json!({ "name": file.name, "size": file.size.unwrap_or(0), "type": kind })
    };
    let files: Vec<Value> = files.iter().map(entry).collect();
    HttpReply::json(StatusCode::OK, &json!({ "path": path.shown(), "files": files }))
}

/// The whole file, whatever part of it was asked for (observed).
fn download(call: &Call<'_>, path: &SdPath, file: OpenedFile) -> HttpReply {
    let kind = media_type(path.parts().last().map_or("", String::as_str));
    if file.size == 0 {
        return HttpReply::content(StatusCode::OK, kind, Bytes::new());
    }
    // One piece ahead of the client.
    let (send, receive) = mpsc::channel(1);
    let size = file.size;
    // It ends when the client leaves, with the file, or with the streams of the device: nothing of it
    // befalls a device that was reset.
    let feed = feed(Arc::clone(call.device()), file, send);
    call.api().streams.spawn(call.clock().activity().track(feed));
    HttpReply::sized_stream(kind, size, receive)
}

async fn feed(device: Arc<Device>, mut file: OpenedFile, send: mpsc::Sender<Bytes>) {
    loop {
        match file.piece().await {
            Ok(Some(piece)) => {
                let bytes = piece.len();
                if send.send(piece).await.is_err() {
                    return;
                }
                device.drain(bytes);
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(device = device.identity().id.as_str(), %error, "download broke off");
                return;
            }
        }
    }
}

/// By extension, in any case.
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

/// What a GET of what is not there gets: firmware decides (FIRMWARE-1).
fn failed(call: &Call<'_>, error: &SdError) -> HttpReply {
    match error {
        SdError::Missing if Profile::of(call.view.firmware).has(Feature::MissingFileIs500) => {
            HttpReply::content(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                "Failed to open the file",
            )
        }
        SdError::Missing => missing(),
        error => broken(error),
    }
}

fn missing() -> HttpReply {
    let message = "there is no such file or folder on the card";
    HttpReply::error(StatusCode::NOT_FOUND, "not_found", message)
}

/// The client is told what a device would say; the log, what the file system said.
fn broken(error: &SdError) -> HttpReply {
    tracing::warn!(%error, "SD card");
    HttpReply::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "sd_card_not_mounted",
        "the SD card does not answer",
    )
}
