//! Requests that an HTTP target receives.

use std::sync::LazyLock;

use super::{ActionEffect, ActionOriginRef, ConnectFault, Fault, Seam, affects};
use crate::fault::engine::SeamEffect;
use crate::fault::index::{IndexKey, KeyField};
use crate::fault::parameters::{StatusParameter, StatusParameters};
use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::fault::{Delay, Engine, Verdict, result};
use crate::net::http::{Method, status};
use crate::notation::Choice;
use crate::problem::Problem;

/// The requests to a target that a rule affects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetPlace {
    /// The name of the target. `None` for every target.
    pub target: Option<String>,
    /// The method. `None` for every method.
    pub method: Option<Method>,
    /// The path without its query. `None` for every path.
    pub path: Option<String>,
    /// The id of the action that sent the request. `None` for every client, those outside the house
    /// included.
    pub action: Option<String>,
}

/// An effect on a request to a target.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetEffect {
    /// The answer comes later.
    Delay(Delay),
    /// This status in place of the target's own.
    Status(u16),
    /// The connection is reset in place of an answer.
    Reset,
    /// There is no answer.
    Hang,
    /// The `Content-Length` of the answer is not a number (−20).
    BadContentLength,
    /// The request fails before it is sent, in the action that sends it.
    Connect(ConnectFault),
}

/// A request to a target.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those that a rule can name")]
pub struct TargetRequest<'a> {
    pub target: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    /// The action that sent the request, if a device of the house did.
    pub from: Option<ActionOriginRef<'a>>,
}

pub(super) static FORMS: LazyLock<WrittenForms<TargetEffect>> = LazyLock::new(|| {
    WrittenForms::new(
        "target",
        "a target",
        vec![
            WrittenForm::delay("the reply comes later.", TargetEffect::Delay),
            WrittenForm::with_parameters(
                "status",
                "the reply has this status.",
                read_status,
                |effect| match effect {
                    TargetEffect::Status(code) => Some(Choice::Word(StatusParameter(*code))),
                    _ => None,
                },
            ),
            WrittenForm::refused(
                "reset",
                "only a reset of a slave has a moment; write the bare word `reset`",
            ),
            WrittenForm::keyword(
                "reset",
                "the connection is reset before the reply.",
                TargetEffect::Reset,
            ),
            WrittenForm::keyword(
                "hang",
                "there is no reply; a call of the API has no effect.",
                TargetEffect::Hang,
            ),
            WrittenForm::keyword(
                "bad_content_length",
                "the Content-Length of the reply is not a number (-20).",
                TargetEffect::BadContentLength,
            ),
            WrittenForm::with_parameters("result", result::TEXT, result::of_target, |effect| {
                match effect {
                    TargetEffect::Connect(fault) => Some(fault.result_code()),
                    _ => None,
                }
            }),
        ],
    )
});

fn read_status(parameters: StatusParameters) -> Result<TargetEffect, Problem> {
    let code = match parameters {
        Choice::Map(status) if status.retry_after.is_some() => {
            return Err(Problem::of_document(
                "`retry_after` is possible at `api` only; for a target, give the header in a route",
            ));
        }
        Choice::Word(code) => code.0,
        Choice::Map(status) => status.code.0,
    };
    status::check_alone(code)?;
    Ok(TargetEffect::Status(code))
}

impl SeamEffect for TargetEffect {
    fn delay(&self) -> Option<Delay> {
        if let Self::Delay(delay) = self { Some(*delay) } else { None }
    }
}

impl TargetPlace {
    pub(super) fn key(&self, effect: &TargetEffect) -> IndexKey {
        let connect = matches!(effect, TargetEffect::Connect(_));
        IndexKey::new(if connect { Seam::Connect } else { Seam::Target })
            .name(KeyField::Peer, self.target.as_deref())
            .name(KeyField::Method, self.method.map(Method::as_str))
            .name(KeyField::Path, self.path.as_deref())
            .name(KeyField::Action, self.action.as_deref())
    }

    /// Returns `true` if the place includes a request.
    #[must_use]
    pub fn matches(&self, request: &TargetRequest<'_>) -> bool {
        affects(&self.target, request.target)
            && affects(&self.path, request.path)
            && self.method.is_none_or(|method| method.as_str() == request.method)
            && self
                .action
                .as_deref()
                .is_none_or(|action| request.from.is_some_and(|from| from.action == action))
    }
}

impl TargetRequest<'_> {
    pub(super) fn fields(&self, key: IndexKey) -> IndexKey {
        let key = key
            .name(KeyField::Peer, Some(self.target))
            .name(KeyField::Method, Some(self.method))
            .name(KeyField::Path, Some(self.path));
        match &self.from {
            Some(from) => from.fields(key),
            None => key,
        }
    }
}

impl Engine {
    /// Evaluates the rules on a request that a target received: those on the target, and those on the
    /// action that sent it.
    #[must_use]
    pub fn target(&self, request: &TargetRequest<'_>) -> Verdict<TargetEffect> {
        self.verdict(
            Seam::Target,
            |key| request.fields(key),
            || format!("{} {} {}", request.target, request.method, request.path),
            |fault| match fault {
                Fault::Target(place, effect) if place.matches(request) => Some(effect),
                Fault::Action(place, ActionEffect::Reply { target: Some(effect), .. }) => {
                    request.from.is_some_and(|from| place.matches(&from)).then_some(&**effect)
                }
                _ => None,
            },
        )
    }
}
