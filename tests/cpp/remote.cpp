// Judges over the server at the URL in argv[1]: a response that holds "score=4" gets 4.
#include "check.hpp"

int main(int, char **argv) {
    begin();
    CHECK(argv[1] != nullptr);
    dicast::Config config;
    config.model = argv[1];
    config.options.max_reasoning_tokens = 64;
    config.remote.idle_timeout = std::chrono::seconds(30);
    const auto judge = dicast::Judge::open(config);
    const dicast::Request request("Be brief.", "A prompt", {{"poor", "score=2"}, {"good", "score=4"}});
    const auto verdict = judge.judge(request);
    CHECK(verdict.score("poor") == 2 && verdict.score("good") == 4 && verdict.rank("good") == 0);
    const auto ticket = judge.submit(request);
    CHECK(ticket.wait().score("good") == 4);

    config.model = "http://127.0.0.1:1";
    THROWS(dicast::Status::network, dicast::Judge::open(config));
    return 0;
}
