//! `wwsim run`: starts a house, prints its addresses, and stops it when it is asked to end.

use std::io;
use std::time::Duration;

use super::args::RunArguments;
use super::end::EndWatch;
use super::error::{CliError, ExitStatus};
use super::load::{STDIN, load};
use super::log::Log;
use super::openings::openings;
use super::output::{Output, is_styled};
use super::ready;
use super::token::{self, GivenToken, TokenSource};
use crate::device::Device;
use crate::device::actions::Action;
use crate::house::{Addresses, House};
use crate::scenario::{self, PortRangeError, Scenario};

/// The real time that connections and tasks get to end after Ctrl-C. The process ends without those
/// that take longer.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// The real time that the state then gets to be written: enough for a house of the most devices on a
/// slow disk.
const PERSIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command. It waits for the reader of neither stream, and neither decides the exit status.
pub(super) fn run(arguments: &RunArguments) -> Result<ExitStatus, CliError> {
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
    if arguments.exit_with_stdin && name == STDIN {
        return Err(CliError::StdinTwice("`-` and --exit-with-stdin"));
    }
    if let Some(path) = &arguments.ready_file {
        ready::remove(path);
    }
    let token = token::given(arguments.token_file.as_deref())?;
    let mut scenario = load(name)?;
    apply(arguments, &mut scenario)?;
    log_warnings(arguments, &scenario);
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::Runtime)?;
    let result = runtime.block_on(serve(scenario, token, arguments, streams, &log));
    // A name lookup in progress cannot be interrupted, and need not be waited for.
    runtime.shutdown_background();
    log.finish();
    result
}

/// Runs a house until it is asked to end.
async fn serve(
    scenario: Scenario,
    token: Option<GivenToken>,
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
    if let Some(path) = &arguments.ready_file {
        ready::write(path, arguments.ready_file_mode, house.addresses())
            .map_err(|source| CliError::WriteReadyFile { path: path.clone(), source })?;
    }
    streams.stdout.say(welcome(&house, source.as_ref()));
    let reason = tokio::select! {
        reason = end.requested() => reason,
        () = log.report_left_out() => return Ok(()),
    };
    tracing::info!("the house ends: {reason}");
    // Real time, because the process must end independently of the house's clock.
    let stop = house.stop_within(SHUTDOWN_GRACE);
    let stop = tokio::time::timeout(SHUTDOWN_GRACE + PERSIST_TIMEOUT, stop);
    tokio::select! {
        _ = stop => {}
        // A second Ctrl-C ends the process at once.
        () = end.interrupted() => {}
    }
    Ok(())
}

/// Applies the arguments to the scenario, whose values they override.
fn apply(arguments: &RunArguments, scenario: &mut Scenario) -> Result<(), PortRangeError> {
    if let Some(seed) = arguments.seed {
        scenario.seed = seed;
    }
    if let Some(speed) = arguments.speed {
        scenario.speed = speed;
    }
    if let Some(policy) = arguments.outbound {
        scenario.outbound = policy.into();
    }
    if let Some(dir) = &arguments.state_dir {
        scenario.state_dir = Some(dir.clone());
    }
    if arguments.any_port {
        scenario.any_port();
    }
    if let Some(address) = arguments.http {
        scenario.listen_http(address)?;
    }
    if let Some(address) = arguments.modbus {
        scenario.listen_modbus(address)?;
    }
    if let Some(address) = arguments.control {
        scenario.control = address;
    }
    Ok(())
}

/// Logs what `wwsim check` warns of, unless the house is a built-in one.
fn log_warnings(arguments: &RunArguments, scenario: &Scenario) {
    let Some(file) = arguments.scenario.as_deref() else { return };
    if scenario::builtin(file).is_none() {
        for line in scenario.warnings(file).to_string().lines() {
            tracing::warn!("{line}");
        }
    }
}

/// Returns the text that the start prints: the addresses, what is open to more than this machine, and
/// commands to try. `source` is that of a token that the user gave, which is not printed.
fn welcome(house: &House, source: Option<&TokenSource>) -> String {
    let addresses = house.addresses();
    let mut text = format!("{}\n\n", house.name());
    for device in &addresses.devices {
        text.push_str(&address_line("device", &device.id, &device.http));
    }
    for (name, address) in &addresses.slaves {
        text.push_str(&address_line("slave", name, &address.to_string()));
    }
    for (name, url) in &addresses.http_targets {
        text.push_str(&address_line("target", name, url));
    }
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

fn address_line(kind: &str, name: &str, address: &str) -> String {
    format!("  {kind:8} {name:16} {address}\n")
}

/// Returns three commands to try. The first two are a call of the first device's first action and its
/// statuses, if the device has an action that can be called.
fn commands_to_try(house: &House, addresses: &Addresses, source: Option<&TokenSource>) -> String {
    let (Some(address), Some(device)) = (addresses.devices.first(), house.devices().next()) else {
        return String::new();
    };
    let url = &address.http;
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
