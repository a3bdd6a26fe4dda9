//! `/api/v1/variables` and `/api/v1/template/test` (VARIABLE-1, VARIABLE-4).

use hyper::StatusCode;
use serde::{Serialize, Serializer};

use super::Call;
use super::HttpReply;
use crate::device::template::Template;
use crate::device::variables::{self, VariableContext};
use crate::limits;

/// Returns every variable as an object of its own, in the order of the table.
pub(super) fn list(call: &Call<'_>) -> HttpReply {
    let snapshot = call.device().snapshot();
    let mut pairs = Vec::with_capacity(variables::VARIABLES.len());
    variables::for_each(&VariableContext::new(call.device(), &snapshot), |name, value| {
        pairs.push(NameValue(name.to_owned(), value.to_owned()));
    });
    HttpReply::json(StatusCode::OK, &pairs)
}

/// Renders the template in the body.
pub(super) fn render(call: &Call<'_>) -> HttpReply {
    let Ok(text) = std::str::from_utf8(&call.body) else {
        let message = "the template is not UTF-8";
        return HttpReply::error(StatusCode::BAD_REQUEST, "invalid_template", message);
    };
    let characters = text.chars().count();
    if characters > limits::TEMPLATE_CHARS {
        let message = format!(
            "the template has {characters} characters, more than the {} it may have",
            limits::TEMPLATE_CHARS
        );
        return HttpReply::error(StatusCode::BAD_REQUEST, "invalid_template", &message);
    }
    let snapshot = call.device().snapshot();
    let rendered = Template::parse(text).render(&VariableContext::new(call.device(), &snapshot));
    HttpReply::content(StatusCode::OK, "text/plain; charset=utf-8", rendered)
}

/// An object with one member.
struct NameValue(String, String);

impl Serialize for NameValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, &self.1)])
    }
}
