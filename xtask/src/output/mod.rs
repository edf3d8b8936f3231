//! What a person or a program is shown: rendered diagnostics, progress, tables.

pub mod diagnostics;
