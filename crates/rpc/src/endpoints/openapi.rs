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
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    let error = json!({
        "description": "An error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    });
    let document = json!({
        "openapi": "3.0.3",
        "info": {"title": "Coco node", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "responses": {"Error": error},
            "schemas": {"Error": error_schema()},
        },
    });
    format!("{document:#}\n")
}

fn operation(route: &Route) -> Value {
    let parameters: Vec<Value> = route
        .query
        .iter()
        .map(|(name, required, what)| {
            json!({"name": name, "in": "query", "required": required, "description": what, "schema": {"type": "string"}})
        })
        .collect();
    let (media_types, sentence) = route.answers;
    let status = if media_types.is_empty() { "204" } else { "200" };
    let mut success = json!({"description": sentence});
    for media_type in media_types {
        let schema = match *media_type {
            "application/json" => json!({"type": "object"}),
            _ => json!({"type": "string", "format": "binary"}),
        };
        success["content"][*media_type] = json!({"schema": schema});
    }
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {status: success, "default": {"$ref": "#/components/responses/Error"}},
    });
    if route.method == Method::POST {
        operation["requestBody"] = json!({"content": {"application/json": {"schema": {"type": "object"}}}});
    }
    operation
}

fn error_schema() -> Value {
    let text = json!({"type": "string"});
    let inner =
        json!({"type": "object", "required": ["code", "message"], "properties": {"code": text, "message": text}});
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
