//! `scripts/check_real_trtllm.sh`: its dry run, and its report when stand-ins play the vendor's programs.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Plays `cargo`: "builds" a `dicast` that gives each request the same verdict; its server sometimes gives another one.
const CARGO: &str = r#"#!/bin/bash
case "$*" in
    build*) mkdir -p "$CARGO_TARGET_DIR/release" && cp "$FAKES/dicast" "$CARGO_TARGET_DIR/release/dicast" ;;
    *"--nocapture") echo "test result: ok. 7 passed; 0 failed"; [ "$FAULT" != tests ] ;;
esac
"#;
const DICAST: &str = r#"#!/bin/bash
[ "$1" = batch ] || exit 0
in=$2 out=$4 first=4
case "$*" in *http://*) [ "$FAULT" != served ] || { echo '{"error": {"kind": "engine"}}' >"$out"; exit 1; }; first=3 ;; esac
while read -r line; do
    printf '{"scores": {"a": %d, "b": 2}, "expected_scores": {"a": %d.5, "b": 2.0}, "ranking": ["a", "b"], ' $first $first
    printf '"timing_ms": {"queue": 1, "prefill": 2, "reasoning": 30, "verdict": 4}, '
    printf '"usage": {"prompt_tokens": 50, "reused_tokens": 32, "reasoning_tokens": 9, "verdict_tokens": 20}}\n'
    first=4
done <"$in" >"$out"
"#;
const PYTHON: &str = r#"#!/bin/bash
case "$*" in
    *importlib.metadata*) echo 1.2.1 ;;
    *convert_checkpoint.py*) echo converted ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
"#;
const BUILD: &str = r#"#!/bin/bash
while [ "$1" != --output_dir ]; do shift; done
[ "$FAULT" != engine ] || { echo "no kernel for this GPU"; exit 1; }
mkdir -p "$2" && echo '{}' >"$2/config.json" && echo engine >"$2/rank0.engine"
"#;
const SERVE: &str = r#"#!/bin/bash
while [ "$1" != --port ]; do shift; done
exec "$REAL_PYTHON" - "$2" <<'PY'
import http.server, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
PY
"#;
const NVIDIA: &str = "#!/bin/bash\necho '0, NVIDIA Test, 80 GiB, 999.1'\n";

struct Stage {
    folder: PathBuf,
    port: u16,
}

impl Stage {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acceptance").join(test);
        let _ = fs::remove_dir_all(&folder);
        for inside in ["bin", "root/libs", "root/include/tensorrt_llm/executor", "examples/models/core/qwen"] {
            fs::create_dir_all(folder.join(inside)).unwrap();
        }
        let programs = [
            ("cargo", CARGO),
            ("dicast", DICAST),
            ("python3", PYTHON),
            ("trtllm-build", BUILD),
            ("trtllm-serve", SERVE),
            ("nvidia-smi", NVIDIA),
        ];
        for (name, text) in programs {
            let path = folder.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.join("examples/models/core/qwen/convert_checkpoint.py"), "").unwrap();
        fs::write(folder.join("root/include/tensorrt_llm/executor/executor.h"), "").unwrap();
        let version = "static auto constexpr kTensorRtLlmVersion = \"1.2.1\";";
        fs::write(folder.join("root/include/tensorrt_llm/executor/version.h"), version).unwrap();
        fs::write(folder.join("root/libs/libtensorrt_llm.so"), "not the stand-in").unwrap();
        // Free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port }
    }

    /// Runs the script with a planted `fault`; gives its report too.
    fn run(&self, fault: &str, arguments: &[&str]) -> (Output, String) {
        let path = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let real = Command::new("sh").args(["-c", "command -v python3"]).output().unwrap();
        let output = Command::new("bash")
            .arg(Path::new(ROOT).join("scripts/check_real_trtllm.sh"))
            .args(["--report", &path("report.txt"), "--work", &path("work"), "--port", &self.port.to_string()])
            .args(arguments)
            .env("PATH", format!("{}:{}", path("bin"), std::env::var("PATH").unwrap()))
            .env("REAL_PYTHON", String::from_utf8_lossy(&real.stdout).trim())
            .env("FAKES", path("bin"))
            .env("FAULT", fault)
            .env("CARGO_TARGET_DIR", path("target"))
            .env("TRTLLM_EXAMPLES", path("examples"))
            .env("DICAST_TRTLLM_ROOT", path("root"))
            .output()
            .unwrap();
        let report = fs::read_to_string(path("report.txt")).unwrap_or_default();
        (output, report)
    }
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_dry_run_prints_every_step_and_makes_nothing() {
    let stage = Stage::new("dry");
    let (output, report) = stage.run("", &["--dry-run", "demo/hf"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.is_empty() && !stage.folder.join("work").exists() && !stage.folder.join("target").exists());
    let text = String::from_utf8(output.stdout).unwrap();
    says(
        &text,
        &[
            "+ cargo build --release",
            "+ python3 scripts/tiny_qwen3.py demo/hf",
            "+ scripts/build_engine.sh",
            "--test trtllm_engine",
            "engine of demonstration:",
            "engine of given:",
            "+ trtllm-serve demo/hf --backend pytorch",
            "-m http://127.0.0.1:",
            "compare_verdicts.py agree",
            "compare_verdicts.py times",
        ],
    );
}

#[test]
fn the_report_has_every_step_with_its_numbers() {
    let stage = Stage::new("report");
    let (output, report) = stage.run("", &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    says(
        &report,
        &[
            "TensorRT-LLM: 1.2.1",
            "NVIDIA Test",
            "million random weights",
            "engine tests on random",
            "7 passed",
            "judgments: 32; milliseconds: median 37.0",
            "verdicts: 32; same scores: 31; same ranking: 32",
            "mean difference: 0.016",
            "agreement of demonstration with trtllm-serve",
            "worker process with demonstration",
            "result: passed, 12 steps",
        ],
    );
    assert!(!report.contains("FAILED"), "{report}");
}

#[test]
fn what_fails_is_in_the_report_and_the_rest_is_tried() {
    for (fault, words, steps) in [
        ("engine", &["FAILED", "engine of random", "no kernel for this GPU"][..], "2 of 4 steps"),
        ("tests", &["engine tests on random", "agreement of random"], "2 of 12 steps"),
        ("served", &["agreement of random with trtllm-serve", "worker process with random"], "2 of 12 steps"),
    ] {
        let stage = Stage::new(&format!("fault-{fault}"));
        let (output, report) = stage.run(fault, &[]);
        assert_eq!(output.status.code(), Some(1), "{report}");
        says(&report, words);
        says(&report, &[&format!("result: FAILED: {steps}")]);
    }
}

#[test]
fn without_a_gpu_or_a_library_nothing_is_tried() {
    let stage = Stage::new("refused");
    fs::write(stage.folder.join("bin/nvidia-smi"), "#!/bin/bash\nexit 9\n").unwrap();
    let (output, report) = stage.run("", &[]);
    assert_eq!((output.status.code(), report.as_str()), (Some(2), ""));
    says(&String::from_utf8_lossy(&output.stderr), &["no GPU"]);
    fs::remove_file(stage.folder.join("root/libs/libtensorrt_llm.so")).unwrap();
    let (output, _) = stage.run("", &[]);
    assert_eq!(output.status.code(), Some(2));
    says(&String::from_utf8_lossy(&output.stderr), &["libtensorrt_llm.so"]);
}
