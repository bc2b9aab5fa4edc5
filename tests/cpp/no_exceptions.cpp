// The part of the interface that does not throw, compiled with -fno-exceptions.
#include "check.hpp"

#if DICAST_HAS_EXCEPTIONS
#error "this file is compiled with -fno-exceptions"
#endif

int main(int, char **argv) {
    begin();
    CHECK(dicast::Judge::try_open("{").status() == dicast::Status::invalid_config);
    const auto opened = dicast::Judge::try_open(config(argv));
    CHECK(opened);
    const dicast::Judge &judge = *opened;
    auto request = dicast::Request::try_new(shorter, question);
    CHECK(request && request->try_add("short", short_text) && request->try_add("long", long_text));
    CHECK(request->try_add("\xff", "").status() == dicast::Status::invalid_request);
    CHECK(request->try_set_options({}));
    const auto verdict = judge.try_judge(*request);
    CHECK(verdict && verdict->ranked(0) == 0);
    CHECK((*judge.try_judge_async(*request).get()).ranked(0) == 0);
    CHECK((*judge.try_submit(*request)->try_wait()).ranked(0) == 0);
    const auto called = judge.try_submit(*request, [](const auto &outcome) { CHECK(outcome); });
    CHECK(called->wait() == dicast::Status::ok);
    CHECK(judge.rewards(shorter, question, {short_text, long_text}).ok());
    const auto aliases = dicast::Aliases::try_mask({"a", "b"});
    CHECK(dicast::try_parse("nothing", *aliases).status() == dicast::Status::invalid_verdict);
    CHECK(judge.try_info()->max_queue > 0 && judge.try_stats() &&
          *judge.try_wait_for_room(std::chrono::milliseconds(0)));
}
