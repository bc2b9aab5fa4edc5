//! llama.cpp behind its shield (`cpp/llama_shield.cpp`): models, contexts and batches whose calls return an error if
//! llama.cpp throws or asserts.

mod sequences;

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::NonNull;
use std::time::Instant;

use llama_cpp_sys_2::{
    ggml_threadpool, llama_batch, llama_context, llama_context_params, llama_model, llama_model_params, llama_token,
    llama_vocab,
};

use super::super::exit;
use super::watch::{StopFlag, Watch};

/// Most bytes of a failure's text.
const MAX_MESSAGE: usize = 2048;
/// Longest text that llama.cpp can count with its signed numbers: a quarter of their range, since it may give a byte
/// more than one token.
const MAX_TEXT: usize = i32::MAX as usize / 4;

const OK: i32 = 0;

#[repr(C)]
struct Message {
    text: *mut c_char,
    room: usize,
}

unsafe extern "C" {
    fn dicast_memory_unload(model: *const llama_model);
    fn dicast_shield_install();
    fn dicast_shield_warm(step: usize, message: Message) -> bool;
    // A function of ggml itself, from a header that it does not install.
    fn ggml_critical_section_start();
    fn ggml_critical_section_end();
    fn dicast_shield_load(
        path: *const c_char,
        params: *const llama_model_params,
        model: *mut *mut llama_model,
        message: Message,
    ) -> i32;
    fn dicast_shield_context(
        model: *mut llama_model,
        params: *const llama_context_params,
        context: *mut *mut llama_context,
        message: Message,
    ) -> i32;
    fn dicast_shield_tokenize(
        vocab: *const llama_vocab,
        text: *const c_char,
        length: i32,
        tokens: *mut llama_token,
        room: i32,
        result: *mut i32,
        message: Message,
    ) -> i32;
    fn dicast_shield_piece(
        vocab: *const llama_vocab,
        token: llama_token,
        text: *mut c_char,
        room: i32,
        result: *mut i32,
        message: Message,
    ) -> i32;
    fn dicast_shield_decode(
        context: *mut llama_context,
        batch: *const llama_batch,
        result: *mut i32,
        message: Message,
    ) -> i32;
    fn dicast_shield_logits(
        context: *mut llama_context,
        position: i32,
        logits: *mut *const f32,
        message: Message,
    ) -> i32;
    fn dicast_shield_remove(
        context: *mut llama_context,
        sequence: i32,
        from: i32,
        whole: *mut bool,
        message: Message,
    ) -> i32;
    fn dicast_shield_copy(context: *mut llama_context, from: i32, to: i32, end: i32, message: Message) -> i32;
    fn dicast_shield_state_size(context: *mut llama_context, sequence: i32, size: *mut usize, message: Message) -> i32;
    fn dicast_shield_state_get(
        context: *mut llama_context,
        sequence: i32,
        state: *mut u8,
        room: usize,
        written: *mut usize,
        message: Message,
    ) -> i32;
    fn dicast_shield_state_set(
        context: *mut llama_context,
        sequence: i32,
        state: *const u8,
        size: usize,
        read: *mut usize,
        message: Message,
    ) -> i32;
    fn dicast_shield_clear(context: *mut llama_context, data: bool, message: Message) -> i32;
}

/// What llama.cpp threw or asserted.
#[derive(Debug)]
pub(super) struct Fault {
    /// The library's own words.
    pub(super) message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Turns llama.cpp's assertions into errors. Called once, before anything else here.
pub(super) fn install() {
    // SAFETY: sets a callback that lives as long as the process.
    unsafe { dicast_shield_install() };
}

/// Creates the static objects of one step; returns whether there is a further step. What fails here fails again, with
/// an error, when a model is opened.
pub(super) fn warm(step: usize) -> bool {
    // SAFETY: with no room for it, no text is written.
    unsafe { dicast_shield_warm(step, Message { text: std::ptr::null_mut(), room: 0 }) }
}

/// Enters the section that ggml lets one thread into at a time, for moments. The same thread must leave it, or the
/// thread that continues in a child after `fork`.
pub(crate) fn enter_section() {
    // SAFETY: takes a lock.
    unsafe { ggml_critical_section_start() };
}

pub(crate) fn leave_section() {
    // SAFETY: gives back the lock that `enter_section` took.
    unsafe { ggml_critical_section_end() };
}

/// Runs a shielded call and takes its text.
fn shielded(call: impl FnOnce(Message) -> i32) -> Result<(), Fault> {
    let mut text = [0u8; MAX_MESSAGE];
    let status = call(Message { text: text.as_mut_ptr().cast(), room: MAX_MESSAGE });
    if status == OK {
        return Ok(());
    }
    let text = CStr::from_bytes_until_nul(&text).map(CStr::to_string_lossy).unwrap_or_default();
    Err(Fault { message: without_folders(&text) })
}

/// An assertion's text begins with the path of a source file on the machine that built it: the file name is enough.
pub(super) fn without_folders(text: &str) -> String {
    let words: Vec<&str> = text
        .split_whitespace()
        .map(
            |word| {
                if word.contains(".c") && word.contains('/') { word.rsplit('/').next().unwrap_or(word) } else { word }
            },
        )
        .collect();
    words.join(" ")
}

/// A loaded model.
pub(super) struct Model(NonNull<llama_model>);

// SAFETY: llama.cpp does not change a loaded model, except when contexts are made, which this crate does one at a time;
// its functions on const models may be called from any thread.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Loads a file, which must exist.
    pub(super) fn load(path: &Path, params: &llama_model_params) -> Result<Self, Fault> {
        let fault = |message: &str| Fault { message: message.to_owned() };
        let path =
            path.to_str().and_then(|path| CString::new(path).ok()).ok_or_else(|| fault("the path is not text"))?;
        let mut model = std::ptr::null_mut();
        // SAFETY: the path ends in a zero and the parameters outlive the call, which writes `model`.
        shielded(|message| unsafe { dicast_shield_load(path.as_ptr(), params, &raw mut model, message) })?;
        NonNull::new(model).map(Self).ok_or_else(|| fault("it cannot be loaded"))
    }

    /// Takes the pages of its file out of memory: most of it was copied. They come back when something reads them.
    pub(super) fn unload(&self) {
        // SAFETY: the model is alive, and no context uses it yet.
        unsafe { dicast_memory_unload(self.0.as_ptr()) };
    }

    fn vocab(&self) -> *const llama_vocab {
        // SAFETY: the model is alive; its vocabulary lives as long.
        unsafe { llama_cpp_sys_2::llama_model_get_vocab(self.0.as_ptr()) }
    }

    /// Tokens of the vocabulary, which is how many logits there are.
    pub(super) fn tokens(&self) -> usize {
        // SAFETY: the vocabulary is that of a living model.
        usize::try_from(unsafe { llama_cpp_sys_2::llama_vocab_n_tokens(self.vocab()) }).unwrap_or(0)
    }

    /// Whether this token ends the text.
    pub(super) fn ends_text(&self, token: usize) -> bool {
        let Ok(id) = i32::try_from(token) else { return false };
        // SAFETY: only looks the id up in a set.
        token < self.tokens() && unsafe { llama_cpp_sys_2::llama_vocab_is_eog(self.vocab(), id) }
    }

    /// Why a judge cannot run on models of this kind, if it cannot.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        let model = self.0.as_ptr();
        // SAFETY: the model is alive; all of these only read its parameters.
        unsafe {
            if llama_cpp_sys_2::llama_model_is_recurrent(model) || llama_cpp_sys_2::llama_model_is_hybrid(model) {
                Some("keep a running state, which cannot share prefixes")
            } else if llama_cpp_sys_2::llama_model_has_encoder(model)
                || !llama_cpp_sys_2::llama_model_has_decoder(model)
            {
                Some("encode texts, and cannot continue a text")
            } else if llama_cpp_sys_2::llama_model_is_diffusion(model) {
                Some("write all tokens at once, which is not supported")
            } else {
                None
            }
        }
    }

    /// How many tokens some of its layers look back over, themselves included; 0 if all look back to the first one.
    pub(super) fn window(&self) -> usize {
        // SAFETY: the model is alive; this reads one of its parameters.
        usize::try_from(unsafe { llama_cpp_sys_2::llama_model_n_swa(self.0.as_ptr()) }).unwrap_or(0)
    }

    /// The bytes that a token writes.
    pub(super) fn piece(&self, token: usize) -> Result<Vec<u8>, Fault> {
        let Ok(id) = i32::try_from(token) else { return Ok(Vec::new()) };
        let mut bytes = vec![0u8; 32];
        for _ in 0..2 {
            let room = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            let mut result = 0;
            // SAFETY: `bytes` has `room` bytes, of which the call writes at most as many.
            shielded(|message| unsafe {
                dicast_shield_piece(self.vocab(), id, bytes.as_mut_ptr().cast(), room, &raw mut result, message)
            })?;
            if let Ok(length) = usize::try_from(result) {
                bytes.truncate(length);
                return Ok(bytes);
            }
            bytes.resize(result.unsigned_abs() as usize, 0);
        }
        Ok(Vec::new())
    }

    /// The tokens of a text, without any that the model would add.
    pub(super) fn tokenize(&self, text: &str) -> Result<Vec<u32>, Fault> {
        let fault = |message: &str| Fault { message: message.to_owned() };
        if text.len() > MAX_TEXT {
            return Err(fault("the text is too long to be tokenized"));
        }
        let mut tokens: Vec<llama_token> = vec![0; text.len() + 8];
        for _ in 0..2 {
            let room = i32::try_from(tokens.len()).unwrap_or(i32::MAX);
            let length = i32::try_from(text.len()).unwrap_or(i32::MAX);
            let mut result = 0;
            // SAFETY: the text has `length` bytes, and `tokens` room for as many as the call may write.
            shielded(|message| unsafe {
                let (vocab, text) = (self.vocab(), text.as_ptr().cast());
                dicast_shield_tokenize(vocab, text, length, tokens.as_mut_ptr(), room, &raw mut result, message)
            })?;
            if let Ok(count) = usize::try_from(result) {
                tokens.truncate(count);
                let ids = tokens.into_iter().map(|id| u32::try_from(id).map_err(|_| fault("it gave a negative token")));
                return ids.collect();
            }
            tokens.resize(result.unsigned_abs() as usize, 0);
        }
        Err(fault("the text has more tokens than fit"))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // When the process ends, llama.cpp's static objects may already be destroyed; the system frees the memory.
        let Some(_busy) = exit::Busy::begin() else { return };
        // SAFETY: nothing refers to the model any more: contexts borrow it.
        unsafe { llama_cpp_sys_2::llama_model_free(self.0.as_ptr()) };
    }
}

/// The tokens to compute in one step.
pub(super) struct Batch {
    tokens: Vec<llama_token>,
    positions: Vec<i32>,
    sequences: Vec<i32>,
    wanted: Vec<i8>,
}

impl Batch {
    /// A batch for `room` tokens.
    pub(super) fn new(room: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(room),
            positions: Vec::with_capacity(room),
            sequences: Vec::with_capacity(room),
            wanted: Vec::with_capacity(room),
        }
    }

    /// Removes every token.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.sequences.clear();
        self.wanted.clear();
    }

    /// How many tokens are in it.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Adds a token at its position in a sequence; `wanted` asks for the logits after it.
    pub(super) fn add(&mut self, token: u32, position: usize, sequence: usize, wanted: bool) {
        let number = |number: usize| i32::try_from(number).expect("contexts are shorter than 2^31");
        self.tokens.push(i32::try_from(token).expect("token ids were checked on submission"));
        self.positions.push(number(position));
        self.sequences.push(number(sequence));
        self.wanted.push(i8::from(wanted));
    }
}

/// How far a batch was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// All of it.
    Whole,
    /// It was stopped before its end.
    Stopped,
}

/// Called between the operations of a computation, by the thread that started it; true stops it.
unsafe extern "C" fn is_over(watch: *mut c_void) -> bool {
    // SAFETY: the context passes the watch that it owns, and computes on its own thread: no other thread uses the watch
    // now.
    unsafe { &*watch.cast::<Watch>() }.is_over()
}

/// A context: the keys and values of several sequences, and the memory to compute with.
pub(super) struct Context<'model> {
    raw: NonNull<llama_context>,
    /// Tokens of the vocabulary.
    logits: usize,
    /// What it was made with: llama.cpp asserts both bounds.
    sequences: usize,
    batch_tokens: usize,
    /// [`Model::window`]
    window: usize,
    threads: i32,
    /// Threads that compute as long as the context lives; `None` if the calling thread computes alone.
    pool: Option<NonNull<ggml_threadpool>>,
    watch: Box<Watch>,
    /// Whether llama.cpp gave up in the middle of a call.
    broken: bool,
    model: PhantomData<&'model Model>,
}

// SAFETY: a context is bound to no thread, and is used by one at a time: its methods that compute take `&mut`.
unsafe impl Send for Context<'_> {}

impl<'model> Context<'model> {
    /// Makes a context, which borrows the model.
    pub(super) fn new(model: &'model Model, params: &llama_context_params) -> Result<Self, Fault> {
        let watch = Box::new(Watch::new());
        let mut params = *params;
        params.abort_callback = Some(is_over);
        params.abort_callback_data = std::ptr::from_ref(watch.as_ref()).cast_mut().cast();
        let params = &params;
        let mut context = std::ptr::null_mut();
        // SAFETY: the model is alive and the parameters outlive the call, which writes `context`.
        shielded(|message| unsafe { dicast_shield_context(model.0.as_ptr(), params, &raw mut context, message) })?;
        let context = NonNull::new(context).ok_or_else(|| Fault { message: "it cannot be made".to_owned() })?;
        let mut context = Self {
            raw: context,
            threads: params.n_threads,
            pool: None,
            watch,
            logits: model.tokens(),
            sequences: params.n_seq_max as usize,
            batch_tokens: params.n_batch as usize,
            window: model.window(),
            broken: false,
            model: PhantomData,
        };
        if context.threads > 1 {
            context.start_threads()?;
        }
        Ok(context)
    }

    /// Starts the threads of the computation; without this, llama.cpp starts new ones for every batch. They have the
    /// name and the blocked signals of the calling thread.
    fn start_threads(&mut self) -> Result<(), Fault> {
        // SAFETY: gives a plain structure.
        let mut parameters = unsafe { llama_cpp_sys_2::ggml_threadpool_params_default(self.threads) };
        // The threads sleep between batches: spinning would take the host's cores while the judge is idle.
        parameters.poll = 0;
        // SAFETY: the parameters outlive the call; the pool is attached to this context alone, and freed after it.
        self.pool = unsafe {
            let pool = NonNull::new(llama_cpp_sys_2::ggml_threadpool_new(&raw mut parameters));
            if let Some(pool) = pool {
                llama_cpp_sys_2::llama_attach_threadpool(self.raw.as_ptr(), pool.as_ptr(), pool.as_ptr());
            }
            pool
        };
        if self.pool.is_none() {
            return Err(Fault { message: format!("{} threads cannot be started", self.threads) });
        }
        Ok(())
    }

    /// Stops a computation from another thread.
    pub(super) fn stop_flag(&self) -> &StopFlag {
        self.watch.flag()
    }

    /// Threads of the computation.
    pub(super) fn threads(&self) -> i32 {
        self.threads
    }

    /// Sets the number of compute threads, at most as many as the context was made with.
    pub(super) fn set_threads(&mut self, threads: i32) {
        if threads == self.threads {
            return;
        }
        self.threads = threads;
        // SAFETY: the context is alive and no other thread uses it.
        unsafe { llama_cpp_sys_2::llama_set_n_threads(self.raw.as_ptr(), threads, threads) };
    }

    fn call(&mut self, call: impl FnOnce(*mut llama_context, Message) -> i32) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault { message: "llama.cpp has failed before: open the judge again".to_owned() });
        }
        let context = self.raw.as_ptr();
        let outcome = shielded(|message| call(context, message));
        // Whatever was thrown, it left a change half done.
        self.broken = outcome.is_err();
        outcome
    }

    /// Computes a batch; stops at the deadline. If it was stopped, part of the batch may be among the keys and values:
    /// whatever was not there before must be removed.
    ///
    /// # Errors
    /// The message of llama.cpp.
    pub(super) fn decode(&mut self, batch: &mut Batch, deadline: Option<Instant>) -> Result<Decoded, Fault> {
        self.watch.begin(deadline);
        let refused = |message: String| Err(Fault { message });
        if batch.len() == 0 || batch.len() > self.batch_tokens {
            return refused(format!("a batch of {} tokens, {} fit", batch.len(), self.batch_tokens));
        }
        if batch
            .sequences
            .iter()
            .any(|&sequence| usize::try_from(sequence).is_ok_and(|sequence| sequence >= self.sequences))
            || batch.tokens.iter().any(|&token| usize::try_from(token).is_ok_and(|token| token >= self.logits))
        {
            return refused("a batch names a token or a sequence that is not there".to_owned());
        }
        let mut counts = vec![1_i32; batch.len()];
        let mut sequences: Vec<*mut i32> = batch.sequences.iter_mut().map(std::ptr::from_mut).collect();
        let raw = llama_batch {
            n_tokens: i32::try_from(batch.tokens.len()).expect("a batch is shorter than 2^31"),
            token: batch.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: batch.positions.as_mut_ptr(),
            n_seq_id: counts.as_mut_ptr(),
            seq_id: sequences.as_mut_ptr(),
            logits: batch.wanted.as_mut_ptr(),
        };
        let mut result = 0;
        // SAFETY: every array of the batch has `n_tokens` entries and outlives the call, each `seq_id` points at the
        // one that `n_seq_id` counts; tokens, sequences and the number of both were checked against what llama.cpp
        // asserts.
        self.call(|context, message| unsafe {
            dicast_shield_decode(context, &raw const raw, &raw mut result, message)
        })?;
        match result {
            0 => Ok(Decoded::Whole),
            1 => refused("no room for more keys and values".to_owned()),
            2 => Ok(Decoded::Stopped),
            other => refused(format!("llama_decode returned {other}")),
        }
    }

    /// The logits after the token at this place of the last batch, which must have asked for them.
    pub(super) fn logits(&mut self, place: usize) -> Result<&[f32], Fault> {
        let place = i32::try_from(place).unwrap_or(i32::MAX);
        let mut logits = std::ptr::null();
        // SAFETY: the call writes `logits`.
        self.call(|context, message| unsafe { dicast_shield_logits(context, place, &raw mut logits, message) })?;
        if logits.is_null() {
            return Err(Fault { message: "there are no logits".to_owned() });
        }
        // SAFETY: llama.cpp keeps as many numbers for each output as the vocabulary has tokens, until the next batch,
        // which needs the `&mut` that this borrow holds.
        Ok(unsafe { std::slice::from_raw_parts(logits, self.logits) })
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // A broken context may be half changed, and threads may still wait in it: it is leaked on purpose.
        if !self.broken {
            // SAFETY: the context is alive and dropped once, before the threads that compute for it.
            unsafe {
                llama_cpp_sys_2::llama_free(self.raw.as_ptr());
                if let Some(pool) = self.pool {
                    llama_cpp_sys_2::ggml_threadpool_free(pool.as_ptr());
                }
            }
        }
    }
}
