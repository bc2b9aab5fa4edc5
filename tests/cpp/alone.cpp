// Values, moves, masking, prompts and parsing: no model is needed.
#include <array>
#include <clocale>
#include <locale>
#include <type_traits>
#include <vector>

#include "check.hpp"

namespace {

using dicast::Status;

template <class... Types>
constexpr bool owning = ((std::is_nothrow_move_constructible_v<Types> && std::is_nothrow_move_assignable_v<Types> &&
                          !std::is_copy_constructible_v<Types> && !std::is_copy_assignable_v<Types>) &&
                         ...);
static_assert(owning<dicast::Judge, dicast::Request, dicast::Verdict, dicast::Ticket, dicast::CallbackTicket,
                     dicast::Profile, dicast::Aliases, dicast::Prompt>);
static_assert(std::is_nothrow_copy_constructible_v<dicast::Error> && std::is_nothrow_copy_assignable_v<dicast::Error>);
static_assert(!std::is_convertible_v<dicast::Result<dicast::Verdict>, bool>);

void statuses() {
    CHECK(dicast::name(Status::ok) == "ok" && dicast::name(Status::context_overflow) == "context_overflow");
    CHECK(dicast::name(static_cast<Status>(4711)).empty());
    CHECK(dicast::is_retryable(Status::overloaded) && !dicast::is_retryable(Status::invalid_request));
    CHECK(dicast::config_schema().find("\"temperature\"") != std::string_view::npos);
}

void json() {
    dicast::Options options;
    CHECK(options.to_json() == "{}");
    options.temperature = 0.1;
    options.top_p = 1;
    options.seed = UINT64_MAX;
    options.guided = true;
    options.mask = dicast::Mask::given;
    options.timeout = std::chrono::seconds(2);
    const std::string_view wanted =
        R"({"temperature":0.10000000000000001,"top_p":1,"seed":18446744073709551615,"guided":true,"mask":"given",)"
        R"("timeout_ms":2000})";
    CHECK(options.to_json() == wanted);

    // A locale with a decimal comma changes nothing.
    struct Comma : std::numpunct<char> {
        char do_decimal_point() const override { return ','; }
        char do_thousands_sep() const override { return '.'; }
        std::string do_grouping() const override { return "\3"; }
    };
    const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Comma));
    CHECK(options.to_json() == wanted);
    std::locale::global(before);

    // A name is written unchanged, and the library knows every key.
    dicast::Config config;
    config.model = std::string("a\"b\\c\n\x01\0", 8);
    CHECK(config.to_json().find(R"("model":"a\"b\\c\u000a\u0001\u0000")") == 1);
    config.model = "/nowhere/judge.gguf";
    options.top_k = 40;
    options.reasoning = true;
    options.max_reasoning_tokens = 99;
    options.max_verdict_tokens = 99;
    options.consistent_ranking = true;
    options.mask_seed = 1;
    config.options = options;
    config.verdict = {dicast::Incomplete::derive_ranking, true};
    config.limits = {3, 4096, 3};
    config.local = {1024, 2, 4096, 64, 32, 1, 0};
    config.trtllm = {0.5,
                     4096,
                     1,
                     true,
                     8,
                     1024,
                     8,
                     dicast::TrtllmScheduler::max_utilization,
                     true,
                     dicast::TrtllmMode::orchestrator,
                     "/nowhere/executorWorker",
                     {1, 0},
                     std::chrono::seconds(1)};
    CHECK(dicast::Judge::try_open(config).status() == Status::model_not_found);
}

// Settings by name, for settings without a field; the library checks them.
void settings_by_name() {
    dicast::Config config;
    config.model = "/nowhere/judge.gguf";
    config.set("local.threads", 2).set("/local/gpu_layers", 0U).set("options.temperature", 0.5);
    config.set("limits.max_queue", std::int64_t{7}).set("trtllm.device_ids", std::vector<int>{1, 0});
    config.set("options.timeout_ms", std::chrono::seconds(3)).set("profile", nullptr);
    config.set("options.mask", "given").set("verdict.clamp", true);
    const std::string json = config.to_json();
    for (const std::string_view part :
         {R"("local":{"threads":2,"gpu_layers":0})", R"("max_queue":7)", R"("device_ids":[1,0])", R"("mask":"given")",
          R"("options":{"temperature":0.5,"timeout_ms":3000,"mask":"given"})", R"("clamp":true)",
          R"("profile":null)"}) {
        CHECK(json.find(part) != std::string::npos);
    }
    CHECK(dicast::Judge::try_open(config).status() == Status::model_not_found);

    // The last value counts, even if a field has set it before.
    config.local.threads = 9;
    config.set("local.threads", 3);
    CHECK(config.to_json().find(R"("threads":3)") != std::string::npos);
    dicast::Settings settings;
    settings.set("/a~1b/c~0d/", std::vector<std::string>{"x\"y", "z"});
    settings.set_json("a", R"({"b": 1})");
    dicast::detail::Json root;
    settings.write(root);
    CHECK(root.text() == R"({"a/b":{"c~d":{"":["x\"y","z"]}},"a":{"b": 1}})");

    // The library names what it does not know or does not accept.
    const auto refused = [](std::string_view path, auto value, std::string_view named) {
        dicast::Config wrong;
        wrong.model = "/nowhere/judge.gguf";
        wrong.set(path, value);
        const auto opened = dicast::Judge::try_open(wrong);
        return opened.status() == Status::invalid_config &&
               std::string_view(opened.error().what()).find(named) != std::string_view::npos;
    };
    CHECK(refused("local.colour", 1, "colour") && refused("colour", true, "colour") && refused("", 1, "unknown field"));
    CHECK(refused("local.threads", "many", "many") && refused("local.threads", -1, "-1"));
    CHECK(refused("local.threads.deep", 1, "line") && refused("local", std::vector<int>{1, 2}, "object"));
    CHECK(refused("options.temperature", 5, "temperature") && refused("options.temperature", INFINITY, "line"));

    dicast::Options options;
    CHECK(options.set("seed", 7).to_json() == R"({"seed":7})");
    dicast::Request request("p", "q", {{"a", "b"}});
    CHECK(request.try_set_options(options).has_value());
    CHECK(request.try_set_options(options.set("colour", 1)).status() == Status::invalid_request);
}

void masks() {
    const std::vector<std::string> names = {"a", "b", "c", "d", "e"};
    const auto masked = dicast::Aliases::mask(names);
    // The result of Python's random.seed(42); random.shuffle([0, 1, 2, 3, 4]).
    constexpr std::array<std::size_t, 5> order = {3, 1, 2, 4, 0};
    CHECK(masked.size() == 5 && masked.shown(0) == "model-1" && masked.shown(5).empty());
    for (std::size_t place = 0; place < 5; ++place) {
        CHECK(masked.index(place) == order[place] && masked.name(place) == names[order[place]]);
    }
    CHECK(masked.index(5) == dicast::none);
    const auto given = dicast::Aliases::mask({"x", "y"}, dicast::Mask::given, 0, "answer ");
    CHECK(given.shown(1) == "answer 2");
    const auto made = dicast::Aliases::of({"m-1", "m-2"}, {"y", "x"});
    CHECK(made.name(1) == "x");
    THROWS(Status::invalid_argument, dicast::Aliases::of({"m-1"}, {"y", "x"}));

    // Any range of texts, even if its texts only live until the next step.
    const std::vector<std::string> long_names = {"a name that no string keeps within itself, the first",
                                                 "a name that no string keeps within itself, the second"};
    const auto named = [&](const dicast::Aliases &aliases) {
        return aliases.size() == 2 && aliases.name(0) == long_names[0] && aliases.name(1) == long_names[1];
    };
    const auto same = dicast::Mask::given;
    CHECK(named(dicast::Aliases::mask(long_names, same)));
    CHECK(named(dicast::Aliases::mask(Made(long_names), same)));
    CHECK(named(dicast::Aliases::mask(Fleeting(long_names), same)));
    CHECK(named(dicast::Aliases::of(Fleeting({"m-1", "m-2"}), Made(long_names))));
    const char *const pointers[] = {long_names[0].c_str(), long_names[1].c_str()};
    CHECK(named(dicast::Aliases::mask(pointers, same)));
    const dicast::Request request("p", "q", std::vector<std::pair<std::string, std::string>>{{"a", "b"}, {"c", "d"}});
    CHECK(dicast::Request::try_new("p", "q", {{"a", "b"}}).has_value());
    CHECK(dicast::Request::try_new("p", "q", {{"a", "\xff"}}).status() == Status::invalid_request);
#if HAS_VIEWS
    const auto copies = long_names | std::views::transform([](const std::string &name) { return name + ""; });
    CHECK(named(dicast::Aliases::mask(copies, same)));
    CHECK(named(dicast::Aliases::mask(long_names | std::views::filter([](const auto &) { return true; }), same)));
    const dicast::Request from_view("p", "q", long_names | std::views::transform([](const std::string &name) {
                                                  return std::pair<std::string, std::string>(name, name + "!");
                                              }));
    const dicast::Prompt prompt(dicast::Profile::builtin(), from_view);
    CHECK(prompt.messages().back().content.find(long_names[1] + "!") != std::string_view::npos);
#endif
    THROWS(Status::invalid_request, dicast::Aliases::mask({"x", "x"}));
    CHECK(dicast::Aliases::try_mask(std::vector<std::string>()).status() == Status::invalid_request);
}

void prompts() {
    const dicast::Request request(shorter, question, {{"short", short_text}, {"long", long_text}});
    const auto profile = dicast::Profile::builtin();
    const dicast::Prompt prompt(profile, request);
    const auto messages = prompt.messages();
    CHECK(!messages.empty() && messages.back().role == "user");
    CHECK(messages.back().content.find(short_text) != std::string_view::npos);

    constexpr std::string_view answer =
        R"(<think>Well.</think>{"scores": {"model-1": 4, "model-2": 2}, "best-to-worst": ["model-1", "model-2"]})";
    const auto verdict = dicast::parse(answer, prompt, &profile);
    CHECK(verdict.size() == 2 && verdict.reasoning() == "Well." && verdict.raw() == answer);
    CHECK(verdict.alias(verdict.ranked(0)) == "model-1" && verdict.score(verdict.ranked(0)) == 4);
    CHECK(std::isnan(verdict.expected(0)) && verdict.distribution(0).empty() && verdict.usage().prompt_tokens == 0);

    constexpr std::string_view scores = R"({"scores": {"model-1": 4, "model-2": 2}})";
    const auto aliases = dicast::Aliases::mask({"a", "b"}, dicast::Mask::given);
    const auto refused = dicast::try_parse(scores, aliases);
    CHECK(refused.status() == Status::invalid_verdict && refused.error().partial()->score(0) == 4);
    dicast::VerdictPolicy policy;
    policy.incomplete = dicast::Incomplete::derive_ranking;
    const auto derived = dicast::parse(scores, aliases, nullptr, policy);
    CHECK(derived.ranking() == std::vector<std::string_view>{"a", "b"});
    CHECK(derived.repairs().at(0).name == "ranking_derived");

    CHECK(dicast::Profile::try_from_json("{").status() == Status::invalid_profile);
    THROWS(Status::invalid_profile, dicast::Profile::load("/nowhere.json"));
}

// A moved-from object says "none", and can be filled again.
void moved() {
    auto request = dicast::Request("p", "q", {{"a", "b"}});
    const dicast::Request other = std::move(request);
    CHECK(request.get() == nullptr && other.get() != nullptr);
    THROWS(Status::invalid_argument, request.add("a", "b"));
    CHECK(dicast::Prompt::try_new(dicast::Profile::builtin(), request).status() == Status::invalid_argument);
    request = dicast::Request("p", "q");
    request.add("a", "b").set_options({});

    auto verdict =
        dicast::parse(R"({"scores": {"model-1": 4}, "best-to-worst": ["model-1"]})", dicast::Aliases::mask({"a"}));
    const dicast::Verdict taken = std::move(verdict);
    CHECK(taken.score("a") == 4 && verdict.size() == 0 && std::isnan(verdict.score("a")) && verdict.json().empty());
    CHECK(verdict.ranking().empty() && verdict.begin() == verdict.end() && verdict.usage().prompt_tokens == 0);

    dicast::Error error(Status::io, "gone");
    const dicast::Error copy = std::move(error);
    CHECK(error.message() == "gone" && copy.message() == "gone");
}

void durations() {
    using namespace std::chrono;
    constexpr std::uint64_t most = INT64_MAX;
    CHECK(dicast::detail::milliseconds(milliseconds(7)) == 7 && dicast::detail::milliseconds(seconds(-1)) == 0);
    CHECK(dicast::detail::milliseconds(microseconds(1)) == 1 && dicast::detail::milliseconds(microseconds(1000)) == 1);
    CHECK(dicast::detail::milliseconds(hours::max()) == most && dicast::detail::milliseconds(hours::min()) == 0);
    CHECK(dicast::detail::milliseconds(nanoseconds::max()) == 9223372036855);
    CHECK(dicast::detail::milliseconds(milliseconds::max()) == most);
    CHECK(dicast::detail::milliseconds(duration<double>(0.25)) == 250);
    CHECK(dicast::detail::milliseconds(duration<double>(std::nan(""))) == 0);
    CHECK(dicast::detail::milliseconds(duration<float>(-INFINITY)) == 0);
    CHECK(dicast::detail::milliseconds(duration<float>(INFINITY)) == most);
    CHECK(dicast::detail::milliseconds(duration<unsigned, std::ratio<1, 3>>(4)) == 1334);

    dicast::Options options;
    const auto written = [&](auto timeout) {
        options.timeout = timeout;
        return options.to_json();
    };
    CHECK(written(seconds(2)) == R"({"timeout_ms":2000})" && written(duration<double>(0.5)) == R"({"timeout_ms":500})");
    CHECK(written(hours::max()) == R"({"timeout_ms":9223372036854775807})");
    CHECK(written(hours(-1)) == R"({"timeout_ms":0})");
    CHECK(milliseconds(*options.timeout).count() == 0);
}

void results() {
    dicast::Result<int> number = 3;
    CHECK(number && *number == 3 && number.value() == 3 && number.status() == Status::ok);
    number = dicast::Error(Status::timeout, "too late");
    CHECK(!number && number.status() == Status::timeout && number.error().is_retryable());
    THROWS(Status::timeout, *number);
    const dicast::Result<void> nothing;
    CHECK(nothing && nothing.status() == Status::ok);
    nothing.value();
    const dicast::Result<void> refused = dicast::Error(Status::closed, "closed");
    CHECK(!refused && refused.error().name() == "closed");
    THROWS(Status::closed, refused.value());
#ifdef __cpp_lib_expected
    CHECK(std::move(number).expected().error().status() == Status::timeout);
    CHECK(dicast::Result<void>().expected().has_value());
    CHECK(!dicast::Result<void>(refused).expected().has_value());
#endif
#if __cplusplus >= 202002L
    const dicast::Config named = {.model = "judge.gguf", .options = {.temperature = 0.5}, .local = {.threads = 2}};
    CHECK(named.options.temperature == 0.5);
#endif
}

}  // namespace

int main() {
    begin();
    statuses();
    json();
    settings_by_name();
    masks();
    prompts();
    moved();
    durations();
    results();
}
