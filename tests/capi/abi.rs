//! The promise of the binary interface: symbols, sizes and offsets are those of the golden lists, and the lists only
//! grow. `DICAST_BLESS=1` rewrites the lists; changing or removing a line breaks programs.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::header::{Function, functions, plain, structs};
use crate::support::{Library, Program, compile_with, generated, libraries, root, run};

fn golden(name: &str, made: &str) {
    let path = root().join("tests/data/abi").join(name);
    if std::env::var_os("DICAST_BLESS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(made, kept, "{} differs", path.display());
}

#[test]
fn the_shared_library_exports_the_functions_of_the_header_and_nothing_else() {
    let output =
        Command::new("nm").args(["-D", "--defined-only"]).arg(libraries().join("libdicast.so")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let exported: BTreeSet<_> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    let header = functions(&plain(&root().join("include/dicast.h")));
    let declared: BTreeSet<_> = header.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(exported, declared);
    golden("symbols.txt", &declared.iter().fold(String::new(), |text, name| text + name + "\n"));
}

#[test]
fn structs_keep_their_sizes_and_offsets() {
    let structs = structs(&plain(&root().join("include/dicast.h")));
    let mut asked =
        String::from("#include \"check.h\"\nint main(void) {\n    FILE *out = fopen(OUT, \"w\");\n    CHECK(out);\n");
    for (name, fields) in &structs {
        writeln!(asked, "    fprintf(out, \"{name} %zu\\n\", sizeof({name}));").unwrap();
        for field in fields {
            let sizes = format!("offsetof({name}, {field}), sizeof((({name} *)0)->{field})");
            writeln!(asked, "    fprintf(out, \"{name}.{field} %zu %zu\\n\", {sizes});").unwrap();
        }
    }
    asked.push_str("    return fclose(out);\n}\n");
    let out = generated("layout.txt", "");
    let source = generated("layout.c", &asked.replace("OUT", &format!("{:?}", out.display().to_string())));
    let program = compile_with(Program::new("nothing", Library::Shared), &[source]);
    run(&program, &[]);
    golden("layout.txt", &std::fs::read_to_string(out).unwrap());
}

/// A declaration as one line, so that layout does not matter.
fn line(function: &Function) -> String {
    let Function { result, name, parameters } = function;
    format!("{result} {name}({})", parameters.join(", "))
}

#[test]
fn everything_in_the_header_of_the_first_release_is_still_there() {
    let [first, now] = ["tests/data/abi/0.1/dicast.h", "include/dicast.h"].map(|path| root().join(path));
    let lines = |path: &Path| functions(&plain(path)).iter().map(line).collect::<BTreeSet<_>>();
    let gone: Vec<_> = lines(&first).difference(&lines(&now)).cloned().collect();
    assert!(gone.is_empty(), "functions that have changed or gone: {gone:#?}");
    let defines = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let kept = |line: &&str| line.starts_with("#define DICAST_") && !line.contains("VERSION");
        text.lines().filter(kept).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let gone: Vec<_> = defines(&first).difference(&defines(&now)).cloned().collect();
    assert!(gone.is_empty(), "constants that have changed or gone: {gone:#?}");
    for (name, fields) in structs(&plain(&first)) {
        let now = structs(&plain(&now));
        let (_, kept) = now.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name} is gone"));
        assert!(kept.starts_with(&fields), "{name} has changed");
    }
}
