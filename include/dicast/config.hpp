/* How a judge is opened, and what its judgments go by. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_CONFIG_HPP
#define DICAST_CONFIG_HPP

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <locale>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "status.hpp"

namespace dicast {

namespace detail {

/** Writes a JSON object; what is not set is left out. */
class JsonObject {
public:
    void add(std::string_view key, std::string_view text) {
        next(key);
        string(text);
    }
    void add(std::string_view key, const char *text) { add(key, std::string_view(text)); }
    void add(std::string_view key, bool value) { add_raw(key, value ? "true" : "false"); }
    void add(std::string_view key, std::uint64_t value) { add_raw(key, std::to_string(value)); }
    void add(std::string_view key, std::uint32_t value) { add_raw(key, std::to_string(value)); }
    void add(std::string_view key, double value) {
        // The program's locale may write a decimal comma. What is not finite becomes no JSON, and so an error.
        std::ostringstream written;
        written.imbue(std::locale::classic());
        written.precision(std::numeric_limits<double>::max_digits10);
        written << value;
        add_raw(key, written.str());
    }
    template <class T>
    void add(std::string_view key, const std::optional<T> &value) {
        if (value) {
            add(key, *value);
        }
    }
    /** Adds JSON as it is. */
    void add_raw(std::string_view key, std::string_view json) {
        next(key);
        text_ += json;
    }
    std::string finish() && { return std::move(text_) + '}'; }

private:
    void next(std::string_view key) {
        if (text_.size() > 1) {
            text_ += ',';
        }
        string(key);
        text_ += ':';
    }
    void string(std::string_view text) {
        constexpr std::string_view digits = "0123456789abcdef";
        text_ += '"';
        for (const char byte : text) {
            const auto code = static_cast<unsigned char>(byte);
            if (code < 0x20) {
                text_ += "\\u00";
                text_ += digits[code >> 4U];
                text_ += digits[code & 0xFU];
            } else {
                if (byte == '"' || byte == '\\') {
                    text_ += '\\';
                }
                text_ += byte;
            }
        }
        text_ += '"';
    }

    std::string text_ = "{";
};

}  // namespace detail

/** How the names of responses are hidden from the judge. */
enum class Mask : std::uint32_t {
    /** Aliases in an order shuffled by the seed, as Python's `random.seed(seed); random.shuffle(responses)` does it. */
    shuffle = DICAST_MASK_SHUFFLE,
    /** Aliases in the order given. */
    given = DICAST_MASK_GIVEN,
    /** The names themselves in the order given. */
    off = DICAST_MASK_OFF,
};

/**
 * Options of a judgment. What is not set stays as the judge's configuration says, or its profile. A value. Ranges are
 * checked where it is used.
 */
struct Options {
    /** Of sampling; 0 is greedy. */
    std::optional<double> temperature = std::nullopt;
    /** Of sampling, above 0, at most 1. */
    std::optional<double> top_p = std::nullopt;
    /** Of sampling; 0 is off. */
    std::optional<std::uint32_t> top_k = std::nullopt;
    /** Of sampling. The same model, request, options and seed give the same verdict. */
    std::optional<std::uint64_t> seed = std::nullopt;
    /** Whether the judge thinks before its verdict. */
    std::optional<bool> reasoning = std::nullopt;
    /** After these tokens the reasoning is ended, and flagged. */
    std::optional<std::uint32_t> max_reasoning_tokens = std::nullopt;
    /** Most tokens of a verdict that is not guided. */
    std::optional<std::uint32_t> max_verdict_tokens = std::nullopt;
    /** Whether a grammar holds the verdict. */
    std::optional<bool> guided = std::nullopt;
    /** Whether the ranking is held to the order of the scores. */
    std::optional<bool> consistent_ranking = std::nullopt;
    /** How names are hidden. */
    std::optional<Mask> mask = std::nullopt;
    /** Of the shuffle. */
    std::optional<std::uint64_t> mask_seed = std::nullopt;
    /** After this time the judgment has failed with Status::timeout. */
    std::optional<std::chrono::milliseconds> timeout = std::nullopt;

    /** The options as JSON. */
    std::string to_json() const {
        constexpr std::array<const char *, 3> masks = {"shuffle", "given", "off"};
        detail::JsonObject json;
        json.add("temperature", temperature);
        json.add("top_p", top_p);
        json.add("top_k", top_k);
        json.add("seed", seed);
        json.add("reasoning", reasoning);
        json.add("max_reasoning_tokens", max_reasoning_tokens);
        json.add("max_verdict_tokens", max_verdict_tokens);
        json.add("guided", guided);
        json.add("consistent_ranking", consistent_ranking);
        if (mask) {
            const auto index = static_cast<std::size_t>(*mask);
            json.add("mask", index < masks.size() ? masks[index] : "unknown");
        }
        json.add("mask_seed", mask_seed);
        if (timeout) {
            json.add("timeout_ms", detail::milliseconds(*timeout));
        }
        return std::move(json).finish();
    }
};

/** What is done with an answer that is not a complete verdict. */
enum class Incomplete {
    /** It is an error that carries what could be read. */
    error,
    /** A missing ranking is derived from complete scores; missing scores stay an error. */
    derive_ranking,
};

/** How strictly an answer is read. Whatever it allows is listed among the repairs of the verdict. A value. */
struct VerdictPolicy {
    /** What an incomplete verdict is. */
    Incomplete incomplete = Incomplete::error;
    /** Whether a score off the scale is moved to the nearest end of it. */
    bool clamp = false;

    /** The policy as JSON. */
    std::string to_json() const {
        detail::JsonObject json;
        json.add("incomplete", incomplete == Incomplete::error ? "error" : "derive_ranking");
        json.add("clamp", clamp);
        return std::move(json).finish();
    }
};

/** Bounds on requests; what is not set has its default. A value. */
struct Limits {
    /** Most responses in one request. */
    std::optional<std::uint64_t> max_responses = std::nullopt;
    /** Most bytes of all texts of one request together. */
    std::optional<std::uint64_t> max_request_bytes = std::nullopt;
    /** Most judgments that wait or run at once. */
    std::optional<std::uint64_t> max_queue = std::nullopt;
};

/** Settings of the embedded engine; what is not set has its default. A value. */
struct LocalConfig {
    /** Most tokens of one judgment, prompt and output together. */
    std::optional<std::uint32_t> context_tokens = std::nullopt;
    /** Judgments decoded at once. */
    std::optional<std::uint32_t> max_sequences = std::nullopt;
    /** Tokens held for all judgments together. */
    std::optional<std::uint32_t> kv_cache_tokens = std::nullopt;
    /** Most prompt tokens a step, alone. */
    std::optional<std::uint32_t> batch_tokens = std::nullopt;
    /** Most prompt tokens a step, beside judgments that write. */
    std::optional<std::uint32_t> prefill_chunk_tokens = std::nullopt;
    /** Threads of the computation; 0 is one a core. */
    std::optional<std::uint32_t> threads = std::nullopt;
    /** Layers put on the GPU, where the build has one. */
    std::optional<std::uint32_t> gpu_layers = std::nullopt;
};

/** Which judgments run when not all of them fit the KV cache of a TensorRT-LLM engine. */
enum class TrtllmScheduler {
    /** A judgment starts once its whole output has room, and then runs to its end. */
    guaranteed_no_evict,
    /** As many as fit now; one may be paused and computed again. */
    max_utilization,
};

/** How a TensorRT-LLM engine for several GPUs is driven. */
enum class TrtllmMode {
    /** One process for each GPU, started by `mpirun`; the first one takes requests. Also the mode of one GPU. */
    leader,
    /** This process starts a worker for each GPU. */
    orchestrator,
};

/** Settings of the TensorRT-LLM engine; what is not set has its default. A value. */
struct TrtllmConfig {
    /** Share of the GPU memory that is free once the engine is loaded, over 0 to 0.99, that the KV cache takes. */
    std::optional<double> kv_memory_fraction = std::nullopt;
    /** Most tokens of the KV cache; 0 is as many as fit its share of the memory. */
    std::optional<std::uint32_t> kv_cache_tokens = std::nullopt;
    /** Bytes of host memory for blocks that have no room on the GPU. */
    std::optional<std::uint64_t> host_cache_bytes = std::nullopt;
    /** Whether blocks are shared between judgments whose prompts begin alike. */
    std::optional<bool> block_reuse = std::nullopt;
    /** Judgments computed in one batch; 0 is what the engine was built for. */
    std::optional<std::uint32_t> max_batch_size = std::nullopt;
    /** Tokens computed in one step; 0 is what the engine was built for. */
    std::optional<std::uint32_t> max_batch_tokens = std::nullopt;
    /** Requests that wait inside the executor before it refuses more; 0 is no limit but Limits::max_queue. */
    std::optional<std::uint32_t> max_queue = std::nullopt;
    /** Which judgments run when not all fit. */
    TrtllmScheduler scheduler = TrtllmScheduler::guaranteed_no_evict;
    /** Whether a long prompt is computed in several steps. */
    std::optional<bool> chunked_context = std::nullopt;
    /** How several GPUs are driven. */
    TrtllmMode mode = TrtllmMode::leader;
    /** The vendor's `executorWorker` program: in orchestrator mode, and only there. */
    std::optional<std::string> worker_path = std::nullopt;
    /** The GPUs to use, one for each rank, by their CUDA ids; none set is the first ones. */
    std::vector<std::uint32_t> device_ids = {};
    /** The time after which an executor that does not even answer a cancellation is given up as dead. */
    std::optional<std::chrono::milliseconds> unresponsive = std::nullopt;

    /** The settings as JSON. */
    std::string to_json() const {
        std::string devices = "[";
        for (const std::uint32_t device : device_ids) {
            devices += (devices.size() > 1 ? "," : "") + std::to_string(device);
        }
        detail::JsonObject json;
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
        json.add_raw("device_ids", devices + ']');
        if (unresponsive) {
            json.add("unresponsive_ms", detail::milliseconds(*unresponsive));
        }
        return std::move(json).finish();
    }
};

/** Everything that opens a judge, for programs that would rather not write JSON. A value. */
struct Config {
    /** The model: a path to a `.gguf` file, or to a folder with a TensorRT-LLM engine. */
    std::string model;
    /** The path of the judge profile; by default the one beside the model, else the built-in one. */
    std::optional<std::string> profile = std::nullopt;
    /** Options of every judgment. */
    Options options = {};
    /** How answers are read. */
    VerdictPolicy verdict = {};
    /** Bounds on requests. */
    Limits limits = {};
    /** Settings of the embedded engine. */
    LocalConfig local = {};
    /** Settings of the TensorRT-LLM engine. */
    TrtllmConfig trtllm = {};

    /** The configuration as JSON, as the command line's `--config` reads it. */
    std::string to_json() const {
        detail::JsonObject bounds;
        bounds.add("max_responses", limits.max_responses);
        bounds.add("max_request_bytes", limits.max_request_bytes);
        bounds.add("max_queue", limits.max_queue);
        detail::JsonObject engine;
        engine.add("context_tokens", local.context_tokens);
        engine.add("max_sequences", local.max_sequences);
        engine.add("kv_cache_tokens", local.kv_cache_tokens);
        engine.add("batch_tokens", local.batch_tokens);
        engine.add("prefill_chunk_tokens", local.prefill_chunk_tokens);
        engine.add("threads", local.threads);
        engine.add("gpu_layers", local.gpu_layers);
        detail::JsonObject json;
        json.add("model", model);
        json.add("profile", profile);
        json.add_raw("options", options.to_json());
        json.add_raw("verdict", verdict.to_json());
        json.add_raw("limits", std::move(bounds).finish());
        json.add_raw("local", std::move(engine).finish());
        json.add_raw("trtllm", trtllm.to_json());
        return std::move(json).finish();
    }
};

/**
 * The configuration as JSON Schema: each setting with its type, range, default and meaning. Lives for ever; any thread
 * may ask, at any time.
 */
inline std::string_view config_schema() noexcept { return detail::view(dicast_config_schema()); }

/** How much a line of the log matters. */
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

/** Where the log of a judge goes. The library itself never prints. */
struct Log {
    /**
     * Takes one line, without a line end, which lives as long as the call. Called from any thread, also from several at
     * once, until the judge is destroyed. It must return quickly and must not use the judge or its tickets. What it
     * throws is dropped: a log that fails must not fail a judgment.
     */
    std::function<void(LogLevel level, std::string_view line)> sink = {};
    /** The last level that is wanted. */
    LogLevel level = LogLevel::info;
};

}  // namespace dicast

#endif  // DICAST_CONFIG_HPP
