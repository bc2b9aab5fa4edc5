// A loop as in PPO that shares one machine between judge and trainer: sample answers, judge them, let the judge sleep
// while the policy learns, wake it for the next samples.
//
//     sleeping MODEL.gguf
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <dicast.hpp>
#include <exception>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr std::size_t samples_per_step = 12;
constexpr int epochs = 4;
constexpr double clip = 0.4;

const std::vector<std::string> answers = {
    "Build small projects.",
    "Read the official tutorial first. Then build a small project every week, and ask for reviews of your code.",
    "There are many things that one should consider before one begins. First of all, a course gives an order to what "
    "is to be learned. Then there are books, of which some are good and some are not. After that come projects.",
};

// A policy over three answers. Yours is a language model.
struct Policy {
    std::vector<double> logits = std::vector<double>(answers.size(), 0.0);

    double probability(std::size_t action) const {
        double sum = 0;
        for (const double logit : logits) {
            sum += std::exp(logit);
        }
        return std::exp(logits[action]) / sum;
    }
    std::size_t sample(std::mt19937 &random) const {
        std::vector<double> weights;
        for (std::size_t action = 0; action < logits.size(); ++action) {
            weights.push_back(probability(action));
        }
        return std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random);
    }
};

struct Sample {
    std::size_t action;
    double old_probability;
    double reward;
};

// Some epochs of the clipped objective over one batch.
void learn(Policy &policy, const std::vector<Sample> &batch) {
    double mean = 0;
    for (const Sample &sample : batch) {
        mean += sample.reward / static_cast<double>(batch.size());
    }
    for (int epoch = 0; epoch < epochs; ++epoch) {
        for (const Sample &sample : batch) {
            const double advantage = sample.reward - mean;
            const double ratio = policy.probability(sample.action) / sample.old_probability;
            // Past the clip the gradient is nothing.
            if ((advantage > 0 && ratio > 1 + clip) || (advantage < 0 && ratio < 1 - clip)) {
                continue;
            }
            for (std::size_t action = 0; action < answers.size(); ++action) {
                const double chosen = action == sample.action ? 1.0 : 0.0;
                policy.logits[action] += 0.6 * advantage * ratio * (chosen - policy.probability(action));
            }
        }
    }
}

void train(const char *model) {
    dicast::Config config;
    config.model = model;
    const dicast::Judge judge = dicast::Judge::open(config);
    dicast::RewardOptions options;
    options.normalize = true;
    std::mt19937 random(11);
    Policy policy;
    for (int step = 0; step < 6; ++step) {
        // Roll-outs: each sample is judged beside all answers there are, since a judge compares.
        std::vector<Sample> batch;
        std::vector<dicast::Group> groups;
        for (std::size_t i = 0; i < samples_per_step; ++i) {
            const std::size_t action = policy.sample(random);
            batch.push_back({action, policy.probability(action), 0});
            auto &group = groups.emplace_back();
            group.principle = "I prefer short and concise responses over long and detailed ones.";
            group.prompt = "How do I learn Python?";
            group.responses = answers;
        }
        const std::vector<dicast::Rewards> rewards = judge.rewards(groups, options);
        std::vector<Sample> kept;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (rewards[i].ok()) {
                batch[i].reward = rewards[i].values[batch[i].action];
                kept.push_back(batch[i]);
            }
        }

        // The memory of the judge is the trainer's meanwhile. Requests of others would wait until it wakes.
        judge.sleep();
        learn(policy, kept);
        judge.wake();
        std::printf("step %d: %zu of %zu judged; chance of the short answer %.2f\n", step, kept.size(), batch.size(),
                    policy.probability(0));
    }
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: sleeping MODEL.gguf\n");
        return 2;
    }
    try {
        train(argv[1]);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "sleeping: %s\n", error.what());
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
