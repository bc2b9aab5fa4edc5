//! `include/dicast.h` is exactly the output of the pinned cbindgen for `src/capi/`. `DICAST_BLESS=1 cargo test --test
//! header` writes it.

use std::path::{Path, PathBuf};

/// The files of the interface, in their order in the header.
const FILES: [&str; 27] = [
    "version", "text", "status", "error", "log", "stats", "config", "settings", "judge", "metrics", "sleep", "request",
    "ticket", "verdict", "events", "rewards", "batch", "ask", "profile", "aliases", "prompt", "token", "parse", "job",
    "engine", "submit", "pin",
];

fn sources(root: &Path) -> Vec<PathBuf> {
    let list = std::fs::read_to_string(root.join("src/capi/mod.rs")).unwrap();
    let mut exported: Vec<_> =
        list.lines().filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix("::*;")).collect();
    let mut files = FILES.to_vec();
    exported.sort_unstable();
    files.sort_unstable();
    assert_eq!(files, exported, "every file that src/capi/mod.rs exports is in the header");
    FILES.iter().map(|name| root.join(format!("src/capi/{name}.rs"))).collect()
}

#[test]
fn the_header_is_generated_from_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let builder = sources(root).into_iter().fold(cbindgen::Builder::new(), cbindgen::Builder::with_src);
    let mut made = Vec::new();
    builder.with_config(config).generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let place = root.join("include/dicast.h");
    if std::env::var_os("DICAST_BLESS").is_some() {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(kept == made, "include/dicast.h is not up to date: run `make header`");
}
