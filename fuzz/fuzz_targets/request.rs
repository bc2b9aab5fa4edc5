//! The reader of requests: an accepted request has the names and texts that the type promises.

#![no_main]

use dicast::JudgeRequest;
use dicast::config::Limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(request) = JudgeRequest::from_json(json) else { return };
    if request.check(&Limits::default()).is_ok() {
        assert!(!request.responses.is_empty());
        assert!(json.len() >= request.responses.len());
    }
});
