//! Prompts compared with the reference system: messages, aliases and token ids must be equal, id for id.
//!
//! `scripts/test_fixtures.sh` runs the reference and writes the files for this comparison; see
//! `tests/oracle/reference.py`.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use dicast::config::{Mask, Options};
use dicast::prompt::import::import;
use dicast::prompt::mask::mask;
use dicast::prompt::messages::Message;
use dicast::prompt::profile::{MessageLayout, Profile};
use dicast::prompt::template::{ChatTemplate, Segment};
use dicast::prompt::tokenize::{BpeVocab, RawToken, TokenKind, Tokenizer, VocabToken};
use dicast::prompt::{Prompter, ReasoningState};
use dicast::{ErrorKind, JudgeRequest};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/fixtures").join(name);
    assert!(path.exists(), "{} is missing: run scripts/test_fixtures.sh first", path.display());
    path
}

fn rows(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixture(&format!("oracle/{name}.jsonl"))).expect("readable");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("token ids")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

static TOKENIZER_JSON: LazyLock<Vec<u8>> =
    LazyLock::new(|| fs::read(fixture("qwen3/tokenizer.json")).expect("readable"));
static FROM_JSON: LazyLock<Arc<Tokenizer>> =
    LazyLock::new(|| Arc::new(Tokenizer::from_json(&TOKENIZER_JSON).expect("a tokenizer")));
static FROM_BPE: LazyLock<Arc<Tokenizer>> =
    LazyLock::new(|| Arc::new(Tokenizer::from_bpe(gguf_vocabulary()).expect("a tokenizer")));

/// The vocabulary as a GGUF file holds it.
fn gguf_vocabulary() -> BpeVocab {
    let json: Value = serde_json::from_slice(&TOKENIZER_JSON).expect("JSON");
    let mut tokens: Vec<VocabToken> =
        (0..151_936).map(|id| VocabToken { text: format!("[PAD{id}]"), kind: TokenKind::Unused }).collect();
    for (text, id) in json["model"]["vocab"].as_object().expect("a vocabulary") {
        let id = usize::try_from(id.as_u64().expect("an id")).expect("small");
        tokens[id] = VocabToken { text: text.clone(), kind: TokenKind::Normal };
    }
    for added in json["added_tokens"].as_array().expect("a list") {
        let id = usize::try_from(added["id"].as_u64().expect("an id")).expect("small");
        let kind = if added["special"] == true { TokenKind::Control } else { TokenKind::UserDefined };
        tokens[id] = VocabToken { text: text(&added["content"]).into(), kind };
    }
    let merges = json["model"]["merges"].as_array().expect("a list");
    let merges = merges.iter().map(|merge| format!("{} {}", text(&merge[0]), text(&merge[1]))).collect();
    BpeVocab { tokens, merges, pre: "qwen2".into() }
}

fn chat_template() -> ChatTemplate {
    let config: Value =
        serde_json::from_slice(&fs::read(fixture("qwen3/tokenizer_config.json")).expect("readable")).expect("JSON");
    ChatTemplate::new(text(&config["chat_template"]), None, Some(text(&config["eos_token"]))).expect("a template")
}

fn reference_profile() -> Profile {
    import(&fixture("rewardanything-1.0.1-py3-none-any.whl")).expect("a profile")
}

fn prompters() -> Vec<Prompter> {
    [&*FROM_JSON, &*FROM_BPE]
        .into_iter()
        .map(|tokenizer| {
            Prompter::new(reference_profile(), chat_template(), Arc::clone(tokenizer)).expect("a prompter")
        })
        .collect()
}

fn settings(row: &Value, profile: &Profile) -> dicast::config::Settings {
    let asked: Options = serde_json::from_value(serde_json::json!({ "reasoning": row["reasoning"] })).expect("options");
    asked.or(&profile.decoding).resolve().expect("settings")
}

#[test]
fn prompts_are_those_of_the_reference() {
    let rows = rows("requests");
    for prompter in prompters() {
        for (number, row) in rows.iter().enumerate() {
            let request = JudgeRequest::from_json(row["request"].to_string().as_bytes()).expect("a request");
            let settings = settings(row, prompter.profile());
            let (messages, _) = prompter.messages(&request, &settings);
            let expected: Vec<(&str, &str)> = row["messages"]
                .as_array()
                .expect("messages")
                .iter()
                .map(|message| (text(&message["role"]), text(&message["content"])))
                .collect();
            let written: Vec<(&str, &str)> =
                messages.iter().map(|message| (message.role, message.content.as_str())).collect();
            assert_eq!(written, expected, "messages of request {number}");

            let prompt = prompter.prompt(&request, &settings).expect("a prompt");
            if let Some(map) = row["masked2real"].as_object() {
                let expected: Vec<(&str, &str)> =
                    map.iter().map(|(alias, real)| (alias.as_str(), text(real))).collect();
                assert_eq!(prompt.aliases.pairs().collect::<Vec<_>>(), expected, "aliases of request {number}");
            } else {
                assert!(prompt.aliases.pairs().all(|(shown, real)| shown == real), "names of request {number}");
            }
            assert_eq!(prompt.tokens, ids(&row["ids"]), "ids of request {number}");
        }
    }
    println!("{} requests equal the reference's in messages, aliases and token ids", rows.len());
    assert!(rows.len() >= 500);
}

#[test]
fn control_tokens_in_texts_stay_text() {
    let rows = rows("injections");
    for prompter in prompters() {
        let start = prompter.tokenizer().expect("it makes tokens").special("<|im_start|>").expect("a token");
        for (number, row) in rows.iter().enumerate() {
            let request = JudgeRequest::from_json(row["request"].to_string().as_bytes()).expect("a request");
            let prompt = prompter.prompt(&request, &settings(row, prompter.profile())).expect("a prompt");
            assert_eq!(prompt.tokens, ids(&row["ids"]), "ids of injection {number}");
            assert_eq!(prompt.tokens.iter().filter(|&&id| id == start).count(), 3, "turns of injection {number}");
        }
    }
    println!("{} injections stay text", rows.len());
}

#[test]
fn shuffles_are_pythons() {
    for row in rows("masks") {
        let count = usize::try_from(row["count"].as_u64().expect("a count")).expect("small");
        let seed = row["seed"].as_u64().expect("a seed");
        let names: Vec<String> = (0..count).map(|index| index.to_string()).collect();
        let map = mask(names, "model-", Mask::Shuffle, seed);
        let order: Vec<Value> = (0..count).map(|place| map.request_index(place).into()).collect();
        assert_eq!(Value::from(order), row["order"], "seed {seed}, {count} responses");
    }
}

#[test]
fn ordinary_text_has_the_ids_of_the_reference() {
    for (number, row) in rows("corpus").iter().enumerate() {
        let expected = ids(&row["ids"]);
        for tokenizer in [&FROM_JSON, &FROM_BPE] {
            let written = tokenizer.encode_text(text(&row["text"])).expect("ids");
            assert_eq!(written, expected, "text {number}: {:.80}", text(&row["text"]));
            assert!(written.iter().all(|&id| !tokenizer.is_control(id)));
        }
    }
}

#[test]
fn tokens_decode_to_the_text_they_were_made_from() {
    for row in rows("corpus") {
        let text = text(&row["text"]);
        // Qwen3 composes characters first, so only text that is already composed comes back unchanged.
        if text.is_ascii() {
            assert_eq!(FROM_JSON.decode(&ids(&row["ids"])), text.as_bytes());
        }
    }
    assert_eq!((FROM_JSON.vocab_size(), FROM_BPE.vocab_size()), (151_669, 151_936));
    for id in 0..151_669 {
        assert_eq!(FROM_JSON.token_bytes(id), FROM_BPE.token_bytes(id), "token {id}");
        assert_eq!(FROM_JSON.is_control(id), FROM_BPE.is_control(id), "token {id}");
    }
    assert!(FROM_BPE.is_control(151_935) && FROM_BPE.token_bytes(151_936).is_none());
    for (text, id) in [("<|im_end|>", Some(151_645)), ("</think>", Some(151_668)), ("think", None)] {
        assert_eq!((FROM_JSON.special(text), FROM_BPE.special(text)), (id, id));
    }
}

#[test]
fn templates_render_as_jinja_does() {
    let rows = rows("templates");
    let (mut rendered, mut refused, mut wrong) = (0, 0, Vec::new());
    for row in &rows {
        let messages: Vec<Message> = row["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|message| Message {
                role: if message["role"] == "system" { "system" } else { "user" },
                content: text(&message["content"]).into(),
            })
            .collect();
        let result = ChatTemplate::new(text(&row["template"]), row["bos"].as_str(), row["eos"].as_str())
            .and_then(|template| template.with_date("2026-01-31"))
            .and_then(|template| template.render(&messages, row["reasoning"] == true));
        let source = text(&row["template"]);
        match (result, row["text"].as_str()) {
            (Ok(segments), Some(expected)) => {
                rendered += 1;
                let written = segments.iter().map(Segment::text).collect::<String>();
                if written != expected {
                    wrong.push(format!("{source}\n  here:  {written:?}\n  Jinja: {expected:?}"));
                }
                let texts = segments.iter().filter(|segment| matches!(segment, Segment::Text(_)));
                let contents = messages.iter().map(|message| message.content.trim());
                assert!(texts.map(Segment::text).eq(contents));
            }
            (Err(error), None) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::InvalidModel);
            }
            (Ok(_), None) => wrong.push(format!("{source}\n  is refused by Jinja")),
            (Err(error), Some(_)) => wrong.push(format!("{source}\n  {error}")),
        }
    }
    // Each template is rendered for several messages: one failure of each is enough.
    wrong.dedup_by_key(|case| case.split("\n  ").next().unwrap_or_default().to_owned());
    assert!(wrong.is_empty(), "{} of the templates differ:\n{}", wrong.len(), wrong.join("\n"));
    println!("{rendered} renderings equal Jinja's, {refused} are refused by both");
    assert!(rendered > 250 && refused > 0);
}

#[test]
fn an_encoder_of_the_engine_never_sees_a_control_token() {
    let vocabulary = gguf_vocabulary();
    let tokens = vocabulary.tokens.iter().enumerate().map(|(id, token)| RawToken {
        bytes: FROM_BPE.token_bytes(u32::try_from(id).expect("small")).unwrap_or_default().to_vec(),
        kind: token.kind,
    });
    // An engine that recognizes control tokens in any text that it gets.
    let whole = Tokenizer::from_bpe(vocabulary.clone()).expect("a tokenizer");
    let recognizing = move |text: &str| whole.encode(&[Segment::Template(text.to_owned())]);
    let tokenizer = Tokenizer::from_encoder(Box::new(recognizing), tokens.collect()).expect("a tokenizer");
    let segments = [
        Segment::Template("<|im_start|>user\n".into()),
        Segment::Text("\na <|im_end|><|im_<think>start|> b".into()),
        Segment::Template("<|im_end|>\n".into()),
    ];
    let written = tokenizer.encode(&segments).expect("ids");
    let controls: Vec<u32> = written.iter().copied().filter(|&id| tokenizer.is_control(id)).collect();
    assert_eq!(controls, [151_644, 151_645]);
    assert_eq!(tokenizer.decode(&written), FROM_JSON.decode(&FROM_JSON.encode(&segments).expect("ids")));
    assert_eq!(written[..2], FROM_JSON.encode(&segments).expect("ids")[..2]);
}

#[test]
fn borders_between_segments_do_not_show() {
    let segments = [
        Segment::Template("<|im_start|>user\n".into()),
        Segment::Text("\nfoo <|im_".into()),
        Segment::Template("end|> ".into()),
        Segment::Text("e".into()),
        Segment::Text("\u{301}".into()),
        Segment::Template(String::new()),
    ];
    let written = FROM_JSON.encode(&segments).expect("ids");
    let text = FROM_JSON.encode_text("user\n\nfoo <|im_end|> e\u{301}").expect("ids");
    assert_eq!(written[0], 151_644);
    assert_eq!(written[1..], text);
    assert!(FROM_JSON.encode(&[]).expect("ids").is_empty());
}

#[test]
fn a_prompt_tells_where_it_leaves_the_reasoning() {
    let request = JudgeRequest::new("p", "q", [("</think>", "<think></think>")]);
    let opening = |tail: &str, profile: Profile, reasoning: bool| {
        let source = format!("{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{tail}");
        let template = ChatTemplate::new(&source, None, None).expect("a template");
        let prompter = Prompter::new(profile, template, Arc::clone(&FROM_JSON)).expect("a prompter");
        let mut settings = Options::default();
        (settings.reasoning, settings.mask) = (Some(reasoning), Some(Mask::Off));
        prompter.prompt(&request, &settings.resolve().expect("settings")).expect("a prompt").reasoning
    };
    let silent = || {
        let mut profile = Profile::builtin();
        profile.reasoning = None;
        profile
    };
    let qwen = "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}";
    for (tail, profile, reasoning, expected) in [
        ("<|im_end|>", Profile::builtin(), true, ReasoningState::Unopened),
        ("<think>\n", Profile::builtin(), true, ReasoningState::Open),
        ("<think></think><think>", Profile::builtin(), true, ReasoningState::Open),
        (qwen, Profile::builtin(), true, ReasoningState::Unopened),
        (qwen, Profile::builtin(), false, ReasoningState::Closed),
        (qwen, silent(), true, ReasoningState::Unopened),
    ] {
        assert_eq!(opening(tail, profile, reasoning), expected, "{tail}");
    }
}

#[test]
fn a_template_that_cannot_carry_the_profile_is_refused_at_once() {
    let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                  {{ m.content }}{% endfor %}";
    let open = |layout: MessageLayout| {
        let mut profile = Profile::builtin();
        profile.message_layout = layout;
        let template = ChatTemplate::new(source, None, None).expect("a template");
        Prompter::new(profile, template, Arc::clone(&FROM_JSON))
    };
    let error = open(MessageLayout::SystemUserJson).err().expect("an error");
    assert_eq!(error.kind(), ErrorKind::InvalidModel);
    assert!(["no system", "user_json"].into_iter().all(|part| error.message().contains(part)), "{error}");
    assert!(open(MessageLayout::UserJson).is_ok());
}

#[test]
fn a_vocabulary_that_does_not_hold_together_is_refused() {
    let without = |text: &str| {
        let mut vocab = gguf_vocabulary();
        let token = vocab.tokens.iter_mut().find(|token| token.text == text).expect("a token");
        *token = VocabToken { text: "[gone]".into(), kind: TokenKind::Unused };
        Tokenizer::from_bpe(vocab).err().expect("an error")
    };
    for (text, what) in [("Ġ", "no token for ' '"), ("Ġthe", "but has no token \"Ġthe\"")] {
        let error = without(text);
        assert_eq!(error.kind(), ErrorKind::InvalidModel);
        assert!(error.message().contains(what), "{error}");
    }
    let unjoined = BpeVocab { merges: vec!["alone".into()], ..gguf_vocabulary() };
    assert_eq!(Tokenizer::from_bpe(unjoined).err().map(|error| error.kind()), Some(ErrorKind::InvalidModel));
    for (json, kind) in [
        ("", ErrorKind::InvalidModel),
        ("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}", ErrorKind::InvalidModel),
        ("{\"model\": {\"vocab\": {\"a\": 4294967295}, \"merges\": []}}", ErrorKind::InvalidModel),
        ("{\"model\": {\"type\": \"WordLevel\", \"vocab\": {}, \"merges\": []}}", ErrorKind::Unsupported),
    ] {
        assert_eq!(Tokenizer::from_json(json.as_bytes()).err().map(|error| error.kind()), Some(kind), "{json}");
    }
}

#[test]
fn a_vocabulary_without_rare_bytes_refuses_only_texts_that_need_them() {
    // 0xF0 begins every character above U+FFFF, 0x16 is a control character; GPT-2 vocabularies write them this way.
    let gone = ["ð", "Ė"];
    let mut vocab = gguf_vocabulary();
    for token in &mut vocab.tokens {
        if gone.contains(&token.text.as_str()) {
            *token = VocabToken { text: format!("[gone {}]", token.text), kind: TokenKind::Unused };
        }
    }
    vocab.merges.retain(|merge| !gone.iter().any(|letter| merge.contains(letter)));
    let tokenizer = Tokenizer::from_bpe(vocab).expect("a tokenizer");
    let plain = "Be short: é, 日本.\n";
    assert_eq!(tokenizer.decode(&tokenizer.encode_text(plain).expect("ids")), plain.as_bytes());
    for (text, name) in [("a rare sign: \u{13080}", "U+13080"), ("\u{16}", "U+0016")] {
        let error = tokenizer.encode_text(text).expect_err("no token");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn an_unknown_way_to_split_is_named() {
    let vocab = BpeVocab { pre: "klingon".into(), ..BpeVocab::default() };
    let error = Tokenizer::from_bpe(vocab).err().expect("an error");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("\"klingon\"") && error.message().contains("qwen2"), "{error}");
}

#[test]
fn long_monotonous_texts_are_tokenized_whole() {
    for unit in [" ", "a", "\n", "'", "é", "e\u{301}", "\u{301}", "<|im_end|>", "1", "\r\n ", "😀"] {
        let text = unit.repeat((1 << 19) / unit.len());
        let started = Instant::now();
        let written = FROM_JSON.encode(&[Segment::Text(text.clone())]).expect("ids");
        println!("512 KiB of {unit:?}: {} tokens in {:?}", written.len(), started.elapsed());
        assert!(written.iter().all(|&id| !FROM_JSON.is_control(id)));
        if !unit.starts_with('e') {
            assert!(FROM_JSON.decode(&written) == text.as_bytes(), "{unit:?}");
        }
    }
}
