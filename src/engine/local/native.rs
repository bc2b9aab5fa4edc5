//! The model as llama.cpp holds it: loading, its context, what its file says.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

use crate::error::{Error, ErrorKind, Result};
use crate::prompt::tokenize::{BpeVocab, RawToken, TokenKind, Tokenizer, VocabToken};

use super::gguf::Header;
use super::scheduler::Bounds;

/// Most bytes of llama.cpp's own complaints that are kept for an error message.
const MAX_COMPLAINT: usize = 2000;

thread_local! {
    /// What llama.cpp complained of on this thread, while it loaded.
    static COMPLAINTS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A loaded model.
pub(super) struct Model {
    /// Shared with the tokenizer of vocabularies that only llama.cpp can tokenize.
    llama: Arc<LlamaModel>,
    header: Header,
    place: String,
}

/// llama.cpp's process-wide state, set up once: its own tables, and a log that prints nothing.
pub(super) fn backend() -> Result<&'static LlamaBackend> {
    static BACKEND: OnceLock<std::result::Result<LlamaBackend, String>> = OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        // SAFETY: `keep_complaint` has the signature asked for, takes no data, and does not unwind.
        unsafe { llama_cpp_sys_2::llama_log_set(Some(keep_complaint), std::ptr::null_mut()) };
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    backend.as_ref().map_err(|error| Error::new(ErrorKind::Engine, format!("llama.cpp cannot be set up: {error}")))
}

/// Keeps what llama.cpp reports as an error, for the message of ours, and drops the rest of its log.
unsafe extern "C" fn keep_complaint(level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if level != llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR || text.is_null() {
        return;
    }
    // SAFETY: llama.cpp hands over a string that ends in zero and lives as long as this call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    // Nothing may unwind into C: where the thread is ending, the text is dropped.
    let _ = COMPLAINTS.try_with(|complaints| {
        if let Ok(mut complaints) = complaints.try_borrow_mut()
            && complaints.len() < MAX_COMPLAINT
        {
            complaints.push_str(&text);
        }
    });
}

/// Runs `f` and gives what llama.cpp complained of meanwhile, in one line.
fn with_complaints<T>(f: impl FnOnce() -> T) -> (T, String) {
    COMPLAINTS.with_borrow_mut(String::clear);
    let value = f();
    let complaints = COMPLAINTS.with_borrow_mut(std::mem::take);
    (value, complaints.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; "))
}

impl Model {
    /// Checks what the header says and loads the file.
    pub(super) fn load(path: &Path, header: Header, gpu_layers: u32) -> Result<Self> {
        let place = path.display().to_string();
        let invalid = |message: &str| Error::new(ErrorKind::InvalidModel, format!("{place}: {message}"));
        if path.to_str().is_none() {
            return Err(invalid("the path is not UTF-8, which llama.cpp needs"));
        }
        let Some(architecture) = header.text("general.architecture") else {
            return Err(invalid("names no architecture (general.architecture): not a language model"));
        };
        if header.int("split.no").is_some_and(|part| part > 0) {
            return Err(invalid("is a later part of a split model: name the first part (…-00001-of-…)"));
        }
        if header.text("tokenizer.ggml.model").is_none() || header.texts("tokenizer.ggml.tokens").is_none() {
            return Err(invalid("holds no vocabulary (tokenizer.ggml.tokens): convert the model with its tokenizer"));
        }
        let backend = backend()?;
        let parameters = LlamaModelParams::default().with_n_gpu_layers(gpu_layers);
        let (loaded, complaints) = with_complaints(|| LlamaModel::load_from_file(backend, path, &parameters));
        let model = loaded.map_err(|error| {
            let reason = if complaints.is_empty() { error.to_string() } else { complaints };
            invalid(&format!("llama.cpp cannot load this {architecture:?} model: {reason}"))
        })?;
        if model.is_recurrent() || model.is_hybrid() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{place}: {architecture:?} models keep a running state, which cannot share prefixes"),
            ));
        }
        Ok(Self { llama: Arc::new(model), header, place })
    }

    /// The tokens of context that the model was trained for.
    pub(super) fn trained_context(&self) -> u32 {
        self.llama.n_ctx_train()
    }

    /// The chat template in the file.
    pub(super) fn chat_template(&self) -> Result<&str> {
        self.header.text("tokenizer.chat_template").ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidModel,
                format!(
                    "{}: the model has no chat template (tokenizer.chat_template): convert it with its \
                     tokenizer_config.json, or use an instruction-tuned model",
                    self.place
                ),
            )
        })
    }

    /// The text of the token whose id stands under `key`.
    pub(super) fn token_text(&self, key: &str) -> Option<String> {
        let id = usize::try_from(self.header.int(key)?).ok()?;
        self.header.texts("tokenizer.ggml.tokens")?.get(id).cloned()
    }

    /// Which tokens, by id, end the text.
    pub(super) fn ends_of_text(&self) -> Vec<bool> {
        let vocabulary = self.llama.vocab();
        (0..self.llama.n_vocab()).map(|id| vocabulary.is_eog(LlamaToken::new(id))).collect()
    }

    /// The tokenizer: of the `tokenizers` crate, built from the file, which is faithful to the reference; for
    /// vocabularies it has no recipe for, llama.cpp's own.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        let texts = self.header.texts("tokenizer.ggml.tokens").unwrap_or_default();
        let kinds = self.header.ints("tokenizer.ggml.token_type").unwrap_or_default();
        let kind = |id: usize| match kinds.get(id) {
            Some(2) => TokenKind::Unknown,
            Some(3) => TokenKind::Control,
            Some(4) => TokenKind::UserDefined,
            Some(5) => TokenKind::Unused,
            Some(6) => TokenKind::Byte,
            _ => TokenKind::Normal,
        };
        if self.header.text("tokenizer.ggml.model") == Some("gpt2") {
            let tokens =
                texts.iter().enumerate().map(|(id, text)| VocabToken { text: text.clone(), kind: kind(id) }).collect();
            let merges = self.header.texts("tokenizer.ggml.merges").unwrap_or_default().to_vec();
            let pre = self.header.text("tokenizer.ggml.pre").unwrap_or("default").to_owned();
            match Tokenizer::from_bpe(BpeVocab { tokens, merges, pre }) {
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                outcome => return outcome.map_err(|error| error.context(&self.place)),
            }
        }
        let vocabulary = self.llama.vocab();
        let tokens = (0..self.llama.n_vocab())
            .zip(0..)
            .map(|(id, index)| {
                let bytes = vocabulary.token_to_piece(LlamaToken::new(id), true, None);
                RawToken { bytes, kind: kind(index) }
            })
            .collect();
        let model = self.llama.clone();
        let encode = move |text: &str| {
            let ids = model.vocab().tokenize(text.as_bytes(), false, false);
            ids.into_iter()
                .map(|id| {
                    u32::try_from(id.0)
                        .map_err(|_| Error::new(ErrorKind::InvalidModel, "llama.cpp gave a negative token"))
                })
                .collect()
        };
        Tokenizer::from_encoder(Box::new(encode), tokens)
    }

    /// Threads that the model can use on this machine.
    fn useful_threads(&self) -> u32 {
        let busy = u32::try_from(self.llama.size() / BYTES_A_THREAD + 1).unwrap_or(u32::MAX);
        physical_cores().min(busy).min(512)
    }

    /// A context for `sequences` sequences that share one pool of keys and values.
    pub(super) fn context(&self, bounds: Bounds, sequences: usize, threads: u32) -> Result<LlamaContext<'_>> {
        let number = |count: usize| u32::try_from(count).expect("the configuration was checked");
        let threads = i32::try_from(if threads == 0 { self.useful_threads() } else { threads }).expect("at most 512");
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(number(bounds.pool_tokens)))
            .with_n_batch(number(bounds.batch_tokens))
            .with_n_ubatch(number(bounds.batch_tokens.min(512)))
            .with_n_seq_max(number(sequences))
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            // One pool: sequences take what they need, and a shared prefix is a reference, not a copy. Flash attention
            // passes over the keys of other sequences, so that the pool costs nothing in decoding.
            .with_kv_unified(true)
            .with_flash_attention_policy(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED)
            .with_no_perf(true);
        let (context, complaints) = with_complaints(|| {
            self.llama
                .new_context(backend()?, parameters)
                .map_err(|error| Error::new(ErrorKind::Engine, error.to_string()))
        });
        context.map_err(|error| {
            let reason = if complaints.is_empty() { error.message().to_owned() } else { complaints };
            Error::new(
                ErrorKind::Engine,
                format!(
                    "{}: a context of {} tokens cannot be made: {reason}; lower local.kv_cache_tokens or \
                     local.context_tokens where memory is short",
                    self.place, bounds.pool_tokens
                ),
            )
        })
    }
}

/// Bytes of weights that are worth one more thread: below, threads wait for each other longer than they compute.
const BYTES_A_THREAD: u64 = 32 << 20;

/// Cores to compute on: hyper-threads of one core share its arithmetic units, and more threads than cores only wait.
fn physical_cores() -> u32 {
    let logical = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    let siblings = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
        .map_or(1, |list| u32::try_from(list.trim().split([',', '-']).count()).unwrap_or(1));
    (logical / siblings).max(1)
}
