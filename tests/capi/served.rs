//! Programs that judge over a scripted server.

use std::path::Path;

use crate::server::{Dialect, Server};
use crate::support::{Library, Program, compile_with, run};

#[test]
fn a_url_from_c_and_from_cpp() {
    let server = Server::new(Dialect::Vllm);
    for library in [Library::Shared, Library::Static] {
        run(&compile_with(Program::new("remote", library), &[]), &[Path::new(&server.url)]);
    }
    run(&compile_with(Program::cpp("remote", Library::Shared, &["-std=c++17"]), &[]), &[Path::new(&server.url)]);
}
