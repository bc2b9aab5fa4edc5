//! The embedded engine, compared with the framework that trained the demonstration judge; and how it ends.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::config::{JudgeConfig, LocalConfig};
use crate::decode::plan::{Plan, VerdictPlan};
use crate::engine::{Input, Job, Priority, Progress, Sampling};
use crate::error::ErrorKind;
use crate::prompt::profile::Profile;
use crate::prompt::template::Segment;

use super::gguf::Header;
use super::native::Model;
use super::scheduler::Bounds;
use super::shield::Batch;

#[derive(Deserialize)]
struct Reference {
    tolerance: f32,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    tokens: Vec<u32>,
    text: String,
    /// The highest logits after the last token, by id.
    top: Vec<(usize, f32)>,
    /// Logits of tokens from all over the vocabulary, by id.
    probe: Vec<(usize, f32)>,
}

#[test]
fn logits_and_tokens_equal_the_training_frameworks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let reference: Reference = serde_json::from_slice(&std::fs::read(folder.join("logits.json")).unwrap()).unwrap();
    let path = folder.join("dicast-demo.gguf");
    let model =
        Model::load(&path, Header::read(&path).unwrap(), &LocalConfig::default(), true, &Progress::default()).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let bounds = Bounds {
        max_sequences: 1,
        batch_tokens: 512,
        chunk_tokens: 512,
        pool_tokens: 2048,
        shares_prompts: true,
        draft_tokens: 0,
        pins: 0,
    };
    let mut context = model.context(bounds, 1, 1).unwrap();
    assert!(!reference.cases.is_empty());
    for case in reference.cases {
        assert_eq!(tokenizer.encode(&[Segment::Template(case.text.clone())]).unwrap(), case.tokens, "{:?}", case.text);
        context.clear().unwrap();
        let (mut at, mut last_chunk) = (0, 0);
        for chunk in case.tokens.chunks(bounds.batch_tokens) {
            let mut batch = Batch::new(chunk.len());
            for &token in chunk {
                let last = at + 1 == case.tokens.len();
                batch.add(token, at, 0, last);
                at += 1;
            }
            last_chunk = batch.len();
            context.decode(&mut batch, None).unwrap();
        }
        let logits = context.logits(last_chunk - 1).unwrap();
        for (id, wanted) in case.top.into_iter().chain(case.probe) {
            let got = logits[id];
            assert!((got - wanted).abs() <= reference.tolerance, "token {id}: {got} here, {wanted} in training");
        }
    }
}

/// Another thread may close the judge between its check that it is open and the engine's inbox.
#[test]
fn a_job_that_comes_after_the_end_is_closed_not_dead() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf");
    let config = JudgeConfig::new(path.display().to_string());
    let header = Header::read(&path).unwrap();
    let opened = super::open(&path, header, &config, &Profile::builtin(), &Progress::default()).unwrap();
    opened.engine.close();
    let (done, outcome) = channel();
    let job = Job {
        input: Input::Tokens { ids: vec![1], shared_prefix: 0 },
        plan: Plan { reasoning: None, verdict: VerdictPlan::Free { max_tokens: 1 } },
        sampling: Sampling::GREEDY,
        submitted: Instant::now(),
        deadline: Instant::now() + Duration::from_secs(60),
        patience: None,
        priority: Priority::default(),
        listener: None,
    };
    opened.engine.submit(job, Box::new(move |result| drop(done.send(result))));
    assert_eq!(outcome.recv().unwrap().unwrap_err().kind(), ErrorKind::Closed);
}
