//! The OpenAPI document: every route is in it with its methods, every operation in it is answered, and what is answered has
//! the shape that it says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::peer::request;
use crate::server::{Api, START_MS, seconds};

/// The routes as the router's source has them: path -> methods.
fn routes() -> BTreeMap<String, BTreeSet<String>> {
    let source = include_str!("../../src/http/routes.rs");
    let whole: String = source.split_whitespace().collect();
    let mut routes = BTreeMap::new();
    // The first ones are of the outer router.
    let mut prefix = "";
    for part in whole.split(".route(\"").skip(1) {
        let (path, rest) = part.split_once('"').unwrap();
        prefix = match path {
            "/query" | "/openapi.json" => "/api/v1",
            // Alertmanager's stand between Prometheus's and our own.
            "/alerts" if rest.contains("alertmanager::") => "/api/v2",
            _ => prefix,
        };
        let handlers = rest.split(".layer(").next().unwrap();
        let methods = ["get", "post", "put", "delete"].into_iter().filter(|method| {
            handlers.starts_with(&format!(",{method}(")) || handlers.contains(&format!(").{method}("))
        });
        let path = format!("{prefix}{path}");
        routes.insert(path, methods.map(str::to_owned).collect());
    }
    routes
}

async fn document(api: &Api) -> Value {
    let (code, body) = api.get("/api/v1/openapi.json").await;
    assert_eq!(code, 200);
    serde_json::from_str(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_operations_are_one() {
    let api = Api::start().await;
    let document = document(&api).await;
    let paths = document["paths"].as_object().unwrap();
    let operations: BTreeMap<String, BTreeSet<String>> = paths
        .iter()
        .map(|(path, methods)| {
            (
                path.clone(),
                methods.as_object().unwrap().keys().cloned().collect(),
            )
        })
        .collect();
    assert_eq!(operations, routes());
}

/// Values for parameters that must be given.
fn example(name: &str) -> String {
    match name {
        "query" => "up".to_owned(),
        "match[]" => "up".to_owned(),
        "start" | "end" | "time" => seconds(START_MS),
        "step" => "15".to_owned(),
        "device_id" => "gw-1".to_owned(),
        other => panic!("{other} needs an example"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_answered_as_it_says() {
    let api = Api::start_with(|config| config.admin_api = true).await;
    let document = document(&api).await;
    let mut paths: Vec<_> = document["paths"].as_object().unwrap().iter().collect();
    // Once the device is forgotten there is none.
    paths.sort_by_key(|(path, _)| path.ends_with("/forget"));
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let required = |list: &Value| -> Vec<String> {
                let list = list.as_array().cloned().unwrap_or_default();
                let query = list
                    .iter()
                    .filter(|p| p["in"] == "query" && p["required"] == true);
                query.map(|p| p["name"].as_str().unwrap().to_owned()).collect()
            };
            let mut names = required(&operation["parameters"]);
            let form = &operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["required"];
            let in_form = form.as_array().cloned().unwrap_or_default();
            names.extend(in_form.iter().map(|name| name.as_str().unwrap().to_owned()));
            let pairs: Vec<String> = names
                .iter()
                .map(|name| format!("{name}={}", example(name)))
                .collect();
            let path = path.replace("{name}", "job").replace("{id}", "7");
            let query = pairs.join("&");
            let asked = match method.as_str() {
                "POST" if !in_form.is_empty() => request("POST", &path, &query),
                _ => request(&method, &format!("{path}?{query}"), ""),
            };
            let (code, head, body) = api.exchange(asked.as_bytes()).await;
            let body = String::from_utf8_lossy(&body).into_owned();
            let what = format!("{method} {path}: {code} {body}");
            let said = &operation["responses"][code.to_string()];
            let reference = said["$ref"].as_str().and_then(|to| document.pointer(&to[1..]));
            let said = reference.unwrap_or(said);
            assert!(said.is_object(), "{what}");
            // An empty body is no remote read and no alert; no broker is there, nor an Alertmanager.
            assert!(
                code == 200
                    || path == "/api/v1/read"
                    || path == "/-/ready"
                    || (path.starts_with("/api/v2/") && [400, 503].contains(&code)),
                "{what}"
            );
            let kind = head
                .lines()
                .find_map(|line| line.strip_prefix("content-type: "))
                .unwrap();
            let kind = kind.split(';').next().unwrap();
            let content = &said["content"][kind];
            assert!(content.is_object(), "{what}: {kind}");
            if code == 200 && kind == "application/json" {
                let answer: Value = serde_json::from_str(&body).unwrap();
                fits(&document, &content["schema"], &answer).unwrap_or_else(|why| panic!("{what}: {why}"));
            }
        }
    }
}

/// Whether a value has the shape of a schema, as far as this document uses the language of schemas.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(
            document,
            document.pointer(&reference[1..]).ok_or("no such schema")?,
            value,
        );
    }
    if let Some(several) = schema["oneOf"].as_array() {
        let fitting = several
            .iter()
            .filter(|schema| fits(document, schema, value).is_ok())
            .count();
        return if fitting == 1 {
            Ok(())
        } else {
            Err(format!("{fitting} of oneOf fit {value}"))
        };
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{value} is not {}", schema["const"]));
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|some| !some.contains(value))
    {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    };
    if !kinds.is_empty() && !kinds.iter().any(is) {
        return Err(format!("{value} is no {kinds:?}"));
    }
    for (at, member) in value.as_object().into_iter().flatten() {
        match (&schema["properties"][at], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => return Err(format!("{at} is too much")),
            (Value::Null, schema) if schema.is_object() => fits(document, schema, member)?,
            (schema, _) => fits(document, schema, member)?,
        }
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.is_object() && value.get(name).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        let schema = schema["prefixItems"].get(i).unwrap_or(&schema["items"]);
        fits(document, schema, item)?;
    }
    Ok(())
}
