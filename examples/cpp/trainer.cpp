// A trainer's loop round the judge, as in PPO or GRPO: for each prompt of a batch, sample k answers; judge all groups
// at once; leave out what could not be judged; turn rewards into advantages for the update.
//
//     trainer MODEL.gguf
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <dicast.hpp>
#include <exception>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr std::size_t samples_per_prompt = 4;

// A policy so small that it fits here: it knows answers, and how likely it is to give each. A trainer of yours has a
// language model in its place.
class Policy {
public:
    std::size_t sample(std::mt19937 &random) const {
        std::vector<double> weights;
        for (const double logit : logits_) {
            weights.push_back(std::exp(logit));
        }
        return std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random);
    }
    void update(std::size_t action, double advantage) { logits_[action] += 0.5 * advantage; }
    const std::string &text(std::size_t action) const { return answers_[action]; }
    double probability(std::size_t action) const {
        double sum = 0;
        for (const double logit : logits_) {
            sum += std::exp(logit);
        }
        return std::exp(logits_[action]) / sum;
    }

private:
    std::vector<std::string> answers_ = {
        "Build small projects.",
        "Read the official tutorial first. Then build a small project every week, and ask for reviews of your code.",
        "There are many things that one should consider before one begins. First of all, a course gives an order to "
        "what is to be learned. Then there are books, of which some are good and some are not. After that come "
        "projects, in which all of this is put to use, and finally the long years of practice.",
        // Cut by the token limit in the middle of a character, as it happens: this cannot be judged.
        "Go to a caf\xc3",
    };
    std::vector<double> logits_ = {0, 0, 0, -2};
};

struct Sample {
    std::size_t action;
    double reward;
};

// Advantages within one group: how much better than its mean, in standard deviations.
void learn(Policy &policy, const std::vector<Sample> &group) {
    if (group.size() < 2) {
        return;
    }
    double mean = 0;
    double variance = 0;
    for (const Sample &sample : group) {
        mean += sample.reward / static_cast<double>(group.size());
    }
    for (const Sample &sample : group) {
        variance += (sample.reward - mean) * (sample.reward - mean) / static_cast<double>(group.size());
    }
    for (const Sample &sample : group) {
        policy.update(sample.action,
                      (sample.reward - mean) / (std::sqrt(variance) + 1e-4) / static_cast<double>(group.size()));
    }
}

void train(const char *model) {
    dicast::Config config;
    config.model = model;
    config.options.timeout = std::chrono::minutes(1);
    const dicast::Judge judge = dicast::Judge::open(config);

    const std::vector<std::string> prompts = {"How do I learn Python?", "How do I learn to cook?",
                                              "How do I learn to swim?", "How do I learn chess?"};
    dicast::RewardOptions options;
    options.normalize = true;
    std::mt19937 random(7);
    Policy policy;
    for (int step = 0; step < 6; ++step) {
        std::vector<dicast::Group> groups;
        std::vector<std::vector<std::size_t>> actions;
        for (const std::string &prompt : prompts) {
            auto &group = groups.emplace_back();
            group.principle = "I prefer short and concise responses over long and detailed ones.";
            group.prompt = prompt;
            auto &chosen = actions.emplace_back();
            for (std::size_t i = 0; i < samples_per_prompt; ++i) {
                chosen.push_back(policy.sample(random));
                group.responses.push_back(policy.text(chosen.back()));
            }
        }

        const std::vector<dicast::Rewards> rewards = judge.rewards(groups, options);
        double sum = 0;
        std::size_t judged = 0;
        std::size_t left_out = 0;
        for (std::size_t i = 0; i < rewards.size(); ++i) {
            std::vector<Sample> kept;
            for (std::size_t j = 0; j < rewards[i].values.size(); ++j) {
                // A judgment that failed is no reward of 0: the sample is left out.
                if (rewards[i].statuses[j] != dicast::Status::ok) {
                    ++left_out;
                    continue;
                }
                kept.push_back({actions[i][j], rewards[i].values[j]});
                sum += rewards[i].values[j];
                ++judged;
            }
            if (!rewards[i].ok()) {
                std::fprintf(stderr, "group %zu: %s\n", i, rewards[i].error->what());
            }
            learn(policy, kept);
        }
        std::printf("step %d: mean reward %.2f of %zu samples, %zu left out; chance of the short answer %.2f\n", step,
                    judged == 0 ? std::nan("") : sum / static_cast<double>(judged), judged, left_out,
                    policy.probability(0));
    }
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: trainer MODEL.gguf\n");
        return 2;
    }
    try {
        train(argv[1]);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "trainer: %s\n", error.what());
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
