//! Code that several test programs share.

use std::path::PathBuf;

/// A file that `scripts/test_fixtures.sh` makes.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/fixtures").join(name);
    assert!(path.exists(), "{} is missing: run scripts/test_fixtures.sh first", path.display());
    path
}
