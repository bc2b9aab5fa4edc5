/* How a judge is opened. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_CONFIG_HPP
#define DICAST_CONFIG_HPP

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "options.hpp"
#include "status.hpp"

namespace dicast {

/** What happens to an answer that is not a complete verdict. */
enum class Incomplete {
    /** It is an error with the parts that could be read. */
    error,
    /** A missing ranking is derived from complete scores; missing scores stay an error. */
    derive_ranking,
};

/** How strictly an answer is read. The repairs of the verdict list what was allowed. A value. */
struct VerdictPolicy {
    /** What happens to an incomplete verdict. */
    Incomplete incomplete = Incomplete::error;
    /** Whether a score off the scale is moved to the nearest end of the scale. */
    bool clamp = false;
    /** Whether scores on another scale that the text names are mapped to the profile's scale. */
    bool rescale = false;

    /** The policy as JSON. */
    std::string to_json() const { return json().text(); }
    detail::Json json() const {
        detail::Json json;
        json.add("incomplete", incomplete == Incomplete::error ? "error" : "derive_ranking");
        json.add("clamp", clamp);
        json.add("rescale", rescale);
        return json;
    }
};

/** Limits on requests. A limit that is not set has its default. A value. */
struct Limits {
    /** Most responses in one request. */
    std::optional<std::uint64_t> max_responses = std::nullopt;
    /** Most bytes of all texts of one request together. */
    std::optional<std::uint64_t> max_request_bytes = std::nullopt;
    /** Most judgments that wait or run at once. */
    std::optional<std::uint64_t> max_queue = std::nullopt;

    detail::Json json() const {
        detail::Json json;
        json.add("max_responses", max_responses);
        json.add("max_request_bytes", max_request_bytes);
        json.add("max_queue", max_queue);
        return json;
    }
};

/** Where the embedded engine runs. */
enum class Isolation {
    /** In this process. */
    in_process,
    /** In a worker process, whose death ends only the judgments in it. */
    process,
};

/** Settings of the embedded engine. A setting that is not set has its default. A value. */
struct LocalConfig {
    /** Most tokens of one judgment, prompt and output together. */
    std::optional<std::uint32_t> context_tokens = std::nullopt;
    /** Most judgments decoded at once. */
    std::optional<std::uint32_t> max_sequences = std::nullopt;
    /** Tokens held for all judgments together. */
    std::optional<std::uint32_t> kv_cache_tokens = std::nullopt;
    /** Most prompt tokens computed in one step. */
    std::optional<std::uint32_t> batch_tokens = std::nullopt;
    /** Most prompt tokens computed in one step while other judgments are decoding. */
    std::optional<std::uint32_t> prefill_chunk_tokens = std::nullopt;
    /** Number of compute threads; 0 is one for each physical core. */
    std::optional<std::uint32_t> threads = std::nullopt;
    /** Number of layers on the GPU, if this build supports one. */
    std::optional<std::uint32_t> gpu_layers = std::nullopt;
    /** Whether the weights are mapped from the file. False: they are read into memory, and the file may change
     * afterwards. */
    std::optional<bool> mmap = std::nullopt;
    /** Whether the weights are arranged for this processor, where that is known and the memory suffices. */
    std::optional<bool> repack = std::nullopt;
    /** Most tokens of a draft, which is computed ahead where the judge quotes; 0 is none. Not with `deterministic`. */
    std::optional<std::uint32_t> draft_tokens = std::nullopt;
    /** Whether a request gives the same bits whatever is judged before it or at the same time. Costs time. */
    std::optional<bool> deterministic = std::nullopt;
    /** A folder for what is computed of the beginnings of prompts, so that it is read after a restart instead of being
     * computed again. Not with `deterministic`. */
    std::optional<std::string> prefix_dir = std::nullopt;
    /** Most bytes of the files in `prefix_dir`. Those used longest ago are removed. */
    std::optional<std::uint64_t> prefix_dir_bytes = std::nullopt;
    /** Where the engine runs. */
    std::optional<Isolation> isolation = std::nullopt;
    /** The `dicast` program that runs as worker process, of the same version as the library. */
    std::optional<std::string> worker_path = std::nullopt;
    /** A worker process that does not answer for this long is ended and started again. */
    std::optional<Timeout> unresponsive = std::nullopt;

    detail::Json json() const {
        detail::Json json;
        json.add("context_tokens", context_tokens);
        json.add("max_sequences", max_sequences);
        json.add("kv_cache_tokens", kv_cache_tokens);
        json.add("batch_tokens", batch_tokens);
        json.add("prefill_chunk_tokens", prefill_chunk_tokens);
        json.add("threads", threads);
        json.add("gpu_layers", gpu_layers);
        json.add("mmap", mmap);
        json.add("repack", repack);
        json.add("draft_tokens", draft_tokens);
        json.add("deterministic", deterministic);
        json.add("prefix_dir", prefix_dir);
        json.add("prefix_dir_bytes", prefix_dir_bytes);
        if (isolation) {
            json.add("isolation", *isolation == Isolation::process ? "process" : "none");
        }
        json.add("worker_path", worker_path);
        if (unresponsive) {
            json.add("unresponsive_ms", unresponsive->count());
        }
        return json;
    }
};

/** Which judgments run if not all of them fit the KV cache of a TensorRT-LLM engine. */
enum class TrtllmScheduler {
    /** A judgment starts when its whole output fits, and then runs to its end. */
    guaranteed_no_evict,
    /** As many as fit now; a judgment may be paused and computed again. */
    max_utilization,
};

/** How a TensorRT-LLM engine for several GPUs is driven. */
enum class TrtllmMode {
    /** One process for each GPU, started by `mpirun`; the first one takes requests. Also the mode of one GPU. */
    leader,
    /** This process starts a worker for each GPU. */
    orchestrator,
};

/** Settings of the TensorRT-LLM engine. A setting that is not set has its default. A value. */
struct TrtllmConfig {
    /** The KV cache takes this share of the GPU memory that is free after loading: greater than 0, at most 0.99. */
    std::optional<double> kv_memory_fraction = std::nullopt;
    /** Most tokens of the KV cache; 0 is as many as fit. */
    std::optional<std::uint32_t> kv_cache_tokens = std::nullopt;
    /** Bytes of host memory for KV blocks that do not fit the GPU. */
    std::optional<std::uint64_t> host_cache_bytes = std::nullopt;
    /** Whether judgments share the KV blocks of a common prompt prefix. */
    std::optional<bool> block_reuse = std::nullopt;
    /** Most judgments computed in one batch; 0 is the number that the engine was built for. */
    std::optional<std::uint32_t> max_batch_size = std::nullopt;
    /** Most tokens computed in one step; 0 is the number that the engine was built for. */
    std::optional<std::uint32_t> max_batch_tokens = std::nullopt;
    /** Most requests that wait inside the executor; 0: only Limits::max_queue limits them. */
    std::optional<std::uint32_t> max_queue = std::nullopt;
    /** Which judgments run if not all fit. */
    TrtllmScheduler scheduler = TrtllmScheduler::guaranteed_no_evict;
    /** Whether a long prompt is computed in several steps. */
    std::optional<bool> chunked_context = std::nullopt;
    /** How several GPUs are driven. */
    TrtllmMode mode = TrtllmMode::leader;
    /** The vendor's `executorWorker` program. Required in orchestrator mode, refused in leader mode. */
    std::optional<std::string> worker_path = std::nullopt;
    /** The CUDA ids of the GPUs to use, one for each rank; empty: the first ones. */
    std::vector<std::uint32_t> device_ids = {};
    /** An executor that has work but computes no step for this long counts as dead. */
    std::optional<Timeout> unresponsive = std::nullopt;
    /** Where the engine runs. */
    std::optional<Isolation> isolation = std::nullopt;
    /** The `dicast` program that runs as worker process, of the same version as the library. */
    std::optional<std::string> program_path = std::nullopt;

    /** The settings as JSON. */
    std::string to_json() const { return json().text(); }
    detail::Json json() const {
        detail::Json json;
        json.add("kv_memory_fraction", kv_memory_fraction);
        json.add("kv_cache_tokens", kv_cache_tokens);
        json.add("host_cache_bytes", host_cache_bytes);
        json.add("block_reuse", block_reuse);
        json.add("max_batch_size", max_batch_size);
        json.add("max_batch_tokens", max_batch_tokens);
        json.add("max_queue", max_queue);
        json.add("scheduler",
                 scheduler == TrtllmScheduler::max_utilization ? "max_utilization" : "guaranteed_no_evict");
        json.add("chunked_context", chunked_context);
        json.add("mode", mode == TrtllmMode::orchestrator ? "orchestrator" : "leader");
        json.add("worker_path", worker_path);
        json.add("device_ids", device_ids);
        if (unresponsive) {
            json.add("unresponsive_ms", unresponsive->count());
        }
        if (isolation) {
            json.add("isolation", *isolation == Isolation::process ? "process" : "none");
        }
        json.add("program_path", program_path);
        return json;
    }
};

/** Settings of the remote engine: for a model that is the URL of a server. A setting that is not set has its
 * default. A value. */
struct RemoteConfig {
    /** URLs of further servers of the same model, besides the one that `model` names. */
    std::vector<std::string> endpoints = {};
    /**
     * A file with the URLs of servers, one on a line. It is read again when it changes: new servers get work, and
     * removed ones finish the work that they have.
     */
    std::optional<std::string> endpoints_file = std::nullopt;
    /** The name of the model on the servers. Default: the first one that a server lists. */
    std::optional<std::string> model = std::nullopt;
    /** Keys for the servers, used in turn. */
    std::vector<std::string> api_keys = {};
    /**
     * Each server has its own key: the first one is for `model`, the next ones for `remote.endpoints`.
     * Otherwise every server sees every key.
     */
    std::optional<bool> key_per_endpoint = std::nullopt;
    /** A file with keys, one on a line, so that the configuration holds none. */
    std::optional<std::string> api_keys_file = std::nullopt;
    /** Further headers of every request, each as `Name: value`. */
    std::vector<std::string> headers = {};
    /** A proxy for all requests: the URL of an HTTP or HTTPS proxy. Not set: as `HTTPS_PROXY` and similar variables
     * say. */
    std::optional<std::string> proxy = std::nullopt;
    /** A file with certificates (PEM) that are trusted besides the usual ones. */
    std::optional<std::string> ca_file = std::nullopt;
    /** Use HTTP/2 over plain http too, without negotiation. */
    std::optional<bool> http2 = std::nullopt;
    /** What is sent to a server: token ids or messages. */
    std::optional<std::string> input = std::nullopt;
    /** The folder with the model's `tokenizer.json` and `tokenizer_config.json`. Prompts are then made by Dicast. */
    std::optional<std::string> tokenizer = std::nullopt;
    /** Ask for streamed answers, so that a server that falls silent is noticed. llama-server always streams. */
    std::optional<bool> stream = std::nullopt;
    /** What to do with text that looks like a control token if the server tokenizes messages itself. */
    std::optional<std::string> control_tokens = std::nullopt;
    /** How many alternatives with their probabilities to ask a server for at each token of a verdict. 0: no
     * distributions. */
    std::optional<std::uint32_t> top_logprobs = std::nullopt;
    /** Most requests that one server has at once. */
    std::optional<std::uint32_t> num_workers = std::nullopt;
    /** Most requests that are started at one server within `remote.request_limit_period_ms`. 0: no limit. */
    std::optional<std::uint32_t> request_limit = std::nullopt;
    /** The period of `remote.request_limit`. */
    std::optional<Timeout> request_limit_period = std::nullopt;
    /** How often a failed request is sent again, within its deadline. */
    std::optional<std::uint32_t> max_retries = std::nullopt;
    /** Time before the first retry; each further retry waits twice as long, up to a minute, less a random part. */
    std::optional<Timeout> retry_delay = std::nullopt;
    /** Failures in a row after which a server gets no work for a while. */
    std::optional<std::uint32_t> max_failures = std::nullopt;
    /** Time between two checks of a server's health. 0: none. */
    std::optional<Timeout> health_period = std::nullopt;
    /** Time after which a request without an answer is also sent to a second server. 0: never. */
    std::optional<Timeout> hedge = std::nullopt;
    /** Time within which a connection must be made. */
    std::optional<Timeout> connect_timeout = std::nullopt;
    /** Time after which a server that has sent nothing is given up. The wait for the first token counts too. */
    std::optional<Timeout> idle_timeout = std::nullopt;
    /** Most bytes of one answer. */
    std::optional<std::uint64_t> max_answer_bytes = std::nullopt;

    /** The settings as JSON. It holds the keys. */
    std::string to_json() const { return json().text(); }
    detail::Json json() const {
        detail::Json json;
        json.add("endpoints", endpoints);
        json.add("endpoints_file", endpoints_file);
        json.add("model", model);
        json.add("api_keys", api_keys);
        json.add("key_per_endpoint", key_per_endpoint);
        json.add("api_keys_file", api_keys_file);
        json.add("headers", headers);
        json.add("proxy", proxy);
        json.add("ca_file", ca_file);
        json.add("http2", http2);
        json.add("input", input);
        json.add("tokenizer", tokenizer);
        json.add("stream", stream);
        json.add("control_tokens", control_tokens);
        json.add("top_logprobs", top_logprobs);
        json.add("num_workers", num_workers);
        json.add("request_limit", request_limit);
        if (request_limit_period) {
            json.add("request_limit_period_ms", request_limit_period->count());
        }
        json.add("max_retries", max_retries);
        if (retry_delay) {
            json.add("retry_delay_ms", retry_delay->count());
        }
        json.add("max_failures", max_failures);
        if (health_period) {
            json.add("health_period_ms", health_period->count());
        }
        if (hedge) {
            json.add("hedge_ms", hedge->count());
        }
        if (connect_timeout) {
            json.add("connect_timeout_ms", connect_timeout->count());
        }
        if (idle_timeout) {
            json.add("idle_timeout_ms", idle_timeout->count());
        }
        json.add("max_answer_bytes", max_answer_bytes);
        return json;
    }
};

/** The configuration of a judge, for programs that do not write JSON. A value. */
struct Config {
    /** The model: a path to a `.gguf` file, or to a folder with a TensorRT-LLM engine, or the URL of a server. */
    std::string model;
    /** The path of the judge profile; the default is the one beside the model, else the built-in one. */
    std::optional<std::string> profile = std::nullopt;
    /** Options of every judgment. */
    Options options = {};
    /** How answers are read. */
    VerdictPolicy verdict = {};
    /** Limits on requests. */
    Limits limits = {};
    /** Settings of the embedded engine. */
    LocalConfig local = {};
    /** Settings of the TensorRT-LLM engine. */
    TrtllmConfig trtllm = {};
    /** Settings of the remote engine. */
    RemoteConfig remote = {};

    /** Settings that have no field above. They override the fields. */
    Settings more = {};

    /**
     * Sets a setting by its name, `config.set("local.threads", 4)`, or by a JSON pointer, `/local/threads`: see
     * Settings::set. The library checks name and value when the judge is opened, and names what is wrong.
     */
    template <class T>
    Config &set(std::string_view path, const T &value) {
        more.set(path, value);
        return *this;
    }
    /** The configuration as JSON, as the command line's `--config` reads it. */
    std::string to_json() const { return json().text(); }
    detail::Json json() const {
        detail::Json json;
        json.add("model", model);
        json.add("profile", profile);
        json.add("options", options.json());
        json.add("verdict", verdict.json());
        json.add("limits", limits.json());
        json.add("local", local.json());
        json.add("trtllm", trtllm.json());
        json.add("remote", remote.json());
        more.write(json);
        return json;
    }
};

/**
 * The configuration as JSON Schema: each setting with its type, range, default and meaning. It lives until the program
 * ends; any thread may call this at any time.
 */
inline std::string_view config_schema() noexcept { return detail::view(dicast_config_schema()); }

/** How important a line of the log is. */
enum class LogLevel : std::uint32_t {
    /** A defect of the library or of the engine. */
    error = DICAST_LOG_ERROR,
    /** A judgment that failed. */
    warn = DICAST_LOG_WARN,
    /** Opening and closing. */
    info = DICAST_LOG_INFO,
    /** Every judgment. */
    debug = DICAST_LOG_DEBUG,
};

/**
 * Gets the progress of loading a model, from 0 to 1 and rising, also when the judge wakes. Returning false ends the
 * loading: Status::cancelled. An exception ends it too. It must not use the judge.
 */
using Progress = std::function<bool(double part)>;

/** Where the log of a judge goes. The library itself never prints. */
struct Log {
    /**
     * Takes one line without a line end, which is valid only during the call. Any thread may call it, also several at
     * once, until the judge is destroyed. It must return quickly, and must not use the judge or its tickets. Exceptions
     * are dropped: a log that fails must not fail a judgment.
     */
    std::function<void(LogLevel level, std::string_view line)> sink = {};
    /** The least important level to log. */
    LogLevel level = LogLevel::info;
};

}  // namespace dicast

#endif  // DICAST_CONFIG_HPP
