//! The log of a running house: to standard error, held up by nobody, without endless repetitions.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::output::Output;
use crate::limits;
use crate::scenario::nearest;

/// The environment variable with the filter.
const VARIABLE: &str = "WWSIM_LOG";
/// The words of a level.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// The crates that log something.
const CRATES: [&str; 3] = ["wwsim", "wwsim_modbus", "wwsim_time"];

/// A value of `WWSIM_LOG` that is no filter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{VARIABLE}: `{directive}` is no directive: expected a level (error, warn, info, debug, trace or off), or a \
     level for a part of the program, as wwsim=debug or wwsim::surface=trace; separate several with commas{}",
    suggestion.as_ref().map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
)]
pub(super) struct FilterError {
    directive: String,
    suggestion: Option<String>,
}

/// The log of a house. Dropping it leaves it in force.
#[derive(Debug)]
pub(super) struct Log {
    throttle: Arc<Throttle>,
}

impl Log {
    /// Starts the log; the level is `warn` unless `WWSIM_LOG` sets another filter. Panics are logged, too.
    ///
    /// # Errors
    /// [`FilterError`] if `WWSIM_LOG` is malformed.
    pub(super) fn start(output: &Output, styled: bool) -> Result<Self, FilterError> {
        let filter = std::env::var_os(VARIABLE);
        let filter = filter.map(|value| parse_filter(&value.to_string_lossy())).transpose()?;
        let throttle = Arc::new(Throttle { output: output.clone(), places: Mutex::default() });
        let writer = output.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(styled)
            // The library would write them to standard error itself.
            .log_internal_errors(false);
        // Fails only if the process has a subscriber already, which is used then.
        let _ = tracing_subscriber::registry()
            .with(lines)
            .with(ThrottleLayer(Arc::clone(&throttle)))
            .with(filter.flatten().unwrap_or_else(|| Targets::new().with_default(Level::WARN)))
            .try_init();
        report_panics(output.clone());
        Ok(Self { throttle })
    }

    /// Says what was left out of the log, from time to time, for ever.
    pub(super) async fn report_left_out(&self) {
        loop {
            // Real time, as that of the log.
            tokio::time::sleep(limits::LOG_REPEAT_TIME).await;
            self.throttle.report(Instant::now());
        }
    }

    /// Says at the end what was left out of the log.
    pub(super) fn finish(&self) {
        self.throttle.report(Instant::now() + limits::LOG_REPEAT_TIME);
    }
}

/// Writes panics to the log. The hook of the standard library waits for standard error.
fn report_panics(output: Output) {
    std::panic::set_hook(Box::new(move |panic| {
        let trace = std::backtrace::Backtrace::capture();
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        output.say(match trace.status() {
            std::backtrace::BacktraceStatus::Captured => {
                format!("wwsim: thread `{name}` {panic}\n{trace}\n")
            }
            _ => format!("wwsim: thread `{name}` {panic}\n"),
        });
    }));
}

/// Parses the value of `WWSIM_LOG`; `None` if it is empty.
///
/// [`Targets`] takes any word for a part of the program, of which it then shows everything, so that a
/// misspelt level would show nothing.
fn parse_filter(value: &str) -> Result<Option<Targets>, FilterError> {
    let directives: Vec<&str> =
        value.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    for directive in &directives {
        check_directive(directive)?;
    }
    if directives.is_empty() {
        return Ok(None);
    }
    let filter = directives.join(",").parse();
    filter.map(Some).map_err(|_| FilterError { directive: value.to_owned(), suggestion: None })
}

fn check_directive(directive: &str) -> Result<(), FilterError> {
    let error = |suggestion: Option<String>| {
        Err(FilterError { directive: directive.to_owned(), suggestion })
    };
    // The library takes nothing for `error`.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let root = |target: &str| target.split("::").next().unwrap_or_default().to_owned();
    match directive.split_once('=') {
        None if is_level(directive) || CRATES.contains(&&*root(directive)) => Ok(()),
        None => error(nearest(directive, LEVELS.into_iter().chain(CRATES)).map(str::to_owned)),
        Some(("", _)) => error(None),
        Some((target, level)) if !is_level(level) => {
            error(nearest(level, LEVELS).map(|level| format!("{target}={level}")))
        }
        Some((target, level)) => {
            let (root, rest) = (root(target), target.split_once("::").map(|(_, rest)| rest));
            match nearest(&root, CRATES).filter(|near| *near != root) {
                None => Ok(()),
                Some(near) => {
                    let rest = rest.map(|rest| format!("::{rest}")).unwrap_or_default();
                    error(Some(format!("{near}{rest}={level}")))
                }
            }
        }
    }
}

/// Leaves out warnings and errors that repeat: a client that provokes one at will would fill the log.
#[derive(Debug)]
struct Throttle {
    output: Output,
    /// The places in the code that logged something. There are no more than the program has.
    places: Mutex<HashMap<Identifier, Repetitions>>,
}

/// The latest events of one place in the code.
#[derive(Debug)]
struct Repetitions {
    since: Instant,
    shown: u32,
    left_out: u64,
    level: Level,
    /// The message of the first one that was left out.
    message: String,
}

impl Throttle {
    /// Returns true if the log is to show this event.
    fn admit(&self, event: &Event<'_>, now: Instant) -> bool {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return true;
        }
        let mut places = self.places.lock();
        let repetitions = places
            .entry(event.metadata().callsite())
            .or_insert_with(|| Repetitions::new(level, now));
        if repetitions.is_over(now) {
            self.say(repetitions);
            *repetitions = Repetitions::new(level, now);
        }
        if repetitions.shown < limits::LOG_REPEATS {
            repetitions.shown += 1;
            return true;
        }
        if repetitions.left_out == 0 {
            event.record(&mut EventMessage(&mut repetitions.message));
        }
        repetitions.left_out += 1;
        false
    }

    /// Says what was left out in times that are over.
    fn report(&self, now: Instant) {
        self.places.lock().retain(|_, repetitions| {
            let is_over = repetitions.is_over(now);
            if is_over {
                self.say(repetitions);
            }
            !is_over
        });
    }

    fn say(&self, repetitions: &Repetitions) {
        let Repetitions { left_out, level, message, .. } = repetitions;
        if *left_out > 0 {
            let seconds = limits::LOG_REPEAT_TIME.as_secs();
            self.output.say(format!(
                "wwsim: left out {left_out} more of {level} `{message}` within {seconds} s\n"
            ));
        }
    }
}

impl Repetitions {
    fn new(level: Level, since: Instant) -> Self {
        Self { since, shown: 0, left_out: 0, level, message: String::new() }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= limits::LOG_REPEAT_TIME
    }
}

/// Takes the message of an event, without its fields.
struct EventMessage<'a>(&'a mut String);

impl Visit for EventMessage<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

struct ThrottleLayer(Arc<Throttle>);

impl<S: Subscriber> Layer<S> for ThrottleLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admit(event, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<String>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn warnings_that_repeat_are_counted_and_others_are_not() {
        let written = Written::default();
        let output = Output::start("the test", written.clone()).unwrap();
        let throttle = Arc::new(Throttle { output: output.clone(), places: Mutex::default() });
        let writer = output.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let log =
            tracing_subscriber::registry().with(lines).with(ThrottleLayer(Arc::clone(&throttle)));
        tracing::subscriber::with_default(log, || {
            for attempt in 0..limits::LOG_REPEATS + 15 {
                tracing::warn!(attempt, "it failed again");
                tracing::info!("as asked");
            }
            tracing::error!("something else");
        });
        let count = |text: &str| {
            output.finish();
            written.0.lock().matches(text).count()
        };
        let repeats = usize::try_from(limits::LOG_REPEATS).unwrap();
        assert_eq!(count("it failed again"), repeats);
        assert_eq!(count("as asked"), repeats + 15);
        assert_eq!(count("something else"), 1);
        throttle.report(Instant::now());
        assert_eq!(count("left out"), 0, "the time is not over");
        throttle.report(Instant::now() + limits::LOG_REPEAT_TIME);
        assert_eq!(count("left out 15 more of WARN `it failed again` within 60 s"), 1);
        assert_eq!(count("left out"), 1);
    }

    #[test]
    fn a_filter_has_levels_and_known_targets() {
        for value in ["", " , ", "debug", "WARN", "off", "warn,wwsim=debug", "wwsim::surface=trace"]
        {
            assert!(parse_filter(value).is_ok(), "{value}");
        }
        for value in ["wwsim", "wwsim_modbus::slave", "info, hyper=warn", "wwsim_time=0"] {
            assert!(parse_filter(value).is_ok(), "{value}");
        }
        for (value, suggestion) in [
            ("debgu", Some("debug")),
            ("verbose", None),
            ("warning", None),
            ("tracee", Some("trace")),
            ("wwsim=debgu", Some("wwsim=debug")),
            ("warn,wwism=debug", Some("wwsim=debug")),
            ("wwsm::surface=debug", Some("wwsim::surface=debug")),
            ("wwsim=debug=trace", None),
            ("wwsim=", None),
            ("=", None),
            ("=debug", None),
        ] {
            let error = parse_filter(value).unwrap_err();
            assert_eq!(error.suggestion.as_deref(), suggestion, "{value}: {error}");
        }
    }
}
