//! What `dicast.hpp` refuses to compile: texts that would point into a destroyed object, and ignored outcomes.

use std::fmt::Write;
use std::process::Command;

use crate::cpp::compilers;
use crate::support::{CPP_WARNINGS, generated, root};

/// Code that compiles, similar code that must not, and a word of the compiler's message at its line.
struct Case {
    good: &'static str,
    bad: &'static str,
    says: &'static str,
}

const fn case(good: &'static str, bad: &'static str, says: &'static str) -> Case {
    Case { good, bad, says }
}

/// Every compiler refuses these.
const REFUSED: &[Case] = &[
    case("auto v = judge.judge(request); use(v.reasoning());", "use(judge.judge(request).reasoning());", "delete"),
    case("auto v = judge.judge(request); use(v.raw());", "use(judge.judge(request).raw());", "delete"),
    case("auto v = judge.judge(request); use(v.json());", "use(judge.judge(request).json());", "delete"),
    case("auto v = judge.judge(request); use(v.name(0));", "use(judge.judge(request).name(0));", "delete"),
    case("auto v = judge.judge(request); use(v.alias(0));", "use(judge.judge(request).alias(0));", "delete"),
    case("auto v = judge.judge(request); use(v[0].name);", "use(judge.judge(request)[0].name);", "delete"),
    case("auto v = judge.judge(request); use(v.flags());", "use(judge.judge(request).flags());", "delete"),
    case("auto v = judge.judge(request); use(v.repairs());", "use(judge.judge(request).repairs());", "delete"),
    case("auto v = judge.judge(request); use(v.ranking());", "use(judge.judge(request).ranking());", "delete"),
    case("auto v = judge.judge(request); use(v.begin());", "use(judge.judge(request).begin());", "delete"),
    case("auto v = judge.judge(request); use(v.end());", "use(judge.judge(request).end());", "delete"),
    case(
        "auto v = judge.judge(request); use(v.distribution(0));",
        "use(judge.judge(request).distribution(0));",
        "delete",
    ),
    case("use(judge.judge(request).score(0));", "use(std::move(verdict).reasoning());", "delete"),
    case(
        "for (const auto &one : judge.judge(request)) { use(one); }",
        "for (auto one = judge.judge(request).begin();;) { use(one); }",
        "delete",
    ),
    case("auto r = judge.try_judge(request); use(r->raw());", "use(judge.try_judge(request)->raw());", "delete"),
    case("use((*judge.try_judge(request)).score(0));", "use((*judge.try_judge(request)).raw());", "delete"),
    case(
        "const auto &kept = judge.try_judge(request).value(); use(kept.raw());",
        "use(judge.try_judge(request).value().raw());",
        "delete",
    ),
    case(
        "const auto &kept = judge.try_judge(request).error(); use(kept.message());",
        "use(judge.try_judge(request).error().message());",
        "delete",
    ),
    case(
        "auto r = judge.try_judge(request); use(r.error().json());",
        "use(judge.try_judge(request).error().json());",
        "delete",
    ),
    case("auto p = error.partial(); use(p->raw());", "use((*error.partial()).raw());", "delete"),
    case("auto p = error.partial(); use(p->reasoning());", "use((*error.partial()).reasoning());", "delete"),
    case("auto p = error.partial(); use(p->name(0));", "use((*error.partial()).name(0));", "delete"),
    case("auto p = error.partial(); use(p->ranked(0));", "use((*error.partial()).ranked(0));", "delete"),
    case("auto p = dicast::Profile::builtin(); use(p.json());", "use(dicast::Profile::builtin().json());", "delete"),
    case(
        "auto a = dicast::Aliases::mask(texts); use(a.shown(0));",
        "use(dicast::Aliases::mask(texts).shown(0));",
        "delete",
    ),
    case(
        "auto a = dicast::Aliases::mask(texts); use(a.name(0));",
        "use(dicast::Aliases::mask(texts).name(0));",
        "delete",
    ),
    case(
        "dicast::Prompt p(profile, request); use(p.messages());",
        "use(dicast::Prompt(profile, request).messages());",
        "delete",
    ),
    case("auto j = dicast::Judge::open(\"\"); use(j.engine());", "use(dicast::Judge::open(\"\").engine());", "delete"),
    case(
        "auto j = dicast::Judge::open(\"\"); use(j.profile_json());",
        "use(dicast::Judge::open(\"\").profile_json());",
        "delete",
    ),
    // A ticket that nobody keeps cancels its judgment at once.
    case("auto kept = judge.submit(request); use(kept);", "judge.submit(request);", "nodiscard"),
    case("auto kept = judge.try_submit(request); use(kept);", "judge.try_submit(request);", "nodiscard"),
    case(
        "use(judge.try_wait_for_room(std::chrono::seconds(1)));",
        "judge.try_wait_for_room(std::chrono::seconds(1));",
        "nodiscard",
    ),
    // Whether there is a value, and whether it is true, are two questions.
    case("use(dicast::Result<int>(1));", "use(dicast::Result<bool>(false));", ""),
    case(
        "if (judge.try_wait_for_room(std::chrono::seconds(1))) { use(1); }",
        "bool free = judge.try_wait_for_room(std::chrono::seconds(1)); use(free);",
        "conver",
    ),
    case("judge.rewards(\"p\", \"q\", texts);", "judge.rewards(\"p\", \"q\", std::string(\"text\"));", ""),
];

/// These need the compiler to track which object a text points into. Clang does.
const SEEN_BY_CLANG: &[Case] = &[
    case(
        "const auto error_of = judge.try_judge(request).error(); use(error_of.what());",
        "const char *text = judge.try_judge(request).error().what(); use(text);",
        "destroyed",
    ),
    case(
        "const auto v = judge.judge(request); const dicast_verdict *lent = v.get(); use(lent);",
        "const dicast_verdict *lent = judge.judge(request).get(); use(lent);",
        "destroyed",
    ),
    case(
        "[&] { const auto v = judge.judge(request); return std::string(v.reasoning()); }();",
        "[&] { const auto v = judge.judge(request); return v.reasoning(); }();",
        "stack",
    ),
    case(
        "[&] { const auto v = judge.judge(request); return v.score(0); }();",
        "[&] { const auto v = judge.judge(request); return v.distribution(0); }();",
        "stack",
    ),
];

/// Compiles each piece of code as a function on a line of its own; gives the compiler's messages, line by line.
fn complaints(compiler: &str, standard: &str, name: &str, bodies: &[&str]) -> Vec<String> {
    let mut text = String::from(
        "#include <dicast.hpp>\n#include <string>\n#include <vector>\ntemplate <class T> void use(T &&) {}\n\
         using Texts = std::vector<std::string>;\nnamespace {\n",
    );
    let before = text.lines().count();
    for (number, body) in bodies.iter().enumerate() {
        writeln!(
            text,
            "[[maybe_unused]] void test_{number}([[maybe_unused]] const dicast::Judge &judge, [[maybe_unused]] const \
             dicast::Request &request, [[maybe_unused]] dicast::Verdict verdict, [[maybe_unused]] const dicast::Error \
             &error, [[maybe_unused]] const dicast::Profile &profile, [[maybe_unused]] const Texts &texts) {{ {body} }}"
        )
        .unwrap();
    }
    text.push_str("}\n");
    let file = format!("refused-{compiler}-{standard}-{name}.cpp");
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}")).args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]).args(CPP_WARNINGS);
    // Clang stops after twenty errors by default.
    command.args((compiler == "clang++").then_some("-ferror-limit=0"));
    let output = command.arg("-I").arg(root().join("include")).arg(generated(&file, &text)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let of = |number: usize| {
        let place = format!("{file}:{}:", before + number + 1);
        said.lines().filter(|line| line.contains(&place)).collect::<Vec<_>>().join("\n")
    };
    (0..bodies.len()).map(of).collect()
}

fn check(compiler: &str, standard: &str, name: &str, cases: &[Case]) {
    let good: Vec<_> = cases.iter().map(|case| case.good).collect();
    for (said, body) in complaints(compiler, standard, &format!("{name}-good"), &good).iter().zip(good) {
        assert_eq!(said, "", "{compiler} {standard} refuses `{body}`");
    }
    let bad: Vec<_> = cases.iter().map(|case| case.bad).collect();
    for (said, case) in complaints(compiler, standard, &format!("{name}-bad"), &bad).iter().zip(cases) {
        let refused = !said.is_empty() && said.contains(case.says);
        assert!(refused, "{compiler} {standard} on `{}`: {said:?}", case.bad);
    }
}

#[test]
fn texts_of_a_temporary_and_outcomes_thrown_away_do_not_compile() {
    for compiler in compilers() {
        check(compiler, "c++17", "all", REFUSED);
        check(compiler, "c++20", "all", REFUSED);
    }
}

#[test]
fn clang_follows_texts_to_their_objects() {
    if compilers().contains(&"clang++") {
        check("clang++", "c++17", "clang", SEEN_BY_CLANG);
    }
}
