//! The log of a runtime of its own: what the product warns of while a test runs in it.

use std::fmt::{self, Write as _};
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// Runs a test to its end on worker threads whose warnings and errors are collected, and returns them.
pub(crate) fn logged_by(test: impl Future<Output = ()> + Send + 'static) -> Vec<String> {
    let log = CollectedLog::default();
    let dispatch = Dispatch::new(log.clone());
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        // For as long as the thread lives.
        .on_thread_start(move || std::mem::forget(dispatcher::set_default(&dispatch)))
        .build()
        .unwrap();
    runtime.block_on(runtime.spawn(test)).unwrap();
    drop(runtime);
    std::mem::take(&mut log.0.lock())
}

#[derive(Debug, Clone, Default)]
struct CollectedLog(Arc<Mutex<Vec<String>>>);

impl Subscriber for CollectedLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event as text.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}
