//! The C++ interface: `include/dicast.hpp`, and the programs of `tests/cpp/`.

use std::path::PathBuf;
use std::process::Command;

use dicast::config::JudgeConfig;

use crate::header::{functions, plain};
use crate::support::{CPP_WARNINGS, Library, Program, check_syntax_by, compile_with, generated, root, run};

/// The headers; the first includes the others.
fn headers() -> Vec<PathBuf> {
    let include = root().join("include");
    let mut parts: Vec<_> =
        std::fs::read_dir(include.join("dicast")).unwrap().map(|entry| entry.unwrap().path()).collect();
    parts.sort_unstable();
    parts.insert(0, include.join("dicast.hpp"));
    parts
}

pub(crate) fn compilers() -> Vec<&'static str> {
    let there = |compiler: &&str| Command::new(compiler).arg("--version").output().is_ok();
    let compilers: Vec<_> = ["g++", "clang++"].into_iter().filter(there).collect();
    assert!(!compilers.is_empty(), "there is no C++ compiler");
    compilers
}

#[test]
fn every_header_compiles_alone_and_twice() {
    let include = root().join("include");
    for header in headers() {
        let name = format!("{}.cpp", header.file_name().unwrap().to_str().unwrap());
        let twice = generated(&name, &format!("#include \"{0}\"\n#include \"{0}\"\n", header.display()));
        check_syntax_by("c++", "c++17", &CPP_WARNINGS, &twice, &include);
    }
}

#[test]
fn every_standard_and_compiler_takes_the_header() {
    let include = root().join("include");
    let all = generated("all.cpp", "#include <dicast.hpp>\n");
    for compiler in compilers() {
        for standard in ["c++17", "c++20", "c++2b"] {
            check_syntax_by(compiler, standard, &CPP_WARNINGS, &all, &include);
        }
        check_syntax_by(compiler, "c++17", &[&CPP_WARNINGS[..], &["-fno-exceptions"]].concat(), &all, &include);
    }
}

#[test]
fn what_c_can_do_cpp_can_do() {
    let text: String = headers().iter().map(|header| std::fs::read_to_string(header).unwrap()).collect();
    let words: Vec<_> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    // Covered by the language itself, or by a value that already exists.
    // dicast_events_return is for languages in which a signal becomes an exception.
    let spared =
        ["dicast_str_cstr", "dicast_error_name", "dicast_ticket_try", "dicast_json_quote", "dicast_events_return"];
    for function in functions(&plain(&root().join("include/dicast.h"))) {
        let name = function.name.as_str();
        // Config and Options have the settings.
        let spared = spared.contains(&name) || name.starts_with("dicast_settings_");
        assert!(words.contains(&name) != spared, "{name}");
    }
    let header = std::fs::read_to_string(root().join("include/dicast.h")).unwrap();
    let constants: Vec<_> =
        header.lines().filter_map(|line| line.strip_prefix("#define DICAST_")?.split_once(' ')).collect();
    assert!(constants.len() > 30);
    for (name, _) in constants.iter().filter(|(name, _)| !name.starts_with("VERSION_")) {
        assert!(words.contains(&format!("DICAST_{name}").as_str()), "DICAST_{name}");
    }
}

#[test]
fn every_setting_has_its_place_in_the_configuration_of_cpp() {
    let part = |name: &str| std::fs::read_to_string(root().join("include/dicast").join(name)).unwrap();
    let text = part("config.hpp") + &part("options.hpp");
    let mut keys = 0;
    for (section, rows) in JudgeConfig::TABLES {
        for key in rows.iter().map(|row| row.name).chain([section]) {
            assert!(text.contains(&format!("(\"{key}\",")), "{section}: {key}");
            keys += 1;
        }
    }
    assert!(keys > 30, "{keys} keys");
}

#[test]
fn the_header_in_two_files_of_one_program() {
    let other = root().join("tests/cpp/twice_other.cpp");
    run(&compile_with(Program::cpp("twice", Library::Shared, &["-std=c++17"]), &[other]), &[]);
}

#[test]
fn values_moves_and_parsing() {
    for standard in ["-std=c++17", "-std=c++20", "-std=c++2b"] {
        run(&compile_with(Program::cpp("alone", Library::Shared, &[standard]), &[]), &[]);
    }
    run(&compile_with(Program::cpp("alone", Library::Static, &["-std=c++17"]), &[]), &[]);
}

#[test]
fn an_engine_of_the_programs_own() {
    run(&compile_with(Program::cpp("own_engine", Library::Shared, &["-std=c++17"]), &[]), &[]);
}

#[cfg(feature = "local")]
mod judged {
    use super::{Library, Program, compile_with, root, run};

    fn judge(name: &'static str, library: Library, flags: &[&'static str]) {
        run(&compile_with(Program::cpp(name, library, flags), &[]), &[&root().join("demo/dicast-demo.gguf")]);
    }

    #[test]
    fn judging() {
        judge("judging", Library::Shared, &["-std=c++17"]);
        judge("judging", Library::Static, &["-std=c++20"]);
        judge("judging", Library::Shared, &["-std=c++2b"]);
    }

    #[test]
    fn futures_tickets_and_callbacks() {
        judge("asynchronous", Library::Shared, &["-std=c++17"]);
    }

    #[test]
    fn rewards() {
        judge("rewards", Library::Shared, &["-std=c++17"]);
        judge("rewards", Library::Shared, &["-std=c++20"]);
    }

    #[test]
    fn many_threads() {
        judge("threads", Library::Shared, &["-std=c++17"]);
    }

    #[test]
    fn without_exceptions() {
        judge("no_exceptions", Library::Shared, &["-std=c++17", "-fno-exceptions"]);
    }
}
