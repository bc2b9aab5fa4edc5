//! The API compared with its own description, with requests generated from it, good and bad.

use std::path::Path;
use std::process::Command;

use dicast::server::ServerConfig;

use crate::support::serve;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,unsupported_method";
const BATCHES: [&str; 5] =
    ["/api/rewardanything_batch", "/v1/judge/batch", "/api/batch_request", "/v1/jobs", "/v1/jobs/{id}/requests"];

fn check(filter: &str, checks: &str) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fixtures/venv/bin/schemathesis");
    assert!(program.exists(), "run scripts/test_fixtures.sh first");
    let server = serve(ServerConfig::default());
    let output = Command::new(program)
        .args(["run", &format!("http://{}/openapi.json", server.address)])
        .args(BATCHES.iter().flat_map(|path| [filter, path]))
        .args(["--phases", "coverage,fuzzing", "--max-examples", "20", "--seed", "7", "--checks", checks])
        .args(["--continue-on-failure", "--warnings", "off", "--no-color", "--generation-database", "none"])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_api_is_as_it_is_described() {
    check("--exclude-path", &format!("{CHECKS},negative_data_rejection"));
}

/// A request of a batch that cannot be read is a failure in its place; the batch itself is accepted.
#[test]
fn batches_are_as_they_are_described() {
    check("--include-path", CHECKS);
}
