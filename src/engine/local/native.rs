//! The model as llama.cpp holds it: loading, its context, what its file says.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};

use llama_cpp_sys_2::llama_context_params;
use serde_json::{Value, json};

use crate::config::LocalConfig;
use crate::engine::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::tokenize::{RawToken, TokenKind, Tokenizer};

use super::super::exit;
use super::gguf::{Header, Texts, byte_of};
use super::operations;
use super::scheduler::{Bounds, Scheduler};
use super::shield::{self, Batch, Context};
use super::sizes::{Lanes, MAX_STEP};
use super::text;

/// Most bytes of llama.cpp's error log that are kept for an error message.
const MAX_COMPLAINT: usize = 2000;

thread_local! {
    /// What llama.cpp logged as errors on this thread while it loaded.
    static COMPLAINTS: RefCell<String> = const { RefCell::new(String::new()) };
    /// What it logged as warnings meanwhile.
    static WARNINGS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The version of llama.cpp's sources that is built in.
pub(super) const LLAMA: &str = "llama-cpp-sys-2 0.1.161";

/// What llama.cpp was built for, and what it found on this machine: what it computes depends on this in the last bits.
fn build() -> &'static str {
    static BUILD: OnceLock<String> = OnceLock::new();
    BUILD.get_or_init(|| {
        // SAFETY: gives a string that ends in zero, in a buffer that only another call would change; this is the only one.
        unsafe { CStr::from_ptr(llama_cpp_sys_2::llama_print_system_info()) }.to_string_lossy().into_owned()
    })
}

/// A loaded model.
pub(super) struct Model {
    /// Shared with the tokenizer of vocabularies that only llama.cpp can tokenize.
    llama: Arc<shield::Model>,
    pub(super) header: Header,
    pub(super) place: String,
    warnings: Vec<String>,
}

/// Sets llama.cpp's process-wide state up, once: its own tables, and a log callback that prints nothing.
pub(super) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `keep_complaint` has the required signature, takes no data, and does not unwind.
        unsafe { llama_cpp_sys_2::llama_log_set(Some(keep_complaint), std::ptr::null_mut()) };
        shield::install();
        // SAFETY: called once, before anything else of llama.cpp; its state is never freed.
        unsafe { llama_cpp_sys_2::llama_backend_init() };
    });
}

/// Keeps what llama.cpp logs as errors, for our error message, and its warnings; drops the rest of its log.
unsafe extern "C" fn keep_complaint(level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _: *mut c_void) {
    let kept = match level {
        llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR => &COMPLAINTS,
        llama_cpp_sys_2::GGML_LOG_LEVEL_WARN => &WARNINGS,
        _ => return,
    };
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends in zero and lives as long as this call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    // Nothing may unwind into C: if the thread is ending, the text is dropped.
    let _ = kept.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < MAX_COMPLAINT
        {
            kept.push_str(&text);
        }
    });
}

/// Whether loading goes on: until the process ends, or until the caller's progress callback stops it.
unsafe extern "C" fn goes_on(part: f32, watching: *mut c_void) -> bool {
    // SAFETY: it is the pointer that `load` passed: alive while it loads, and used by this thread alone.
    let watching = unsafe { &*watching.cast::<Watching<'_>>() };
    if exit::is_exiting() || watching.ended.get() {
        return false;
    }
    // Nothing may unwind into C.
    let goes_on = catch_unwind(AssertUnwindSafe(|| watching.progress.say(part))).unwrap_or(false);
    watching.ended.set(!goes_on);
    goes_on
}

/// The observer of a load, and whether it stopped the load.
struct Watching<'a> {
    progress: &'a Progress,
    ended: Cell<bool>,
}

/// Runs `f`, and gives what llama.cpp logged as errors meanwhile, in one line.
fn with_complaints<T>(f: impl FnOnce() -> T) -> (T, String) {
    COMPLAINTS.with_borrow_mut(String::clear);
    WARNINGS.with_borrow_mut(String::clear);
    let value = f();
    let complaints = COMPLAINTS.with_borrow_mut(std::mem::take);
    let lines = complaints.split('\n').map(str::trim).filter(|line| !line.is_empty());
    (value, lines.map(shield::without_folders).collect::<Vec<_>>().join("; "))
}

/// Those warnings of llama.cpp that affect results: its lines about memory, threads and the like do not.
fn take_warnings() -> Vec<String> {
    const BEARING: &[&str] = &[
        "control-looking",
        "pre-tokenizer",
        "bad special token",
        "newline token",
        "eog token",
        "EOG",
        "empty token",
        "override",
    ];
    let text = WARNINGS.with_borrow_mut(std::mem::take);
    let lines = text.lines().map(str::trim).filter(|line| BEARING.iter().any(|word| line.contains(word)));
    lines.take(8).map(|line| format!("llama.cpp warns: {line}")).collect()
}

impl Model {
    /// Loads a file whose header was read and checked.
    /// `repack`: whether weights are arranged for this processor.
    pub(super) fn load(
        path: &Path,
        header: Header,
        config: &LocalConfig,
        repack: bool,
        progress: &Progress,
    ) -> Result<Self> {
        let place = path.display().to_string();
        let invalid = |message: &str| Error::new(ErrorKind::InvalidModel, format!("{place}: {message}"));
        if path.to_str().is_none() {
            return Err(invalid("the path is not UTF-8, which llama.cpp needs"));
        }
        set_up();
        // SAFETY: gives a plain structure.
        let mut parameters = unsafe { llama_cpp_sys_2::llama_model_default_params() };
        parameters.n_gpu_layers = i32::try_from(config.gpu_layers).unwrap_or(i32::MAX);
        parameters.load_mode =
            if config.mmap { llama_cpp_sys_2::LLAMA_LOAD_MODE_AUTO } else { llama_cpp_sys_2::LLAMA_LOAD_MODE_NONE };
        parameters.use_extra_bufts = repack;
        // The end of the process waits for a load that is in progress.
        parameters.progress_callback = Some(goes_on);
        let watching = Watching { progress, ended: Cell::new(false) };
        parameters.progress_callback_user_data = (&raw const watching).cast_mut().cast();
        let (loaded, complaints) = with_complaints(|| shield::Model::load(path, &parameters));
        let warnings = take_warnings();
        let architecture = header.architecture();
        let llama = loaded.map_err(|fault| {
            if exit::is_exiting() {
                return Error::closed();
            }
            if watching.ended.get() {
                return Progress::ended();
            }
            let reason = if complaints.is_empty() { fault.message } else { complaints };
            invalid(&format!("llama.cpp cannot load this {architecture:?} model: {reason}"))
        })?;
        if let Some(obstacle) = llama.obstacle() {
            return Err(Error::new(ErrorKind::Unsupported, format!("{place}: {architecture:?} models {obstacle}")));
        }
        let tokens = header.texts("tokenizer.ggml.tokens").map_or(0, Texts::len);
        if llama.tokens() != tokens {
            return Err(invalid(&format!("llama.cpp found {} tokens in it, not {tokens}: damaged", llama.tokens())));
        }
        if repack && header.packed(operations::packed).bytes > 0 {
            llama.unload();
        }
        Ok(Self { llama: Arc::new(llama), header, place, warnings })
    }

    /// What llama.cpp warned of while it loaded, if it affects the results.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Which tokens, by id, end the text.
    pub(super) fn ends_of_text(&self) -> Vec<bool> {
        (0..self.llama.tokens()).map(|token| self.llama.ends_text(token)).collect()
    }

    /// The tokenizer: of the `tokenizers` crate, built from the file, which is faithful to the reference; llama.cpp's
    /// own for vocabularies that the crate cannot rebuild.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        let texts = || self.header.texts("tokenizer.ggml.tokens").into_iter().flat_map(Texts::iter);
        if let Some(tokenizer) = text::tokenizer(&self.header, &self.place)? {
            return Ok(tokenizer);
        }
        let kinds = text::kinds(&self.header);
        let kind = |id: usize| kinds.get(id).copied().unwrap_or(TokenKind::Normal);
        let damaged = |fault: shield::Fault| {
            Error::new(
                ErrorKind::InvalidModel,
                format!("{}: llama.cpp cannot read its vocabulary: {fault}", self.place),
            )
        };
        let tokens: Vec<RawToken> = (0..self.llama.tokens())
            .map(|id| Ok(RawToken { bytes: self.llama.piece(id).map_err(damaged)?, kind: kind(id) }))
            .collect::<Result<_>>()?;
        let writable = Writable::new(&tokens, self.header.text("tokenizer.ggml.model") == Some("llama"), texts());
        let model = self.llama.clone();
        let encode = move |text: &str| writable.encode(&model, text);
        Tokenizer::from_encoder(Box::new(encode), tokens)
    }

    /// A context for `sequences` sequences that share one pool of keys and values.
    ///
    /// # Errors
    /// [`ErrorKind::Engine`] if it cannot be made, [`ErrorKind::InvalidModel`] if the model cannot be computed.
    pub(super) fn context(&self, bounds: Bounds, sequences: usize, threads: u32) -> Result<Context<'_>> {
        let threads = i32::try_from(threads).expect("at most 512");
        let parameters = Self::parameters(bounds, sequences, threads);
        let (context, complaints) = with_complaints(|| Context::new(&self.llama, &parameters));
        let mut context = context.map_err(|fault| {
            if exit::is_exiting() {
                return Error::closed();
            }
            let reason = if complaints.is_empty() { fault.message } else { complaints };
            Error::new(
                ErrorKind::Engine,
                format!(
                    "{}: a context of {} tokens cannot be made: {reason}; lower local.kv_cache_tokens or \
                     local.context_tokens where memory is short",
                    self.place, bounds.pool_tokens
                ),
            )
        })?;
        self.try_out(&mut context, threads)?;
        Ok(context)
    }

    /// How a context is made.
    fn parameters(bounds: Bounds, sequences: usize, threads: i32) -> llama_context_params {
        let number = |count: usize| u32::try_from(count).expect("the configuration was checked");
        // SAFETY: gives a plain structure.
        let mut parameters = unsafe { llama_cpp_sys_2::llama_context_default_params() };
        parameters.n_ctx = number(bounds.pool_tokens);
        // llama.cpp asserts that a batch has room for an output of every sequence.
        let batch = bounds.batch_tokens.max(sequences);
        parameters.n_batch = number(batch);
        parameters.n_ubatch = number(batch.min(MAX_STEP));
        parameters.n_seq_max = number(sequences);
        parameters.n_threads = threads;
        parameters.n_threads_batch = threads;
        // One pool: sequences take what they need, and a shared prefix is a reference, not a copy. Flash attention
        // passes over the keys of other sequences, so that the pool costs nothing in decoding.
        parameters.kv_unified = true;
        parameters.flash_attn_type = llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED;
        // A file may ask for pooled embeddings, which have no logits.
        parameters.pooling_type = llama_cpp_sys_2::LLAMA_POOLING_TYPE_NONE;
        parameters.embeddings = false;
        parameters.no_perf = true;
        parameters
    }

    /// What the keys and values of a token depend on besides the model's file and the tokens before it.
    pub(super) fn computing(&self, lanes: Lanes, config: &LocalConfig) -> Value {
        let bounds = lanes.bounds;
        let parameters = Self::parameters(bounds, Scheduler::sequences(bounds), 1);
        // Some models turn positions otherwise in a long context.
        let context = self.header.tensor("rope_factors_long.weight").map(|_| bounds.pool_tokens);
        json!({
            "dicast": env!("CARGO_PKG_VERSION"),
            "llama": LLAMA,
            "build": build(),
            "machine": [std::env::consts::ARCH, if operations::has_kernels() { "packs" } else { "" }],
            "packed": lanes.repack,
            "gpu": if cfg!(any(feature = "cuda", feature = "metal", feature = "vulkan")) { config.gpu_layers } else { 0 },
            "types": [parameters.type_k, parameters.type_v],
            "attention": [parameters.attention_type, parameters.flash_attn_type],
            "scaling": parameters.rope_scaling_type,
            "rope": [parameters.rope_freq_base, parameters.rope_freq_scale],
            "yarn": [
                parameters.yarn_ext_factor,
                parameters.yarn_attn_factor,
                parameters.yarn_beta_fast,
                parameters.yarn_beta_slow,
            ],
            "trained": parameters.yarn_orig_ctx,
            "layout": [parameters.kv_unified, parameters.swa_full, parameters.offload_kqv],
            "step": parameters.n_ubatch,
            "context": context,
        })
    }

    /// Whether some layers look back over a window only.
    pub(super) fn has_windows(&self) -> bool {
        self.llama.window() > 0
    }

    /// Computes a few tokens. Sizes and types that do not fit together show up here, on one thread, where llama.cpp's
    /// assertions can still be caught: on its compute threads they end the process.
    fn try_out(&self, context: &mut Context<'_>, threads: i32) -> Result<()> {
        let invalid =
            |what: &str| Error::new(ErrorKind::InvalidModel, format!("{}: cannot be computed: {what}", self.place));
        context.set_threads(1);
        let last = u32::try_from(self.llama.tokens().saturating_sub(1)).unwrap_or(0);
        let mut position = 0;
        for tokens in [&[0, last][..], &[last]] {
            let mut batch = Batch::new(tokens.len());
            for &token in tokens {
                batch.add(token, position, 0, true);
                position += 1;
            }
            let (computed, complaints) = with_complaints(|| context.decode(&mut batch, None));
            computed.map_err(|fault| {
                invalid(&if complaints.is_empty() { fault.message } else { format!("{}; {complaints}", fault.message) })
            })?;
            let logits = context.logits(batch.len() - 1).map_err(|fault| invalid(&fault.message))?;
            if logits.iter().all(|logit| !logit.is_finite()) {
                return Err(invalid("its logits are not numbers: its weights are damaged; fetch it again"));
            }
        }
        context.remove(0, 0).map_err(|fault| invalid(&fault.message))?;
        context.set_threads(threads);
        Ok(())
    }
}

/// Which texts can be written with a vocabulary that llama.cpp tokenizes.
struct Writable {
    /// Bytes without a token of their own.
    missing: [bool; 256],
    /// Characters that are tokens.
    characters: HashSet<char>,
    /// The bytes of each token, if llama.cpp silently leaves out what it cannot write; empty if it throws.
    bytes: Vec<Vec<u8>>,
}

impl Writable {
    fn new<'a>(tokens: &[RawToken], sentence_piece: bool, texts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut missing = [true; 256];
        let mut characters = HashSet::new();
        for (token, text) in tokens.iter().zip(texts) {
            match (byte_of(text), &token.bytes[..]) {
                (Some(byte), _) => missing[usize::from(byte)] = false,
                (None, [byte]) => missing[usize::from(*byte)] = false,
                _ => {}
            }
            let mut letters = std::str::from_utf8(&token.bytes).unwrap_or_default().chars();
            if let (Some(letter), None) = (letters.next(), letters.next()) {
                characters.insert(letter);
            }
        }
        let bytes = if sentence_piece { Vec::new() } else { tokens.iter().map(|token| token.bytes.clone()).collect() };
        Self { missing, characters, bytes }
    }

    fn encode(&self, model: &shield::Model, text: &str) -> Result<Vec<u32>> {
        let ids = match model.tokenize(text) {
            Ok(ids) => ids,
            Err(fault) => return Err(self.refusal(text, Some(&fault))),
        };
        if !self.bytes.is_empty() {
            let written = ids.iter().filter_map(|&id| self.bytes.get(id as usize)).flatten().copied();
            // Some vocabularies write a blank as ▁, and so cannot distinguish the two.
            let wanted = text.replace('\u{2581}', " ");
            if !written.eq(wanted.bytes())
                && !ids.iter().filter_map(|&id| self.bytes.get(id as usize)).flatten().eq(text.as_bytes())
            {
                return Err(self.refusal(text, None));
            }
        }
        Ok(ids)
    }

    /// The error for a text that cannot be written, with the character if it can be found.
    fn refusal(&self, text: &str, fault: Option<&shield::Fault>) -> Error {
        let lost = text.chars().find(|&letter| {
            !self.characters.contains(&letter)
                && letter.encode_utf8(&mut [0; 4]).bytes().any(|byte| self.missing[usize::from(byte)])
        });
        let reason = match (lost, fault) {
            (Some(letter), _) => format!(
                "the model's vocabulary cannot write {letter:?} (U+{:04X}): it has no token for it, and not for \
                 all of its bytes; remove the character, or use another model",
                u32::from(letter)
            ),
            (None, Some(fault)) => format!("the model's vocabulary cannot write this text: {fault}"),
            (None, None) => "the model's vocabulary cannot write this text to the byte".to_owned(),
        };
        Error::new(ErrorKind::InvalidRequest, reason)
    }
}
