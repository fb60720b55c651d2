//! Prepares the window's part of the desktop package. The working directory is the repository's root, which is why the paths of
//! Tauri's own files are given here: by default it would look for `capabilities/` and `permissions/` at the top, find nothing and say nothing.

use std::path::Path;

fn main() {
    // A fresh clone has no built page yet; everything but the window works without it.
    let page = Path::new("ui/dist");
    if let Err(error) = std::fs::create_dir_all(page) {
        println!("cargo::warning=cannot make {}: {error}", page.display());
    }
    println!("cargo::rerun-if-changed=ui/dist");
    println!("cargo::rerun-if-changed=src-tauri/capabilities");
    let attributes = tauri_build::Attributes::new().capabilities_path_pattern("./src-tauri/capabilities/**/*");
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
