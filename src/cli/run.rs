//! `wwsim run`: starts a house, prints its addresses, and stops it on Ctrl-C.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use tokio::signal;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::RunArguments;
use super::error::{CliError, ExitStatus};
use super::load::load_with;
use super::files::refusal;
use super::print;
use super::ready::ReadyFile;
use crate::device::Device;
use crate::device::actions::Action;
use crate::house::{Addresses, House, StartError};
use crate::limits;
use crate::runtime::descriptors;
use crate::scenario::{self, ListenerOverrides, Scenario};

/// The real time that connections and tasks get to end after Ctrl-C. The process ends without those
/// that take longer.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// The real time that the state then gets to be written: enough for a house of the most devices on a
/// slow disk.
const PERSIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command.
pub(super) fn run(arguments: &RunArguments) -> Result<ExitStatus, CliError> {
    start_log();
    descriptors::raise_limit();
    let listeners = ListenerOverrides {
        any_port: arguments.any_port,
        http: arguments.http,
        modbus: arguments.modbus,
        control: arguments.control,
    };
    let name = arguments.scenario.as_deref().unwrap_or("default");
    let ready_file = prepared_ready_file(arguments, name)?;
    let mut scenario = load_with(name, &listeners)?;
    apply(arguments, &mut scenario);
    let needed = descriptors::needed(&scenario);
    if descriptors::are_too_few() {
        return Err(StartError::descriptors(needed).into());
    }
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::Runtime)?;
    let result = runtime.block_on(serve(scenario, ready_file));
    // A name lookup in progress cannot be interrupted, and need not be waited for.
    runtime.shutdown_background();
    result
}

/// Prepares the ready file of a house with this scenario, if there is to be one.
fn prepared_ready_file(
    arguments: &RunArguments,
    scenario: &str,
) -> Result<Option<ReadyFile>, CliError> {
    let Some(path) = &arguments.ready_file else { return Ok(None) };
    let failed = |source| CliError::WriteReadyFile { path: path.clone(), source };
    let ready_file = ReadyFile::prepare(path, arguments.state_dir.as_deref()).map_err(failed)?;
    if scenario::builtin(scenario).is_none() && ready_file.is_at(Path::new(scenario)) {
        return Err(failed(refusal("it is the scenario; give another file")));
    }
    Ok(Some(ready_file))
}

/// Runs a house until Ctrl-C or a termination signal.
async fn serve(scenario: Scenario, ready_file: Option<ReadyFile>) -> Result<ExitStatus, CliError> {
    let mut termination = TerminationSignal::new();
    let house = House::start(scenario).await?;
    let ready_file_failure = write_ready_file(ready_file, house.addresses()).await?;
    // A house whose output cannot be printed runs all the same.
    let status = print(&welcome(&house)).unwrap_or_else(|error| {
        error.report();
        error.status()
    });
    let outcome = tokio::select! {
        _ = signal::ctrl_c() => Ok(status),
        () = termination.recv() => Ok(status),
        error = ready_file_failure => Err(error),
    };
    // Real time, because the process must end independently of the house's clock.
    let stop = house.stop_within(SHUTDOWN_GRACE);
    let stop = tokio::time::timeout(SHUTDOWN_GRACE + PERSIST_TIMEOUT, stop);
    tokio::select! {
        _ = stop => {}
        // A second Ctrl-C ends the process at once.
        _ = signal::ctrl_c() => {}
    }
    outcome
}

/// Writes the ready file. A pipe that has no reader yet is written while the house runs: the returned
/// future ends if that fails.
async fn write_ready_file(
    ready_file: Option<ReadyFile>,
    addresses: &Addresses,
) -> Result<impl Future<Output = CliError>, CliError> {
    let mut unfinished = None;
    if let Some(file) = ready_file {
        let path = file.path().to_owned();
        let failed = |source| CliError::WriteReadyFile { path, source };
        let (may_wait, addresses) = (file.may_wait(), addresses.clone());
        let writing = tokio::task::spawn_blocking(move || file.write(&addresses));
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

/// Applies the arguments to the scenario, whose values they override. Those of the listeners are part
/// of loading, because they decide what is in the way of what.
fn apply(arguments: &RunArguments, scenario: &mut Scenario) {
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
}

/// Returns the text that the start prints: the addresses, and commands to try.
fn welcome(house: &House) -> String {
    let addresses = house.addresses();
    let mut text = format!("{}\n\n", house.name());
    let devices = addresses.devices.iter();
    text.push_str(&address_lines("device", devices.map(|device| (&device.id, &device.http))));
    text.push_str(&address_lines("slave", addresses.slaves.iter()));
    text.push_str(&address_lines("target", addresses.http_targets.iter()));
    text.push_str(&address_line("control", "", &addresses.control));
    if let Some(token) = &addresses.token {
        text.push_str(&address_line("token", "", token));
    }
    text.push_str(&commands_to_try(house, addresses));
    text
}

/// Returns a line for each address, and one for those that are too many.
fn address_lines<'a, A: Display + 'a>(
    kind: &str,
    mut addresses: impl ExactSizeIterator<Item = (&'a String, &'a A)>,
) -> String {
    let first = addresses.by_ref().take(limits::WELCOME_ADDRESSES);
    let mut lines: String =
        first.map(|(name, address)| address_line(kind, name, &address.to_string())).collect();
    if addresses.len() > 0 {
        let more = format!("and {} more", addresses.len());
        lines.push_str(&address_line(kind, &more, "in /control/v1/state and in the ready file"));
    }
    lines
}

fn address_line(kind: &str, name: &str, address: &str) -> String {
    format!("  {kind:8} {name:16} {address}\n")
}

/// Returns three commands to try. The first two are a call of the first device's first action and its
/// statuses, if the device has an action that can be called.
fn commands_to_try(house: &House, addresses: &Addresses) -> String {
    let (Some(address), Some(device)) = (addresses.devices.first(), house.devices().next()) else {
        return String::new();
    };
    let url = &address.http;
    let device_commands = call_to_try(device, url)
        .unwrap_or_else(|| format!("curl -s '{url}/api/v1/system'\n  curl -N '{url}/api/v1/live'"));
    let token = addresses.token.as_ref();
    let authorization =
        token.map(|token| format!("-H 'Authorization: Bearer {token}' ")).unwrap_or_default();
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

/// Starts the log to standard error; the level is `warn` unless `WWSIM_LOG` sets another filter.
fn start_log() {
    let filter: Targets = std::env::var("WWSIM_LOG")
        .ok()
        .and_then(|directives| directives.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(tracing::Level::WARN));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Fails only if the process has a subscriber already, which is used then.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

/// The termination signal, which service managers and `kill` send. On other systems than Unix it never
/// arrives.
struct TerminationSignal {
    #[cfg(unix)]
    signal: Option<signal::unix::Signal>,
}

impl TerminationSignal {
    #[cfg(unix)]
    fn new() -> Self {
        Self { signal: signal::unix::signal(signal::unix::SignalKind::terminate()).ok() }
    }

    #[cfg(not(unix))]
    fn new() -> Self {
        Self {}
    }

    /// Waits for the signal.
    async fn recv(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}
