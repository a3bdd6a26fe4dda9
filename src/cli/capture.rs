//! `wwsim capture`: reads a device and writes a scenario that behaves like it.

mod client;
mod draft;
mod meter;
mod mqtt;
mod wifi;

use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

pub(super) use self::client::CaptureError;
use self::client::{DeviceClient, SCAN_PATH};
use self::draft::{CapturedDevice, ScenarioDraft};
use super::args::CaptureArguments;
use super::error::{CliError, ExitStatus};
use super::files::{OutputPlace, refusal, write_opened};
use super::load::STDIN;
use super::output::{print, report};
use crate::scenario;

/// Runs the command.
pub(super) fn capture(arguments: &CaptureArguments) -> Result<ExitStatus, CliError> {
    // Before the device is read, which may take long.
    let file = arguments.output.as_deref().filter(|path| *path != Path::new(STDIN));
    let output = file.map(NewFile::prepare).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let text = runtime.block_on(read(arguments))?;
    // The values of a device may be outside the documented ranges. The scenario is written all the
    // same, for a person to correct, and its mistakes are reported.
    let status = match scenario::load(&text, "captured", None) {
        Ok(_) => ExitStatus::Success,
        Err(diagnostics) => {
            let error = CliError::from(diagnostics);
            error.report();
            error.status()
        }
    };
    match output {
        None => print(&text)?,
        Some(file) => file.write(&text)?,
    }
    Ok(status)
}

/// A file that does not exist yet, or a pipe or a device.
struct NewFile<'a> {
    path: &'a Path,
    place: OutputPlace,
}

impl<'a> NewFile<'a> {
    /// Checks that there is no file at this path yet.
    fn prepare(path: &'a Path) -> Result<Self, CliError> {
        let failed = |source| CliError::WriteFile { path: path.to_owned(), source };
        let place = OutputPlace::of(path).map_err(failed)?;
        if let OutputPlace::File { folder, name } = &place
            && folder.kind(name).map_err(failed)?.is_some()
        {
            return Err(failed(refusal("it exists already; remove it, or give another file")));
        }
        Ok(Self { path, place })
    }

    /// Writes the file, and removes it again if it cannot be written completely: half a scenario would
    /// keep the next attempt from creating it.
    fn write(&self, text: &str) -> Result<(), CliError> {
        let written = match &self.place {
            OutputPlace::Opened(path) => write_opened(path, text.as_bytes()),
            OutputPlace::File { folder, name } => folder.create_file(name).and_then(|mut file| {
                file.write_all(text.as_bytes()).inspect_err(|_| {
                    // If it cannot be removed either, it stays.
                    let _ = folder.remove(name);
                })
            }),
        };
        written.map_err(|source| CliError::WriteFile { path: self.path.to_owned(), source })
    }
}

/// Reads the device and returns its scenario as text.
async fn read(arguments: &CaptureArguments) -> Result<String, CaptureError> {
    let password = arguments.password.clone().or_else(|| std::env::var("WWSIM_PASSWORD").ok());
    let mut client = DeviceClient::new(&arguments.url, password)?;
    let mut captured =
        CapturedDevice { system: client.system().await?, ..CapturedDevice::default() };
    let mut omissions = Omissions::default();
    for (path, part) in [
        ("/api/v1/settings", &mut captured.settings),
        ("/api/v1/meter/settings", &mut captured.meter_settings),
        ("/api/v1/meter/scalers/custom", &mut captured.custom_scalers),
        ("/api/v1/wifi/sta/settings", &mut captured.wifi),
        ("/api/v1/eth/settings", &mut captured.eth),
        ("/api/v1/mqtt/settings", &mut captured.mqtt),
        ("/api/v1/modbus", &mut captured.modbus),
        ("/api/v1/actions", &mut captured.actions),
        ("/api/v1/report", &mut captured.report),
        (SCAN_PATH, &mut captured.networks),
    ] {
        *part = omissions.allow(client.json(path).await)?;
    }
    captured.script = omissions.allow(client.text("/api/v1/berry").await)?;
    if captured.system["sd_card"]["installed"] == true {
        captured.sd_card = omissions.allow(client.json("/sdcard/").await)?;
    }
    let id = captured.system["device"]["id"].as_str().unwrap_or("a device");
    let ScenarioDraft { scenario, notes } = draft::scenario(&format!("{id}, captured"), &captured);
    let yaml = to_yaml(&scenario);
    let comments: String = omissions.notes.iter().chain(&notes).map(|note| comment(note)).collect();
    Ok(format!(
        "# Captured from {} by wwsim {}.\n# Secrets never leave a device: passwords are `captured` \
         here, repeated to their length where the\n# device tells it; keys and certificates' keys \
         are missing but where a comment says otherwise.\n{comments}{yaml}",
        client.authority(),
        env!("CARGO_PKG_VERSION"),
    ))
}

/// The parts of the device that could not be read, for the comments of the file.
#[derive(Default)]
struct Omissions {
    notes: Vec<String>,
}

impl Omissions {
    /// Replaces an error by `None` if it concerns one part alone, and notes it: the rest of the device
    /// can be captured. An example is the scan of a simulated device whose clock stands still, which
    /// never ends.
    fn allow<T>(
        &mut self,
        read: Result<Option<T>, CaptureError>,
    ) -> Result<Option<T>, CaptureError> {
        match read {
            Err(error) if error.is_partial(SCAN_PATH) => {
                report(&format!("wwsim: left out: {error}\n"));
                self.notes.push(format!("Left out: {error}"));
                Ok(None)
            }
            read => read,
        }
    }
}

/// Formats the scenario as YAML.
fn to_yaml(scenario: &Value) -> String {
    // Texts, numbers and mappings with texts as keys always become YAML.
    let yaml = serde_yaml::to_string(scenario).unwrap_or_default();
    // The YAML writer breaks lines at two characters that are not line breaks since YAML 1.2. JSON is
    // YAML, too.
    if yaml.contains(['\u{2028}', '\u{2029}']) {
        return format!("{scenario:#}\n");
    }
    yaml
}

/// Formats a note as comment lines of YAML.
fn comment(note: &str) -> String {
    /// Characters of a line.
    const WIDTH: usize = 98;
    let mut lines = String::from("#");
    let mut width = 1;
    // Splitting at white space removes line breaks in the device's texts, which would end the comment.
    for word in note.split_whitespace() {
        let word_width = word.chars().count() + 1;
        if width > 1 && width + word_width > WIDTH {
            lines.push_str("\n#  ");
            width = 3;
        }
        lines.push(' ');
        lines.push_str(word);
        width += word_width;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_survive_the_yaml_writer() {
        for name in ["plain", "a: b", "two\nlines", "a\u{2028}b \u{2029} c\u{85}d"] {
            let text = to_yaml(&json!({ "name": name, "seed": 7 }));
            let read = scenario::read_raw(&text).unwrap();
            assert_eq!(read.name.unwrap().as_str(), name, "{text}");
        }
    }
}
