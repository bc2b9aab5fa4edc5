//! The verdict grammar in llguidance: compiling it, and writing a verdict under it, with its forced tokens and the mask
//! for every sampled token. Measured with the vocabulary of the demonstration judge, and with a generated one of
//! Qwen3's size (151,936 tokens), so that nothing must be downloaded.

use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use dicast::config::Options;
use dicast::decode::grammar::VerdictGrammar;
use dicast::prompt::aliases;
use dicast::prompt::tokenize::Tokenizer;
use dicast::{JudgeRequest, Profile};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};

const COUNTS: [usize; 3] = [2, 4, 16];
/// Tokens of Qwen3's vocabulary.
const LARGE: usize = 151_936;

struct Words(TokTrie);

impl TokenizerEnv for Words {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }
}

/// The words of the demonstration judge, and generated ones up to `size`.
fn words(size: usize) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/hf/tokenizer.json");
    let json = std::fs::read(path).expect("the demonstration judge is there");
    let tokenizer = Tokenizer::from_json(&json).expect("the tokenizer is valid");
    let own = (0..u32::try_from(tokenizer.vocab_size()).expect("a small vocabulary")).map(|id| {
        let bytes = tokenizer.token_bytes(id).unwrap_or_default();
        if tokenizer.is_control(id) { [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat() } else { bytes.to_vec() }
    });
    let mut words: Vec<Vec<u8>> = own.collect();
    for number in 0..size.saturating_sub(words.len()) {
        let (mut left, mut word) = (number, vec![b' ']);
        while left > 0 || word.len() < 3 {
            word.push(b'a' + u8::try_from(left % 26).expect("a letter"));
            left /= 26;
        }
        words.push(word);
    }
    words
}

fn factory(words: &[Vec<u8>]) -> ParserFactory {
    let size = u32::try_from(words.len()).expect("a vocabulary");
    let end = words.iter().position(|word| word.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER));
    let end = u32::try_from(end.expect("control tokens")).expect("a vocabulary");
    let environment: TokEnv = Arc::new(Words(TokTrie::from(&TokRxInfo::new(size, end), words)));
    let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
    let mut factory = ParserFactory::new(&environment, capabilities, &[]).expect("a vocabulary");
    factory.quiet();
    factory
}

fn compiled(factory: &ParserFactory, lark: &str) -> Matcher {
    Matcher::new(factory.create_parser(TopLevelGrammar::from_lark(lark.to_owned())))
}

/// Writes a verdict: the first admitted token if there is a choice. Gives the number of forced and of sampled tokens.
fn write(matcher: &mut Matcher) -> (usize, usize) {
    let (mut forced, mut sampled) = (0, 0);
    loop {
        forced += matcher.consume_ff_tokens().len();
        if matcher.is_stopped() || matcher.is_accepting().expect("no error") {
            return (forced, sampled);
        }
        let mask = matcher.compute_mask().expect("a mask");
        let token = mask.first_bit_set().expect("something is admitted");
        matcher.consume_token(u32::try_from(token).expect("a token")).expect("it is admitted");
        sampled += 1;
    }
}

fn guide(criterion: &mut Criterion) {
    let profile = Profile::builtin();
    let settings = Options::default().resolve().expect("the defaults are valid");
    for (name, size) in [("demo", 0), ("151936", LARGE)] {
        let words = words(size);
        let factory = factory(&words);
        let mut group = criterion.benchmark_group(format!("guide_{name}"));
        group.sample_size(20);
        group.bench_function("vocabulary", |bench| bench.iter(|| self::factory(&words)));
        for count in COUNTS {
            let request = JudgeRequest::new("", "", (0..count).map(|place| (place.to_string(), "")));
            let shown = aliases(&profile, &request, &settings);
            let lark = VerdictGrammar::new(&profile.verdict, profile.scale, "", shown.shown()).whole().lark();
            let matcher = compiled(&factory, &lark);
            let (_, sampled) = write(&mut matcher.deep_clone());
            // One for each score, and one for every place of the ranking but the last.
            assert!(sampled >= 2 * count - 1, "{sampled}");
            group.bench_function(BenchmarkId::new("compile", count), |bench| bench.iter(|| compiled(&factory, &lark)));
            group.bench_function(BenchmarkId::new("verdict", count), |bench| {
                bench.iter_batched_ref(|| matcher.deep_clone(), write, BatchSize::SmallInput);
            });
            group.bench_function(BenchmarkId::new("mask", count), |bench| {
                let at_score = || {
                    let mut matcher = matcher.deep_clone();
                    matcher.consume_ff_tokens();
                    matcher
                };
                bench.iter_batched_ref(at_score, Matcher::compute_mask, BatchSize::SmallInput);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, guide);
criterion_main!(benches);
