//! The examples of the guides can be pasted: scenarios load, rules and calls are accepted, commands and flags
//! are there. `scripts/e2e/frontend` follows the examples in JavaScript; rustdoc runs those in Rust.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wwsim::house::House;
use wwsim::scenario;

use crate::support::house::{Answer, TestHouse, http};
use crate::support::within;

const FAULTS: &str = include_str!("../../docs/faults.md");
const METER: &str = include_str!("../../docs/meter.md");
const FRONTEND: &str = include_str!("../../docs/frontend.md");

/// The folder with the files that examples name.
const EXAMPLE_FILES: &str = "fixtures/scenarios/good";

/// The devices, slaves and targets that the places of the fault guide name.
const HOUSE: &str = "
device:
  actions:
    actions:
      - {id: light_toggle, requests: [{http: {url: 'http://bulb.local/light/0'}}]}
      - {id: write, requests: [{modbus: {host: pump.local, func: 6, address: 10, value: '0001'}}]}
slaves: {heat_pump: {hosts: [pump.local], units: {1: {holding: [{address: 10..20}]}}}}
http_targets: {bulb: {hosts: [bulb.local]}}
";

/// A block of code in a document.
struct Block {
    /// The document and the line at which the block begins.
    place: String,
    language: String,
    text: String,
}

/// Returns the documents for users: their names and texts.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files =
        vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("SECURITY.md")];
    files.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    // The packaged crate is tested without the others.
    let crates = fs::read_dir(root.join("crates")).into_iter().flatten();
    files.extend(crates.map(|entry| entry.unwrap().path().join("README.md")));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let name = |file: &Path| file.strip_prefix(root).unwrap().display().to_string();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

/// Returns the blocks of code in all documents.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, text) in documents() {
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let place = format!("{name}:{}", number + 1);
                    let language = language.to_owned();
                    open = Some(Block { place, language, text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{name} has a block without an end");
    }
    assert!(blocks.len() > 40, "{} blocks found", blocks.len());
    blocks
}

fn blocks_in(language: &str) -> impl Iterator<Item = Block> {
    blocks().into_iter().filter(move |block| block.language == language)
}

/// Returns the code of a line, which stands between backquotes.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns the code within the text of a document, outside its blocks.
fn inline_code(text: &str) -> Vec<&str> {
    let mut is_block = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        is_block ^= line.starts_with("```");
        if !is_block && !line.starts_with("```") {
            lines.push(line);
        }
    }
    lines.into_iter().flat_map(code).collect()
}

#[test]
fn every_block_names_its_language() {
    for block in blocks() {
        let known =
            ["yaml", "yml", "sh", "js", "json", "rust", "toml", "dockerfile", "python", "text"];
        let language = block.language.split(',').next().unwrap_or_default();
        assert!(known.contains(&language), "{}: `{language}`", block.place);
    }
}

/// Blocks in `yaml` are scenarios; other YAML is marked `yml`.
#[test]
fn every_scenario_of_the_guides_loads() {
    let mut loaded = 0;
    for block in blocks_in("yaml") {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE_FILES);
        if let Err(mistakes) = scenario::load(&block.text, &block.place, Some(&base)) {
            panic!("{mistakes}\n{}", block.text);
        }
        loaded += 1;
    }
    assert!(loaded > 10, "{loaded} scenarios");
}

#[test]
fn keys_within_the_text_of_the_guides_are_valid() {
    let schema: Value = serde_json::from_str(&scenario::json_schema()).unwrap();
    let top = schema["properties"].as_object().unwrap();
    let mut loaded = 0;
    for (name, text) in documents() {
        for code in inline_code(&text) {
            let key = code.split_once(": ").map(|(key, _)| key);
            // `device` and `devices` are also keys of places.
            if key.is_none_or(|key| key.starts_with("device") || !top.contains_key(key))
                || code.contains('…')
            {
                continue;
            }
            if let Err(mistakes) = scenario::load(code, &name, None) {
                panic!("{mistakes}\n{code}");
            }
            loaded += 1;
        }
    }
    assert!(loaded > 5, "{loaded} keys");
}

#[test]
fn every_json_of_the_guides_is_json() {
    for block in blocks_in("json") {
        if let Err(error) = serde_json::from_str::<Value>(&block.text) {
            panic!("{}: {error}", block.place);
        }
    }
}

/// A simple command of a shell line: its words, unquoted.
type Words = Vec<String>;

/// Splits a script into its commands, as a shell does: at ends of lines, `|`, `;` and `&`, without comments.
fn commands(script: &str) -> Vec<Words> {
    let (mut commands, mut words) = (Vec::new(), Words::new());
    let (mut word, mut quote) = (None::<String>, None::<char>);
    let mut characters = script.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(character),
            (_, '\\') => {
                // At the end of a line it joins the next one.
                if let Some(next) = characters.next().filter(|next| *next != '\n') {
                    word.get_or_insert_default().push(next);
                }
            }
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => {
                while characters.next_if(|next| *next != '\n').is_some() {}
            }
            (None, ' ') => words.extend(word.take()),
            (None, '\n' | '|' | ';' | '&') => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    assert!(quote.is_none(), "an open quote: {script}");
    words.extend(word);
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    commands
}

/// A call of curl.
#[derive(Debug, Default)]
struct Call {
    method: Option<String>,
    url: String,
    body: String,
    /// True if it needs a password, which this client cannot give.
    has_user: bool,
}

impl Call {
    fn parse(words: &[String]) -> Self {
        let mut call = Self::default();
        let mut words = words.iter().skip(1);
        while let Some(word) = words.next() {
            let mut value =
                || words.next().unwrap_or_else(|| panic!("{word} without a value")).clone();
            match &**word {
                "-X" => call.method = Some(value()),
                "-d" => call.body = value(),
                "-u" => {
                    value();
                    call.has_user = true;
                }
                "-o" | "-w" | "-H" => drop(value()),
                "-i" | "-s" | "-N" | "--anyauth" => {}
                url if !url.starts_with('-') && call.url.is_empty() => call.url = url.into(),
                other => panic!("{other}: no flag of curl in the guides"),
            }
        }
        if let Some(file) = call.body.strip_prefix('@') {
            assert_eq!(file, "my-actions.json", "there is no such example");
            call.body = fs::read_to_string(Path::new(EXAMPLE_FILES).join("actions.json")).unwrap();
        }
        call
    }

    /// Sends the call to a house on other ports. `None` if it needs a password.
    async fn send(&self, house: &TestHouse) -> Option<Answer> {
        let url = self.url.strip_prefix("http://").unwrap_or(&self.url);
        let (host, path) = url.split_once('/').unwrap_or((url, ""));
        let port: u16 = host.rsplit(':').next().unwrap().parse().unwrap();
        let device = |index: usize| {
            let url = &house.addresses().devices[index].http;
            url.strip_prefix("http://").unwrap().parse::<SocketAddr>().unwrap()
        };
        let to = if port == 8090 { house.control_address() } else { device((port - 8080).into()) };
        let method = match &self.method {
            Some(method) => method,
            None if self.body.is_empty() => "GET",
            None => "POST",
        };
        if self.has_user {
            return None;
        }
        let path = format!("/{path}");
        if path == "/api/v1/live" {
            // The stream has no end.
            return Some(head(to, &path).await);
        }
        Some(http(to, method, &path, &self.body).await)
    }
}

/// Returns the head of a response whose body has no end.
async fn head(to: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        received.push(within(stream.read_u8()).await.unwrap());
    }
    crate::support::house::parse(&String::from_utf8(received).unwrap())
}

/// Panics if `wwsim` has no such command, or if the command has no such flag.
fn check_wwsim(place: &str, words: &[String]) {
    let arguments = words.iter().map(String::as_str);
    let binary = env!("CARGO_BIN_EXE_wwsim");
    let command = arguments.clone().next().unwrap_or("run");
    let help = std::process::Command::new(binary).args([command, "--help"]).output().unwrap();
    assert!(help.status.success(), "{place}: there is no `wwsim {command}`");
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in arguments.filter(|word| word.starts_with('-')) {
        let flag = flag.split('=').next().unwrap_or(flag);
        let has_flag = help.split([' ', ',', '\n', '[']).any(|word| word == flag);
        assert!(has_flag, "{place}: `wwsim {command}` has no {flag}");
    }
}

/// Programs that the guides call and that this test does not run.
const OTHER_PROGRAMS: [&str; 12] = [
    "npm",
    "mosquitto",
    "mosquitto_sub",
    "mbpoll",
    "openssl",
    "wrk",
    "locust",
    "k6",
    "jq",
    "sleep",
    "for",
    "done",
];

/// Carries the commands of a script out, as far as they are calls of curl, and checks the others.
async fn follow(place: &str, script: &str, house: &TestHouse) -> usize {
    let mut calls = 0;
    for words in commands(script) {
        let names: Vec<&str> = words.iter().map(String::as_str).collect();
        match names[..] {
            ["curl", ..] => {
                let call = Call::parse(&words);
                let Some(answer) = call.send(house).await else { continue };
                // The reply of an example that is refused stands behind it.
                let refused = script.contains("# {\"error\"");
                let line = format!("{place}: {call:?}: {} {}", answer.status, answer.body);
                assert_eq!(answer.status >= 400, refused, "{line}");
                if refused {
                    assert!(script.contains(&format!("# {}\n", answer.body)), "{line}");
                }
                calls += 1;
            }
            ["wwsim" | "target/dist/wwsim", ..] => check_wwsim(place, &words[1..]),
            ["cargo", "run", "--example", name, ..] => {
                assert!(
                    Path::new("examples").join(format!("{name}.rs")).exists(),
                    "{place}: {name}"
                );
            }
            [] | ["cargo" | "RUSTDOCFLAGS=-D warnings", ..] => {}
            [program, ..] if program.starts_with("scripts/") => {
                assert!(Path::new(program).exists(), "{place}: there is no {program}");
            }
            [program, ..] => {
                assert!(OTHER_PROGRAMS.contains(&program), "{place}: is `{program}` a program?");
            }
        }
    }
    calls
}

#[tokio::test]
async fn every_command_of_the_guides_can_be_pasted() {
    let mut calls = 0;
    for block in blocks_in("sh") {
        let house = TestHouse { house: House::builder().any_port().start().await.unwrap() };
        calls += follow(&block.place, &block.text, &house).await;
    }
    assert!(calls > 10, "{calls} calls");
    let mut commands = 0;
    for (name, text) in documents() {
        for code in inline_code(&text).into_iter().filter(|code| code.starts_with("wwsim ")) {
            // Placeholders are in capitals.
            if code != "wwsim COMMAND --help" {
                let words: Words = code.split_whitespace().skip(1).map(str::to_owned).collect();
                check_wwsim(&name, &words);
                commands += 1;
            }
        }
    }
    assert!(commands > 10, "{commands} commands");
}

/// The comment behind a command may begin with the status of its reply.
#[tokio::test]
async fn the_commands_to_try_of_the_built_in_houses_can_be_pasted() {
    let mut calls = 0;
    for builtin in scenario::builtins() {
        let house = House::builder().builtin(builtin.name).any_port().start().await.unwrap();
        let house = TestHouse { house };
        // This test carries out no loops, on which the commands behind them depend.
        let has_loop = builtin.text.contains("#   for ");
        for line in builtin.text.lines().filter_map(|line| line.strip_prefix("#   ")) {
            let (command, comment) = line.split_once(" # ").unwrap_or((line, ""));
            let Some(words) = commands(command).into_iter().next() else { continue };
            if words[0] == "wwsim" {
                check_wwsim(builtin.name, &words[1..]);
            // A line within a loop is indented, and needs its variable.
            } else if words[0] == "curl" && !line.ends_with('\\') && !line.starts_with(' ') {
                let Some(answer) = Call::parse(&words).send(&house).await else { continue };
                let stated: Option<u16> = comment.get(..3).and_then(|status| status.parse().ok());
                let expected = stated.map_or(answer.status < 400, |stated| stated == answer.status);
                assert!(
                    expected || has_loop,
                    "{}: {line}: {} {}",
                    builtin.name,
                    answer.status,
                    answer.body
                );
                calls += 1;
            }
        }
    }
    assert!(calls > 20, "{calls} calls");
}

#[test]
fn a_script_is_split_as_by_a_shell() {
    let script =
        "curl -d '{\"a\": 1}' \\\n  http://x   # a comment\nwwsim run & a 'b # c' | jq \"$d\"\n";
    let expected: [&[&str]; 4] = [
        &["curl", "-d", "{\"a\": 1}", "http://x"],
        &["wwsim", "run"],
        &["a", "b # c"],
        &["jq", "$d"],
    ];
    assert_eq!(commands(script), expected);
}

#[test]
fn every_place_and_effect_of_the_guides_is_valid() {
    let (mut at, mut tried) = (None, 0);
    for line in FAULTS.lines().chain(METER.lines()) {
        if let Some(place) = line.strip_prefix("**`at: ") {
            at = place.split_once("`**").map(|(place, _)| place);
        } else if line.starts_with("The place is `at: meter`") {
            at = Some("meter");
        } else if line.starts_with("## ") {
            at = None;
        }
        let (Some(at), Some(cell)) = (at, line.strip_prefix("| `")) else { continue };
        let effects = format!("`{}", cell.split(" | ").next().unwrap_or_default());
        for effect in code(&effects) {
            let at = if effect == "refuse" && at != "mqtt" { "{slave: heat_pump}" } else { at };
            let yaml = format!("{HOUSE}faults: [{{at: {at}, effect: {effect}}}]\n");
            if let Err(mistakes) = scenario::load(&yaml, "guide", None) {
                panic!("{at} {effect}: {mistakes}");
            }
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried} effects found");
}

#[tokio::test]
async fn the_default_house_accepts_the_rules_of_other_guides() {
    let house = TestHouse { house: House::builder().any_port().start().await.unwrap() };
    let documents = documents();
    let rules: Vec<Value> = documents
        .iter()
        .flat_map(|(_, text)| inline_code(text))
        .filter(|text| text.starts_with("{\"id\":"))
        .map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect();
    assert!(rules.len() >= 5, "{rules:?}");
    for rule in rules {
        house.add_fault(rule).await;
    }
    let parts = FRONTEND.lines().flat_map(code).filter_map(|text| text.strip_prefix("\"effect\":"));
    let parts: Vec<&str> = parts.collect();
    assert!(!parts.is_empty(), "the guide gives no effect alone");
    for (n, effect) in parts.into_iter().enumerate() {
        let effect: Value = serde_json::from_str(effect).unwrap();
        let at = if effect == "disable" { "action" } else { "api" };
        house.add_fault(json!({"id": format!("part-{n}"), "at": at, "effect": effect})).await;
    }
}
