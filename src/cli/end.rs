//! The end of a running house: by signals, by the end of standard input or of the parent process.

use std::fmt;
use std::io::{self, Read};
#[cfg(unix)]
use std::os::unix::process::parent_id;

use tokio::signal;
use tokio::sync::oneshot;

use super::args::RunArguments;
use super::output::Patient;
#[cfg(unix)]
use crate::limits;

/// The reason for which a house ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndReason {
    Interrupted,
    #[cfg_attr(not(unix), expect(dead_code, reason = "a signal of Unix"))]
    Terminated,
    #[cfg_attr(not(unix), expect(dead_code, reason = "a signal of Unix"))]
    HungUp,
    StdinEnded,
    #[cfg_attr(not(unix), expect(dead_code, reason = "the argument exists on Unix alone"))]
    ParentGone,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "it was interrupted",
            Self::Terminated => "it was asked to terminate",
            Self::HungUp => "its terminal hung up",
            Self::StdinEnded => "standard input has ended (--exit-with-stdin)",
            Self::ParentGone => "the parent process is gone (--exit-with-parent)",
        })
    }
}

/// Watches for what ends a house.
pub(super) struct EndWatch {
    signals: Signals,
    /// Ends with standard input. `None` if that is not asked for.
    stdin: Option<oneshot::Receiver<()>>,
    #[cfg(unix)]
    parent: Option<Parent>,
}

impl EndWatch {
    /// Begins to watch, from which on signals end the process no more.
    ///
    /// # Errors
    /// If no thread can be started.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn start(arguments: &RunArguments) -> io::Result<Self> {
        Ok(Self {
            signals: Signals::new(),
            stdin: arguments.exit_with_stdin.then(watch_stdin).transpose()?,
            #[cfg(unix)]
            parent: arguments.exit_with_parent.then(Parent::new),
        })
    }

    /// Waits for the first reason to end.
    pub(super) async fn requested(&mut self) -> EndReason {
        let Self { signals, stdin, .. } = self;
        let stdin_ended = async {
            match stdin {
                // Nothing is ever sent.
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        let parent_gone = async {
            match &self.parent {
                Some(parent) => parent.gone().await,
                None => std::future::pending().await,
            }
        };
        #[cfg(not(unix))]
        let parent_gone = std::future::pending::<()>();
        tokio::select! {
            reason = signals.received() => reason,
            () = stdin_ended => EndReason::StdinEnded,
            () = parent_gone => EndReason::ParentGone,
        }
    }

    /// Waits for another Ctrl-C.
    pub(super) async fn interrupted(&mut self) {
        while self.signals.received().await != EndReason::Interrupted {}
    }
}

/// Reads standard input to its end, in a thread that ends with the process if nothing comes.
fn watch_stdin() -> io::Result<oneshot::Receiver<()>> {
    let (open, ended) = oneshot::channel();
    let read = move || {
        let mut stdin = Patient(io::stdin().lock());
        let mut buffer = [0; 1024];
        // An input that cannot be read tells no more of its end.
        while stdin.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        drop::<oneshot::Sender<()>>(open);
    };
    std::thread::Builder::new().name("from standard input".to_owned()).spawn(read)?;
    Ok(ended)
}

/// The signals that end a house. On other systems than Unix that is Ctrl-C alone.
struct Signals {
    // `None` if the system does not let us handle it.
    #[cfg(unix)]
    interrupt: Option<signal::unix::Signal>,
    #[cfg(unix)]
    terminate: Option<signal::unix::Signal>,
    /// `None` also if it was ignored at the start, as by `nohup`.
    #[cfg(unix)]
    hang_up: Option<signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use signal::unix::SignalKind;
        let handle = |kind| signal::unix::signal(kind).ok();
        Self {
            interrupt: handle(SignalKind::interrupt()),
            terminate: handle(SignalKind::terminate()),
            hang_up: (!ignores_hang_up()).then(|| handle(SignalKind::hangup())).flatten(),
        }
    }

    async fn received(&mut self) -> EndReason {
        tokio::select! {
            () = receive(&mut self.interrupt) => EndReason::Interrupted,
            () = receive(&mut self.terminate) => EndReason::Terminated,
            () = receive(&mut self.hang_up) => EndReason::HungUp,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self {}
    }

    async fn received(&mut self) -> EndReason {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        EndReason::Interrupted
    }
}

#[cfg(unix)]
async fn receive(signal: &mut Option<signal::unix::Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Returns true if SIGHUP must be left as it is: it was ignored at the start, or nobody can tell. Without
/// Linux's `/proc`, only code that this project forbids itself (`unsafe`) could tell; there, SIGHUP ends the
/// process at once, or is ignored.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    // The lowest bit is that of signal 1, which is SIGHUP everywhere.
    let ignored = || {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    ignored().is_none_or(|mask| mask & 1 == 1)
}

/// The process that started this one.
#[cfg(unix)]
struct Parent {
    /// 0 if the parent is outside of this container.
    id: u32,
    /// True if it was gone before anybody looked.
    gone: bool,
}

#[cfg(unix)]
impl Parent {
    fn new() -> Self {
        let id = parent_id();
        if id == 0 {
            tracing::warn!(
                "--exit-with-parent: the parent process is outside of this container, and nobody here can see its \
                 end; use --exit-with-stdin"
            );
        }
        Self { id, gone: has_adopted_this_process(id) }
    }

    /// Waits until the parent is gone. The system gives an orphan another parent.
    async fn gone(&self) {
        while !self.gone && parent_id() == self.id {
            // Real time: the parent is outside of the house.
            tokio::time::sleep(limits::PARENT_POLL).await;
        }
    }
}

/// Returns true if this parent did not start this process, but was given the orphan.
///
/// A process is born into the session of its parent. So a parent of another session did not start it,
/// unless this process has begun a session of its own. If it has, only process 1 tells an orphan.
#[cfg(target_os = "linux")]
fn has_adopted_this_process(parent: u32) -> bool {
    let own = std::process::id();
    match (session(own), session(parent)) {
        (Some(session), _) if session == own => parent == 1,
        (Some(session), Some(parents)) => session != parents,
        _ => false,
    }
}

/// Returns true if this parent did not start this process, but was given the orphan: outside of Linux, process
/// 1 starts nothing but services.
#[cfg(all(unix, not(target_os = "linux")))]
fn has_adopted_this_process(parent: u32) -> bool {
    parent == 1
}

/// Returns the session of a process; 0 if that began outside of this container. `None` if the process is
/// gone, or outside itself.
#[cfg(target_os = "linux")]
fn session(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses and may have some itself. State, parent and group follow.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(3)?.parse().ok()
}
