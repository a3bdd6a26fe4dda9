//! `wwsim run`: starts a house, prints its addresses, and stops it when it is asked to end.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::args::RunArguments;
use super::end::EndWatch;
use super::error::{CliError, ExitStatus};
use super::files::refusal;
use super::load::{is_stdin, load_with};
use super::log::Log;
use super::openings::openings;
use super::output::{Output, is_styled};
use super::ready::ReadyFile;
use super::token::{self, GivenToken, TokenSource};
use crate::device::Device;
use crate::device::actions::Action;
use crate::house::{Addresses, House, StartError};
use crate::limits;
use crate::runtime::descriptors;
use crate::scenario::{self, LoadOverrides, Scenario};

/// The real time that connections and tasks get to end after Ctrl-C. The process ends without those
/// that take longer.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// The real time that the state then gets to be written: enough for a house of the most devices on a
/// slow disk.
const PERSIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command. It waits for the reader of neither stream, and neither decides the exit status.
pub(super) fn run(arguments: &RunArguments) -> Result<ExitStatus, CliError> {
    descriptors::raise_limit();
    let streams = Streams::start().map_err(CliError::Runtime)?;
    let ended = start(arguments, &streams);
    Ok(ended.map_or_else(
        |error| {
            streams.stderr.say(error.text(streams.styled));
            error.status()
        },
        |()| ExitStatus::Success,
    ))
}

/// The streams of a running house. Dropping them gives their readers a moment for the last lines.
struct Streams {
    stdout: Output,
    stderr: Output,
    /// True if standard error may be coloured.
    styled: bool,
}

impl Streams {
    fn start() -> io::Result<Self> {
        Ok(Self {
            stdout: Output::start("standard output", io::stdout())?,
            stderr: Output::start("standard error", io::stderr())?,
            styled: is_styled(&io::stderr()),
        })
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.stdout.finish();
        self.stderr.finish();
    }
}

/// Starts a house, and returns once it has ended.
fn start(arguments: &RunArguments, streams: &Streams) -> Result<(), CliError> {
    let log = Log::start(&streams.stderr, streams.styled)?;
    let name = arguments.scenario.as_deref().unwrap_or("default");
    check_stdin(arguments, name)?;
    let overrides = LoadOverrides {
        any_port: arguments.any_port,
        http: arguments.http,
        modbus: arguments.modbus,
        control: arguments.control,
        seed: arguments.seed,
        fleet: arguments.fleet,
        shard: arguments.shard,
    };
    let ready_file = prepared_ready_file(arguments, name)?;
    let token = token::given(arguments.token_file.as_deref())?;
    let mut scenario = load_with(name, &overrides)?;
    apply(arguments, &mut scenario);
    log_warnings(arguments, &scenario);
    if descriptors::are_too_few() {
        return Err(StartError::descriptors(descriptors::needed(&scenario)).into());
    }
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::Runtime)?;
    let plan = Plan { scenario, token, ready_file };
    let result = runtime.block_on(serve(plan, arguments, streams, &log));
    // A name lookup in progress cannot be interrupted, and need not be waited for.
    runtime.shutdown_background();
    log.finish();
    result
}

/// Returns an error if two arguments ask for standard input.
fn check_stdin(arguments: &RunArguments, scenario: &str) -> Result<(), CliError> {
    let readers = [
        ("the scenario", is_stdin(Path::new(scenario))),
        ("--token-file", arguments.token_file.as_deref().is_some_and(is_stdin)),
        ("--exit-with-stdin", arguments.exit_with_stdin),
    ];
    let mut readers = readers.into_iter().filter_map(|(reader, reads)| reads.then_some(reader));
    match (readers.next(), readers.next()) {
        (Some(first), Some(second)) => Err(CliError::StdinTwice(first, second)),
        _ => Ok(()),
    }
}

/// Prepares the ready file of a house with this scenario, if there is to be one.
fn prepared_ready_file(
    arguments: &RunArguments,
    scenario: &str,
) -> Result<Option<ReadyFile>, CliError> {
    let Some(path) = &arguments.ready_file else { return Ok(None) };
    let failed = |source| CliError::WriteReadyFile { path: path.clone(), source };
    let mut ready_file =
        ReadyFile::prepare(path, arguments.state_dir.as_deref()).map_err(failed)?;
    if scenario::builtin(scenario).is_none() && ready_file.is_at(Path::new(scenario)) {
        return Err(failed(refusal("it is the scenario; give another file")));
    }
    ready_file.set_earlier_aside().map_err(failed)?;
    Ok(Some(ready_file))
}

/// A house that is to be started.
struct Plan {
    scenario: Scenario,
    token: Option<GivenToken>,
    ready_file: Option<ReadyFile>,
}

/// Runs a house until it is asked to end.
async fn serve(
    Plan { scenario, token, ready_file }: Plan,
    arguments: &RunArguments,
    streams: &Streams,
    log: &Log,
) -> Result<(), CliError> {
    let mut end = EndWatch::start(arguments).map_err(CliError::Runtime)?;
    let (token, source) = token.map(|given| (given.token, given.source)).unzip();
    let house = tokio::select! {
        biased;
        started = House::start_with_token(scenario, token) => started?,
        reason = end.requested() => {
            tracing::warn!("the house ended before it had started: {reason}");
            return Ok(());
        }
    };
    let mode = arguments.ready_file_mode;
    let ready_file_failure = tokio::select! {
        biased;
        written = write_ready_file(ready_file, mode, house.addresses()) => written?,
        // The file may lie on a file system that does not answer.
        reason = end.requested() => {
            tracing::warn!("the house ended before its ready file was written: {reason}");
            stop(house, &mut end).await;
            return Ok(());
        }
    };
    streams.stdout.say(welcome(&house, source.as_ref()));
    let outcome = tokio::select! {
        reason = end.requested() => {
            tracing::info!("the house ends: {reason}");
            Ok(())
        }
        () = log.report_left_out() => return Ok(()),
        error = ready_file_failure => Err(error),
    };
    stop(house, &mut end).await;
    outcome
}

/// Stops a house.
async fn stop(house: House, end: &mut EndWatch) {
    // Real time, because the process must end independently of the house's clock.
    let stop = house.stop_within(SHUTDOWN_GRACE);
    let stop = tokio::time::timeout(SHUTDOWN_GRACE + PERSIST_TIMEOUT, stop);
    tokio::select! {
        _ = stop => {}
        // A second Ctrl-C ends the process at once.
        () = end.interrupted() => {}
    }
}

/// Writes the ready file. A pipe that has no reader yet is written while the house runs: the returned
/// future ends if that fails.
async fn write_ready_file(
    ready_file: Option<ReadyFile>,
    mode: Option<u32>,
    addresses: &Addresses,
) -> Result<impl Future<Output = CliError> + use<>, CliError> {
    let mut unfinished = None;
    if let Some(file) = ready_file {
        let path = file.path().to_owned();
        let failed = |source| CliError::WriteReadyFile { path, source };
        let (may_wait, addresses) = (file.may_wait(), addresses.clone());
        let writing = tokio::task::spawn_blocking(move || file.write(mode, &addresses));
        if may_wait {
            unfinished = Some((writing, failed));
        } else {
            let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            written.map_err(failed)?;
        }
    }
    Ok(async move {
        if let Some((writing, failed)) = unfinished
            && let Ok(Err(error)) = writing.await
        {
            return failed(error);
        }
        std::future::pending().await
    })
}

/// Applies the arguments to the scenario, whose values they override. Those that decide which devices there are
/// and what is in the way of what are part of loading.
fn apply(arguments: &RunArguments, scenario: &mut Scenario) {
    if let Some(speed) = arguments.speed {
        scenario.speed = speed;
    }
    if let Some(policy) = arguments.outbound {
        scenario.outbound = policy.into();
    }
    if let Some(dir) = &arguments.state_dir {
        scenario.state_dir = Some(dir.clone());
    }
}

/// Logs what `wwsim check` warns of, unless the house is a built-in one.
fn log_warnings(arguments: &RunArguments, scenario: &Scenario) {
    let Some(file) = arguments.scenario.as_deref() else { return };
    if scenario::builtin(file).is_none() {
        let warnings = scenario.warnings(file).to_string();
        let mut lines = warnings.lines();
        for line in lines.by_ref().take(limits::START_WARNINGS) {
            tracing::warn!("{line}");
        }
        let more = lines.count();
        if more > 0 {
            tracing::warn!("and {more} more warnings; `wwsim check {file}` shows all");
        }
    }
}

/// Returns the text that the start prints: the addresses, what is open to more than this machine, and
/// commands to try. `source` is that of a token that the user gave, which is not printed.
fn welcome(house: &House, source: Option<&TokenSource>) -> String {
    let addresses = house.addresses();
    let mut text = format!("{}\n\n", house.name());
    let devices = addresses.devices.iter().take(limits::WELCOME_ADDRESSES);
    let shown: Vec<(&String, String)> =
        devices.map(|device| (&device.id, device.url_with_host())).collect();
    let devices = shown.iter().map(|(id, url)| (*id, url));
    text.push_str(&address_lines("device", devices, addresses.devices.len()));
    let (slaves, targets) = (&addresses.slaves, &addresses.http_targets);
    text.push_str(&address_lines("slave", slaves.iter(), slaves.len()));
    text.push_str(&address_lines("target", targets.iter(), targets.len()));
    text.push_str(&address_line("control", "", &addresses.control));
    if let Some(token) = &addresses.token {
        let token = source.map_or_else(|| token.clone(), TokenSource::note);
        text.push_str(&address_line("token", "", &token));
    }
    for (what, opened) in openings(house.scenario()) {
        text.push_str(&address_line("open", &what, &opened));
    }
    text.push_str(&commands_to_try(house, addresses, source));
    text
}

/// Returns a line for each of `count` addresses, and one for those that are too many.
fn address_lines<'a, A: Display + 'a>(
    kind: &str,
    addresses: impl Iterator<Item = (&'a String, &'a A)>,
    count: usize,
) -> String {
    let first = addresses.take(limits::WELCOME_ADDRESSES);
    let mut lines: String =
        first.map(|(name, address)| address_line(kind, name, &address.to_string())).collect();
    if count > limits::WELCOME_ADDRESSES {
        let more = format!("and {} more", count - limits::WELCOME_ADDRESSES);
        lines.push_str(&address_line(kind, &more, "in /control/v1/state and in the ready file"));
    }
    lines
}

fn address_line(kind: &str, name: &str, address: &str) -> String {
    format!("  {kind:8} {name:16} {address}\n")
}

/// Returns three commands to try. The first two are a call of the first device's first action and its
/// statuses, if the device has an action that can be called.
fn commands_to_try(house: &House, addresses: &Addresses, source: Option<&TokenSource>) -> String {
    let (Some(address), Some(device)) = (addresses.devices.first(), house.devices().next()) else {
        return String::new();
    };
    let url = &address.url_with_host();
    let device_commands = call_to_try(device, url)
        .unwrap_or_else(|| format!("curl -s '{url}/api/v1/system'\n  curl -N '{url}/api/v1/live'"));
    let header = |token: &String| {
        source.map_or_else(|| format!("'Authorization: Bearer {token}'"), TokenSource::header_word)
    };
    let header = addresses.token.as_ref().map(header);
    let authorization = header.map(|header| format!("-H {header} ")).unwrap_or_default();
    format!(
        "\nTry:\n  {device_commands}\n  curl -s {authorization}{control}/control/v1/faults\n\n\
         Ctrl-C ends it.\n",
        control = addresses.control,
    )
}

/// Returns the commands that call the device's first action and show the statuses of its requests, by
/// the ids that the call will get. `None` if no action can be called.
fn call_to_try(device: &Device, url: &str) -> Option<String> {
    let definition = device.definition()?;
    let callable = |action: &&Action| action.enable && action.enabled_requests().next().is_some();
    let action = definition.actions().iter().find(callable)?;
    let ids: Vec<String> = device.next_status_ids(action).map(|id| id.to_string()).collect();
    Some(format!(
        "curl -i -X POST '{url}/api/v1/actions/call?id={action}'\n  \
         curl -s '{url}/api/v1/actions/status?id={ids}'",
        action = action.id,
        ids = ids.join(","),
    ))
}
