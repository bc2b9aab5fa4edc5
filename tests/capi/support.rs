//! Compiles C and C++ programs and runs them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Shared,
    Static,
}

/// Warnings that are errors, in both languages.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// More warnings, for C++ code.
pub(crate) const CPP_WARNINGS: [&str; 2] = ["-Wconversion", "-Wshadow"];

/// A program of `tests/capi/` or `tests/cpp/`, and how it is compiled.
pub(crate) struct Program {
    /// Its name; `nothing` for one that is generated completely.
    name: &'static str,
    library: Library,
    include: PathBuf,
    /// The language standard and other flags for the compiler.
    flags: Vec<&'static str>,
}

impl Program {
    /// A program in C99.
    pub(crate) fn new(name: &'static str, library: Library) -> Self {
        Self { name, library, include: root().join("include"), flags: vec!["-std=c99"] }
    }

    /// A program in C++.
    pub(crate) fn cpp(name: &'static str, library: Library, flags: &[&'static str]) -> Self {
        Self { flags: [flags, &CPP_WARNINGS].concat(), ..Self::new(name, library) }
    }

    fn is_cpp(&self) -> bool {
        self.flags.iter().any(|flag| flag.starts_with("-std=c++"))
    }

    /// Compiles with another header than that of this release.
    #[cfg(feature = "local")]
    pub(crate) fn against(self, include: PathBuf) -> Self {
        Self { include, ..self }
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a source file that a test has generated.
pub(crate) fn generated(name: &str, text: &str) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A folder with the libraries that cargo built with this test, under the names that linkers look for.
pub(crate) fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let built = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let folder = folder().join(format!("lib-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (file, name) in
            [("libdicast.so", "libdicast.so"), ("libdicast.so", "libdicast.so.0"), ("libdicast.a", "libdicast.a")]
        {
            let file = built.join(file);
            assert!(file.exists(), "{} is missing: cargo builds it with the tests", file.display());
            symlink(file, folder.join(name)).unwrap();
        }
        folder
    })
}

/// Checks the syntax of a C or C++ file, in one language standard.
pub(crate) fn check_syntax(standard: &str, source: &Path, include: &Path) {
    let compiler = if standard.contains("++") { "c++" } else { "cc" };
    check_syntax_by(compiler, standard, &[], source, include);
}

/// Like [`check_syntax`], with one compiler and further flags.
pub(crate) fn check_syntax_by(compiler: &str, standard: &str, flags: &[&str], source: &Path, include: &Path) {
    let language = if standard.contains("++") { "c++" } else { "c" };
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}")).args(WARNINGS).args(flags).arg("-fsyntax-only");
    command.arg("-I").arg(include).args(["-x", language]).arg(source);
    succeed(command);
}

/// Programs compiled so far: each has a file of its own.
static PROGRAMS: AtomicUsize = AtomicUsize::new(0);

/// Compiles a program with further sources.
pub(crate) fn compile_with(program: Program, sources: &[PathBuf]) -> PathBuf {
    let (compiler, place) = if program.is_cpp() { ("c++", "cpp") } else { ("cc", "capi") };
    let Program { name, library, include, flags } = program;
    let tests = root().join("tests").join(place);
    let number = PROGRAMS.fetch_add(1, Ordering::Relaxed);
    let output = folder().join(format!("{name}-{number}-{}", std::process::id()));
    let mut command = Command::new(compiler);
    command.args(flags).args(["-O1", "-g", "-pthread"]).args(WARNINGS);
    command.arg("-I").arg(include).arg("-I").arg(&tests);
    if name != "nothing" {
        command.arg(tests.join(name).with_extension(if place == "cpp" { "cpp" } else { "c" }));
    }
    command.args(sources).arg("-o").arg(&output);
    let folder = libraries();
    match library {
        Library::Shared => {
            command.arg("-L").arg(folder).arg(format!("-Wl,-rpath,{}", folder.display())).arg("-ldicast");
        }
        Library::Static => {
            command.arg(folder.join("libdicast.a")).args(["-lstdc++", "-lpthread", "-ldl"]);
        }
    }
    command.arg("-lm");
    succeed(command);
    output
}

fn succeed(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
}

/// Runs a program, which must succeed and print nothing at all.
pub(crate) fn run(program: &Path, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let _ = std::fs::remove_file(program);
    assert!(output.status.success(), "{} ended with {}: {said:?}", program.display(), output.status);
    assert_eq!(said, ["", ""], "{} or the library printed something", program.display());
}
