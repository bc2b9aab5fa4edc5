//! The pages for people, `/` and `/jobs`: files built into the program, with a content policy that allows nothing else.
//!
//! They use the API like any client and hold no secret, so they are open to all. Neither `npm` nor a build step is needed: the
//! files in this folder are served as they are. `make test-page` tests them in a browser.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::checksum::Checksum;

use super::{Answer, Problem, Server};

/// Only files of this server, and no inline script or style. No page may frame it, and no form is sent elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type, bytes.
const FILES: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("theme.js", SCRIPT, include_str!("theme.js")),
    ("common.js", SCRIPT, include_str!("common.js")),
    ("gallery.js", SCRIPT, include_str!("gallery.js")),
    ("code.js", SCRIPT, include_str!("code.js")),
    ("rubric.js", SCRIPT, include_str!("rubric.js")),
    ("judge.js", SCRIPT, include_str!("judge.js")),
    ("jobs.js", SCRIPT, include_str!("jobs.js")),
];

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { file(&headers, HTML, include_str!("index.html")) }))
        .route("/jobs", get(|headers: HeaderMap| async move { file(&headers, HTML, include_str!("jobs.html")) }))
        .route("/page/{name}", get(named))
}

async fn named(Path(name): Path<String>, headers: HeaderMap) -> Answer {
    let found = FILES.iter().find(|(other, ..)| *other == name);
    let (_, kind, text) =
        found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", "the page has no such file"))?;
    Ok(file(&headers, kind, text))
}

/// A file, or "not modified" if the browser's copy is current.
fn file(asked: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let mut checksum = Checksum::default();
    checksum.add(text.as_bytes());
    let tag = format!("\"{checksum}\"");
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut answer = if known { StatusCode::NOT_MODIFIED.into_response() } else { text.into_response() };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // The link of a request holds its texts; they must not be sent anywhere.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_no_script_or_style_of_their_own_and_name_only_files_that_there_are() {
        for page in [include_str!("index.html"), include_str!("jobs.html")] {
            for part in page.split("<script").skip(1) {
                assert!(part.starts_with(" src=") || part.starts_with(" type=\"module\" src="), "{part:.40}");
            }
            assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="));
            for name in page.split("/page/").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(FILES.iter().any(|(file, ..)| *file == name), "{name}");
            }
        }
        for (_, _, text) in FILES {
            for name in text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(FILES.iter().any(|(file, ..)| *file == name), "{name}");
            }
            assert!(!text.contains("innerHTML"), "text of users is never markup");
        }
    }

    #[test]
    fn a_copy_that_is_good_is_not_sent_again() {
        let first = file(&HeaderMap::new(), HTML, "text");
        assert_eq!(first.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(file(&asked, HTML, "text").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(file(&asked, HTML, "other text").status(), StatusCode::OK);
    }
}
