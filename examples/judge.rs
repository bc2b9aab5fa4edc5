//! Judges three responses by a principle, then by its opposite, both at once.
//!
//! ```sh
//! cargo run --release --example judge                   # with the demonstration judge
//! cargo run --release --example judge -- judge.gguf     # with a judge of yours
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Verdict};

const PROMPT: &str = "How do I cook pasta?";
const RESPONSES: [(&str, &str); 3] = [
    ("short", "Boil salted water, cook the pasta for nine minutes, drain it."),
    (
        "vague",
        "It depends on the pasta, on the pot and on your taste. Ask ten cooks and you get ten answers, all of them right.",
    ),
    (
        "long",
        "Take a large pot, four litres of water and two tablespoons of salt for half a kilogram of pasta. Bring the water \
         to a rolling boil before the pasta goes in, or it sticks. Stir in the first minute. Taste two minutes before the \
         time on the packet; stop when the core is just firm. Keep a cup of the water: its starch binds the sauce.",
    ),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1).unwrap_or_else(|| {
        // The judge in this repository, wherever the example is started.
        concat!(env!("CARGO_MANIFEST_DIR"), "/demo/dicast-demo.gguf").to_owned()
    });
    let judge = Judge::open(JudgeConfig::new(model))?;
    let requests = ["I prefer short answers.", "I prefer long and detailed answers."]
        .map(|principle| JudgeRequest::new(principle, PROMPT, RESPONSES));

    // `judge` takes one request. A batch is decoded together; its results come in the order of the requests.
    for (request, result) in requests.iter().zip(judge.judge_batch(&requests)) {
        println!("{}", request.principle);
        match result {
            Ok(verdict) => show(&verdict),
            // A verdict is complete, or it is an error. An error may carry the part that could be read.
            Err(error) if error.kind() == ErrorKind::InvalidVerdict => println!("  {error}: {:?}", error.partial()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Prints one line for each response, the best first.
fn show(verdict: &Verdict) {
    for &index in &verdict.ranking {
        let scored = &verdict.scores[index];
        let expected = scored.expected.map_or_else(String::new, |expected| format!("  expected {expected:.2}"));
        println!("  {:<6} {}{expected}", scored.name, scored.score);
    }
}
