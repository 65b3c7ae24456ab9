//! Sets the cfg under which the source takes its primitives from loom: here and nowhere else.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(cloakroom_loom)");
    println!("cargo::rustc-cfg=cloakroom_loom");
    println!("cargo::rerun-if-changed=build.rs");
}
