//! Templates: text in which `${variable}` stands for a value (VARIABLE-3).
//!
//! A name is whatever stands between `${` and the next `}`. A name that is no variable stays as
//! typed, and what follows its `${` is looked at again, so that `${${1_7_0}` still has a value in it;
//! `${` without `}` is text. What a variable shows is not searched again.

use super::variables::{self, Facts, Reference};
use crate::limits;

/// A template, taken apart once, so that rendering it is only writing.
#[derive(Debug, Clone, Default)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Box<str>),
    Variable(Reference),
}

impl Template {
    /// Takes a template apart. Every text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let (mut begin, mut from) = (0, 0);
        while let Some(found) = text[from..].find("${") {
            let open = from + found;
            let inside = open + 2;
            let Some(length) = text[inside..].find('}') else { break };
            let name = &text[inside..inside + length];
            from = inside;
            if let Some(variable) = variables::find(name) {
                push_text(&mut parts, &text[begin..open]);
                parts.push(Part::Variable(variable));
                begin = inside + length + 1;
                from = begin;
            }
        }
        push_text(&mut parts, &text[begin..]);
        Self { parts }
    }

    /// The text with its values, at most [`limits::RENDERED_BYTES`] of it: what goes beyond is cut.
    #[must_use]
    pub fn render(&self, facts: &Facts<'_>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => variable.write(facts, &mut out),
            }
            if out.len() > limits::RENDERED_BYTES {
                out.truncate(out.floor_char_boundary(limits::RENDERED_BYTES));
                break;
            }
        }
        out
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
}

/// What the fuzzer checks, for its corpus to be replayed by the tests.
#[cfg(test)]
#[path = "../../fuzz/properties/template.rs"]
pub(super) mod property;

#[cfg(test)]
use crate::{clock, decimal, device, meter};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(text: &str, metered: bool) -> String {
        let (identity, snapshot) = (property::identity(), property::snapshot(metered));
        Template::parse(text).render(&property::facts(&identity, &snapshot))
    }

    // Ruling: VARIABLE-3.
    #[test]
    fn known_names_are_replaced_and_all_else_stays() {
        for (template, expected) in [
            ("E ${1_8_0} kWh, again ${energy.in}", "E 24.087 kWh, again 24.087"),
            ("${1_8_1}|${meter.id}|${meter.protocol}", "null||DSMR"),
            ("${1.8.0} ${SYS.ID} ${ sys.id } ${}", "${1.8.0} ${SYS.ID} ${ sys.id } ${}"),
            ("$1_8_0 {1_8_0} ${1_8_0", "$1_8_0 {1_8_0} ${1_8_0"),
            ("$${1_8_0}}", "$24.087}"),
            ("", ""),
        ] {
            assert_eq!(rendered(template, true), expected, "{template}");
        }
    }

    // Ruling: VARIABLE-3.
    #[test]
    fn an_unknown_name_hides_no_known_one_behind_it() {
        assert_eq!(rendered("${a${1_8_0}b}", true), "${a24.087b}");
        assert_eq!(rendered("${${sys.id}", true), "${A842E39F8124");
    }

    // Ruling: VARIABLE-3.
    #[test]
    fn what_a_variable_shows_is_not_searched_again() {
        assert_eq!(rendered("${sys.name}", true), "${sys.id} \u{1F3E0}");
    }

    #[test]
    fn without_a_meter_numbers_are_null_and_texts_empty() {
        assert_eq!(
            rendered("${1_7_0}|${timestamp}|${tariff}|${meter.vendor}|${meter.date_time}", false),
            "null|null|null||"
        );
        assert_eq!(rendered("${meter.status} ${conv_factor}", false), "NO DATA 1");
    }

    // Ruling: VARIABLE-3.
    #[test]
    fn volumes_are_counted_from_0_and_dated_in_utc() {
        assert_eq!(
            rendered("${vol[0].bus} ${vol[0].meter_id} ${vol[0].date_time}", true),
            "2 gas 1970-01-01T00:00:00Z"
        );
        assert_eq!(
            rendered("${vol[0].cumulative}${vol[3].bus}${vol[3].meter_id}", true),
            "nullnull"
        );
        let unknown = "${vol[4].bus}${vol[00].bus}${vol[+1].bus}${vol[0].unit}${vol[n].bus}";
        assert_eq!(rendered(unknown, true), unknown);
    }

    #[test]
    fn a_result_has_an_end() {
        let long = "ä".repeat(limits::RENDERED_BYTES);
        assert_eq!(rendered(&long, true).len(), limits::RENDERED_BYTES);
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/template");
        let mut changed = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            property::holds(&bytes);
            let text = std::str::from_utf8(&bytes).unwrap();
            changed += usize::from(rendered(text, true) != text);
        }
        assert!(changed > 3, "the corpus holds templates with variables, too: {changed}");
    }

    proptest! {
        #[test]
        fn rendering_is_the_plain_reading_of_the_rule(
            pieces in prop::collection::vec(prop_oneof![
                "[ ${}a.]{0,4}",
                "\\$\\{(1_8_0|sys\\.id|vol\\[[0-5]\\]\\.(bus|meter_id)|s31_7_0|[a-z.]{0,4})\\}",
                "\\PC{0,3}",
            ], 0..12)
        ) {
            property::holds(pieces.concat().as_bytes());
        }
    }
}
