//! The list of the crates that the binary is made of, for those who look into an image: the section `.dep-v0`, which
//! cargo-auditable defines and scanners read. `cargo xtask build` makes it; a plain `cargo build` has none.

#[cfg(gantry_crates)]
#[used]
#[unsafe(link_section = ".dep-v0")]
static CRATES: [u8; include_bytes!(env!("GANTRY_CRATES")).len()] = *include_bytes!(env!("GANTRY_CRATES"));

/// Called from where the program may get to: the linker leaves out what nothing refers to.
pub(crate) fn keep() {
    #[cfg(gantry_crates)]
    std::hint::black_box(&CRATES);
}
