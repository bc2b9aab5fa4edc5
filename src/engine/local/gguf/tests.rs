//! Headers that are intact, damaged and invented.

use super::*;

/// What is written for a value.
#[derive(Clone)]
enum Made {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(&'static str),
    Texts(Vec<Vec<u8>>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Raw(u32, Vec<u8>),
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

fn array(kind: u32, count: usize, items: impl Iterator<Item = u8>) -> (u32, Vec<u8>) {
    let head = kind.to_le_bytes().into_iter().chain((count as u64).to_le_bytes());
    (9, head.chain(items).collect())
}

impl Made {
    fn bytes(&self) -> (u32, Vec<u8>) {
        match self {
            Self::U32(number) => (4, number.to_le_bytes().to_vec()),
            Self::F32(number) => (6, number.to_le_bytes().to_vec()),
            Self::Bool(truth) => (7, vec![u8::from(*truth)]),
            Self::Text(text) => (8, string(text.as_bytes())),
            Self::Texts(texts) => array(8, texts.len(), texts.iter().flat_map(|text| string(text))),
            Self::I32s(numbers) => array(5, numbers.len(), numbers.iter().flat_map(|n| n.to_le_bytes())),
            Self::F32s(numbers) => array(6, numbers.len(), numbers.iter().flat_map(|n| n.to_le_bytes())),
            Self::Raw(kind, bytes) => (*kind, bytes.clone()),
        }
    }
}

/// A file that is being built.
#[derive(Clone)]
struct File {
    values: Vec<(&'static str, Made)>,
    tensors: Vec<(String, Vec<u64>, u32)>,
}

const WIDTH: u64 = 32;
const TOKENS: usize = 260;

/// The smallest model that passes: one layer, bytes and four more tokens.
fn whole() -> File {
    let mut tokens: Vec<Vec<u8>> = ["<unk>", "<s>", "</s>", "a"].iter().map(|text| text.as_bytes().to_vec()).collect();
    tokens.extend((0..=255).map(|byte: u8| format!("<0x{byte:02X}>").into_bytes()));
    let kinds = [2, 3, 3, 1].into_iter().chain(std::iter::repeat_n(6, 256)).collect();
    let tensor = |name: &str, shape: &[u64]| (name.to_owned(), shape.to_vec(), 0);
    File {
        values: vec![
            ("general.architecture", Made::Text("llama")),
            ("llama.context_length", Made::U32(512)),
            ("llama.block_count", Made::U32(1)),
            ("llama.embedding_length", Made::U32(32)),
            ("llama.feed_forward_length", Made::U32(64)),
            ("llama.attention.head_count", Made::U32(2)),
            ("llama.attention.head_count_kv", Made::U32(1)),
            ("llama.attention.layer_norm_rms_epsilon", Made::F32(1e-5)),
            ("llama.rope.dimension_count", Made::U32(16)),
            ("tokenizer.ggml.model", Made::Text("llama")),
            ("tokenizer.ggml.tokens", Made::Texts(tokens)),
            ("tokenizer.ggml.token_type", Made::I32s(kinds)),
            ("tokenizer.ggml.scores", Made::F32s(vec![0.0; TOKENS])),
            ("tokenizer.ggml.eos_token_id", Made::U32(2)),
        ],
        tensors: vec![
            tensor("token_embd.weight", &[WIDTH, TOKENS as u64]),
            tensor("output_norm.weight", &[WIDTH]),
            tensor("blk.0.attn_norm.weight", &[WIDTH]),
            tensor("blk.0.attn_q.weight", &[WIDTH, 32]),
            tensor("blk.0.attn_k.weight", &[WIDTH, 16]),
            tensor("blk.0.attn_v.weight", &[WIDTH, 16]),
            tensor("blk.0.attn_output.weight", &[32, WIDTH]),
        ],
    }
}

impl File {
    fn set(mut self, key: &'static str, value: Made) -> Self {
        self.values.retain(|(other, _)| *other != key);
        self.values.push((key, value));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.values.len() as u64).to_le_bytes());
        for (key, value) in &self.values {
            let (kind, value) = value.bytes();
            bytes.extend(string(key.as_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        let mut offset = 0_u64;
        for (name, shape, kind) in &self.tensors {
            bytes.extend(string(name.as_bytes()));
            bytes.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
            bytes.extend(shape.iter().flat_map(|length| length.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            // Of impossible shapes too.
            let elements = shape.iter().fold(1_u64, |all, length| all.wrapping_mul(*length));
            offset += elements.wrapping_mul(4).next_multiple_of(32);
        }
        bytes.resize(bytes.len().next_multiple_of(32) + usize::try_from(offset).unwrap(), 0);
        bytes
    }
}

fn read(bytes: &[u8]) -> std::result::Result<Header, String> {
    let header = reader::read(bytes, bytes.len() as u64).map_err(|fault| match fault {
        reader::Fault::Io(error) => error.to_string(),
        reader::Fault::Invalid(message) => message,
    })?;
    header.check().map_err(|error| error.message().to_owned())?;
    Ok(header)
}

#[track_caller]
fn refused(file: &File, words: &[&str]) {
    let message = read(&file.bytes()).expect_err("it must be refused");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn reads_what_is_there() {
    let header = read(&whole().bytes()).unwrap();
    assert_eq!(header.architecture(), "llama");
    assert_eq!(header.size("embedding_length"), Some(32));
    assert_eq!(header.sum_over_layers("attention.head_count_kv"), Some(1));
    assert_eq!(header.texts(vocabulary::TOKENS).unwrap().get(3), Some(&b"a"[..]));
    assert_eq!(header.tensor("blk.0.attn_k.weight").unwrap().shape, [32, 16, 1, 1]);
    assert_eq!(header.weight_bytes(), 4 * (32 * 260 + 32 + 32 + 32 * 32 + 2 * 32 * 16 + 32 * 32));
}

#[test]
fn every_truncation_is_named_and_none_panics() {
    let whole = whole().bytes();
    for length in 0..whole.len() {
        let message = read(&whole[..length]).expect_err("a truncated file must not pass");
        assert!(
            ["truncated", "not a GGUF", "damaged"].iter().any(|word| message.contains(word)),
            "{length}: {message}"
        );
    }
}

#[test]
fn no_single_damaged_byte_panics() {
    let mut damaged = whole().bytes();
    let header = damaged.len() - usize::try_from(read(&damaged).unwrap().weight_bytes()).unwrap();
    for at in 0..header {
        let before = damaged[at];
        for byte in [0, 1, 127, 128, 255] {
            damaged[at] = byte;
            let _ = read(&damaged);
        }
        damaged[at] = before;
    }
}

#[test]
fn sizes_out_of_range_are_named() {
    for (key, value, word) in [
        ("llama.block_count", 0, "from 1 to 512"),
        ("llama.block_count", 513, "513"),
        ("llama.context_length", 1, "from 64"),
        ("llama.context_length", u32::MAX, "4294967295"),
        ("llama.embedding_length", 0, "from 1"),
        ("llama.embedding_length", 64, "token_embd.weight"),
        ("llama.attention.head_count", 0, "damaged"),
        ("llama.attention.head_count", 33, "33"),
        ("llama.attention.head_count_kv", 0, "must divide"),
        ("llama.attention.head_count_kv", 3, "must divide"),
        ("llama.rope.dimension_count", 17, "from 0 to 16"),
        ("llama.rope.dimension_count", 15, "even"),
        ("llama.expert_count", 1025, "1024"),
        ("llama.expert_count", 8, "expert_used_count must be"),
        ("llama.expert_used_count", 1, "from 0 to 0"),
        ("llama.feed_forward_length", 1 << 30, "feed_forward_length"),
        ("general.alignment", 8, "power of two"),
        ("general.alignment", 48, "power of two"),
        ("tokenizer.ggml.eos_token_id", 260, "260 tokens"),
    ] {
        let named = if word.starts_with("expert") { "llama.expert" } else { key };
        refused(&whole().set(key, Made::U32(value)), &[named, word]);
    }
    refused(&whole().set("llama.block_count", Made::F32(1.0)), &["llama.block_count", "whole number"]);
    refused(&whole().set("llama.feed_forward_length", Made::I32s(vec![64, 64])), &["2 entries", "block_count"]);
}

#[test]
fn numbers_are_numbers() {
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    for value in [0.0, -1.0, f32::NAN, f32::INFINITY, 2.0] {
        refused(&whole().set(epsilon, Made::F32(value)), &[epsilon]);
    }
    refused(&whole().set("llama.rope.freq_base", Made::F32(0.0)), &["llama.rope.freq_base", "above 0"]);
    refused(&whole().set("llama.rope.scaling.factor", Made::F32(-1.0)), &["llama.rope.scaling.factor"]);
    refused(&whole().set("llama.rope.scaling.type", Made::Text("wild")), &["wild", "yarn"]);
    let mut scores = vec![0.0; TOKENS];
    scores[7] = f32::NAN;
    refused(&whole().set("tokenizer.ggml.scores", Made::F32s(scores)), &["tokenizer.ggml.scores[7]", "NaN"]);
}

#[test]
fn vocabularies_hold_together() {
    let texts = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut file = whole();
        for (_, value) in &mut file.values {
            if let Made::Texts(texts) = value {
                change(texts);
            }
        }
        file
    };
    refused(&texts(&|texts| texts[3] = b"<s>".to_vec()), &["tokens 1 and 3", "<s>"]);
    refused(&texts(&|texts| texts[9] = b"zz".to_vec()), &["token 9", "marked as a byte"]);
    refused(&texts(&|texts| texts[3] = vec![b'x'; 70_000]), &["70000 bytes"]);
    refused(&texts(&|texts| texts[3] = b"a\0b".to_vec()), &["zero"]);
    refused(&texts(&|texts| drop(texts.pop())), &["token_type", "260 entries for 259"]);
    refused(&whole().set("tokenizer.ggml.model", Made::Text("none")), &["no vocabulary"]);
    refused(&whole().set("tokenizer.ggml.model", Made::Text("odd")), &["odd", "gpt2"]);
    refused(&whole().set("tokenizer.ggml.scores", Made::F32s(vec![0.0; 9])), &["9 entries for 260"]);
    let mut kinds: Vec<i32> = [2, 3, 3, 1].into_iter().chain(std::iter::repeat_n(6, 256)).collect();
    kinds[3] = 77;
    refused(&whole().set("tokenizer.ggml.token_type", Made::I32s(kinds.clone())), &["token 3", "77"]);
    kinds[3] = 1;
    kinds[8] = 1;
    refused(&whole().set("tokenizer.ggml.token_type", Made::I32s(kinds)), &["token 8", "<0x04>", "type 6"]);
    let mut untyped = whole();
    untyped.values.retain(|(key, _)| *key != "tokenizer.ggml.token_type");
    refused(&untyped, &["token_type is missing"]);
    // A byte may be missing, a token may be empty, and ids may say "none".
    let odd = texts(&|texts| texts[3] = Vec::new()).set("tokenizer.ggml.padding_token_id", Made::U32(u32::MAX));
    assert!(read(&odd.bytes()).is_ok());
    let merges = Made::Texts(vec![b"a b".to_vec(), b"ab".to_vec()]);
    let bpe = texts(&|texts| texts.truncate(4)).set("tokenizer.ggml.model", Made::Text("gpt2"));
    refused(
        &bpe.clone()
            .set("tokenizer.ggml.token_type", Made::I32s(vec![1; 4]))
            .set("tokenizer.ggml.scores", Made::F32s(vec![0.0; 4]))
            .set("tokenizer.ggml.merges", merges),
        &["merge 1", "\"ab\""],
    );
}

#[test]
fn tensors_fit_the_sizes() {
    let tensor = |name: &str, shape: &[u64], kind: u32| {
        let mut file = whole();
        let place = file.tensors.iter().position(|(other, ..)| other == name).unwrap_or(file.tensors.len());
        file.tensors.splice(place..(place + 1).min(file.tensors.len()), [(name.to_owned(), shape.to_vec(), kind)]);
        file
    };
    refused(&tensor("token_embd.weight", &[32, 261], 0), &["token_embd.weight", "[32, 261]", "260 tokens"]);
    refused(&tensor("output.weight", &[32, 30], 0), &["output.weight", "[32, 30]"]);
    refused(&tensor("blk.0.attn_q.weight", &[32, 32], 99), &["unknown type 99"]);
    refused(&tensor("blk.0.attn_q.weight", &[32, 32], 4), &["type 4", "no longer used"]);
    refused(&tensor("blk.0.attn_q.weight", &[33, 32], 8), &["33", "block size 32"]);
    refused(&tensor("blk.0.attn_q.weight", &[0, 32], 0), &["dimension of 0"]);
    refused(&tensor("blk.0.attn_q.weight", &[1 << 40, 1 << 40], 0), &["impossible size"]);
    refused(&tensor("blk.7.ffn_up.weight", &[32, 32], 0), &["blk.7", "no layer"]);
    refused(&tensor(&"x".repeat(64), &[32], 0), &["64 bytes", "63"]);
    let mut file = whole();
    file.tensors.retain(|(name, ..)| name != "blk.0.attn_k.weight");
    refused(&file, &["blk.0.attn_k.weight", "no tensor"]);
    let mut file = whole();
    file.tensors.push(file.tensors[2].clone());
    refused(&file, &["blk.0.attn_norm.weight", "twice"]);
    // Types: the offsets are those of 32-bit numbers, so only the last tensor may have another type.
    let mut file = whole();
    file.tensors.push(("blk.0.ffn_norm.weight".into(), vec![32], 1));
    refused(&file, &["blk.0.ffn_norm.weight", "f16", "f32"]);
    let mut file = whole();
    file.tensors.push(("blk.0.ffn_up.weight".into(), vec![32, 64], 26));
    refused(&file, &["blk.0.ffn_up.weight", "i32", "cannot be multiplied"]);
    let mut bytes = whole().bytes();
    let at = bytes.windows(18).position(|window| window == b"output_norm.weight").unwrap() + 18 + 4 + 8 + 4;
    bytes[at] ^= 32;
    let message = read(&bytes).expect_err("moved");
    assert!(message.contains("output_norm.weight") && message.contains("begins at"), "{message}");
}

#[test]
fn other_kinds_of_files_are_called_by_name() {
    for (bytes, word) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n"[..], "git lfs pull"),
        (b"  <!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04..........................", "archive"),
        (&[0; 100], "zeros"),
        (b"GGUF", "4 bytes"),
        (b"", "0 bytes"),
    ] {
        let message = read(bytes).expect_err("no model");
        assert!(message.contains(word), "{message}");
    }
    refused(&whole().set("general.type", Made::Text("mmproj")), &["mmproj", "not a language model"]);
    refused(&whole().set("llama.attention.causal", Made::Bool(false)), &["causal", "embeds"]);
    let mut file = whole();
    file.values.push(("llama.block_count", Made::U32(1)));
    refused(&file, &["llama.block_count", "twice"]);
}

/// Reads zeros without end, as a sparse file does.
struct Sparse(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => {
                buffer.fill(0);
                Ok(buffer.len())
            }
            count => Ok(count),
        }
    }
}

#[test]
fn a_sparse_file_takes_no_memory() {
    let huge = u64::MAX / 4;
    for value in [
        Made::Raw(9, [&8u32.to_le_bytes()[..], &(1u64 << 40).to_le_bytes()].concat()),
        Made::Raw(9, [&8u32.to_le_bytes()[..], &(1u64 << 22).to_le_bytes()].concat()),
        Made::Raw(9, [&4u32.to_le_bytes()[..], &(1u64 << 33).to_le_bytes()].concat()),
        Made::Raw(9, [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat()),
        Made::Raw(8, (1u64 << 40).to_le_bytes().to_vec()),
    ] {
        let mut file = whole();
        file.values.push(("x.y", value));
        file.tensors.clear();
        let mut bytes = file.bytes();
        // Only zeros follow the value.
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        let outcome = reader::read(Sparse(std::io::Cursor::new(bytes)), huge);
        assert!(outcome.is_err() || outcome.is_ok_and(|header| header.check().is_err()));
    }
}

#[test]
fn a_table_that_is_also_multiplied_is_arranged_and_kept() {
    let packed = |file: &File| {
        let header = read(&file.bytes()).unwrap();
        // All matrices are.
        header.packed(|tensor| if tensor.dimensions == 2 { tensor.bytes } else { 0 })
    };
    let (table, layers) = (WIDTH * TOKENS as u64 * 4, WIDTH * (32 + 16 + 16 + 32) * 4);
    let tied = packed(&whole());
    assert_eq!((tied.bytes, tied.twice, tied.largest), (table + layers, table, table));
    let mut own = whole();
    own.tensors.push(("output.weight".to_owned(), vec![WIDTH, TOKENS as u64], 0));
    let own = packed(&own);
    assert_eq!((own.bytes, own.twice, own.largest), (table + layers, 0, table));
}
