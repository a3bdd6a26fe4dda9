//! HTTP targets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, Host, Listen, MethodWord, PlainText, UrlPath};

/// A small HTTP server that actions call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The address of the target; a free port of 127.0.0.1 unless given.
    pub listen: Option<Listen>,
    /// The names and addresses by which actions reach it.
    pub hosts: Option<Vec<Host>>,
    /// True for `https`, with a certificate that the devices of the house trust; false unless given.
    pub tls: Option<bool>,
    /// The time that a reply takes unless its route gives one; 0 unless given.
    pub latency: Option<DurationText>,
    /// The routes, of which the first that matches replies; 404 if none does. Without routes every reply
    /// is 200.
    pub routes: Option<Vec<Route>>,
}

/// A path with its reply, or with several `replies` in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The method; any unless given.
    pub method: Option<MethodWord>,
    /// The path without its query; a `*` at the end matches any rest of the path.
    pub path: UrlPath,
    /// The status; 200 unless given.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// The headers, which each of several replies has, too. A reply with 401, 405, 407 or 426 gets the header
    /// that its status requires, unless it is given.
    pub headers: Option<BTreeMap<String, PlainText>>,
    /// The body; empty unless given.
    pub body: Option<PlainText>,
    /// The time that the reply takes.
    pub latency: Option<DurationText>,
    /// Replies in turn, beginning anew after the last: a light that toggles.
    #[schemars(length(min = 1))]
    pub replies: Option<Vec<Reply>>,
}

/// One of several replies in turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The status; 200 unless given.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// The headers of this reply, in place of those of the same name on the route.
    pub headers: Option<BTreeMap<String, PlainText>>,
    /// The body; empty unless given.
    pub body: Option<PlainText>,
    /// The time that the reply takes.
    pub latency: Option<DurationText>,
}
