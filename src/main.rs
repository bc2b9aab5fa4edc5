//! The `dicast` command: parse, run, exit code.

fn main() {}
