// A judge on an engine that the program has already: llama.cpp, called directly. Dicast makes the prompts and the
// grammar and reads the verdict; this program holds the model, samples, and gives the log probabilities at the scores.
//
//     llama MODEL.gguf
//
// It writes ChatML, as models of the Qwen family read it, and one judgment at a time.
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <dicast.hpp>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr std::uint32_t context_tokens = 4096;
constexpr std::size_t choices_kept = 20;

struct Free {
    void operator()(llama_model *model) const { llama_model_free(model); }
    void operator()(llama_context *context) const { llama_free(context); }
    void operator()(llama_sampler *sampler) const { llama_sampler_free(sampler); }
};

class LlamaEngine : public dicast::OwnEngine {
public:
    explicit LlamaEngine(const char *path) {
        llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
        llama_backend_init();
        model_.reset(llama_model_load_from_file(path, llama_model_default_params()));
        auto parameters = llama_context_default_params();
        parameters.n_ctx = parameters.n_batch = context_tokens;
        // Its threads spin while they wait: no more of them than there are cores.
        parameters.n_threads = parameters.n_threads_batch =
            static_cast<std::int32_t>(std::max(1U, std::thread::hardware_concurrency() / 2));
        if (model_) {
            context_.reset(llama_init_from_model(model_.get(), parameters));
        }
        if (!context_) {
            throw std::runtime_error("llama.cpp cannot open the model");
        }
        vocabulary_ = llama_model_get_vocab(model_.get());
        worker_ = std::thread([this] { work(); });
    }
    ~LlamaEngine() override { stop(); }

    void generate(dicast::Job job) override {
        {
            const std::lock_guard lock(mutex_);
            waiting_.push_back(std::move(job));
        }
        changed_.notify_one();
    }
    void closed() noexcept override { stop(); }

private:
    void stop() noexcept {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        changed_.notify_one();
        if (worker_.joinable()) {
            worker_.join();
        }
    }

    void work() {
        while (true) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
            if (ending_) {
                return;
            }
            dicast::Job job = std::move(waiting_.front());
            waiting_.pop_front();
            lock.unlock();
            try {
                run(job);
            } catch (const dicast::Error &error) {
                job.fail(error.status(), error.message());
            } catch (const std::exception &error) {
                job.fail(dicast::Status::engine, error.what());
            }
        }
    }

    void run(dicast::Job &job) {
        const dicast_plan plan = job.plan();
        usage_ = {};
        llama_memory_clear(llama_get_memory(context_.get()), true);
        written_ = 0;
        feed(prompt(job));
        usage_.prompt_tokens = written_;
        if (plan.reasons != 0) {
            reason(job, plan);
        }
        answer(job);
        job.usage(usage_);
        job.finish(cut_);
    }

    /** Text of people is tokenized apart: nothing in it becomes a control token. */
    std::vector<llama_token> prompt(const dicast::Job &job) const {
        std::vector<llama_token> tokens;
        const auto add = [&](std::string_view text, bool special) {
            const auto more = tokenize(text, special);
            tokens.insert(tokens.end(), more.begin(), more.end());
        };
        for (std::size_t index = 0; index < job.messages(); ++index) {
            add("<|im_start|>" + std::string(job.role(index)) + "\n", true);
            add(job.content(index), false);
            add("<|im_end|>\n", true);
        }
        add("<|im_start|>assistant\n", true);
        return tokens;
    }

    void reason(dicast::Job &job, const dicast_plan &plan) {
        const std::string_view open{plan.open.data, plan.open.len}, close{plan.close.data, plan.close.len};
        const std::uint64_t before = written_;
        cut_ = DICAST_CUT_REASONING;
        feed(tokenize(open, true));
        std::string text;
        for (std::uint64_t count = 0; count < plan.reasoning_tokens && job.is_wanted(); ++count) {
            const llama_token token = best(nullptr);
            const std::string piece = write(token);
            if (llama_vocab_is_eog(vocabulary_, token) || piece == close) {
                cut_ = 0;
                break;
            }
            text += piece;
            feed({token});
        }
        feed(tokenize(close, true));
        job.try_reason(text).value();
        usage_.reasoning_tokens = written_ - before;
    }

    /** Under the grammar, in one stage or more. */
    void answer(dicast::Job &job) {
        std::string answered;
        for (bool last = false; !last && job.is_wanted();) {
            const auto grammar = job.try_grammar(answered, dicast::Notation::gbnf);
            const std::unique_ptr<llama_sampler, Free> rules(
                llama_sampler_init_grammar(vocabulary_, grammar.value().text.c_str(), "root"));
            if (!rules) {
                throw std::runtime_error("llama.cpp does not take the grammar");
            }
            last = grammar->last;
            while (job.is_wanted()) {
                std::vector<dicast::Choice> choices;
                const llama_token token = best(rules.get(), &choices);
                if (llama_vocab_is_eog(vocabulary_, token)) {
                    break;
                }
                llama_sampler_accept(rules.get(), token);
                const std::string piece = write(token);
                const double logprob = choices.front().logprob;
                job.try_answer({{piece, logprob, std::move(choices)}}).value();
                answered += piece;
                ++usage_.verdict_tokens;
                feed({token});
            }
        }
    }

    /** The most probable token that the rules allow, and the probabilities of those that they allow. */
    llama_token best(llama_sampler *rules, std::vector<dicast::Choice> *choices = nullptr) const {
        const float *logits = llama_get_logits_ith(context_.get(), -1);
        std::vector<llama_token_data> all(static_cast<std::size_t>(llama_vocab_n_tokens(vocabulary_)));
        for (std::size_t id = 0; id < all.size(); ++id) {
            all[id] = {static_cast<llama_token>(id), logits[id], 0};
        }
        llama_token_data_array array{all.data(), all.size(), -1, false};
        if (rules != nullptr) {
            llama_sampler_apply(rules, &array);
        }
        const std::size_t kept = std::min(choices_kept, all.size());
        std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(),
                          [](const auto &one, const auto &other) { return one.logit > other.logit; });
        if (choices != nullptr) {
            double sum = 0;
            for (const auto &token : all) {
                sum += std::exp(static_cast<double>(token.logit) - static_cast<double>(all[0].logit));
            }
            for (std::size_t at = 0; at < kept && std::isfinite(all[at].logit); ++at) {
                const double above = static_cast<double>(all[at].logit) - static_cast<double>(all[0].logit);
                choices->push_back({write(all[at].id), above - std::log(sum)});
            }
        }
        return all[0].id;
    }

    void feed(std::vector<llama_token> tokens) {
        if (tokens.empty()) {
            return;
        }
        if (written_ + tokens.size() > context_tokens) {
            throw dicast::Error(dicast::Status::context_overflow, "the judgment does not fit the context");
        }
        if (llama_decode(context_.get(),
                         llama_batch_get_one(tokens.data(), static_cast<std::int32_t>(tokens.size()))) != 0) {
            throw std::runtime_error("llama.cpp cannot compute the tokens");
        }
        written_ += tokens.size();
    }

    std::vector<llama_token> tokenize(std::string_view text, bool special) const {
        std::vector<llama_token> tokens(text.size() + 8);
        const std::int32_t count =
            llama_tokenize(vocabulary_, text.data(), static_cast<std::int32_t>(text.size()), tokens.data(),
                           static_cast<std::int32_t>(tokens.size()), false, special);
        if (count < 0) {
            throw std::runtime_error("llama.cpp cannot tokenize the prompt");
        }
        tokens.resize(static_cast<std::size_t>(count));
        return tokens;
    }

    std::string write(llama_token token) const {
        char piece[256];
        const std::int32_t count = llama_token_to_piece(vocabulary_, token, piece, sizeof piece, 0, true);
        return count > 0 ? std::string(piece, static_cast<std::size_t>(count)) : std::string();
    }

    std::unique_ptr<llama_model, Free> model_;
    std::unique_ptr<llama_context, Free> context_;
    const llama_vocab *vocabulary_ = nullptr;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<dicast::Job> waiting_;
    bool ending_ = false;
    std::thread worker_;
    // Of the job that runs.
    dicast::Usage usage_{};
    std::uint64_t written_ = 0;
    std::uint32_t cut_ = 0;
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: llama MODEL.gguf\n");
        return 2;
    }
    try {
        dicast::Config config;
        config.model = argv[1];
        config.options.max_reasoning_tokens = 200;
        dicast::EngineOptions options;
        options.guidance = dicast::Guidance::grammar;
        options.distributions = true;
        options.context_tokens = context_tokens;
        // The profile of the model lies beside it, as for the embedded engine.
        std::string profile = argv[1];
        profile.replace(profile.rfind(".gguf"), std::string::npos, ".profile.json");
        const auto made = dicast::Profile::load(profile);
        const auto judge =
            dicast::Judge::open_engine(config, std::make_shared<LlamaEngine>(argv[1]), options, made.json());
        constexpr int questions = 4;
        const char *const prompts[questions] = {"How do I learn Python programming?", "How do I bake bread?",
                                                "What is a good first telescope?", "How do I sleep better?"};
        int preferred = 0;
        for (const char *prompt : prompts) {
            const dicast::Request request(
                "I prefer short and concise responses over long and detailed ones.", prompt,
                {{"short", "Begin with something small."},
                 {"long",
                  "There are many ways to do it, and before you choose one you should think about what you "
                  "want to do with it later, and about the time that you can give to it."}});
            const auto verdict = judge.judge(request);
            std::printf("%s\n  short %.0f (expected %.2f), long %.0f (expected %.2f)\n", prompt, verdict.score("short"),
                        verdict.expected("short"), verdict.score("long"), verdict.expected("long"));
            preferred += verdict.rank("short") == 0 ? 1 : 0;
        }
        std::printf("%d of %d preferred the short answer\n", preferred, questions);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
