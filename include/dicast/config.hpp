/* How a judge is opened, and the options of judgments. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_CONFIG_HPP
#define DICAST_CONFIG_HPP

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "status.hpp"

namespace dicast {

/** How the names of responses are hidden from the judge. */
enum class Mask : std::uint32_t {
    /** Aliases in an order shuffled by the seed, as Python's `random.seed(seed); random.shuffle(responses)` does it. */
    shuffle = DICAST_MASK_SHUFFLE,
    /** Aliases in the order given. */
    given = DICAST_MASK_GIVEN,
    /** The names themselves in the order given. */
    off = DICAST_MASK_OFF,
};

/** Which number of a verdict is the reward. */
enum class Reward : std::uint32_t {
    /** The expected score; Status::unsupported if the engine returns none. */
    expected = DICAST_REWARD_EXPECTED,
    /** The score as written. */
    score = DICAST_REWARD_SCORE,
    /** The place in the ranking, from 1 for the best to 0 for the worst in equal steps; 0.5 for a single response. */
    rank = DICAST_REWARD_RANK,
    /** The expected score if the engine returns it, else the score as written. */
    expected_or_score = DICAST_REWARD_EXPECTED_OR_SCORE,
    /** How many standard deviations the (expected) score lies above the mean of its group; 0 if all are equal. */
    group = DICAST_REWARD_GROUP,
    /** The mean probability that the score is above that of another response; Status::unsupported without
       distributions. */
    win = DICAST_REWARD_WIN,
};

/** Where the ranking comes from. */
enum class RankingFrom {
    /** The judge writes it after the scores. */
    judge,
    /** The scores: the highest first; equal ones by expected score, then in the order given. */
    scores,
};

/** How the rankings of the runs of an ensemble become one. */
enum class RankRule {
    /** The order with the fewest disagreements with the runs (Kendall's distance); exact up to 16 responses. */
    kendall,
    /** By the mean place in the runs (Borda's count). */
    borda,
};

/** When an ensemble ends before all its runs are complete. */
enum class StopEarly {
    /** Never. */
    never,
    /** When the best response is settled. */
    top,
    /** When the whole order is settled. */
    order,
};

/** Whether a group of responses is judged in blocks. */
enum class Blocks {
    /** Never: a group that does not fit the context is an error. */
    never,
    /** If it does not fit the context, or has more than `block_size` responses. */
    when_needed,
};

/** How a rubric is judged. */
enum class RubricMode {
    /** Each criterion by itself, over all responses. */
    separate,
    /** All criteria in one principle. */
    joint,
};

/** How the values of the criteria of a rubric, each from 0 to 1, become one. */
enum class RubricMerge {
    /** The weighted mean. */
    mean,
    /** The least value whose weight is not 0. */
    min,
    /** The weighted geometric mean. */
    product,
    /** 1 if every value with a weight reaches `rubric_pass`, else 0. */
    all_pass,
};

/**
 * A time limit in whole milliseconds, made from any duration. It is rounded up; a negative one is 0, a
 * huge one the largest that fits. A value.
 */
class Timeout {
public:
    template <class Rep, class Period>
    Timeout(std::chrono::duration<Rep, Period> time) noexcept
        : milliseconds_(static_cast<std::int64_t>(detail::milliseconds(time))) {}
    operator std::chrono::milliseconds() const noexcept { return milliseconds_; }
    std::int64_t count() const noexcept { return milliseconds_.count(); }

private:
    std::chrono::milliseconds milliseconds_;
};

/**
 * Options of a judgment. An option that is not set has the value of the judge's configuration, else of its profile.
 * Ranges are checked when it is used. A value.
 */
struct Options {
    /** Temperature of the sampling, 0 to 2; 0 is greedy. */
    std::optional<double> temperature = std::nullopt;
    /** Nucleus sampling: above 0, at most 1; 1 is off. */
    std::optional<double> top_p = std::nullopt;
    /** Sample from this many most probable tokens; 0 is off. */
    std::optional<std::uint32_t> top_k = std::nullopt;
    /** Seed of the sampling. The same model, request, options and seed give the same verdict. */
    std::optional<std::uint64_t> seed = std::nullopt;
    /** Whether the judge reasons before its verdict. */
    std::optional<bool> reasoning = std::nullopt;
    /** Judge without reasoning first, and again with reasoning only if the probability that the best response is really
       the best is below this, 0 to 1. 0 is off. */
    std::optional<double> adaptive_reasoning = std::nullopt;
    /** The reasoning is ended after this many tokens, and the verdict flagged. */
    std::optional<std::uint32_t> max_reasoning_tokens = std::nullopt;
    /** Most tokens of an unguided verdict. */
    std::optional<std::uint32_t> max_verdict_tokens = std::nullopt;
    /** Whether a grammar admits only complete verdicts. */
    std::optional<bool> guided = std::nullopt;
    /** Whether the ranking must agree with the scores. */
    std::optional<bool> consistent_ranking = std::nullopt;
    /** Where the ranking comes from. */
    std::optional<RankingFrom> ranking_from = std::nullopt;
    /** How names are hidden. */
    std::optional<Mask> mask = std::nullopt;
    /** Seed of the shuffle. */
    std::optional<std::uint64_t> mask_seed = std::nullopt;
    /** Judge in this many different orders of the responses and merge the verdicts, 1 to 64. */
    std::optional<std::uint32_t> orders = std::nullopt;
    /** Judge this many times in each order, 1 to 64. More than 1 needs a temperature above 0. */
    std::optional<std::uint32_t> samples = std::nullopt;
    /** How the rankings of several runs become one. */
    std::optional<RankRule> rank_rule = std::nullopt;
    /** End an ensemble when its best response, or its whole order, is settled (a t-test at 99 %). */
    std::optional<StopEarly> stop_early = std::nullopt;
    /** How many runs of an ensemble must give a verdict, 0 to 4096; the others may fail. 0: all of them must. */
    std::optional<std::uint32_t> min_runs = std::nullopt;
    /**
     * Judge a group that does not fit the context, or has more than `block_size` responses, in blocks that share anchor
     * responses, and merge the blocks onto one scale. Not set: if `block_size` is set.
     */
    std::optional<Blocks> blocks = std::nullopt;
    /** The most responses to judge at once, including the anchors: 2 to 64. 0: as many as fit the context. */
    std::optional<std::uint32_t> block_size = std::nullopt;
    /** The number of responses that all blocks share: 1 to 16. */
    std::optional<std::uint32_t> block_anchors = std::nullopt;
    /** Put this reward into the verdict's JSON, under `rewards`. */
    std::optional<Reward> reward = std::nullopt;
    /** How a rubric is judged. */
    std::optional<RubricMode> rubric_mode = std::nullopt;
    /** How the criteria of a rubric become one score. */
    std::optional<RubricMerge> rubric_merge = std::nullopt;
    /** The value that a criterion must reach to pass under RubricMerge::all_pass: above 0, at most 1. */
    std::optional<double> rubric_pass = std::nullopt;
    /** The judgment fails with Status::timeout after this time. Waiting counts too, except in a batch. 1 ms to 1
     * day. */
    std::optional<Timeout> timeout = std::nullopt;

    /** Options that have no field above. They override the fields. */
    Settings more = {};

    /** Sets an option by its name: see Settings::set. */
    template <class T>
    Options &set(std::string_view name, const T &value) {
        more.set(name, value);
        return *this;
    }
    /** The options as JSON. */
    std::string to_json() const { return json().text(); }
    detail::Json json() const {
        constexpr std::array<const char *, 3> masks = {"shuffle", "given", "off"};
        constexpr std::array<const char *, 2> sources = {"judge", "scores"};
        constexpr std::array<const char *, 2> rules = {"kendall", "borda"};
        constexpr std::array<const char *, 3> stops = {"never", "top", "order"};
        constexpr std::array<const char *, 2> block_words = {"never", "when_needed"};
        constexpr std::array<const char *, 6> rewards = {"expected",          "score", "rank",
                                                         "expected_or_score", "group", "win"};
        constexpr std::array<const char *, 2> modes = {"separate", "joint"};
        constexpr std::array<const char *, 4> merges = {"mean", "min", "product", "all_pass"};
        detail::Json json;
        json.add("temperature", temperature);
        json.add("top_p", top_p);
        json.add("top_k", top_k);
        json.add("seed", seed);
        json.add("reasoning", reasoning);
        json.add("adaptive_reasoning", adaptive_reasoning);
        json.add("max_reasoning_tokens", max_reasoning_tokens);
        json.add("max_verdict_tokens", max_verdict_tokens);
        json.add("guided", guided);
        json.add("consistent_ranking", consistent_ranking);
        json.add("ranking_from", word(ranking_from, sources));
        json.add("mask", word(mask, masks));
        json.add("mask_seed", mask_seed);
        json.add("orders", orders);
        json.add("samples", samples);
        json.add("rank_rule", word(rank_rule, rules));
        json.add("stop_early", word(stop_early, stops));
        json.add("min_runs", min_runs);
        json.add("blocks", word(blocks, block_words));
        json.add("block_size", block_size);
        json.add("block_anchors", block_anchors);
        json.add("reward", word(reward, rewards));
        json.add("rubric_mode", word(rubric_mode, modes));
        json.add("rubric_merge", word(rubric_merge, merges));
        json.add("rubric_pass", rubric_pass);
        if (timeout) {
            json.add("timeout_ms", timeout->count());
        }
        more.write(json);
        return json;
    }

private:
    /** The word of a choice; one that does not exist is refused by the library. */
    template <class Choice, std::size_t count>
    static std::optional<std::string> word(std::optional<Choice> choice, const std::array<const char *, count> &words) {
        if (!choice) {
            return std::nullopt;
        }
        const auto index = static_cast<std::size_t>(*choice);
        return std::string(index < count ? words[index] : "unknown");
    }
};

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
    /** Whether a request gives the same bits whatever is judged before it or at the same time. Costs time. */
    std::optional<bool> deterministic = std::nullopt;
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
        json.add("deterministic", deterministic);
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
