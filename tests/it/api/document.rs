//! `docs/openapi.json`, and whether an answer is one that it has.

use boon::{Compiler, Schemas};
use serde_json::Value;

const LOCATION: &str = "http://fieldgate.invalid/openapi.json";

/// The document.
pub(super) struct Document(Value);

impl Document {
    pub(super) fn load() -> Self {
        let text = std::fs::read_to_string("docs/openapi.json").unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    /// Fails unless the document has this answer to this request, with such a body.
    pub(super) fn check(&self, method: &str, path: &str, status: u16, body: &str) {
        let escaped = path.replace('/', "~1");
        let pointer = format!(
            "/paths/{escaped}/{}/responses/{status}",
            method.to_lowercase()
        );
        let documented = self.0.pointer(&pointer);
        let documented = documented
            .unwrap_or_else(|| panic!("{method} {path} {status} is not documented: {body}"));
        if documented.pointer("/content/application~1json").is_some() {
            let schema = format!("{pointer}/content/application~1json/schema");
            self.check_schema(&schema, body);
        }
    }

    /// Fails unless a body is that of an error.
    pub(super) fn check_error(&self, body: &str) {
        self.check_schema("/components/schemas/Error", body);
    }

    /// Fails unless the data of an event is as documented.
    pub(super) fn check_event(&self, name: &str, data: &str) {
        let pointer = format!(
            "/paths/~1api~1v1~1events/get/responses/200/content/text~1event-stream/x-event-data/{name}"
        );
        assert!(
            self.0.pointer(&pointer).is_some(),
            "the event {name} is not documented"
        );
        self.check_schema(&pointer, data);
    }

    fn check_schema(&self, pointer: &str, body: &str) {
        let instance = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let mut compiler = Compiler::new();
        compiler.add_resource(LOCATION, self.0.clone()).unwrap();
        let mut schemas = Schemas::new();
        let schema = compiler.compile(&format!("{LOCATION}#{pointer}"), &mut schemas);
        let schema = schema.unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
        if let Err(error) = schemas.validate(&instance, schema) {
            panic!("{pointer}: {error:#}\n{instance:#}");
        }
    }
}

#[test]
fn the_document_refuses_what_it_does_not_describe() {
    let document = Document::load();
    let refuses = |body: &'static str| {
        let document = Document(document.0.clone());
        std::panic::catch_unwind(move || document.check("GET", "/healthz", 200, body)).is_err()
    };
    assert!(!refuses(r#"{"status":"ok","version":"1"}"#));
    assert!(refuses(r#"{"status":"ok"}"#));
    assert!(refuses(r#"{"status":"ok","version":"1","more":1}"#));
    assert!(refuses(r#"{"status":"bad","version":"1"}"#));
}
