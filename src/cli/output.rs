//! The standard streams.
//!
//! The result of a command waits for its reader ([`print`], [`Patient`]), and so do errors ([`report`]). What a
//! running house says waits for nobody: an [`Output`] queues it, and a thread of its own writes it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::error::CliError;
use crate::limits;

/// Bytes that are written at once: as many as a pipe takes as a whole, so that progress is seen.
const PIECE: usize = 4096;
/// Real time before the next attempt to write to, or read from, a stream that another process made
/// non-blocking.
const NOT_READY: Duration = Duration::from_millis(10);

/// Prints to standard output, and waits for its reader. A reader that has closed the pipe is not an error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = Patient(io::stdout());
    // The standard library keeps a rest in its own buffer, and does not wait for the reader at exit.
    ended(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Turns the outcome of writing to standard output into that of the command.
pub(super) fn ended(written: io::Result<()>) -> Result<(), CliError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
        _ => Ok(()),
    }
}

/// Prints to standard error. What cannot be written is lost: there is no place left to say so, and it
/// decides nothing.
pub(super) fn report(text: &str) {
    let _ = Patient(io::stderr()).write_all(text.as_bytes());
}

/// Returns true if what is written to this stream may be coloured: it is a terminal that can show colours, and
/// `NO_COLOR` is not set.
pub(super) fn is_styled(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

/// A stream that waits for the other side, also if another process made it non-blocking.
#[derive(Debug)]
pub(super) struct Patient<W>(pub W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        when_ready(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        when_ready(|| self.0.flush())
    }
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        when_ready(|| self.0.read(bytes))
    }
}

/// Repeats an operation until its stream is ready for it.
fn when_ready<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(NOT_READY),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A stream that holds up nobody who writes to it. If its reader does not read, what exceeds the queue is
/// left out and counted.
#[derive(Debug, Clone)]
pub(super) struct Output(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The name of the stream in the line that counts what was left out.
    name: &'static str,
    queue: Mutex<QueuedTexts>,
    /// Notified of each change of the queue.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueuedTexts {
    texts: VecDeque<QueuedText>,
    /// The bytes of all texts.
    bytes: usize,
    /// The texts that were left out since the last line that said so.
    left_out: u64,
    /// True if the stream took a part of a text before it failed.
    torn: bool,
    /// True while the thread writes.
    writing: bool,
    /// The pieces that were written so far.
    pieces: u64,
}

#[derive(Debug)]
struct QueuedText {
    bytes: Vec<u8>,
    /// The number of texts that are lost if it cannot be written: itself, or those that it counts.
    stands_for: u64,
    /// True if it begins with the end of a line that the stream took in part.
    ends_torn_line: bool,
}

impl Output {
    /// Starts the thread that writes to `stream`.
    pub(super) fn start(
        name: &'static str,
        stream: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { name, queue: Mutex::default(), changed: Condvar::default() });
        let output = Self(Arc::clone(&shared));
        // The thread ends with the process, because a write to a stream that nobody reads cannot be interrupted.
        std::thread::Builder::new()
            .name(format!("to {name}"))
            .spawn(move || shared.write_to(stream))?;
        Ok(output)
    }

    /// Queues a text, or counts it as left out.
    pub(super) fn say(&self, text: impl Into<Vec<u8>>) {
        self.0.queue.lock().push(self.0.name, text.into());
        self.0.changed.notify_all();
    }

    /// Waits until everything is written, as long as the reader reads.
    pub(super) fn finish(&self) {
        let mut queue = self.0.queue.lock();
        let mut patience = Patience::new(queue.pieces, Instant::now());
        while !queue.is_written() {
            let now = Instant::now();
            let until = patience.until(queue.pieces, now);
            if until <= now {
                return;
            }
            self.0.changed.wait_until(&mut queue, until.into_std());
        }
    }
}

/// The patience with a reader at the end: some time in all, and less without progress.
struct Patience {
    deadline: Instant,
    /// The pieces that were written at the last progress.
    pieces: u64,
    progress: Instant,
}

impl Patience {
    fn new(pieces: u64, now: Instant) -> Self {
        Self { deadline: now + limits::LAST_OUTPUT, pieces, progress: now }
    }

    /// Returns the time at which it ends, if no more than `pieces` are written by then.
    fn until(&mut self, pieces: u64, now: Instant) -> Instant {
        if pieces != self.pieces {
            (self.pieces, self.progress) = (pieces, now);
        }
        self.deadline.min(self.progress + limits::LAST_OUTPUT_STALL)
    }
}

/// Queues a line of the log.
impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Writes what is queued, for ever.
    fn write_to(&self, stream: impl Write) {
        let mut stream = Counting { inner: Patient(stream), bytes: 0 };
        loop {
            let QueuedText { bytes, stands_for, ends_torn_line } = self.next_text();
            stream.bytes = 0;
            let written = bytes.chunks(PIECE).try_for_each(|piece| {
                stream.write_all(piece)?;
                self.queue.lock().pieces += 1;
                self.changed.notify_all();
                Ok::<_, io::Error>(())
            });
            let flushed = written.and_then(|()| stream.flush());
            let mut queue = self.queue.lock();
            queue.writing = false;
            if flushed.is_ok() {
                // Said only once somebody reads again.
                queue.say_left_out_at_the_end(self.name);
            } else {
                // The disk is full, or the reader is gone.
                queue.left_out += stands_for;
                queue.torn |= stream.bytes > 0 || ends_torn_line;
            }
            self.changed.notify_all();
        }
    }

    fn next_text(&self) -> QueuedText {
        let mut queue = self.queue.lock();
        loop {
            if let Some(text) = queue.pop() {
                return text;
            }
            self.changed.wait(&mut queue);
        }
    }
}

impl QueuedTexts {
    fn is_written(&self) -> bool {
        self.texts.is_empty() && !self.writing
    }

    fn push(&mut self, name: &str, text: Vec<u8>) {
        if !self.texts.is_empty() && self.bytes + text.len() > limits::OUTPUT_BYTES {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 {
            let notice = self.take_notice(name);
            self.append(notice);
        }
        self.append(QueuedText { bytes: text, stands_for: 1, ends_torn_line: false });
    }

    fn append(&mut self, text: QueuedText) {
        self.bytes += text.bytes.len();
        self.texts.push_back(text);
    }

    fn pop(&mut self) -> Option<QueuedText> {
        let text = self.texts.pop_front()?;
        self.bytes -= text.bytes.len();
        self.writing = true;
        Some(text)
    }

    /// Says how much was left out if no later text will do so.
    fn say_left_out_at_the_end(&mut self, name: &str) {
        if self.left_out > 0 && self.texts.is_empty() {
            let notice = self.take_notice(name);
            self.append(notice);
        }
    }

    fn take_notice(&mut self, name: &str) -> QueuedText {
        let count = std::mem::take(&mut self.left_out);
        let lines =
            if count == 1 { "1 line was".to_owned() } else { format!("{count} lines were") };
        let ends_torn_line = std::mem::take(&mut self.torn);
        let begin = if ends_torn_line { "\n" } else { "" };
        let text = format!("{begin}wwsim: {lines} left out here: {name} took nothing\n");
        QueuedText { bytes: text.into_bytes(), stands_for: count, ends_torn_line }
    }
}

/// A stream that counts the bytes that it takes.
struct Counting<W> {
    inner: W,
    bytes: usize,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.bytes += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A stream that takes a piece for each permit.
    struct Slow {
        permits: mpsc::Receiver<io::Result<()>>,
        written: Arc<Mutex<String>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().unwrap_or(Ok(()))?;
            self.written.lock().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Output, mpsc::Sender<io::Result<()>>, Arc<Mutex<String>>) {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(String::new()));
        let stream = Slow { permits, written: Arc::clone(&written) };
        (Output::start("the test", stream).unwrap(), permit, written)
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_counted_in_its_place() {
        let (output, permit, written) = slow();
        let text = |letter: &str| letter.repeat(limits::OUTPUT_BYTES / 4 - 1) + "\n";
        output.say(text("a"));
        // The thread holds the first text, so that the queue is empty.
        while !output.0.queue.lock().writing {
            std::thread::yield_now();
        }
        for letter in ["b", "c", "d", "e", "f", "g"] {
            output.say(text(letter));
        }
        // Nobody reads, so this gives up.
        output.finish();
        assert_eq!(*written.lock(), "");
        drop(permit);
        output.finish();
        output.say("later\n");
        output.finish();
        let written = written.lock().clone();
        let kept: Vec<&str> = written.lines().map(|line| &line[..line.len().min(80)]).collect();
        let index = kept.iter().position(|line| line.starts_with("wwsim: ")).unwrap();
        assert_eq!(index, 5, "{kept:?}");
        assert_eq!(kept[index], "wwsim: 2 lines were left out here: the test took nothing");
        assert_eq!(kept[index + 1..], ["later"]);
    }

    #[test]
    fn a_stream_that_fails_holds_up_nobody() {
        let (output, permit, written) = slow();
        let full = || Err(io::Error::from(ErrorKind::StorageFull));
        permit.send(full()).unwrap();
        output.say("lost\n");
        output.finish();
        permit.send(Err(io::Error::from(ErrorKind::WouldBlock))).unwrap();
        permit.send(Err(io::Error::from(ErrorKind::Interrupted))).unwrap();
        drop(permit);
        output.say("kept\n");
        output.finish();
        let expected = "wwsim: 1 line was left out here: the test took nothing\nkept\n";
        assert_eq!(*written.lock(), expected);
    }

    #[test]
    fn lines_that_are_lost_again_and_again_are_all_counted() {
        let (output, permit, written) = slow();
        let full = || Err(io::Error::from(ErrorKind::StorageFull));
        // The second text is torn: the stream takes its first piece. The notice before the third fails, too.
        for taken in [full(), full(), Ok(()), full(), full(), full()] {
            permit.send(taken).unwrap();
        }
        output.say("lost\n");
        output.finish();
        output.say("x".repeat(2 * PIECE) + "\n");
        output.finish();
        output.say("lost\n");
        output.finish();
        drop(permit);
        output.say("kept\n");
        output.finish();
        let expected = "\nwwsim: 3 lines were left out here: the test took nothing\nkept\n";
        assert_eq!(written.lock().trim_start_matches('x'), expected);
    }

    #[test]
    fn a_reader_that_takes_some_gets_more_time_up_to_a_deadline() {
        let begin = Instant::now();
        let mut patience = Patience::new(0, begin);
        assert_eq!(patience.until(0, begin), begin + limits::LAST_OUTPUT_STALL);
        let later = begin + limits::LAST_OUTPUT_STALL / 2;
        assert_eq!(patience.until(0, later), begin + limits::LAST_OUTPUT_STALL, "no progress");
        assert_eq!(patience.until(1, later), later + limits::LAST_OUTPUT_STALL);
        let late = begin + limits::LAST_OUTPUT - limits::LAST_OUTPUT_STALL / 2;
        assert_eq!(patience.until(2, late), begin + limits::LAST_OUTPUT);
    }

    #[test]
    fn a_text_of_several_pieces_is_written_as_a_whole() {
        let (output, permit, written) = slow();
        output.say("x".repeat(3 * PIECE) + "\n");
        let reader = std::thread::spawn(move || {
            for _ in 0..4 {
                permit.send(Ok(())).unwrap();
            }
        });
        output.finish();
        reader.join().unwrap();
        assert_eq!(written.lock().len(), 3 * PIECE + 1);
    }
}
