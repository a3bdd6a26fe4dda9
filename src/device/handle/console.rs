//! The console of the script: an event stream with one client.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::limits;

/// The output of the script, which goes to one client, if there is one.
#[derive(Debug, Default)]
pub struct Console(Mutex<Option<mpsc::Sender<Bytes>>>);

impl Console {
    /// Sends each line as an event. A client that does not read misses the lines that do not fit in its
    /// queue.
    pub(super) fn print(&self, lines: impl Iterator<Item = String>) {
        let console = self.0.lock();
        let Some(client) = &*console else { return };
        for line in lines {
            let mut event = String::new();
            // Each of these ends a line of an event stream, so the text has to be split at all of them.
            for part in line.replace("\r\n", "\n").split(['\n', '\r']) {
                event.push_str("data: ");
                event.push_str(part);
                event.push('\n');
            }
            event.push('\n');
            let _ = client.try_send(event.into());
        }
    }

    /// Returns `true` if there is no client.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.0.lock().as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Connects a client. `None` if there is one already.
    #[must_use]
    pub fn connect(&self) -> Option<mpsc::Receiver<Bytes>> {
        let mut console = self.0.lock();
        if console.as_ref().is_some_and(|client| !client.is_closed()) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(limits::CONSOLE_LINES);
        *console = Some(sender);
        Some(receiver)
    }
}
