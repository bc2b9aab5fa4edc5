//! Programs that judge, with the demonstration judge.

use std::path::PathBuf;

use crate::support::{Library, Program, compile_with, root, run};

fn judge(name: &'static str, library: Library) {
    let program = compile_with(Program::new(name, library), &[]);
    run(&program, &[&model()]);
}

fn model() -> PathBuf {
    root().join("demo/dicast-demo.gguf")
}

#[test]
fn blocking_judgments_and_getters() {
    judge("judging", Library::Shared);
    judge("judging", Library::Static);
}

#[test]
fn a_program_compiled_with_the_first_release_runs() {
    let first = root().join("tests/data/abi/0.1");
    let program = compile_with(Program::new("judging", Library::Shared).against(first), &[]);
    run(&program, &[&model()]);
}

#[test]
fn memory() {
    judge("memory", Library::Shared);
}

#[test]
fn asking_before_submitting() {
    judge("asking", Library::Shared);
}

#[test]
fn stack() {
    judge("stack", Library::Shared);
}

#[test]
fn tables_of_rubrics() {
    judge("tables", Library::Shared);
}

#[test]
fn pinning() {
    judge("pinning", Library::Shared);
}

#[test]
fn sleeping() {
    judge("sleeping", Library::Shared);
}

#[test]
fn rewards() {
    judge("rewards", Library::Shared);
}

#[test]
fn tickets_and_callbacks() {
    judge("async", Library::Shared);
}

#[test]
fn many_threads() {
    judge("threads", Library::Shared);
}

#[test]
fn the_process_ends_while_a_judge_works() {
    judge("exiting", Library::Shared);
}

#[test]
fn fork() {
    judge("fork", Library::Shared);
}

#[test]
fn what_belongs_to_the_program_is_left_alone() {
    judge("quiet", Library::Shared);
}
