//! Reranking, in the shapes of Jina and Cohere: documents ordered by how well they answer a query.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

use super::admit::random_hex;
use super::body::{Input, json as written, parse};
use super::{Answer, Caller, Problem, Server};

pub(super) fn routes() -> Router<Server> {
    Router::new().route("/v1/rerank", post(rerank)).route("/v2/rerank", post(rerank))
}

/// The fields of both. Both have token limits for a document; these are refused, because only the start would be judged.
#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    model: Option<String>,
    query: Value,
    documents: Vec<Value>,
    #[serde(default)]
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: Option<bool>,
    #[serde(default)]
    max_tokens_per_doc: Option<Value>,
    #[serde(default)]
    truncation: Option<bool>,
    /// The principle to rank by; the server's `rerank_principle` otherwise.
    #[serde(default, alias = "instruction")]
    principle: Option<String>,
}

/// A text, or `{"text"}`.
fn text_of(value: &Value, what: &str) -> Result<String> {
    let text = value.as_str().or_else(|| value.get("text")?.as_str());
    text.map(str::to_owned).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidRequest,
            format!("{what} must be text, or an object with \"text\": the judge reads text only"),
        )
    })
}

/// The place of one document.
struct Ranked {
    index: usize,
    /// From 0 to 1: the worst score of the scale to the best.
    relevance: f64,
    /// Its place in the ranking of its judgment.
    place: usize,
    tokens: usize,
}

async fn rerank(State(server): State<Server>, caller: Caller, input: Input) -> Answer {
    let call: Call = parse(&input)?;
    if call.max_tokens_per_doc.as_ref().is_some_and(|limit| !limit.is_null()) || call.truncation == Some(true) {
        return Err(Problem::invalid("documents are not cut: leave max_tokens_per_doc and truncation out"));
    }
    let query = text_of(&call.query, "query")?;
    let documents = call
        .documents
        .iter()
        .enumerate()
        .map(|(index, document)| text_of(document, &format!("document {index}")))
        .collect::<Result<Vec<_>>>()?;
    if documents.is_empty() {
        return Err(Problem::invalid("there are no documents"));
    }
    if documents.len() > server.config().max_batch {
        let (count, most) = (documents.len(), server.config().max_batch);
        let message = format!("there are {count} documents, the limit is {most} (server.max_batch)");
        return Err(Error::new(ErrorKind::TooLarge, message).into());
    }
    let judge = server.judges().known(call.model.as_deref())?.to_owned();
    let principle = call.principle.clone().unwrap_or_else(|| server.config().rerank_principle.clone());
    let mut ranked = rank(&server, &caller, &judge, principle, query, &documents).await?;
    ranked.sort_by(|a, b| b.relevance.total_cmp(&a.relevance).then(a.place.cmp(&b.place)).then(a.index.cmp(&b.index)));
    let tokens: usize = ranked.iter().map(|ranked| ranked.tokens).sum();
    ranked.truncate(call.top_n.unwrap_or(usize::MAX));
    let results: Vec<_> = ranked
        .iter()
        .map(|ranked| {
            let mut result = json!({ "index": ranked.index, "relevance_score": ranked.relevance });
            if call.return_documents == Some(true) {
                result["document"] = json!({ "text": documents[ranked.index] });
            }
            result
        })
        .collect();
    Ok(written(&json!({
        "id": random_hex(16), "object": "list", "model": judge, "results": results,
        "usage": { "total_tokens": tokens, "prompt_tokens": tokens },
        "meta": { "api_version": { "version": "2" }, "billed_units": { "search_units": 1 } },
    })))
}

/// Judges the documents, in blocks of as many as the judge takes at once: scores stand on one scale.
async fn rank(
    server: &Server,
    caller: &Caller,
    judge: &str,
    principle: String,
    query: String,
    documents: &[String],
) -> std::result::Result<Vec<Ranked>, Problem> {
    let loaded = server.judges().get(Some(judge)).await?;
    let (most, scale) = (loaded.judge.config().limits.max_responses, loaded.judge.profile().scale);
    drop(loaded);
    let blocks: Vec<_> = documents.chunks(most).collect();
    caller.take(blocks.len() - 1)?;
    let mut tasks = JoinSet::new();
    for (block, texts) in blocks.into_iter().enumerate() {
        let named = texts.iter().enumerate().map(|(index, text)| ((index + 1).to_string(), text.as_str()));
        let request = JudgeRequest::new(principle.as_str(), query.as_str(), named);
        let (server, caller, judge) = (server.clone(), caller.clone(), judge.to_owned());
        tasks.spawn(async move { (block * most, server.judge(&caller, Some(&judge), request, None).await) });
    }
    let (min, max) = (f64::from(scale.min), f64::from(scale.max));
    let mut ranked = Vec::with_capacity(documents.len());
    while let Some(done) = tasks.join_next().await {
        let (first, verdict) =
            done.map_err(|error| Error::new(ErrorKind::Internal, format!("a judgment was lost: {error}")))?;
        ranked.extend(places(&verdict?, first, min, max));
    }
    Ok(ranked)
}

fn places(verdict: &Verdict, first: usize, min: f64, max: f64) -> Vec<Ranked> {
    let usage = verdict.usage;
    let tokens = usage.prompt_tokens + usage.reasoning_tokens + usage.verdict_tokens;
    verdict
        .ranking
        .iter()
        .enumerate()
        .map(|(place, &index)| {
            let scored = &verdict.scores[index];
            let relevance = ((scored.expected.unwrap_or(scored.score) - min) / (max - min)).clamp(0.0, 1.0);
            Ranked { index: first + index, relevance, place, tokens: if place == 0 { tokens } else { 0 } }
        })
        .collect()
}
