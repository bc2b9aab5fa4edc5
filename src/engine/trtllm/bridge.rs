//! The border to C++: `cpp/trtllm_adapter.h`, declared for cxx.

#[cxx::bridge(namespace = "dicast::trtllm")]
pub(super) mod ffi {
    /// How a call ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Code {
        Ok,
        /// An exception of the vendor's own type.
        Vendor,
        /// Out of host memory.
        Memory,
        /// Another `std::exception`.
        Standard,
        /// Something thrown that is not a `std::exception`.
        Foreign,
    }

    /// How a call ended, and the exception's message.
    #[derive(Clone, Debug)]
    struct Status {
        code: Code,
        message: String,
    }

    /// Which requests run when not all fit the KV cache.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Policy {
        NoEviction,
        MaxUtilization,
    }

    /// Everything needed to open an executor. A zero or an empty list leaves a setting to the library.
    #[derive(Clone, Debug)]
    struct Settings {
        engine_folder: String,
        kv_memory_fraction: f32,
        kv_max_tokens: i32,
        kv_host_bytes: u64,
        block_reuse: bool,
        max_batch_size: i32,
        max_batch_tokens: i32,
        max_queue: i32,
        policy: Policy,
        chunked_context: bool,
        device_ids: Vec<i32>,
        /// Path of `executorWorker` in orchestrator mode; empty in leader mode.
        worker: String,
        /// Whether requests may bring guides.
        guided: bool,
        /// Whether requests bring probes.
        probes: bool,
        /// Bytes of all tokens one after the other, and where each ends; no guide admits a token without bytes.
        vocabulary: Vec<u8>,
        vocabulary_ends: Vec<u32>,
        /// Tokens that end a text.
        ends: Vec<i32>,
    }

    /// One request.
    #[derive(Clone, Debug)]
    struct Submission {
        tokens: Vec<i32>,
        max_tokens: i32,
        /// 0 means greedy.
        temperature: f32,
        top_p: f32,
        top_k: i32,
        seed: u64,
        end: i32,
        /// More tokens that end the text.
        stops: Vec<i32>,
        /// Tokens that are never sampled.
        banned: Vec<i32>,
        /// EBNF; empty for free text.
        guide: String,
        allotted_ms: i64,
        /// Leading tokens whose blocks are kept longest.
        retained_tokens: i32,
        /// Whether the log probabilities of the sampled tokens are returned.
        log_probs: bool,
        /// Whether it goes before requests that wait.
        first: bool,
    }

    /// Which logits a probe copies, and where.
    #[derive(Clone, Debug, Default)]
    struct ProbePlan {
        /// Tokens before the output.
        prompt_tokens: u32,
        /// The token after which the answer begins; negative if the output begins with the answer.
        after: i32,
        /// The length of the answer, in bytes, at which each place is; ascending.
        at: Vec<u32>,
        /// Where the tokens of each place end in `tokens`.
        ends: Vec<u32>,
        tokens: Vec<i32>,
    }

    /// What was measured for one request; all zero if the library gave nothing.
    #[derive(Clone, Copy, Debug, Default)]
    struct Metrics {
        /// Whether the library gave any.
        known: bool,
        /// Time since the request was first scheduled.
        scheduled_ago_us: u64,
        prefill_us: u64,
        decode_us: u64,
        reused_blocks: u32,
    }

    /// Counters of an executor.
    #[derive(Clone, Copy, Debug, Default)]
    struct Statistics {
        /// Iterations of the executor's loop, which runs while any request is active.
        iterations: u64,
        /// How many of them computed something, and the tokens computed in them.
        steps: u64,
        computed_tokens: u64,
        /// As of the last iteration.
        queued: u32,
        active: u32,
        scheduled: u32,
        blocks_total: u32,
        blocks_used: u32,
        blocks_reused: u64,
        tokens_per_block: u32,
    }

    extern "Rust" {
        type Receiver;
        fn deliver(self: &mut Receiver, reply: UniquePtr<Reply>);
    }

    unsafe extern "C++" {
        include!("trtllm_adapter.h");

        type Probe;
        fn read(self: &Probe, places: &mut Vec<u32>, logits: &mut Vec<f32>) -> Status;

        type Reply;
        fn request(self: &Reply) -> u64;
        fn is_final(self: &Reply) -> bool;
        fn failed(self: &Reply) -> bool;
        fn error(self: &Reply) -> String;
        fn finish_reason(self: &Reply) -> i32;
        fn tokens(self: &Reply) -> &[i32];
        fn metrics(self: &Reply) -> Metrics;
        fn log_prob(self: &Reply) -> f32;

        type Session;
        fn probe(self: &Session, plan: &ProbePlan) -> SharedPtr<Probe>;
        fn enqueue(self: &Session, submission: &Submission, probe: SharedPtr<Probe>, id: &mut u64) -> Status;
        fn await_responses(self: &Session, timeout_ms: u32, receiver: &mut Receiver) -> Status;
        fn cancel(self: &Session, id: u64) -> Status;
        fn statistics(self: &Session, statistics: &mut Statistics) -> Status;
        fn accepts_requests(self: &Session) -> bool;
        fn shut_down(self: &Session) -> Status;

        fn open_session(settings: &Settings, status: &mut Status) -> UniquePtr<Session>;
        fn library_version() -> String;
        fn library_label() -> String;
    }
}

/// Receives the executor's answers.
#[derive(Default)]
pub(super) struct Receiver {
    pub(super) replies: Vec<cxx::UniquePtr<ffi::Reply>>,
}

impl Receiver {
    fn deliver(&mut self, reply: cxx::UniquePtr<ffi::Reply>) {
        // Processed once the call has returned: nothing that could panic runs below C++.
        self.replies.push(reply);
    }
}

// SAFETY: a session owns an executor, whose members the library guards with its own locks: any thread may submit and
// cancel requests, read statistics and ask for the state while another thread waits for responses. Only one thread
// waits and shuts down: the one that owns the waiting thread.
unsafe impl Send for ffi::Session {}
// SAFETY: as above.
unsafe impl Sync for ffi::Session {}

// SAFETY: a probe's contents lie behind a mutex of its own.
unsafe impl Send for ffi::Probe {}
// SAFETY: as above.
unsafe impl Sync for ffi::Probe {}

// SAFETY: a reply owns its response and nothing that belongs to a thread; it is read through shared references, which
// change nothing.
unsafe impl Send for ffi::Reply {}
