//! The reference's client, unmodified, with this server.

use std::path::Path;
use std::process::Command;

use dicast::server::ServerConfig;

use crate::support::serve;

#[test]
fn the_client_of_the_reference_works_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (python, wheel) = (
        root.join("target/fixtures/venv/bin/python"),
        root.join("target/fixtures/rewardanything-1.0.1-py3-none-any.whl"),
    );
    assert!(wheel.exists(), "run scripts/test_fixtures.sh first");
    // Importing the whole package would need torch: only its client is taken out of the wheel.
    let folder = std::env::temp_dir().join(format!("dicast-client-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("rewardanything")).unwrap();
    let unpack = "import sys, zipfile; wheel = zipfile.ZipFile(sys.argv[1]); \
                  [wheel.extract('rewardanything/' + name, sys.argv[2]) for name in ('client.py', 'models.py')]";
    let unpacked = Command::new(&python).args(["-c", unpack]).arg(&wheel).arg(&folder).status().unwrap();
    assert!(unpacked.success());
    std::fs::write(folder.join("rewardanything/__init__.py"), "").unwrap();
    let server = serve(ServerConfig::default());
    let output = Command::new(&python)
        .arg(root.join("tests/server/client.py"))
        .arg(format!("http://{}", server.address))
        .arg(&folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout.starts_with(b"client works"), "{errors}");
}
