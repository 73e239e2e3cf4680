//! What may come along with a dependency.

use std::{fs, path::Path};

#[test]
fn there_is_one_tls_provider() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let packages: Vec<&str> =
        lock["package"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert!(packages.contains(&"ring"), "the one there should be");
    for other in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "boring"] {
        assert!(
            !packages.contains(&other),
            "{other} is in Cargo.lock; find who asks for it with cargo tree -i {other}"
        );
    }
}
