//! Engine folders for the stand-in, and what must hold for every verdict.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use dicast::{Judge, JudgeConfig, JudgeRequest, Verdict};

/// Represents the token that closes the reasoning in scripts: see `src/engine/trtllm/vocabulary.rs`.
pub(crate) const CLOSE: &str = "\\xF4\\x8F\\xBF\\xBD";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An engine folder, removed when it is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// A folder with the demonstration judge's tokenizer and profile, whose engine generates what `script` says.
    pub(crate) fn new(script: &str) -> Self {
        Self::with(script, &[])
    }

    /// The same, with options of `make_engine.sh`.
    pub(crate) fn with(script: &str, options: &[&str]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("dicast-trtllm-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Self(std::env::temp_dir().join(name));
        let made = Command::new("bash")
            .arg(repository().join("tests/trtllm_standin/make_engine.sh"))
            .arg("--tokenizer")
            .arg(repository().join("demo/hf"))
            .args(["--version", dicast::engine::trtllm::library().built_for])
            .args(options)
            .arg(&folder.0)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder.write("standin.script", script);
        std::fs::copy(repository().join("demo/dicast-demo.profile.json"), folder.0.join("dicast-profile.json"))
            .unwrap();
        folder
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }

    /// Replaces a text in `config.json`.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(self.0.join("config.json")).unwrap();
        assert!(config.contains(from), "{from} is not in {config}");
        self.write("config.json", &config.replace(from, to));
    }

    pub(crate) fn config(&self) -> JudgeConfig {
        JudgeConfig::new(self.0.to_str().unwrap())
    }

    pub(crate) fn judge(&self) -> Judge {
        Judge::open(self.config()).unwrap()
    }
}

/// The configuration of a folder that runs through an orchestrator's workers.
pub(crate) fn orchestrated(folder: &Folder) -> JudgeConfig {
    let mut config = folder.config();
    config.trtllm.mode = dicast::config::TrtllmMode::Orchestrator;
    config.trtllm.worker_path = Some(repository().join("tests/trtllm_standin/executorWorker"));
    config
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A rule's text: some reasoning, then a verdict with these scores in the order shown, ranked as given.
pub(crate) fn answer(scores: &[u8], ranking: &[usize]) -> String {
    let scores: Vec<_> = scores.iter().zip(1..).map(|(score, number)| format!("\"model-{number}\": {score}")).collect();
    let ranking: Vec<_> = ranking.iter().map(|place| format!("\"model-{}\"", place + 1)).collect();
    format!(
        "text The shorter one is better.{CLOSE}\\n\\n{{\\n  \"scores\": {{{}}},\\n  \"best-to-worst\": [{}]\\n}}\n",
        scores.join(", "),
        ranking.join(", ")
    )
}

/// A request with responses a, b, c and so on.
pub(crate) fn request(count: usize, salt: &str) -> JudgeRequest {
    let responses = (0..count).map(|index| (format!("answer {index}"), format!("Text {salt}.")));
    JudgeRequest::new("Prefer short answers.", format!("What is {salt}?"), responses)
}

/// What must hold for every verdict, whatever was generated.
pub(crate) fn check(request: &JudgeRequest, verdict: &Verdict) {
    let wanted: Vec<_> = request.responses.iter().map(|response| response.name.as_str()).collect();
    let scored: Vec<_> = verdict.scores.iter().map(|scored| scored.name.as_str()).collect();
    assert_eq!(scored, wanted, "scores come in the order of the request");
    let mut ranked: Vec<_> = verdict.ranking.clone();
    ranked.sort_unstable();
    assert!(ranked.into_iter().eq(0..wanted.len()), "the ranking is a permutation");
    for scored in &verdict.scores {
        assert!((1.0..=5.0).contains(&scored.score) && scored.score.fract() == 0.0);
    }
}

/// Like [`check`], for a guided verdict with distributions.
pub(crate) fn check_distributions(request: &JudgeRequest, verdict: &Verdict) {
    check(request, verdict);
    for scored in &verdict.scores {
        let distribution = scored.distribution.as_ref().expect("a guided verdict has distributions");
        assert_eq!(distribution.len(), 5);
        assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let mode = distribution.iter().zip(1_u8..).max_by(|one, other| one.0.total_cmp(other.0)).unwrap().1;
        assert!((scored.score - f64::from(mode)).abs() < 1e-9, "greedy takes the mode: {scored:?}");
    }
}
