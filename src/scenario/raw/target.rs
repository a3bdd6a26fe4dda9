//! HTTP targets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, Host, Listen, MethodWord, PlainText, UrlPath};

/// A small HTTP server that actions call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where it listens; a free port of 127.0.0.1 unless given.
    pub listen: Option<Listen>,
    /// The names and addresses by which actions reach it.
    pub hosts: Option<Vec<Host>>,
    /// Whether it speaks TLS, with a certificate that the devices of the house trust; false unless
    /// given.
    pub tls: Option<bool>,
    /// How long an answer takes where its route does not say; 0 unless given.
    pub latency: Option<DurationText>,
    /// What it answers: the first route that matches, 404 where none does. Without routes it answers
    /// 200 to everything.
    pub routes: Option<Vec<Route>>,
}

/// A path and what is answered there: one answer, or `replies` in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The method; any unless given.
    pub method: Option<MethodWord>,
    /// The path without its query; a `*` at the end matches whatever follows.
    pub path: UrlPath,
    /// The status; 200 unless given.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// The headers, of each of the replies where there are several.
    pub headers: Option<BTreeMap<String, PlainText>>,
    /// The body; empty unless given.
    pub body: Option<PlainText>,
    /// How long the answer takes.
    pub latency: Option<DurationText>,
    /// Answers given one after another, beginning anew at the end: a light that toggles.
    #[schemars(length(min = 1))]
    pub replies: Option<Vec<Reply>>,
}

/// One of several answers in turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The status; 200 unless given.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// Its own headers, in place of those of the same name on the route.
    pub headers: Option<BTreeMap<String, PlainText>>,
    /// The body; empty unless given.
    pub body: Option<PlainText>,
    /// How long the answer takes.
    pub latency: Option<DurationText>,
}
