//! A request to the control plane: parsing its body and its query.

use bytes::Bytes;
use hyper::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::net::http::HttpReply;
use crate::net::http::query::Query;
use crate::notation::without_bom;

/// The reply of a handler. The error is the reply that refuses the request.
pub(super) type ControlResult = Result<HttpReply, HttpReply>;

/// A request that has passed the checks of host, origin, token, path and method.
pub(super) struct ControlRequest<'a> {
    pub(super) uri: &'a Uri,
    pub(super) body: Bytes,
}

impl ControlRequest<'_> {
    /// Parses the body. `expected` is an example of it, for the error message.
    pub(super) fn json<T: DeserializeOwned>(&self, expected: &str) -> Result<T, HttpReply> {
        serde_json::from_slice(without_bom(&self.body))
            .map_err(|error| bad_request(&format!("the body: {error}; expected {expected}")))
    }

    /// Parses a number in the query; `default` if it is absent.
    pub(super) fn number<T>(
        &self,
        name: &'static str,
        default: T,
        maximum: T,
    ) -> Result<T, HttpReply>
    where
        T: Copy + std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let text =
            self.query().single(name).map_err(|repeated| bad_request(&repeated.to_string()))?;
        let Some(text) = text else { return Ok(default) };
        text.parse().ok().filter(|number| *number <= maximum).ok_or_else(|| {
            bad_request(&format!("`{name}={text}`: expected a whole number, at most {maximum}"))
        })
    }

    /// Refuses unknown parameters: a misspelt one would be ignored silently.
    pub(super) fn allow_only(&self, known: &[&str]) -> Result<(), HttpReply> {
        let Some((name, _)) = self.query().pairs().find(|(name, _)| !known.contains(&&**name))
        else {
            return Ok(());
        };
        let known =
            if known.is_empty() { "none".to_owned() } else { format!("`{}`", known.join("`, `")) };
        Err(bad_request(&format!("parameter `{name}`: there is no such one here; known: {known}")))
    }

    /// Returns the query of the URI.
    pub(super) fn query(&self) -> Query<'_> {
        Query::from_uri(self.uri)
    }
}

/// Returns a 400 reply.
pub(super) fn bad_request(message: &str) -> HttpReply {
    HttpReply::error(StatusCode::BAD_REQUEST, "bad_request", message)
}

/// Returns a 404 reply for a name in the path. `existing` lists the names that exist.
pub(super) fn not_found(kind: &str, name: &str, existing: &[String]) -> HttpReply {
    let existing = if existing.is_empty() {
        format!("the house has no {kind}")
    } else {
        format!("there are: {}", existing.join(", "))
    };
    let message = format!("no {kind} `{name}`; {existing}");
    HttpReply::error(StatusCode::NOT_FOUND, "not_found", &message)
}
