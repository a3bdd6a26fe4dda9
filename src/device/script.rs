//! The Berry script: its state, and the lines that it prints at once. The script is not interpreted.

use crate::limits;

/// The state of the script since the boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ScriptState {
    pub running: bool,
    /// True if the script no longer starts by itself: its time has come, or a user has started or
    /// stopped it.
    pub start_decided: bool,
}

/// Returns the lines that a script prints as soon as it runs: each `print` of literals on a line of its
/// own, outside any block.
pub(super) fn printed_lines(script: &str) -> Vec<String> {
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

/// Returns the arguments of a call, joined as `print` joins them. `None` if one is not a literal.
fn literals(call: &str) -> Option<String> {
    let mut rest = call.trim_start().strip_prefix('(')?.trim_start();
    let mut texts = Vec::new();
    if let Some(after) = rest.strip_prefix(')') {
        return is_end_of_line(after).then(String::new);
    }
    loop {
        let (text, after) = literal(rest)?;
        texts.push(text);
        let after = after.trim_start();
        if let Some(after) = after.strip_prefix(')') {
            return is_end_of_line(after).then(|| texts.join(" "));
        }
        rest = after.strip_prefix(',')?.trim_start();
    }
}

/// Returns `true` if nothing but a comment follows.
fn is_end_of_line(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

/// Parses a string, number, boolean or nil, and returns it with the rest of the text.
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
    let is_literal =
        matches!(word, "true" | "false" | "nil") || word.parse::<f64>().is_ok_and(f64::is_finite);
    is_literal.then(|| (word.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_at_the_top_level_are_printed_lines() {
        let script = "import ww\nprint('hello')\nprint(\"a \\\"b\\\"\", 1.5, true) # why\nx = 1\n\
            print(x)\nprint('a' .. 'b')\ndef f()\n  print('inside')\nend\nif x\nprint('in if')\nend\n\
            print(-7)\nprint()\nprint('two\\nlines')\nprint 'no call'\nprinter('x')\nprint('open";
        assert_eq!(printed_lines(script), ["hello", "a \"b\" 1.5 true", "-7", "", "two\nlines"]);
    }

    #[test]
    fn a_block_on_one_line_ends_there() {
        assert_eq!(printed_lines("if true print('x') end\nprint('y')"), ["y"]);
    }
}
