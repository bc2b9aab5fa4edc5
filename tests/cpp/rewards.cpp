// The array form for trainers: texts in, rewards and statuses out.
#include <algorithm>
#include <iterator>
#include <list>
#include <sstream>
#include <vector>

#include "check.hpp"

namespace {

using dicast::Status;

bool alike(const dicast::Rewards &a, const dicast::Rewards &b) {
    return std::equal(a.values.begin(), a.values.end(), b.values.begin(), b.values.end(),
                      [](double one, double other) { return near(one, other); });
}

bool failed(const dicast::Rewards &rewards, std::size_t count, Status status) {
    return !rewards.ok() && rewards.error->status() == status && rewards.values.size() == count &&
           std::all_of(rewards.values.begin(), rewards.values.end(), [](double value) { return std::isnan(value); }) &&
           rewards.statuses == std::vector<Status>(count, status);
}

void one_group(const dicast::Judge &judge) {
    const std::vector<std::string> texts = {std::string(long_text), std::string(short_text), std::string(middle_text)};
    const dicast::Rewards rewards = judge.rewards(shorter, question, texts);
    CHECK(rewards.ok() && rewards.statuses == std::vector<Status>(3, Status::ok));
    CHECK(rewards.values[1] > rewards.values[2] && rewards.values[2] > rewards.values[0]);
    CHECK(rewards.values[0] >= 1 && rewards.values[1] <= 5);

    dicast::RewardOptions options;
    options.normalize = true;
    const auto normal = judge.rewards(shorter, question, texts, options);
    CHECK(near(normal.values[1], (rewards.values[1] - 1) / 4));
    options.normalize = false;
    options.reward = dicast::Reward::rank;
    CHECK(judge.rewards(shorter, question, texts, options).values == std::vector<double>{0, 1, 0.5});
    options.reward = dicast::Reward::score;
    const auto scores = judge.rewards(shorter, question, texts, options);
    CHECK(std::all_of(scores.values.begin(), scores.values.end(),
                      [](double score) { return score == std::round(score); }));
    options.reward = dicast::Reward::expected_or_score;
    CHECK(alike(judge.rewards(shorter, question, texts, options), rewards));

    // Any range of texts.
    CHECK(alike(judge.rewards(shorter, question, {long_text, short_text, middle_text}), rewards));
    CHECK(alike(judge.rewards(shorter, question, std::list<std::string_view>{long_text, short_text, middle_text}),
                rewards));

    // Even a range that makes its texts on the fly: the judge reads all of them, each intact.
    CHECK(alike(judge.rewards(shorter, question, Made(texts)), rewards));
    CHECK(alike(judge.rewards(shorter, question, Fleeting(texts)), rewards));
    std::istringstream words("One Two-and-a-long-word-that-no-string-keeps-within-itself Three");
    const std::vector<std::string> kept = {"One", "Two-and-a-long-word-that-no-string-keeps-within-itself", "Three"};
    struct Words {
        std::istream &from;
        std::istream_iterator<std::string> begin() const { return std::istream_iterator<std::string>(from); }
        std::istream_iterator<std::string> end() const { return {}; }
    };
    CHECK(alike(judge.rewards(shorter, question, Words{words}), judge.rewards(shorter, question, kept)));
#if HAS_VIEWS
    const auto copies = std::views::transform([](const std::string &text) { return text; });
    CHECK(alike(judge.rewards(shorter, question, texts | copies), rewards));
    CHECK(alike(judge.rewards(shorter, question, texts | std::views::filter([](auto &) { return true; })), rewards));
#endif

    CHECK(failed(judge.rewards(shorter, question, {short_text, "\xff"}), 2, Status::invalid_request));
    CHECK(failed(judge.rewards("\xff", question, {short_text}), 1, Status::invalid_request));
    CHECK(failed(judge.rewards(shorter, question, std::vector<std::string>()), 0, Status::invalid_request));
    options.reward = static_cast<dicast::Reward>(99);
    CHECK(failed(judge.rewards(shorter, question, texts, options), 3, Status::invalid_argument));
    options = {};
    options.options.temperature = -1;
    CHECK(failed(judge.rewards(shorter, question, texts, options), 3, Status::invalid_request));
}

void many_groups(const dicast::Judge &judge) {
    std::vector<dicast::Group> groups;
    for (int i = 0; i < 24; ++i) {
        groups.push_back({std::string(i % 2 == 0 ? shorter : longer),
                          "Question " + std::to_string(i) + "?",
                          {std::string(long_text), std::string(short_text)}});
    }
    groups[5].responses[1] = "\xff";
    groups[7].responses.clear();
    groups[9].responses = {"Yes."};
    const std::vector<dicast::Rewards> rewards = judge.rewards(groups);
    CHECK(rewards.size() == groups.size());
    for (std::size_t i = 0; i < groups.size(); ++i) {
        if (i == 5 || i == 7) {
            CHECK(failed(rewards[i], groups[i].responses.size(), Status::invalid_request));
            continue;
        }
        CHECK(rewards[i].ok() && rewards[i].values.size() == groups[i].responses.size());
        if (i != 9) {
            CHECK((rewards[i].values[0] < rewards[i].values[1]) == (i % 2 == 0));
        }
    }
    CHECK(judge.rewards(std::vector<dicast::Group>()).empty());

    dicast::RewardOptions options;
    options.reward = static_cast<dicast::Reward>(99);
    for (const auto &group : judge.rewards(std::vector<dicast::Group>(3, groups[0]), options)) {
        CHECK(failed(group, 2, Status::invalid_argument));
    }
}

}  // namespace

int main(int, char **argv) {
    begin();
    dicast::Config small = config(argv);
    // More groups than the queue takes at once.
    small.limits.max_queue = 4;
    const auto judge = dicast::Judge::open(small);
    one_group(judge);
    many_groups(judge);
    judge.close();
    CHECK(failed(judge.rewards(shorter, question, {short_text, long_text}), 2, Status::closed));
    CHECK(failed(judge.rewards({{"p", "q", {"a", "b"}}}).front(), 2, Status::closed));
}
