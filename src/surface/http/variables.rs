//! `/api/v1/variables` and `/api/v1/template/test` (VARIABLE-1, VARIABLE-4).

use hyper::StatusCode;

use super::Call;
use super::HttpReply;
use crate::device::template::Template;
use crate::device::variables::{self, VariableContext};
use crate::limits;
use crate::net::http::json::JsonWriter;

/// Returns every variable as an object of its own, in the order of the table.
pub(super) fn list(call: &Call<'_>) -> HttpReply {
    let (device, snapshot) = (call.device(), call.device().snapshot());
    let render = || render_variables(&VariableContext::new(device, &snapshot)).into();
    HttpReply::raw_json(StatusCode::OK, call.snapshot_body(&snapshot, None, render))
}

fn render_variables(context: &VariableContext<'_>) -> String {
    let mut json = JsonWriter::with_capacity(4096);
    json.begin_array();
    variables::for_each(context, |name, value| {
        json.begin();
        json.text(name, value);
        json.end();
    });
    json.end_array();
    json.into_string()
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
