//! `KServe` v2 infer, as `NeMo`-Aligner and clients of Triton call it: `sentences` in, `rewards` out; as JSON, or with the text
//! tensors as bytes after the JSON.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::server::body::{json as written, parse, read};
use crate::server::{Answer, Caller, Server};

use super::Route;

/// The length of the JSON, if bytes of tensors follow.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

#[derive(Deserialize)]
struct Infer {
    #[serde(default)]
    id: Option<String>,
    inputs: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    parameters: Option<Value>,
}

/// The name of the model in a path `/v2/models/NAME/infer`.
pub(super) fn model_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// All paths that a route takes.
pub(super) fn paths(path: &str) -> Vec<String> {
    let model = path.strip_suffix("/infer").unwrap_or(path);
    vec![path.to_owned(), model.to_owned(), format!("{model}/ready")]
}

/// What clients ask before they infer.
pub(super) fn health() -> Router<Server> {
    Router::new().route("/v2/health/live", get(async || ())).route("/v2/health/ready", get(async || ()))
}

pub(super) fn routes(route: &Arc<Route>) -> Router<Server> {
    let path = route.config.path.clone();
    let name = model_of(&path).unwrap_or_default().to_owned();
    let model = format!("/v2/models/{name}");
    let about = json!({
        "name": name, "versions": ["1"], "platform": "dicast",
        "inputs": [{ "name": "sentences", "datatype": "BYTES", "shape": [-1, 1] }],
        "outputs": [{ "name": "rewards", "datatype": "FP32", "shape": [-1, 1] }],
    });
    let route = route.clone();
    Router::new()
        .route(&format!("{model}/ready"), get(async || ()))
        .route(&model, get(async move || written(&about)))
        .route(
            &path,
            post(move |State(server): State<Server>, caller: Caller, headers: HeaderMap, request: Request| {
                infer(route, name, server, caller, headers, request)
            }),
        )
}

async fn infer(
    route: Arc<Route>,
    name: String,
    server: Server,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let body = read(request, &server, server.config().max_body_bytes, "server.max_body_bytes").await?;
    let header: Option<usize> = headers.get(&HEADER_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let (head, tail) =
        body.split_at_checked(header.unwrap_or(body.len())).ok_or_else(|| invalid("the body is too short"))?;
    let call: Infer = parse(head)?;
    let texts = texts_of(&call.inputs, tail)?;
    let samples = route.samples_of(texts.iter().map(String::as_str))?;
    let rewards = route.rewards(&server, &caller, samples).await?;
    let data: Vec<_> = rewards.iter().map(|rewarded| rewarded.reward).collect();
    Ok(written(&json!({
        "id": call.id, "model_name": name, "model_version": "1",
        "outputs": [{ "name": "rewards", "datatype": "FP32", "shape": [data.len(), 1], "data": data }],
    })))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

/// The texts of the tensor `sentences`.
fn texts_of(inputs: &[Tensor], mut tail: &[u8]) -> Result<Vec<String>> {
    let mut found = None;
    for tensor in inputs {
        let binary = tensor.parameters.as_ref().and_then(|parameters| parameters["binary_data_size"].as_u64());
        let bytes = match binary {
            None => None,
            Some(size) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let (own, rest) =
                    tail.split_at_checked(size).ok_or_else(|| invalid("the tensors are shorter than announced"))?;
                tail = rest;
                Some(own)
            }
        };
        if tensor.name == "sentences" {
            if tensor.datatype != "BYTES" {
                return Err(invalid(format!("the tensor sentences is {}: it must be BYTES", tensor.datatype)));
            }
            found = Some(match (bytes, &tensor.data) {
                (Some(bytes), _) => strings(bytes)?,
                (None, Some(data)) => {
                    let mut texts = Vec::new();
                    flatten(data, &mut texts)?;
                    texts
                }
                (None, None) => return Err(invalid("the tensor sentences has no data")),
            });
        }
    }
    found.ok_or_else(|| invalid("there is no input named \"sentences\""))
}

/// Texts of a tensor, each after its length in four bytes.
fn strings(mut bytes: &[u8]) -> Result<Vec<String>> {
    let short = || invalid("the tensor sentences ends within a text");
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (text, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        texts.push(
            String::from_utf8(text.to_vec()).map_err(|_| invalid("a text of the tensor sentences is not UTF-8"))?,
        );
        bytes = rest;
    }
    Ok(texts)
}

/// Texts in lists of any depth.
fn flatten(data: &Value, texts: &mut Vec<String>) -> Result<()> {
    match data {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().try_for_each(|item| flatten(item, texts))?,
        _ => return Err(invalid("the tensor sentences holds values that are not text")),
    }
    Ok(())
}
