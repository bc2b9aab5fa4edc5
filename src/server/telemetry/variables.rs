//! The environment variables of OpenTelemetry that decide whether and where traces are sent.

/// Reads a variable of the environment; an empty one counts as not set.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The URL for traces, or `None` if the variables do not ask for traces. Without any of them nothing is sent: a server that looked
/// for a collector on its own would warn on every machine that has none.
pub(super) fn endpoint(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let is = |name: &str, word: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    if let Some(whole) = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Some(whole);
    }
    let asked = is("OTEL_TRACES_EXPORTER", "otlp").then(|| "http://localhost:4318".to_owned());
    variable("OTEL_EXPORTER_OTLP_ENDPOINT").or(asked).map(|base| traces_of(&base))
}

/// The URL for traces of a collector.
pub(super) fn traces_of(base: &str) -> String {
    format!("{}/v1/traces", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_decide_whether_and_where_traces_go() {
        let found = |set: &[(&str, &str)]| {
            endpoint(|name| set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
        };
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[base]).as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(found(&[base, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(found(&[base, ("OTEL_TRACES_EXPORTER", "none")]), None);
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/in");
        assert_eq!(found(&[base, own]).as_deref(), Some("https://traces/in"));
        assert_eq!(found(&[("OTEL_TRACES_EXPORTER", "otlp")]).as_deref(), Some("http://localhost:4318/v1/traces"));
    }
}
