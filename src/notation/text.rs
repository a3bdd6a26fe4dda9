//! Texts in messages: excerpts, and lists of numbers.

/// Returns JSON without the byte order mark that some editors and shells put in front of it
/// (RFC 8259, section 8.1).
pub(crate) fn without_bom(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json)
}

/// Returns the first characters of a text, at most `count` of them.
pub(crate) fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// Returns the first characters of a text, at most `count` of them, and an ellipsis if more follow.
pub(crate) fn excerpt(text: &str, count: usize) -> String {
    let first = first_chars(text, count);
    if first.len() < text.len() { format!("{first}…") } else { first.to_owned() }
}

/// Returns text of a file for an error message: on one line, and at most 60 characters of it.
pub(crate) fn shortened(text: &str) -> String {
    excerpt(text, 60).replace(char::is_control, "\u{fffd}")
}

/// Joins ascending numbers for a message: "1 to 6, 15 or 16". Four numbers or more without a gap are
/// written as a range.
pub(crate) fn join_numbers(numbers: impl IntoIterator<Item = u8>, conjunction: &str) -> String {
    const LEAST_RANGE: usize = 4;
    let numbers: Vec<u8> = numbers.into_iter().collect();
    let mut items = Vec::new();
    for run in numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        match run {
            [first, .., last] if run.len() >= LEAST_RANGE => {
                items.push(format!("{first} to {last}"));
            }
            _ => items.extend(run.iter().map(u8::to_string)),
        }
    }
    join_items(&items, conjunction)
}

/// Joins the items of a list for a message, as in "a, b and c".
pub(crate) fn join_items(items: &[String], conjunction: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_that_more_follows() {
        assert_eq!(excerpt("äöü", 3), "äöü");
        assert_eq!(excerpt("äöü", 2), "äö…");
        assert_eq!(first_chars("äöü", 2), "äö");
        assert_eq!(shortened("a\nb"), "a\u{fffd}b");
    }

    #[test]
    fn numbers_without_a_gap_are_a_range() {
        assert_eq!(join_numbers([], "or"), "");
        assert_eq!(join_numbers([7], "or"), "7");
        assert_eq!(join_numbers([5, 6, 15, 16], "and"), "5, 6, 15 and 16");
        assert_eq!(join_numbers([1, 2, 3, 4, 15, 16, 17, 255], "or"), "1 to 4, 15, 16, 17 or 255");
    }
}
