//! Request bodies, collected by hand: one piece is taken as it came, and nothing is kept past the
//! limit.

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::error::V1Error;

/// How many times the limit is read and thrown away, so that a client that sends before it listens
/// gets to see why it was refused.
const DRAIN: usize = 8;
/// A body no larger than this is copied: as a part of the connection's buffer it would keep all of
/// that for as long as the call lasts.
const COPIED: usize = 16 * 1024;
/// What is set aside for a body before any of it came.
const FIRST: usize = 1024 * 1024;

/// The whole body, if it is no larger than `limit` bytes.
pub(crate) async fn collect(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
) -> Result<Bytes, V1Error> {
    let announced = announced_length(request);
    if announced.is_some_and(|length| length > limit) {
        drain(payload, limit).await;
        return Err(V1Error::TooLarge(limit));
    }
    let Some(first) = next(&mut payload).await? else {
        return Ok(Bytes::new());
    };
    if announced == Some(first.len()) {
        let copied = first.len() <= COPIED;
        return Ok(if copied {
            Bytes::copy_from_slice(&first)
        } else {
            first
        });
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(FIRST).min(FIRST));
    whole.extend_from_slice(&first);
    while let Some(piece) = next(&mut payload).await? {
        if whole.len() + piece.len() > limit {
            drain(payload, limit).await;
            return Err(V1Error::TooLarge(limit));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn announced_length(request: &HttpRequest) -> Option<usize> {
    request
        .headers()
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn next(payload: &mut Payload) -> Result<Option<Bytes>, V1Error> {
    payload.next().await.transpose().map_err(|error| {
        tracing::debug!(%error, "a request body broke off");
        V1Error::BrokenBody
    })
}

async fn drain(mut payload: Payload, limit: usize) {
    let mut left = limit.saturating_mul(DRAIN);
    while let Some(Ok(piece)) = payload.next().await {
        if piece.len() > left {
            return;
        }
        left -= piece.len();
    }
}
