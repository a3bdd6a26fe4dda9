//! `wwsim run`: starts a house, prints its addresses, and stops it on Ctrl-C.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::signal;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::RunArguments;
use super::error::{CliError, ExitStatus};
use super::load::load;
use super::openings::openings;
use super::token::{self, GivenToken, TokenSource};
use super::{print, ready};
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

/// Runs the command.
pub(super) fn run(arguments: &RunArguments) -> Result<ExitStatus, CliError> {
    start_log();
    if let Some(path) = &arguments.ready_file {
        ready::remove(path);
    }
    let token = token::given(arguments.token_file.as_deref())?;
    let mut scenario = load(arguments.scenario.as_deref().unwrap_or("default"))?;
    apply(arguments, &mut scenario)?;
    log_warnings(arguments, &scenario);
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::Runtime)?;
    let result = runtime.block_on(serve(scenario, token, arguments));
    // A name lookup in progress cannot be interrupted, and need not be waited for.
    runtime.shutdown_background();
    result
}

/// Runs a house until Ctrl-C or a termination signal.
async fn serve(
    scenario: Scenario,
    token: Option<GivenToken>,
    arguments: &RunArguments,
) -> Result<ExitStatus, CliError> {
    let mut termination = TerminationSignal::new();
    let (token, source) = token.map(|given| (given.token, given.source)).unzip();
    let house = House::start_with_token(scenario, token).await?;
    if let Some(path) = &arguments.ready_file {
        ready::write(path, arguments.ready_file_mode, house.addresses())
            .map_err(|source| CliError::WriteReadyFile { path: path.to_owned(), source })?;
    }
    // A house whose output cannot be printed runs all the same.
    let status = print(&welcome(&house, source.as_ref())).unwrap_or_else(|error| {
        error.report();
        error.status()
    });
    tokio::select! {
        _ = signal::ctrl_c() => {}
        () = termination.recv() => {}
    }
    // Real time, because the process must end independently of the house's clock.
    let stop = house.stop_within(SHUTDOWN_GRACE);
    let stop = tokio::time::timeout(SHUTDOWN_GRACE + PERSIST_TIMEOUT, stop);
    tokio::select! {
        _ = stop => {}
        // A second Ctrl-C ends the process at once.
        _ = signal::ctrl_c() => {}
    }
    Ok(status)
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
