//! `wwsim capture`: reads a device and writes the scenario that behaves like it.

mod client;
mod draft;
mod meter;
mod mqtt;
mod wifi;

use std::fs;
use std::io::Write as _;

use serde_json::Value;

use self::client::{DeviceClient, SCAN, Unreadable};
use self::draft::{Captured, ScenarioDraft};
use super::args::CaptureArguments;
use super::{CliOutcome, print};
use crate::scenario;

/// The command.
pub(super) fn capture(arguments: &CaptureArguments) -> CliOutcome {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("wwsim: cannot start: {error}");
            return CliOutcome::Invalid;
        }
    };
    let text = match runtime.block_on(read(arguments)) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("wwsim: {error}");
            return CliOutcome::Invalid;
        }
    };
    // What a device says may lie outside of what is known of it: the file is written all the same, for
    // somebody to look at, and said to be wrong.
    let outcome = match scenario::load(&text, "captured", None) {
        Ok(_) => CliOutcome::Done,
        Err(mistakes) => {
            eprint!("{}", mistakes.human(false));
            CliOutcome::Invalid
        }
    };
    let written = match &arguments.output {
        None => print(&text),
        Some(path) => {
            let written = fs::File::create_new(path).and_then(|mut file| {
                let written = file.write_all(text.as_bytes());
                if written.is_err() {
                    // Half a scenario would be in the way of the next try.
                    let _ = fs::remove_file(path);
                }
                written
            });
            match written {
                Ok(()) => CliOutcome::Done,
                Err(error) => {
                    eprintln!("wwsim: cannot write {}: {error}", path.display());
                    CliOutcome::Usage
                }
            }
        }
    };
    if written == CliOutcome::Done { outcome } else { written }
}

/// The scenario of the device, as text.
async fn read(arguments: &CaptureArguments) -> Result<String, Unreadable> {
    let password = arguments.password.clone().or_else(|| std::env::var("WWSIM_PASSWORD").ok());
    let mut client = DeviceClient::new(&arguments.url, password)?;
    let mut captured = Captured { system: client.system().await?, ..Captured::default() };
    let mut left_out = LeftOut::default();
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
        (SCAN, &mut captured.networks),
    ] {
        *part = left_out.unless(client.json(path).await)?;
    }
    captured.script = left_out.unless(client.text("/api/v1/berry").await)?;
    if captured.system["sd_card"]["installed"] == true {
        captured.sd_card = left_out.unless(client.json("/sdcard/").await)?;
    }
    let id = captured.system["device"]["id"].as_str().unwrap_or("a device");
    let ScenarioDraft { scenario, notes } = draft::scenario(&format!("{id}, captured"), &captured);
    let yaml = written(&scenario);
    let comments: String = left_out.0.iter().chain(&notes).map(|note| comment(note)).collect();
    Ok(format!(
        "# Captured from {} by wwsim {}.\n# Secrets never leave a device: passwords are `captured` \
         here, repeated to their length where the\n# device tells it; keys and certificates' keys \
         are missing but where a comment says otherwise.\n{comments}{yaml}",
        client.authority(),
        env!("CARGO_PKG_VERSION"),
    ))
}

/// What could not be read, for the comments of the file.
#[derive(Default)]
struct LeftOut(Vec<String>);

impl LeftOut {
    /// What was read, or none where that alone could not be: a device that keeps one thing to itself
    /// is still worth the others; so is a twin whose clock stands, which never comes to the end of a
    /// scan.
    fn unless<T>(&mut self, read: Result<Option<T>, Unreadable>) -> Result<Option<T>, Unreadable> {
        match read {
            Err(error) if error.concerns_only(SCAN) => {
                eprintln!("wwsim: left out: {error}");
                self.0.push(format!("Left out: {error}"));
                Ok(None)
            }
            read => read,
        }
    }
}

/// The scenario as YAML.
fn written(scenario: &Value) -> String {
    // Texts, numbers and mappings with texts as keys always become YAML.
    let yaml = serde_yaml::to_string(scenario).unwrap_or_default();
    // The writer breaks lines at two characters that are no line breaks since YAML 1.2; JSON is YAML too.
    if yaml.contains(['\u{2028}', '\u{2029}']) {
        return format!("{scenario:#}\n");
    }
    yaml
}

/// A note as comments of YAML, each line short enough to be read.
fn comment(note: &str) -> String {
    const WIDTH: usize = 98;
    let mut lines = String::from("#");
    let mut width = 1;
    // By white space, so that nothing that a device says ends the comment.
    for word in note.split_whitespace() {
        let long = word.chars().count() + 1;
        if width > 1 && width + long > WIDTH {
            lines.push_str("\n#  ");
            width = 3;
        }
        lines.push(' ');
        lines.push_str(word);
        width += long;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_is_read_as_it_was_written() {
        for name in ["plain", "a: b", "two\nlines", "a\u{2028}b \u{2029} c\u{85}d"] {
            let text = written(&json!({ "name": name, "seed": 7 }));
            let read = scenario::read_raw(&text).unwrap();
            assert_eq!(read.name.unwrap().as_str(), name, "{text}");
        }
    }
}
