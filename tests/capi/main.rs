//! The C and C++ interface as users use them: programs are compiled without warnings against `include/`, linked with the
//! shared and the static library that cargo built, and run.
#![cfg(target_os = "linux")]

mod abi;
mod cpp;
mod header;
#[cfg(feature = "local")]
mod judged;
mod refused;
#[cfg(feature = "remote")]
mod served;
#[cfg(feature = "remote")]
#[path = "../remote/server.rs"]
#[expect(dead_code, reason = "the tests of the remote engine use all of it")]
mod server;
mod support;

use support::{Library, Program, compile_with, generated, run};

/// Programs that need no model.
#[test]
fn what_breaks_the_rules_is_refused() {
    let calls = generated("nothing.c", &header::calls_with_nothing());
    for library in [Library::Shared, Library::Static] {
        let program = compile_with(Program::new("misuse", library), std::slice::from_ref(&calls));
        run(&program, &[]);
    }
}

#[test]
fn an_engine_of_the_programs_own() {
    run(&compile_with(Program::new("own_engine", Library::Shared), &[]), &[]);
}

#[test]
fn events_and_reasoning() {
    run(&compile_with(Program::new("events", Library::Shared), &[]), &[]);
}

#[test]
fn figures_for_a_dashboard() {
    run(&compile_with(Program::new("metrics", Library::Shared), &[]), &[]);
}

#[test]
fn groups_under_one_handle() {
    run(&compile_with(Program::new("groups", Library::Shared), &[]), &[]);
}

#[test]
fn settings_without_json() {
    run(&compile_with(Program::new("settings", Library::Shared), &[]), &[]);
}

#[test]
fn parsing_and_masking_stand_alone() {
    for library in [Library::Shared, Library::Static] {
        run(&compile_with(Program::new("alone", library), &[]), &[]);
    }
}
