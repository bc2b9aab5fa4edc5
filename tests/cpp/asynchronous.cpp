// Tickets, callbacks and futures, many in flight: cancelled, dropped, callbacks that throw, and a judge destroyed under
// them.
#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <vector>

#include "check.hpp"

namespace {

using dicast::Status;
using std::chrono::milliseconds;

dicast::Request request(std::string_view principle = shorter) {
    return dicast::Request(principle, question, {{"short", short_text}, {"middle", middle_text}, {"long", long_text}});
}

// A future that is not ready after minutes is a failure.
template <class T>
T get(std::future<T> future) {
    CHECK(future.wait_for(std::chrono::minutes(5)) == std::future_status::ready);
    return future.get();
}

void futures(const dicast::Judge &judge) {
    std::vector<std::future<dicast::Verdict>> flying;
    for (int i = 0; i < 64; ++i) {
        flying.push_back(judge.judge_async(request(i % 2 == 0 ? shorter : longer)));
    }
    CHECK(judge.stats().pending <= 64);
    for (std::size_t i = 0; i < flying.size(); ++i) {
        CHECK(get(std::move(flying[i])).ranked(0) == (i % 2 == 0 ? 0 : 2));
    }

    // A request that is refused at once gives its error the same way.
    THROWS(Status::invalid_request, get(judge.judge_async(dicast::Request("p", "q"))));
    CHECK(get(judge.try_judge_async(dicast::Request("p", "q"))).status() == Status::invalid_request);
    CHECK((*get(judge.try_judge_async(request()))).ranked(0) == 0);

    // Dropped early: nothing waits for them, nothing leaks, the judge goes on.
    for (int i = 0; i < 8; ++i) {
        static_cast<void>(judge.judge_async(request()));
        static_cast<void>(judge.try_judge_async(request()));
    }
    CHECK(judge.judge(request()).size() == 3);
}

void tickets(const dicast::Judge &judge) {
    const dicast::Ticket ticket = judge.submit(request());
    std::optional<dicast::Verdict> looked = ticket.wait_for(milliseconds(0));
    while (!looked) {
        looked = ticket.wait_for(milliseconds(10));
    }
    CHECK(looked->ranked(0) == 0);
    CHECK(ticket.try_wait().status() == Status::invalid_argument);
    CHECK(ticket.try_wait_for(milliseconds(-5))->status() == Status::invalid_argument);

    // Any duration: a negative one only checks, a huge one means for ever.
    const dicast::Ticket patient = judge.submit(request());
    CHECK(!patient.wait_for(std::chrono::hours::min()) && !patient.wait_for(std::chrono::duration<double>(-1e300)));
    CHECK(patient.wait_for(std::chrono::hours::max())->ranked(0) == 0);
    CHECK(judge.submit(request(), [](const auto &) {}).wait_for(std::chrono::duration<float>(INFINITY)) == Status::ok);

    dicast::Ticket first = judge.submit(request());
    dicast::Ticket second = std::move(first);
    CHECK(second.wait().size() == 3 && first.get() == nullptr);
    THROWS(Status::invalid_argument, first.wait());
    first.cancel();

    // Long enough to be cancelled while it runs; dropping one does the same.
    dicast::Request slow = request();
    std::vector<dicast::Ticket> many;
    for (int i = 0; i < 64; ++i) {
        many.push_back(judge.submit(slow));
    }
    many.back().cancel();
    many.back().cancel();
    CHECK(many.back().try_wait().status() == Status::cancelled);
    many.clear();
    CHECK(judge.judge(request()).size() == 3);
}

void callbacks(const dicast::Judge &judge) {
    std::atomic<int> called = 0;
    std::vector<dicast::CallbackTicket> waiting;
    for (int i = 0; i < 64; ++i) {
        // A callback that is move-only.
        waiting.push_back(
            judge.submit(request(), [&called, own = std::make_unique<int>(i)](dicast::Result<dicast::Verdict> it) {
                CHECK(it && it->ranked(0) == 0 && *own >= 0);
                ++called;
            }));
    }
    for (const auto &ticket : waiting) {
        CHECK(ticket.wait() == Status::ok && ticket.wait_for(milliseconds(0)) == Status::ok);
    }
    CHECK(called == 64);

    // A dropped ticket: the callback still comes. A callback that calls the library.
    std::promise<std::size_t> promise;
    auto done = promise.get_future();
    static_cast<void>(judge.submit(request(), [&](dicast::Result<dicast::Verdict> it) {
        CHECK(judge.judge(request(longer)).ranked(0) == 2);
        static_cast<void>(judge.submit(request(), [&promise, size = it->size()](dicast::Result<dicast::Verdict> inner) {
            promise.set_value(inner->size() + size);
        }));
    }));
    CHECK(get(std::move(done)) == 6);

    // Refused: the callback does not come, and is destroyed.
    auto token = std::make_shared<int>(1);
    THROWS(Status::invalid_request, judge.submit(dicast::Request("p", "q"), [token](auto) { CHECK(false); }));
    CHECK(token.use_count() == 1);

    // An exception from a callback: whoever waits gets it once, and it goes no further.
    const auto ticket = judge.submit(request(), [token](auto) { throw std::runtime_error("from a callback"); });
    bool caught = false;
    try {
        static_cast<void>(ticket.wait());
    } catch (const std::runtime_error &error) {
        caught = error.what() == std::string_view("from a callback");
    }
    CHECK(caught && ticket.wait() == Status::ok && token.use_count() == 1);

    // Cancelled: the callback reports it, unless the judgment was faster.
    std::promise<Status> ended;
    auto status = ended.get_future();
    const auto cancelled =
        judge.submit(request(), [&](const dicast::Result<dicast::Verdict> &it) { ended.set_value(it.status()); });
    cancelled.cancel();
    const Status how = get(std::move(status));
    CHECK((how == Status::cancelled || how == Status::ok) && cancelled.wait() == how);
}

void overloaded(char **argv) {
    dicast::Config small = config(argv);
    small.limits.max_queue = 2;
    const auto judge = dicast::Judge::open(small);
    std::vector<dicast::Ticket> taken;
    for (int i = 0; i < 1000; ++i) {
        auto ticket = judge.try_submit(request());
        if (!ticket) {
            CHECK(ticket.status() == Status::overloaded && ticket.error().is_retryable());
            // No room reads as false, however it is tested.
            const auto room = judge.try_wait_for_room(milliseconds(0));
            CHECK(!room && !*room && !room.value() && !room.error() && room.status() == Status::pending);
            CHECK(!judge.wait_for_room(std::chrono::hours::min()));
            break;
        }
        taken.push_back(std::move(*ticket));
    }
    CHECK(taken.size() < 1000);
    CHECK(judge.wait_for_room(std::chrono::minutes(5)));
    CHECK(taken.front().wait().size() == 3);
    taken.clear();
    const auto room = judge.try_wait_for_room(std::chrono::duration<double>::max());
    CHECK(room && *room && room.status() == Status::ok);
    judge.close();
    const auto closed = judge.try_wait_for_room(std::chrono::hours::max());
    CHECK(!closed && closed.status() == Status::closed && closed.error()->status() == Status::closed);
    THROWS(Status::closed, *closed);
    THROWS(Status::closed, judge.wait_for_room(milliseconds(0)));
}

// A judge that is destroyed while work is in flight: every outcome comes; those not finished come as closed.
void destroyed(char **argv) {
    int lines = 0;
    const dicast::Log log = {[&](dicast::LogLevel, std::string_view line) { lines += line.empty() ? 0 : 1; },
                             dicast::LogLevel::error};
    std::atomic<int> called = 0;
    std::vector<std::future<dicast::Result<dicast::Verdict>>> flying;
    std::vector<dicast::Ticket> tickets;
    {
        const auto judge = dicast::Judge::open(config(argv), log);
        for (int i = 0; i < 32; ++i) {
            flying.push_back(judge.try_judge_async(request()));
            tickets.push_back(judge.submit(request()));
            static_cast<void>(judge.submit(request(), [&](const auto &) { ++called; }));
        }
    }
    CHECK(called == 32);
    for (auto &future : flying) {
        const auto outcome = get(std::move(future));
        CHECK(outcome || outcome.status() == Status::closed);
    }
    for (const auto &ticket : tickets) {
        const auto outcome = ticket.try_wait();
        CHECK(outcome || outcome.status() == Status::closed);
    }

    // In its own callback. The promise is the last thing that a callback touches.
    dicast::Log all = {[](dicast::LogLevel, std::string_view line) { CHECK(!line.empty()); }, dicast::LogLevel::debug};
    auto judge = std::make_unique<dicast::Judge>(dicast::Judge::open(config(argv), all));
    std::promise<void> last;
    auto gone = last.get_future();
    auto left = std::make_shared<std::atomic<int>>(4);
    const dicast::Judge &opened = *judge;
    std::vector<dicast::CallbackTicket> waiting;
    std::promise<void> go;
    for (int i = 0; i < 4; ++i) {
        waiting.push_back(
            opened.submit(request(), [&, left, start = i == 0 ? go.get_future() : std::future<void>()](const auto &) {
                if (start.valid()) {
                    start.wait();
                    judge.reset();
                }
                if (--*left == 0) {
                    last.set_value();
                }
            }));
    }
    go.set_value();
    get(std::move(gone));
    for (const auto &ticket : waiting) {
        CHECK(ticket.wait() != Status::pending);
    }
}

}  // namespace

int main(int, char **argv) {
    begin();
    {
        const auto judge = dicast::Judge::open(config(argv));
        futures(judge);
        tickets(judge);
        callbacks(judge);
    }
    overloaded(argv);
    destroyed(argv);
}
