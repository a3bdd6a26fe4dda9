//! The queue of requests in progress. Its rules are asked at the admission of a call
//! ([`Engine::admission`](crate::fault::Engine::admission)).

use std::sync::LazyLock;

use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::limits::REQUESTS_IN_PROGRESS;
use crate::problem::Problem;

/// An effect on the slots for requests in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEffect {
    /// This many slots are occupied.
    Occupy(usize),
    /// There are this many slots in all.
    Limit(usize),
}

pub(super) static FORMS: LazyLock<WrittenForms<QueueEffect>> = LazyLock::new(|| {
    let most = u8::try_from(REQUESTS_IN_PROGRESS).unwrap_or(u8::MAX);
    WrittenForms::new(
        "queue",
        "the queue",
        vec![
            WrittenForm::with_parameters(
                "occupy",
                "this many slots are occupied.",
                |places: u8| within(1, REQUESTS_IN_PROGRESS, places).map(QueueEffect::Occupy),
                |effect| match effect {
                    QueueEffect::Occupy(places) => Some(u8::try_from(*places).unwrap_or(u8::MAX)),
                    QueueEffect::Limit(_) => None,
                },
            )
            .at_least(1)
            .at_most(most),
            WrittenForm::with_parameters(
                "limit",
                "there are only this many slots in all.",
                |places: u8| within(0, REQUESTS_IN_PROGRESS - 1, places).map(QueueEffect::Limit),
                |effect| match effect {
                    QueueEffect::Limit(places) => Some(u8::try_from(*places).unwrap_or(u8::MAX)),
                    QueueEffect::Occupy(_) => None,
                },
            )
            .at_least(0)
            .at_most(most - 1),
        ],
    )
});

/// Checks a number that the schema has bounded already.
fn within(least: usize, most: usize, places: u8) -> Result<usize, Problem> {
    let places = usize::from(places);
    if (least..=most).contains(&places) {
        Ok(places)
    } else {
        Err(Problem::of_document(format!("expected {least} to {most} slots, found {places}")))
    }
}
