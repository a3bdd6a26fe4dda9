//! The Berry script: stored, started, stopped. It is not interpreted; what it would print at once is.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::handle::{Device, DeviceState};
use super::{Feature, Licensed, Profile};
use crate::journal::Event;
use crate::limits;

/// What became of the script since the boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ScriptState {
    pub runs: bool,
    /// Whether it no longer starts by itself: its time has come, or a user has started or stopped it.
    pub settled: bool,
}

/// Where a script prints: the one client that listens, if any.
#[derive(Debug, Default)]
pub(super) struct Console(Mutex<Option<mpsc::Sender<Bytes>>>);

impl Console {
    fn print(&self, lines: impl Iterator<Item = String>) {
        let console = self.0.lock();
        let Some(client) = &*console else { return };
        for line in lines {
            let mut event = String::new();
            // All three end a line of an event stream, so that none may be within one.
            for part in line.replace("\r\n", "\n").split(['\n', '\r']) {
                event.push_str("data: ");
                event.push_str(part);
                event.push('\n');
            }
            event.push('\n');
            // A client that does not read misses what does not fit, as on a console.
            let _ = client.try_send(event.into());
        }
    }
}

impl Device {
    /// Whether the script runs (`services.berry.execution_status.state` is RUNNING).
    #[must_use]
    pub fn script_runs(&self) -> bool {
        self.state().script.runs
    }

    /// Starts or stops the script as a user does, and says whether it runs then: without a script or
    /// a licence it does not. One that runs goes on. What a user has started or stopped does not start
    /// by itself before the next boot (vendor, Berry page).
    pub fn run_script(&self, run: bool) -> bool {
        self.set_running(self.state(), run)
    }

    /// Its time has come.
    fn run_script_by_itself(&self) {
        let state = self.state();
        if !state.script.settled {
            let run = state.config.settings.services.berry_auto_run;
            self.set_running(state, run);
        }
    }

    fn set_running(&self, mut state: MutexGuard<'_, DeviceState>, run: bool) -> bool {
        let settled = std::mem::replace(&mut state.script.settled, true);
        let script = state.config.script.clone();
        let allowed = self.identity().license.includes(Licensed::BerryRun)
            && Profile::of(state.firmware).has(Feature::Berry);
        let before = state.script.runs;
        // One that runs was started with a script that may be gone by now.
        let runs = run && (before || (allowed && script.is_some()));
        if runs == before {
            if !settled {
                self.changed(state);
            }
            return runs;
        }
        state.script.runs = runs;
        self.journal()
            .record(Event::ScriptRuns { device: self.identity().id.shared(), running: runs });
        self.changed(state);
        if let Some(script) = script.filter(|_| runs) {
            self.console().print(printed(&script).into_iter());
        }
        runs
    }

    /// Whether nobody listens to the console.
    #[must_use]
    pub fn console_is_free(&self) -> bool {
        let console = self.console().0.lock();
        console.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Takes a client to the console; none where there is one already.
    #[must_use]
    pub fn listen_to_console(&self) -> Option<mpsc::Receiver<Bytes>> {
        let mut console = self.console().0.lock();
        if console.as_ref().is_some_and(|client| !client.is_closed()) {
            return None;
        }
        let (send, receive) = mpsc::channel(limits::CONSOLE_LINES);
        *console = Some(send);
        Some(receive)
    }

    /// Starts the script `services.berry.run_delay` seconds after the boot, where
    /// `services.berry.auto_run` says so then.
    pub async fn run_script_after_boot(self: Arc<Self>) {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let view = self.view();
            let delay = view.config.settings.services.berry_run_delay;
            let due = view.boot.at.after(Duration::from_secs(delay.into()));
            // It may have passed already: the clock is fast, or the delay was made shorter.
            if due <= self.clock().now() {
                self.run_script_by_itself();
                return;
            }
            tokio::select! {
                biased;
                seen = changes.changed() => if seen.is_err() { return },
                () = self.clock().sleep_until(due) => {}
            }
        }
    }
}

/// What a script prints as soon as it runs: the `print` of literals that stand on lines of their own
/// outside any block.
fn printed(script: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut depth = 0_usize;
    for line in script.lines() {
        let bare = line.trim();
        let word =
            bare.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        match word {
            "def" | "if" | "for" | "while" | "class" | "do" | "try" if !bare.ends_with(" end") => {
                depth += 1;
            }
            "end" => depth = depth.saturating_sub(1),
            "print" if depth == 0 => lines.extend(literals(&bare["print".len()..])),
            _ => {}
        }
        if lines.len() == limits::CONSOLE_LINES {
            break;
        }
    }
    lines
}

/// The arguments of a call where all are literals, joined as `print` does.
fn literals(call: &str) -> Option<String> {
    let mut rest = call.trim_start().strip_prefix('(')?.trim_start();
    let mut texts = Vec::new();
    if let Some(after) = rest.strip_prefix(')') {
        return is_over(after).then(String::new);
    }
    loop {
        let (text, after) = literal(rest)?;
        texts.push(text);
        let after = after.trim_start();
        if let Some(after) = after.strip_prefix(')') {
            return is_over(after).then(|| texts.join(" "));
        }
        rest = after.strip_prefix(',')?.trim_start();
    }
}

/// Whether nothing but a comment follows.
fn is_over(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

/// A string, number, boolean or nil, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    if quote == '"' || quote == '\'' {
        let mut value = String::new();
        let mut chars = text.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                }),
                c if c == quote => return Some((value, &text[at + 1..])),
                c => value.push(c),
            }
        }
        return None;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && !"+-._".contains(c));
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let known =
        matches!(word, "true" | "false" | "nil") || word.parse::<f64>().is_ok_and(f64::is_finite);
    known.then(|| (word.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_at_the_top_level_are_printed() {
        let script = "import ww\nprint('hello')\nprint(\"a \\\"b\\\"\", 1.5, true) # why\nx = 1\n\
            print(x)\nprint('a' .. 'b')\ndef f()\n  print('inside')\nend\nif x\nprint('in if')\nend\n\
            print(-7)\nprint()\nprint('two\\nlines')\nprint 'no call'\nprinter('x')\nprint('open";
        assert_eq!(printed(script), ["hello", "a \"b\" 1.5 true", "-7", "", "two\nlines"]);
    }

    #[test]
    fn a_block_on_one_line_ends_there() {
        assert_eq!(printed("if true print('x') end\nprint('y')"), ["y"]);
    }
}
