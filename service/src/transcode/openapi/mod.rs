//! The OpenAPI 3.1 document of some routes, with the comments of the .proto files.

mod comments;
mod schema;

use super::{
    answer::has_bytes,
    bind::dotted,
    json::is_text,
    table::{FieldPath, Payload, Route},
};
use bytes::Bytes;
use comments::summary;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use schema::Schemas;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const ABOUT: &str = "The calls of asyncflow as JSON over HTTP: the same calls, rules and error \
details as by gRPC, on the same port. Fields may be named as here or in lowerCamelCase; what is \
not known is refused. 64-bit integers are answered as texts.\n\nStreams answer JSON lines, or \
server-sent events where the request says `Accept: text/event-stream`.";
const LICENCE: &str = "Apache-2.0";
/// How deep fields of fields are offered as parameters of a query.
const QUERY_DEPTH_MAX: usize = 3;

/// Writes it.
pub(super) fn write<'a>(pool: &DescriptorPool, routes: impl Iterator<Item = &'a Route>) -> Bytes {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut ids = Vec::new();
    let mut tags = BTreeMap::new();
    for route in routes {
        let service = route.call.parent_service();
        tags.entry(service.name().to_owned())
            .or_insert_with(|| schemas.comments.of(&service.parent_file(), service.path()));
        let id = operation_id(route, &mut ids);
        let operation = operation(route, &id, &mut schemas);
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(shown(route)).or_default().insert(method, operation);
    }
    debug_assert!(pool.services().len() > 0, "there is something to tell of");
    let tags: Vec<_> = tags
        .into_iter()
        .map(|(name, about)| json!({ "name": name, "description": about }))
        .collect();
    let mut components = schemas.into_map();
    components.insert("Error".to_owned(), schema::error());
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "asyncflow",
            "version": "v1",
            "description": ABOUT,
            "license": { "name": LICENCE, "identifier": LICENCE },
        },
        "security": [{}, { "bearer": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": responses(),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
    });
    Bytes::from(format!("{document:#}\n"))
}

/// The path as it is documented: readers want plain names, so a variable has that of its field.
fn shown(route: &Route) -> String {
    let deep = route.variables.iter().filter(|path| path.len() > 1);
    deep.fold(route.template.clone(), |shown, path| {
        shown.replace(&format!("{{{}}}", dotted(path)), &format!("{{{}}}", own_name(path)))
    })
}

fn own_name(path: &FieldPath) -> &str {
    path.last().map_or("", FieldDescriptor::name)
}

/// The call's name, with a number behind it for another way of the same call.
fn operation_id(route: &Route, ids: &mut Vec<String>) -> String {
    let name = route.call.name();
    let times = ids.iter().filter(|id| *id == name).count();
    ids.push(name.to_owned());
    if times == 0 { name.to_owned() } else { format!("{name}{}", times + 1) }
}

fn responses() -> Value {
    let content = json!({
        "application/json": { "schema": { "$ref": "#/components/schemas/Error" } }
    });
    json!({
        "Refused": {
            "description": "A refusal: `error.details` holds the reason and all violations.",
            "content": content,
        },
        "Unavailable": {
            "description": "The database is away, or the server ends: try again after a while.",
            "headers": { "Retry-After": { "schema": { "type": "integer" } } },
            "content": content,
        },
    })
}

fn operation(route: &Route, id: &str, schemas: &mut Schemas) -> Value {
    let call = &route.call;
    let about = schemas.comments.of(&call.parent_service().parent_file(), call.path());
    let mut operation = json!({
        "operationId": id,
        "tags": [call.parent_service().name()],
        "summary": summary(&about),
        "description": about,
        "parameters": parameters(route, schemas),
        "responses": {
            "200": { "description": "OK", "content": answer(route, schemas) },
            "503": { "$ref": "#/components/responses/Unavailable" },
            "default": { "$ref": "#/components/responses/Refused" },
        },
    });
    let body = match &route.body {
        Payload::None => None,
        Payload::Whole => Some(schemas.of_kind(&Kind::Message(call.input()))),
        Payload::Field(field) => Some(schemas.of_kind(&field.kind())),
    };
    if let (Some(schema), Some(object)) = (body, operation.as_object_mut()) {
        let kind =
            if call.is_client_streaming() { "application/jsonl" } else { "application/json" };
        let key = if call.is_client_streaming() { "x-item-schema" } else { "schema" };
        let content = json!({ kind: { key: schema } });
        object.insert("requestBody".to_owned(), json!({ "content": content }));
    }
    operation
}

fn answer(route: &Route, schemas: &mut Schemas) -> Value {
    let schema = schemas.of_kind(&Kind::Message(route.call.output()));
    match route.streams() {
        false => json!({ "application/json": { "schema": schema } }),
        // OpenAPI 3.2 has the name itemSchema for this; 3.1 has none.
        true => {
            let mut forms = json!({
                "application/jsonl": { "x-item-schema": schema },
                "text/event-stream": { "x-item-schema": schema },
            });
            if has_bytes(&route.call.output()) {
                forms["text/plain"] = json!({ "schema": { "type": "string" } });
            }
            forms
        }
    }
}

fn parameters(route: &Route, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    for path in &route.variables {
        let Some(field) = path.last() else { continue };
        let schema = schemas.of_field(field);
        parameters.push(json!({
            "name": own_name(path), "in": "path", "required": true, "schema": schema,
        }));
    }
    if !matches!(route.body, Payload::Whole) {
        in_query(route, &route.call.input(), &mut Vec::new(), schemas, &mut parameters);
    }
    parameters
}

fn in_query(
    route: &Route,
    message: &MessageDescriptor,
    above: &mut Vec<FieldDescriptor>,
    schemas: &mut Schemas,
    parameters: &mut Vec<Value>,
) {
    for field in message.fields() {
        let is_body = matches!(&route.body, Payload::Field(body) if *body == field);
        above.push(field.clone());
        let inner = match field.kind() {
            Kind::Message(inner) if !is_text(&inner) => Some(inner),
            _ => None,
        };
        match inner {
            _ if is_body || route.variables.contains(above) => {}
            Some(inner) => {
                if !field.is_list() && !field.is_map() && above.len() < QUERY_DEPTH_MAX {
                    in_query(route, &inner, above, schemas, parameters);
                }
            }
            None => parameters.push(json!({
                "name": dotted(above), "in": "query", "schema": schemas.of_field(&field),
            })),
        }
        above.pop();
    }
}
