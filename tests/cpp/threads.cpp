// 32 threads on one judge, each using another form.
#include <atomic>
#include <thread>
#include <vector>

#include "check.hpp"

int main(int, char **argv) {
    begin();
    const auto judge = dicast::Judge::open(config(argv));
    const dicast::Request shared(shorter, question, {{"short", short_text}, {"long", long_text}});
    const dicast::Verdict verdict = judge.judge(shared);
    std::atomic<int> called = 0;
    std::vector<std::thread> threads;
    for (int number = 0; number < 32; ++number) {
        threads.emplace_back([&, number] {
            switch (number % 4) {
                case 0: {
                    const dicast::Verdict again = judge.judge(shared);
                    CHECK(again.raw() == verdict.raw());
                    break;
                }
                case 1:
                    CHECK(judge.judge_async(shared).get().score("long") == verdict.score("long"));
                    break;
                case 2:
                    CHECK(
                        near(judge.rewards(shorter, question, {short_text, long_text}).values[0], verdict.expected(0)));
                    break;
                default:
                    CHECK(judge.submit(shared, [&](const auto &outcome) { called += outcome ? 1 : 0; }).wait() ==
                          dicast::Status::ok);
            }
            CHECK(verdict.json().size() > 10 && verdict.ranked(0) == 0 && judge.stats().computed_tokens > 0);
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    CHECK(called == 8);
}
