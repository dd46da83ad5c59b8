//! The OpenAPI document, from the table of routes.

use http::Method;
use serde_json::{Map, Value, json};

use super::request::content;
use super::{Exchange, ROUTES, Route};

pub(crate) fn document(exchange: Exchange<'_>) {
    (exchange.reply)(content("application/json", text().into()));
}

/// With line breaks: it is held to a golden file, whose differences people read.
fn text() -> String {
    let described = ROUTES.iter().map(|route: &Route| Described {
        method: &route.method,
        path: route.path,
        summary: route.summary,
        query: route.query,
        answers: route.answers,
        body: (route.method == Method::POST).then_some("application/json"),
    });
    document_of("Coco node", described, std::iter::empty())
}

/// An operation as the document shows it.
pub(crate) struct Described<'a> {
    pub(crate) method: &'a Method,
    /// With its parameters in braces.
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [(&'static str, bool, &'static str)],
    pub(crate) answers: (&'static [&'static str], &'static str),
    /// Media type of the request's body.
    pub(crate) body: Option<&'static str>,
}

/// `codes`: those of its errors, if they are all listed somewhere.
pub(crate) fn document_of<'a>(
    title: &str,
    operations: impl Iterator<Item = Described<'a>>,
    codes: impl Iterator<Item = &'static str>,
) -> String {
    let mut paths = Map::new();
    for described in operations {
        let path = paths.entry(described.path).or_insert_with(|| json!({}));
        path[described.method.as_str().to_ascii_lowercase()] = operation(&described);
    }
    let error = json!({
        "description": "An error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    });
    let document = json!({
        "openapi": "3.0.3",
        "info": {"title": title, "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "responses": {"Error": error},
            "schemas": {"Error": error_schema(codes.collect())},
        },
    });
    format!("{document:#}\n")
}

fn operation(described: &Described<'_>) -> Value {
    let text = |name: &str, place: &str, required: bool, what: &str| json!({"name": name, "in": place, "required": required, "description": what, "schema": {"type": "string"}});
    let in_path = described.path.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    let mut parameters: Vec<Value> = in_path.map(|(name, _)| text(name, "path", true, "names the resource")).collect();
    parameters.extend(described.query.iter().map(|(name, required, what)| text(name, "query", *required, what)));
    let (media_types, sentence) = described.answers;
    let status = if media_types.is_empty() { "204" } else { "200" };
    let mut success = json!({"description": sentence});
    for media_type in media_types {
        success["content"][*media_type] = json!({"schema": schema(media_type)});
    }
    let mut operation = json!({
        "summary": described.summary,
        "parameters": parameters,
        "responses": {status: success, "default": {"$ref": "#/components/responses/Error"}},
    });
    if let Some(media_type) = described.body {
        operation["requestBody"] = json!({"content": {media_type: {"schema": schema(media_type)}}});
    }
    operation
}

fn schema(media_type: &str) -> Value {
    match media_type {
        "application/json" => json!({"type": "object"}),
        "text/javascript" | "text/event-stream" => json!({"type": "string"}),
        _ => json!({"type": "string", "format": "binary"}),
    }
}

fn error_schema(codes: Vec<&str>) -> Value {
    let text = json!({"type": "string"});
    let mut code = text.clone();
    if !codes.is_empty() {
        code["enum"] = codes.into();
    }
    let inner =
        json!({"type": "object", "required": ["code", "message"], "properties": {"code": code, "message": text}});
    json!({"type": "object", "required": ["error"], "properties": {"error": inner}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_golden_file() {
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/openapi.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, text()).expect("the testdata folder can be written");
        }
        let expected = std::fs::read_to_string(&golden).expect("testdata/openapi.json");
        assert_eq!(text(), expected, "run again with UPDATE_GOLDEN=1 if the change is meant");
    }

    #[test]
    fn every_route_stands_once_and_in_order() {
        let keys: Vec<_> = ROUTES.iter().map(|route| (route.path, route.method.as_str())).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }
}
