//! Lowering of the HTTP targets and their replies.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::model::{TargetPlan, TargetReply, TargetRoute};
use super::super::path::FieldPath;
use super::super::raw;
use super::Lowered;
use crate::net::http::status as http_status;
use crate::notation::shortened;

/// Lowers the targets.
pub(super) fn targets(raw: &raw::Scenario, mistakes: &mut Mistakes) -> Vec<Lowered<TargetPlan>> {
    let base = FieldPath::root().key("http_targets");
    let target = |(name, raw): (&raw::NameText, &raw::Target)| {
        let path = base.key(name.as_str());
        let mistakes_before = mistakes.len();
        if name.as_str() == raw::NameText::ANY {
            mistakes.push(
                Mistake::new(path.clone(), "`any` means every target; use another name").on_key(),
            );
        }
        let plan = TargetPlan {
            name: name.as_str().into(),
            listen: raw.listen.map_or(TargetPlan::DEFAULT_LISTENER, |listen| listen.0),
            tls: raw.tls.unwrap_or(false),
            hosts: raw.hosts.iter().flatten().map(|host| host.0.clone()).collect(),
            routes: routes(raw, &path, mistakes),
        };
        Lowered { plan, valid: mistakes.len() == mistakes_before }
    };
    raw.http_targets.iter().flatten().map(target).collect()
}

fn routes(raw: &raw::Target, path: &FieldPath, mistakes: &mut Mistakes) -> Vec<TargetRoute> {
    let latency = raw.latency.map_or(Duration::ZERO, |latency| latency.0);
    let Some(written) = &raw.routes else {
        let replies = vec![TargetReply { latency, ..TargetReply::default() }];
        return vec![TargetRoute { method: None, path: "/*".into(), replies }];
    };
    let base = path.key("routes");
    let mut routes: Vec<TargetRoute> = Vec::with_capacity(written.len());
    for (index, raw) in written.iter().enumerate() {
        let path = base.index(index);
        let text = raw.path.as_str();
        if text.strip_suffix('*').unwrap_or(text).contains('*') {
            let message = format!("path `{}`: a `*` stands only at the end", shortened(text));
            mistakes.push(Mistake::new(path.key("path"), message));
        }
        let route = TargetRoute {
            method: raw.method.map(|method| method.0),
            path: text.to_owned(),
            replies: replies(raw, latency, &path, mistakes),
        };
        if let Some(first) = routes.iter().position(|earlier| earlier.covers(&route)) {
            let mistake =
                Mistake::new(path.key("path"), "an earlier route answers all of this already")
                    .help("put the more particular one first")
                    .related(base.index(first).key("path"), "earlier");
            mistakes.push(mistake);
        }
        routes.push(route);
    }
    routes
}

fn replies(
    raw: &raw::Route,
    latency: Duration,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Vec<TargetReply> {
    let latency = raw.latency.map_or(latency, |latency| latency.0);
    let common = headers(raw.headers.as_ref(), &path.key("headers"), mistakes);
    let Some(replies) = &raw.replies else {
        let (status, body) = (raw.status, raw.body.clone());
        let one = raw::Reply { status, body, ..raw::Reply::default() };
        return vec![reply(&one, &common, latency, path, mistakes)];
    };
    let beside = [("status", raw.status.is_some()), ("body", raw.body.is_some())];
    for (key, _) in beside.into_iter().filter(|(_, is_set)| *is_set) {
        let message = format!("`{key}` stands beside `replies`, which say it each for itself");
        mistakes
            .push(Mistake::new(path.key(key), message).help("move it into the replies").on_key());
    }
    let base = path.key("replies");
    let reply = |(index, raw)| reply(raw, &common, latency, &base.index(index), mistakes);
    replies.iter().enumerate().map(reply).collect()
}

fn reply(
    raw: &raw::Reply,
    common: &[(String, String)],
    latency: Duration,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> TargetReply {
    let status = raw.status.unwrap_or(200);
    let body = raw.body.as_ref().map_or_else(String::new, |body| body.0.clone());
    if http_status::forbids_content(status) && !body.is_empty() {
        let mistake =
            Mistake::new(path.key("body"), format!("a reply with status {status} has no body"));
        mistakes.push(mistake);
    }
    let mut headers = headers(raw.headers.as_ref(), &path.key("headers"), mistakes);
    let own = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let common: Vec<_> = common.iter().filter(|(name, _)| !own(name)).cloned().collect();
    headers.splice(..0, common);
    if let Err(problem) = http_status::check_headers(status, &headers) {
        mistakes.push(Mistake::new(path.key("status"), problem.message));
    }
    TargetReply { status, headers, body, latency: raw.latency.map_or(latency, |latency| latency.0) }
}

fn headers(
    raw: Option<&BTreeMap<String, raw::PlainText>>,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Vec<(String, String)> {
    // The server writes these itself; a second one would make the reply invalid.
    const SERVER_HEADERS: [&str; 3] = ["content-length", "transfer-encoding", "connection"];
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let mut headers = Vec::new();
    for (name, value) in raw.into_iter().flatten() {
        let path = path.key(name);
        let short_name = shortened(name);
        if name.is_empty() || !name.chars().all(is_token_char) {
            mistakes.push(Mistake::new(path, format!("`{short_name}` is no header name")).on_key());
        } else if SERVER_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let message = format!("the target writes `{short_name}` itself");
            mistakes.push(Mistake::new(path, message).help("leave it out").on_key());
        } else if !value.0.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
            let message =
                format!("header {short_name}: expected visible ASCII characters on one line");
            mistakes.push(Mistake::new(path, message));
        } else {
            headers.push((name.clone(), value.0.clone()));
        }
    }
    headers
}
