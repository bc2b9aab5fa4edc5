//! `dicast serve` with the environment variables of OpenTelemetry.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::collector::{Collector, Manner};
use super::support::{Folder, dicast, text};

/// Serves one request under some variables and ends as a service manager would end it; gives the log.
fn log_of(variables: &[(&str, &str)]) -> String {
    let folder = Folder::new();
    let config = folder.file("c.json", r#"{"model": "http://127.0.0.1:9/v1", "server": {"load_on_demand": true}}"#);
    let mut command = dicast(["serve", "--port", "0", "--jobs", "none", "--name", "judge", "-c", text(&config)]);
    let command = command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut log = String::new();
    let address = loop {
        let before = log.len();
        assert!(stderr.read_line(&mut log).unwrap() > 0, "it ended: {log}");
        if let Some((_, rest)) = log[before..].split_once("listening on http://") {
            break rest.trim().to_owned();
        }
    };
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET /v1/models HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{log}");
    log
}

#[cfg(feature = "otel")]
#[test]
fn traces_go_where_the_environment_says() {
    let collector = Collector::new(Manner::Takes);
    let url = collector.url();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let log = log_of(&[
        endpoint,
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20sesame,x-tenant=one"),
        ("OTEL_SERVICE_NAME", "judges"),
    ]);
    assert!(log.contains(&format!("traces go to {url}/v1/traces")) && !log.contains("sesame"), "{log}");
    let span = collector.span("GET /v1/models");
    assert_eq!(span.resource["service.name"], "judges");
    assert!(log.contains(&span.trace), "the log names the trace: {log}");
    let (head, _) = &collector.requests()[0];
    assert!(head.contains("authorization: bearer sesame") && head.contains("x-tenant: one"), "{head}");

    // What turns traces off; and a sampler that takes none.
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_SAMPLER", "always_off")]
    {
        log_of(&[endpoint, off]);
    }
    assert_eq!(collector.requests().len(), 1);
}

#[cfg(feature = "otel")]
#[test]
fn variables_that_cannot_be_used_are_warned_about_and_the_server_serves() {
    let gone = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let log = log_of(&[gone]);
    assert_eq!(log.matches("traces cannot be sent to http://127.0.0.1:9/v1/traces").count(), 1, "{log}");
    assert!(log.contains("some spans did not reach"), "{log}");
    let log = log_of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]);
    assert!(
        log.contains("no traces are sent") && log.contains("OTEL_EXPORTER_OTLP_ENDPOINT=http://HOST:4318"),
        "{log}"
    );
    let log = log_of(&[gone, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_SAMPLER", "xray")]);
    assert!(log.contains("http/protobuf, the only one") && log.contains("parentbased_always_on is used"), "{log}");
    let log = log_of(&[gone, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/ca.pem")]);
    assert!(log.contains("OTEL_EXPORTER_OTLP_CERTIFICATE is /nonexistent/ca.pem"), "{log}");
    let log = log_of(&[gone, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "Cargo.toml")]);
    assert!(log.contains("no traces are sent") && log.contains("holds no certificate in PEM"), "{log}");
    let log = log_of(&[gone, ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "Cargo.toml")]);
    assert!(log.contains("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"), "{log}");
    // Sizes that would take all memory, and a pause that would take a whole core.
    log_of(&[gone, ("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615"), ("OTEL_BSP_SCHEDULE_DELAY", "0")]);
    log_of(&[gone, ("OTEL_BSP_MAX_QUEUE_SIZE", "0"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "18446744073709551615")]);
}

#[cfg(not(feature = "otel"))]
#[test]
fn a_build_without_traces_says_so_if_they_are_asked_for() {
    let collector = Collector::new(Manner::Takes);
    let url = collector.url();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let log = log_of(&[endpoint]);
    assert_eq!(log.matches("built without OpenTelemetry").count(), 1, "{log}");
    assert!(log.contains("--features otel"), "{log}");
    for quiet in [vec![], vec![endpoint, ("OTEL_SDK_DISABLED", "true")]] {
        let log = log_of(&quiet);
        assert!(!log.contains("OpenTelemetry"), "{log}");
    }
    assert!(collector.requests().is_empty());
}
