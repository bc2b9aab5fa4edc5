//! What `include/dicast.h` declares, read from its text; and that it compiles everywhere.

use std::fmt::Write;
use std::path::Path;

use crate::support::{check_syntax, generated, root};

/// A function of the header.
pub(crate) struct Function {
    pub(crate) result: String,
    pub(crate) name: String,
    pub(crate) parameters: Vec<String>,
}

/// The text of a header without comments, preprocessor lines and line ends.
pub(crate) fn plain(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    plain.push_str(rest);
    let lines: Vec<_> = plain.lines().filter(|line| !line.starts_with('#')).collect();
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn functions(plain: &str) -> Vec<Function> {
    let functions: Vec<_> = plain
        .split(';')
        .filter_map(|declaration| {
            let (head, parameters) = declaration.trim().strip_suffix(')')?.split_once('(')?;
            let head = head.rsplit(['{', '}']).next()?.trim();
            let start = head.find("dicast_").map(|_| head.rfind("dicast_").unwrap())?;
            let (result, name) = head.split_at(start);
            let plain = !result.is_empty() && !result.contains("typedef");
            plain.then(|| Function {
                result: result.trim().to_owned(),
                name: name.to_owned(),
                parameters: parameters.split(", ").filter(|p| *p != "void").map(str::to_owned).collect(),
            })
        })
        .collect();
    assert!(functions.len() > 80, "{} functions were found", functions.len());
    functions
}

/// Structs and their fields.
pub(crate) fn structs(plain: &str) -> Vec<(String, Vec<String>)> {
    let structs: Vec<_> = plain
        .split("typedef struct ")
        .filter_map(|text| {
            let (name, body) = text.split_once(" {")?;
            let fields = body.split_once('}')?.0.split(';').filter_map(|field| {
                let name = field.trim().rsplit([' ', '*']).next()?;
                (!name.is_empty()).then(|| name.to_owned())
            });
            name.starts_with("dicast_").then(|| (name.to_owned(), fields.collect()))
        })
        .collect();
    assert!(structs.len() > 6);
    structs
}

/// A C file that calls every function with nothing but null and zero, and checks the results.
pub(crate) fn calls_with_nothing() -> String {
    let functions = functions(&plain(&root().join("include/dicast.h")));
    let mut text = String::from(
        "#include \"check.h\"\nint call_everything_with_nothing(void);\nint call_everything_with_nothing(void) {\n    \
         dicast_error *error = NULL;\n    const dicast_str nothing = {NULL, 0};\n",
    );
    for Function { result, name, parameters } in &functions {
        let argument = |parameter: &String| {
            if parameter.contains('*') || parameter.starts_with("dicast_callback") {
                "NULL"
            } else if parameter.starts_with("dicast_str ") || parameter.starts_with("struct dicast_str ") {
                "nothing"
            } else {
                "0"
            }
        };
        let mut arguments: Vec<_> = parameters.iter().map(argument).collect();
        let call = format!("{name}({})", arguments.join(", "));
        if parameters.last().is_some_and(|last| last.contains("dicast_error **error")) {
            writeln!(text, "    CHECK({call} == DICAST_INVALID_ARGUMENT);").unwrap();
            *arguments.last_mut().unwrap() = "&error";
            let call = format!("{name}({})", arguments.join(", "));
            writeln!(text, "    FAILS(DICAST_INVALID_ARGUMENT, error, {call});").unwrap();
        } else if result == "double" {
            writeln!(text, "    CHECK(isnan({call}));").unwrap();
        } else if result.ends_with('*') {
            writeln!(text, "    CHECK({call} == NULL);").unwrap();
        } else if result == "size_t" {
            writeln!(text, "    CHECK({call} == 0 || {call} == DICAST_NONE);").unwrap();
        } else {
            writeln!(text, "    (void){call};").unwrap();
        }
    }
    writeln!(text, "    return {};\n}}", functions.len()).unwrap();
    text
}

#[test]
fn the_header_compiles_alone_and_twice_in_every_standard() {
    let include = root().join("include");
    let alone = generated("alone.h.c", "#include <dicast.h>\nextern int nothing;\n");
    let twice = generated(
        "twice.h.c",
        "#include <dicast.h>\n#include <dicast.h>\n#ifndef DICAST_ABI_VERSION\n#error no version\n#endif\n\
         extern int32_t status;\nint32_t status = DICAST_PENDING;\n",
    );
    for standard in ["c99", "c11", "c17", "c++17", "c++20"] {
        check_syntax(standard, &alone, &include);
        check_syntax(standard, &twice, &include);
    }
}

#[test]
fn every_export_is_a_boundary() {
    let folder = root().join("src/capi");
    let mut exports = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for export in text.split("#[unsafe(no_mangle)]\n").skip(1) {
            exports += 1;
            let body = export.split_once(" {\n").unwrap().1.trim_start();
            let body = body.split_once("*/").map_or(body, |(_, rest)| rest);
            let line = body.lines().map(str::trim).find(|line| !line.starts_with("//")).unwrap();
            // Functions that only call another export or return a constant cannot panic.
            let simple =
                ["super::status::dicast_status_name(", "dicast_ticket_wait(", "DICAST_ABI_VERSION", "dicast_str::of("];
            assert!(line.starts_with("boundary!(") || simple.iter().any(|s| line.starts_with(s)), "{line}");
        }
    }
    assert_eq!(exports, functions(&plain(&root().join("include/dicast.h"))).len());
}
