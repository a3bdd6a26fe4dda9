//! The binary as a process: streams that nobody reads, signals, and the end of those who started it.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::support::device::eventually;
use crate::support::folder::Folder;
use crate::support::house::{address, http, within};

const WWSIM: &str = env!("CARGO_BIN_EXE_wwsim");

fn wwsim(arguments: &[&str]) -> Command {
    let mut command = Command::new(WWSIM);
    command.args(arguments).env_remove("WWSIM_LOG").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Returns a pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    // The capacity of a pipe on Linux.
    writer.write_all(&vec![b'.'; 65536]).unwrap();
    (reader, writer)
}

/// A running house on free ports.
struct RunningHouse {
    child: Child,
    ready: Value,
    /// For its ready file.
    _folder: Folder,
}

impl RunningHouse {
    /// Starts `wwsim run` with these arguments, as `configure` says, and waits for its ready file.
    async fn start(arguments: &[&str], configure: impl FnOnce(&mut Command)) -> Self {
        let (folder, file) = ready_file();
        let mut command = wwsim(&[&["run", "--any-port"], arguments].concat());
        command.arg("--ready-file").arg(&file);
        configure(&mut command);
        let child = command.spawn().unwrap();
        eventually(|| file.exists()).await;
        let ready = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        Self { child, ready, _folder: folder }
    }

    /// Returns the status of a GET request to the first device.
    async fn get(&self, path: &str) -> u16 {
        let device = self.ready["devices"][0]["http"].as_str().unwrap();
        within(http(address(device), "GET", path, "")).await.status
    }

    fn signal(&self, signal: &str) {
        let process = self.child.id().unwrap().to_string();
        let kill = std::process::Command::new("kill").args(["-s", signal, &process]).status();
        assert!(kill.unwrap().success());
    }

    async fn ended(&mut self) -> ExitStatus {
        within(self.child.wait()).await.unwrap()
    }

    /// Returns what a piped standard error has.
    async fn log(&mut self) -> String {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        within(stderr.read_to_string(&mut log)).await.unwrap();
        log
    }
}

fn ready_file() -> (Folder, PathBuf) {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let file = folder.0.join("ready.json");
    (folder, file)
}

#[tokio::test]
async fn a_house_whose_output_nobody_reads_starts_answers_and_ends() {
    let ((_stdout, out), (_stderr, err)) = (full_pipe(), full_pipe());
    let mut house = RunningHouse::start(&[], |command| {
        command.env("WWSIM_LOG", "wwsim=trace").stdout(out).stderr(err);
    })
    .await;
    for _ in 0..200 {
        assert_eq!(house.get("/api/v1/nothing").await, 404);
    }
    let control = address(house.ready["control"].as_str().unwrap());
    assert_eq!(within(http(control, "GET", "/control/v1/state", "")).await.status, 200);
    let slave = house.ready["slaves"]["heat_pump"].as_str().unwrap().parse().unwrap();
    let request = [0, 1, 0, 0, 0, 6, 1, 3, 0, 10, 0, 1];
    let mut slave = tokio::net::TcpStream::connect::<std::net::SocketAddr>(slave).await.unwrap();
    slave.write_all(&request).await.unwrap();
    assert!(within(slave.read(&mut [0; 64])).await.unwrap() > 0);
    house.signal("TERM");
    assert_eq!(house.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_command_that_fails_ends_although_nobody_reads_why() {
    for arguments in [&["run", "nosuch"][..], &["run", "--nosuch"], &["nosuch"]] {
        let (_reader, writer) = full_pipe();
        let status = wwsim(arguments).stderr(writer).status();
        assert_eq!(within(status).await.unwrap().code(), Some(2), "{arguments:?}");
    }
}

fn full_device() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

/// Returns a pipe without a reader.
fn closed_pipe() -> Stdio {
    pipe().unwrap().1.into()
}

#[tokio::test]
async fn a_full_or_closed_stream_decides_no_exit_code() {
    for stream in [full_device, closed_pipe] {
        for (arguments, code) in [
            (&["run", "nosuch"][..], 2),
            (&["run", "fixtures/scenarios/bad/meaning/house.yaml"], 1),
            (&["run", "--nosuch"], 2),
            (&["check", "no/such/file"], 2),
            (&["trace", "nosuch"], 2),
            (&["capture", "https://127.0.0.1"], 1),
        ] {
            let status = wwsim(arguments).stderr(stream()).status();
            assert_eq!(within(status).await.unwrap().code(), Some(code), "{arguments:?}");
        }
        let status = wwsim(&["--help"]).stdout(stream()).stderr(stream()).status();
        assert_eq!(within(status).await.unwrap().code(), Some(0));
        let mut house = RunningHouse::start(&[], |command| {
            command.env("WWSIM_LOG", "wwsim=trace").stdout(stream()).stderr(stream());
        })
        .await;
        assert_eq!(house.get("/api/v1/system").await, 200);
        house.signal("TERM");
        assert_eq!(house.ended().await.code(), Some(0));
    }
    // For these, standard output is the result.
    for arguments in [&["schema"][..], &["list"], &["check", "default"], &["trace", "default"]] {
        let status = wwsim(arguments).stdout(full_device()).status();
        assert_eq!(within(status).await.unwrap().code(), Some(2), "{arguments:?}");
        let output = wwsim(arguments).stdout(closed_pipe()).stderr(Stdio::piped()).output();
        let output = within(output).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_result_waits_for_its_reader() {
    let expected = within(wwsim(&["schema"]).stdout(Stdio::piped()).output()).await.unwrap().stdout;
    // A reader that made the stream non-blocking, and takes little at a time from a small buffer, so that the
    // writer finds it full again and again.
    let (mut reader, writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&writer).set_send_buffer_size(1).unwrap();
    let mut child = wwsim(&["schema"]).stdout(OwnedFd::from(writer)).spawn().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let (mut result, mut piece) = (Vec::new(), [0; 64]);
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok::<_, std::io::Error>(result),
                bytes => result.extend_from_slice(&piece[..bytes]),
            }
        }
    });
    assert_eq!(within(read).await.unwrap().unwrap(), expected);
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn warnings_that_a_client_provokes_are_throttled() {
    let state = Folder::new();
    let (_folder, scenario) = ready_file();
    std::fs::write(&scenario, "device: {sd_card: {}}").unwrap();
    let arguments = [scenario.to_str().unwrap(), "--state-dir", state.0.to_str().unwrap()];
    let mut house = RunningHouse::start(&arguments, |command| {
        command.stderr(Stdio::piped());
    })
    .await;
    let card = state.0.join("A842E39F8124/sdcard");
    // The house may not have made the folder of the device yet.
    std::fs::create_dir_all(&card).unwrap();
    std::fs::remove_dir_all(&card).unwrap();
    std::fs::write(&card, "no folder").unwrap();
    for _ in 0..64 + 15 {
        assert_eq!(house.get("/sdcard/").await, 503);
    }
    house.signal("TERM");
    assert_eq!(house.ended().await.code(), Some(0));
    let log = house.log().await;
    assert_eq!(log.matches("WARN wwsim::surface::http::sd").count(), 64, "{log}");
    assert!(log.contains("left out 15 more of WARN `SD card` within 60 s\n"), "{log}");
}

#[tokio::test]
async fn a_malformed_filter_of_the_log_is_refused() {
    for (filter, suggestion) in
        [("debgu", "did you mean `debug`?"), ("wwism=debug", "did you mean `wwsim=debug`?")]
    {
        let run = wwsim(&["run", "--any-port"])
            .env("WWSIM_LOG", filter)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output();
        let output = within(run).await.unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()), "{filter}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("wwsim: WWSIM_LOG: ") && error.contains(suggestion), "{error}");
    }
}

fn with_log(command: &mut Command) {
    command.env("WWSIM_LOG", "wwsim=info").stderr(Stdio::piped());
}

#[tokio::test]
async fn a_hang_up_ends_the_house_in_order_unless_it_was_ignored() {
    let mut house = RunningHouse::start(&[], with_log).await;
    house.signal("HUP");
    assert_eq!(house.ended().await.code(), Some(0));
    assert!(house.log().await.contains("the house ends: its terminal hung up"));

    // As `nohup` does.
    let (_folder, file) = ready_file();
    let script = r#"trap "" HUP; exec "$0" run --any-port --ready-file "$1""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, WWSIM]).arg(&file).stdout(Stdio::null()).kill_on_drop(true);
    with_log(&mut shell);
    let child = shell.spawn().unwrap();
    eventually(|| file.exists()).await;
    let ready = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let mut house = RunningHouse { child, ready, _folder: Folder::new() };
    house.signal("HUP");
    assert_eq!(house.get("/api/v1/system").await, 200);
    house.signal("TERM");
    assert_eq!(house.ended().await.code(), Some(0));
    let log = house.log().await;
    assert!(log.contains("the house ends: it was asked to terminate"), "{log}");
}

#[tokio::test]
async fn the_end_of_standard_input_ends_the_house_in_order() {
    let mut house = RunningHouse::start(&["--exit-with-stdin"], |command| {
        command.stdin(Stdio::piped());
        with_log(command);
    })
    .await;
    let mut stdin = house.child.stdin.take().unwrap();
    stdin.write_all(b"not the end\n").await.unwrap();
    assert_eq!(house.get("/api/v1/system").await, 200);
    drop(stdin);
    assert_eq!(house.ended().await.code(), Some(0));
    assert!(house.log().await.contains("standard input has ended"));

    let ended_before = within(wwsim(&["run", "--any-port", "--exit-with-stdin"]).status()).await;
    assert_eq!(ended_before.unwrap().code(), Some(0));
    let beside_dash = within(wwsim(&["run", "-", "--exit-with-stdin"]).status()).await;
    assert_eq!(beside_dash.unwrap().code(), Some(2));
}

/// Starts a shell in a session of its own that runs `script`, in which `$0` is the binary. Returns the shell
/// and a pipe that ends with the last process that has it.
fn shell(script: &str) -> (std::process::Child, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    let shell = std::process::Command::new("setsid")
        .args(["sh", "-c", script, WWSIM])
        .env("WWSIM_LOG", "wwsim=info")
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn();
    (shell.unwrap(), reader)
}

async fn rest_of(mut pipe: PipeReader) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    within(read).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_end_of_the_parent_ends_the_house_in_order() {
    // The shell is killed, once the house is up.
    let (mut parent, mut output) = shell(r#""$0" run --any-port --exit-with-parent & wait"#);
    let welcome = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        while !text.ends_with(b"Ctrl-C ends it.\n") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        output
    });
    let output = within(welcome).await.unwrap();
    parent.kill().unwrap();
    assert_eq!(parent.wait().unwrap().signal(), Some(9));
    let log = rest_of(output).await;
    assert!(log.contains("the house ends: the parent process is gone"), "{log}");
}

#[tokio::test]
async fn a_parent_that_was_gone_before_is_seen_too() {
    let script = r#"
        shell=$$
        (while kill -0 $shell 2>/dev/null; do sleep 0.01; done
         exec "$0" run --any-port --exit-with-parent) &"#;
    let (mut parent, output) = shell(script);
    assert_eq!(parent.wait().unwrap().code(), Some(0));
    let log = rest_of(output).await;
    assert!(log.contains("the parent process is gone"), "{log}");
}

#[tokio::test]
async fn a_scenario_is_read_from_standard_input() {
    for (text, arguments, code, printed) in [
        ("seed: 7\n", &["check", "-"][..], 0, "-: valid"),
        ("sede: 7\n", &["check", "-"], 1, "--> <standard input>:1:1"),
        ("sede: 7\n", &["run", "-"], 1, "--> <standard input>:1:1"),
        ("seed: 7\n", &["trace", "-", "--for", "1m"], 0, "time,local,"),
        ("seed: 7\n", &["check", "-", "-"], 2, "both read standard input"),
        ("seed: 7\n", &["run", "/dev/stdin", "--exit-with-stdin"], 2, "both read standard input"),
        (
            "0123456789abcdef\n",
            &["run", "--token-file", "/dev/stdin", "--exit-with-stdin"],
            2,
            "both read",
        ),
        ("0123456789abcdef\n", &["run", "-", "--token-file", "/dev/fd/0"], 2, "both read"),
    ] {
        let mut command = wwsim(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let written = child.stdin.take().unwrap().write_all(text.as_bytes()).await;
        // The last one refuses before it reads.
        assert!(written.is_ok_or_broken(), "{arguments:?}");
        let output = within(child.wait_with_output()).await.unwrap();
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
        assert!(all.contains(printed), "{arguments:?}: {all}");
    }
    let mut house = RunningHouse::start(&["-"], |command| {
        let (reader, mut writer) = pipe().unwrap();
        writer
            .write_all(b"name: from a pipe\ndevice: {settings: {system: {name: Keller}}}\n")
            .unwrap();
        command.stdin(reader);
    })
    .await;
    let device = address(house.ready["devices"][0]["http"].as_str().unwrap());
    let settings = within(http(device, "GET", "/api/v1/settings", "")).await;
    assert_eq!(settings.json()["system"]["name"], "Keller");
    house.signal("TERM");
    assert_eq!(house.ended().await.code(), Some(0));
}

trait OkOrBroken {
    fn is_ok_or_broken(&self) -> bool;
}

impl OkOrBroken for std::io::Result<()> {
    fn is_ok_or_broken(&self) -> bool {
        self.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::BrokenPipe)
    }
}
