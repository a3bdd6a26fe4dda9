//! A request to the control plane: reading its body and its query, and refusing what makes no sense.

use bytes::Bytes;
use hyper::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::net::http::HttpReply;
use crate::net::http::query::Query;

/// A request that may be answered.
pub(super) struct ControlRequest<'a> {
    pub(super) uri: &'a Uri,
    pub(super) body: Bytes,
}

impl ControlRequest<'_> {
    /// The body, of which `expected` gives an example.
    pub(super) fn json<T: DeserializeOwned>(&self, expected: &str) -> Result<T, HttpReply> {
        serde_json::from_slice(&self.body)
            .map_err(|error| bad(&format!("the body: {error}; expected {expected}")))
    }

    /// A number in the query; `default` where it is not given.
    pub(super) fn number<T>(&self, name: &'static str, default: T, most: T) -> Result<T, HttpReply>
    where
        T: Copy + std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let given = self.query().single(name).map_err(|repeated| bad(&repeated.to_string()))?;
        let Some(given) = given else { return Ok(default) };
        given.parse().ok().filter(|number| *number <= most).ok_or_else(|| {
            bad(&format!("`{name}={given}`: expected a whole number, at most {most}"))
        })
    }

    /// Refuses parameters that nothing here reads: a misspelt one would be ignored in silence.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), HttpReply> {
        let Some((name, _)) = self.query().pairs().find(|(name, _)| !known.contains(&&**name))
        else {
            return Ok(());
        };
        let known =
            if known.is_empty() { "none".to_owned() } else { format!("`{}`", known.join("`, `")) };
        Err(bad(&format!("parameter `{name}`: there is no such one here; known: {known}")))
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::from_uri(self.uri)
    }
}

/// 400: the request makes no sense.
pub(super) fn bad(message: &str) -> HttpReply {
    HttpReply::error(StatusCode::BAD_REQUEST, "bad_request", message)
}

/// 404: what the path names is not there. `known` are the names that are.
pub(super) fn missing(what: &str, name: &str, known: &[String]) -> HttpReply {
    let known = if known.is_empty() {
        format!("the house has no {what}")
    } else {
        format!("there are: {}", known.join(", "))
    };
    let message = format!("no {what} `{name}`; {known}");
    HttpReply::error(StatusCode::NOT_FOUND, "not_found", &message)
}
