# Sourced by the jobs whose compiler flags are unstable (sanitizers, fuzzing). Sets `cargo` to a cargo that
# takes them: nightly's, or else the default toolchain's, told to.
if cargo +nightly --version >/dev/null 2>&1; then
    cargo="cargo +nightly"
else
    echo "no nightly toolchain: using the default one with RUSTC_BOOTSTRAP=1" >&2
    export RUSTC_BOOTSTRAP=1
    cargo="cargo"
fi
