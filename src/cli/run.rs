//! `wwsim run`: starts a house, says where it listens, and ends it on Ctrl-C.

use std::io::IsTerminal;
use std::path::Path;

use tokio::signal;
use tracing_subscriber::EnvFilter;

use super::args::RunArguments;
use super::load::{Unloadable, load};
use super::{CliOutcome, print, ready};
use crate::device::Device;
use crate::device::actions::Action;
use crate::house::{Addresses, House};
use crate::limits;
use crate::scenario::Scenario;

/// The command.
pub(super) fn run(arguments: &RunArguments) -> CliOutcome {
    start_log();
    if let Some(path) = &arguments.ready_file {
        ready::forget(path);
    }
    let mut scenario = match load(arguments.scenario.as_deref().unwrap_or("default")) {
        Ok(scenario) => scenario,
        Err(Unloadable::Wrong(diagnostics)) => {
            eprint!("{}", diagnostics.human(std::io::stderr().is_terminal()));
            return CliOutcome::Invalid;
        }
        Err(Unloadable::Unreadable(message)) => {
            eprintln!("wwsim: {message}");
            return CliOutcome::Usage;
        }
    };
    if let Err(message) = apply(arguments, &mut scenario) {
        eprintln!("wwsim: {message}");
        return CliOutcome::Usage;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("wwsim: cannot start: {error}");
            return CliOutcome::Invalid;
        }
    };
    let outcome = runtime.block_on(serve(scenario, arguments.ready_file.as_deref()));
    // A name that is being looked up cannot be interrupted, and is not worth waiting for.
    runtime.shutdown_background();
    outcome
}

async fn serve(scenario: Scenario, ready_file: Option<&Path>) -> CliOutcome {
    let mut terminated = terminated();
    let house = match House::start(scenario).await {
        Ok(house) => house,
        Err(error) => {
            eprintln!("wwsim: {error}");
            return CliOutcome::Invalid;
        }
    };
    if let Some(path) = ready_file
        && let Err(error) = ready::write(path, house.addresses())
    {
        eprintln!("wwsim: cannot write the ready file {}: {error}", path.display());
        return CliOutcome::Usage;
    }
    let outcome = print(&welcome(&house));
    tokio::select! {
        _ = signal::ctrl_c() => {}
        () = terminated.recv() => {}
    }
    // Real time: a process that is told to end ends, whatever the house is busy with.
    let stop = house.stop_within(limits::SHUTDOWN_GRACE);
    let stop = tokio::time::timeout(limits::SHUTDOWN_GRACE + limits::SHUTDOWN_KEEPING, stop);
    tokio::select! {
        _ = stop => {}
        // Who asks twice does not want to wait.
        _ = signal::ctrl_c() => {}
    }
    outcome
}

/// What the command line says overrides what the scenario says.
fn apply(arguments: &RunArguments, scenario: &mut Scenario) -> Result<(), String> {
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

/// What a newcomer reads first.
fn welcome(house: &House) -> String {
    let addresses = house.addresses();
    let mut text = format!("{}\n\n", house.name());
    for device in &addresses.devices {
        text.push_str(&line("device", &device.id, &device.http));
    }
    for (name, address) in &addresses.slaves {
        text.push_str(&line("slave", name, &address.to_string()));
    }
    for (name, url) in &addresses.http_targets {
        text.push_str(&line("target", name, url));
    }
    text.push_str(&line("control", "", &addresses.control));
    if let Some(token) = &addresses.token {
        text.push_str(&line("token", "", token));
    }
    text.push_str(&try_these(house, addresses));
    text
}

fn line(kind: &str, name: &str, address: &str) -> String {
    format!("  {kind:8} {name:16} {address}\n")
}

/// Returns three commands to try. The first two are a call of the first device's first action and its
/// statuses, if the device has an action that can be called.
fn try_these(house: &House, addresses: &Addresses) -> String {
    let (Some(address), Some(device)) = (addresses.devices.first(), house.devices().next()) else {
        return String::new();
    };
    let url = &address.http;
    let of_device = call_to_try(device, url)
        .unwrap_or_else(|| format!("curl -s '{url}/api/v1/system'\n  curl -N '{url}/api/v1/live'"));
    let token = addresses.token.as_ref();
    let authorization =
        token.map(|token| format!("-H 'Authorization: Bearer {token}' ")).unwrap_or_default();
    format!(
        "\nTry:\n  {of_device}\n  curl -s {authorization}{control}/control/v1/faults\n\n\
         Ctrl-C ends it.\n",
        control = addresses.control,
    )
}

/// Returns the commands that call the device's first action and show the statuses of its requests, by
/// the ids that the call will get. `None` if no action can be called.
fn call_to_try(device: &Device, url: &str) -> Option<String> {
    let definition = device.definition()?;
    let callable = |action: &&Action| action.enable && action.enabled().next().is_some();
    let action = definition.actions().iter().find(callable)?;
    let ids: Vec<String> = device.next_status_ids(action).map(|id| id.to_string()).collect();
    Some(format!(
        "curl -i -X POST '{url}/api/v1/actions/call?id={action}'\n  \
         curl -s '{url}/api/v1/actions/status?id={ids}'",
        action = action.id,
        ids = ids.join(","),
    ))
}

/// Logs to standard error, warnings and up where `WWSIM_LOG` says nothing else.
fn start_log() {
    let filter = EnvFilter::try_from_env("WWSIM_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // Fails only where the process has a subscriber already, which then is the one to use.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// The signal that service managers and `kill` send.
#[cfg(unix)]
struct Terminated(Option<signal::unix::Signal>);

#[cfg(unix)]
impl Terminated {
    async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
fn terminated() -> Terminated {
    Terminated(signal::unix::signal(signal::unix::SignalKind::terminate()).ok())
}

#[cfg(not(unix))]
struct Terminated;

#[cfg(not(unix))]
impl Terminated {
    async fn recv(&mut self) {
        std::future::pending().await
    }
}

#[cfg(not(unix))]
fn terminated() -> Terminated {
    Terminated
}
