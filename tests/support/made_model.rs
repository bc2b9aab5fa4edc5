//! A generated model file: two small layers with random weights and a `SentencePiece` vocabulary of bytes and a few
//! pieces. Its judgments mean nothing, but it loads, tokenizes and computes like a real model.

/// Pseudo-random numbers, the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).expect("below a usize")
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

fn array(kind: u32, items: &[Vec<u8>]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes(), &items.concat()].concat()
}

/// The chat template of the model.
pub(crate) const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]\n{{ m.content }}\n{% endfor %}[judge]\n";

/// The parts of the model that tests can choose.
pub(crate) struct Made<'a> {
    /// Bytes that get no token.
    pub(crate) without: &'a [u8],
    /// Control tokens besides the usual ones.
    pub(crate) specials: &'a [&'a str],
    /// The chat template; none for a file without one.
    pub(crate) template: Option<&'a str>,
    /// How many tokens each layer looks back over; none if it looks back to the first one.
    pub(crate) window: Option<u32>,
}

impl Default for Made<'_> {
    fn default() -> Self {
        Self { without: &[], specials: &[], template: Some(TEMPLATE), window: None }
    }
}

/// The whole file. Bytes in `without` get no token.
pub(crate) fn sentence_piece(without: &[u8]) -> Vec<u8> {
    Made { without, ..Made::default() }.bytes()
}

impl Made<'_> {
    /// The whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        made(self)
    }
}

fn made(&Made { without, specials, template, window }: &Made<'_>) -> Vec<u8> {
    let (width, ffn, heads, layers) = (32_u32, 64_u32, 2_u32, 2_u32);
    let mut tokens: Vec<(Vec<u8>, f32, i32)> =
        vec![(b"<unk>".to_vec(), 0.0, 2), (b"<s>".to_vec(), 0.0, 3), (b"</s>".to_vec(), 0.0, 3)];
    tokens.extend((0..=255).map(|byte: u8| {
        if without.contains(&byte) {
            (format!("zz{byte:02X}").into_bytes(), -900.0, 1)
        } else {
            (format!("<0x{byte:02X}>").into_bytes(), 0.0, 6)
        }
    }));
    let pieces =
        ["▁", "e", "t", "a", "n", "th", "▁th", "▁a", "in", "he", "▁the", "on", "er", "model", "\"", ",", "1", "5"];
    tokens.extend(specials.iter().map(|text| (text.as_bytes().to_vec(), 0.0, 3)));
    tokens.extend((0..).zip(pieces).map(|(rank, text)| (text.as_bytes().to_vec(), -f32::from(rank as i16), 1)));

    // The second one has windows, a norm of its own kind, and none before its feed-forward networks.
    let architecture = if window.is_some() { "cohere2" } else { "llama" };
    let mut values: Vec<(&str, u32, Vec<u8>)> = Vec::new();
    let mut text = |key, text: &str| values.push((key, 8, string(text.as_bytes())));
    text("general.architecture", architecture);
    text("general.name", "made");
    text("tokenizer.ggml.model", "llama");
    if let Some(template) = template {
        text("tokenizer.chat_template", template);
    }
    for (key, number) in [
        (".context_length", 2048),
        (".embedding_length", width),
        (".block_count", layers),
        (".feed_forward_length", ffn),
        (".attention.head_count", heads),
        (".attention.head_count_kv", 1),
        (".rope.dimension_count", width / heads),
        ("tokenizer.ggml.bos_token_id", 1),
        ("tokenizer.ggml.eos_token_id", 2),
        ("tokenizer.ggml.unknown_token_id", 0),
    ] {
        values.push((key, 4, number.to_le_bytes().to_vec()));
    }
    match window {
        Some(window) => {
            values.push((".attention.sliding_window", 4, window.to_le_bytes().to_vec()));
            values.push((".attention.layer_norm_epsilon", 6, 1e-5_f32.to_le_bytes().to_vec()));
            values.push((".logit_scale", 6, 1_f32.to_le_bytes().to_vec()));
        }
        None => values.push((".attention.layer_norm_rms_epsilon", 6, 1e-5_f32.to_le_bytes().to_vec())),
    }
    values.push((".rope.freq_base", 6, 10_000_f32.to_le_bytes().to_vec()));
    values.push(("tokenizer.ggml.add_bos_token", 7, vec![1]));
    let texts: Vec<_> = tokens.iter().map(|token| string(&token.0)).collect();
    values.push(("tokenizer.ggml.tokens", 9, array(8, &texts)));
    let scores: Vec<_> = tokens.iter().map(|token| token.1.to_le_bytes().to_vec()).collect();
    values.push(("tokenizer.ggml.scores", 9, array(6, &scores)));
    let kinds: Vec<_> = tokens.iter().map(|token| token.2.to_le_bytes().to_vec()).collect();
    values.push(("tokenizer.ggml.token_type", 9, array(5, &kinds)));

    let count = u32::try_from(tokens.len()).expect("some hundred");
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![width, count])];
    for layer in 0..layers {
        let mut tensor =
            |part: &str, shape: &[u32]| tensors.push((format!("blk.{layer}.{part}.weight"), shape.to_vec()));
        tensor("attn_norm", &[width]);
        tensor("attn_q", &[width, width]);
        tensor("attn_k", &[width, width / heads]);
        tensor("attn_v", &[width, width / heads]);
        tensor("attn_output", &[width, width]);
        if window.is_none() {
            tensor("ffn_norm", &[width]);
        }
        tensor("ffn_gate", &[width, ffn]);
        tensor("ffn_up", &[width, ffn]);
        tensor("ffn_down", &[ffn, width]);
    }
    tensors.push(("output_norm.weight".to_owned(), vec![width]));

    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((values.len() as u64).to_le_bytes());
    for (key, kind, value) in values {
        // Keys that begin with a dot are the architecture's.
        let of = if key.starts_with('.') { architecture } else { "" };
        bytes.extend(string(format!("{of}{key}").as_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    }
    let mut data = Vec::new();
    let mut random = Random::new(7);
    // With windows, what lies in them is to show in the logits.
    let most = if window.is_some() { 0.5 } else { 0.1 };
    for (name, shape) in tensors {
        bytes.extend(string(name.as_bytes()));
        bytes.extend((shape.len() as u32).to_le_bytes());
        bytes.extend(shape.iter().flat_map(|&length| u64::from(length).to_le_bytes()));
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((data.len() as u64).to_le_bytes());
        for _ in 0..shape.iter().product::<u32>() {
            let number =
                if name.ends_with("norm.weight") { 1.0 } else { (random.below(2001) as f32 / 1000.0 - 1.0) * most };
            data.extend(number.to_le_bytes());
        }
        data.resize(data.len().next_multiple_of(32), 0);
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(data);
    bytes
}
