//! Templates: text in which `${variable}` is replaced by a value (VARIABLE-3).
//!
//! A name is the text between `${` and the next `}`. If no variable has the name, the `${` is literal
//! text and the search continues after it, so that `${${1_7_0}` still contains a variable. `${`
//! without `}` is literal text. Values are not searched for variables.

use super::variables::{self, VariableContext, VariableRef};
use crate::limits;

/// A parsed template.
#[derive(Debug, Clone, Default)]
pub struct Template {
    segments: Vec<TemplateSegment>,
}

#[derive(Debug, Clone)]
enum TemplateSegment {
    Text(Box<str>),
    Variable(VariableRef),
}

impl Template {
    /// Parses a template. Every text is a valid template.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut segments = Vec::new();
        let (mut literal_start, mut position) = (0, 0);
        while let Some(offset) = text[position..].find("${") {
            let open = position + offset;
            let name_start = open + 2;
            let Some(length) = text[name_start..].find('}') else { break };
            let name = &text[name_start..name_start + length];
            position = name_start;
            if let Some(variable) = variables::find(name) {
                push_text(&mut segments, &text[literal_start..open]);
                segments.push(TemplateSegment::Variable(variable));
                literal_start = name_start + length + 1;
                position = literal_start;
            }
        }
        push_text(&mut segments, &text[literal_start..]);
        Self { segments }
    }

    /// Returns the text with the values, truncated to [`limits::RENDERED_BYTES`].
    #[must_use]
    pub fn render(&self, context: &VariableContext<'_>) -> String {
        let mut out = String::new();
        for segment in &self.segments {
            match segment {
                TemplateSegment::Text(text) => out.push_str(text),
                TemplateSegment::Variable(variable) => variable.write(context, &mut out),
            }
            if out.len() > limits::RENDERED_BYTES {
                out.truncate(out.floor_char_boundary(limits::RENDERED_BYTES));
                break;
            }
        }
        out
    }
}

fn push_text(segments: &mut Vec<TemplateSegment>, text: &str) {
    if !text.is_empty() {
        segments.push(TemplateSegment::Text(text.into()));
    }
}

/// The property that the fuzzer checks. The tests replay its corpus.
#[cfg(test)]
#[path = "../../tests/properties/template.rs"]
pub(super) mod property;

#[cfg(test)]
use crate::{clock, decimal, device, meter};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(text: &str, metered: bool) -> String {
        let (identity, snapshot) = (property::identity(), property::snapshot(metered));
        Template::parse(text).render(&property::context(&identity, &snapshot))
    }

    // Ruling: VARIABLE-3.
    #[test]
    fn known_names_are_replaced_and_other_text_stays() {
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
    fn a_variable_after_an_unknown_name_is_replaced() {
        assert_eq!(rendered("${a${1_8_0}b}", true), "${a24.087b}");
        assert_eq!(rendered("${${sys.id}", true), "${A842E39F8124");
    }

    // Ruling: VARIABLE-3.
    #[test]
    fn values_are_not_searched_for_variables() {
        assert_eq!(rendered("${sys.name}", true), "${sys.id} \u{1F3E0}");
    }

    #[test]
    fn without_a_meter_numbers_are_null_and_texts_are_empty() {
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
    fn a_rendered_template_is_truncated() {
        let long = "ä".repeat(limits::RENDERED_BYTES);
        assert_eq!(rendered(&long, true).len(), limits::RENDERED_BYTES);
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/corpus/template");
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
        fn rendering_agrees_with_the_naive_implementation(
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
