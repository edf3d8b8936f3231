//! What differs between two images: packages, configuration, layers, files, sizes. Pure: two [`Contents`] in, one
//! [`Difference`] out, which people and programs then read in three forms (`output`).

mod configuration;
mod files;
mod layers;
#[cfg(test)]
pub(crate) mod made;
mod model;
mod packages;
#[cfg(test)]
mod properties;
mod setting;
mod sizes;
#[cfg(test)]
mod tests;
pub mod version;

use crate::contents::Contents;

pub use layers::instructions;
pub use model::{
    Aspect, Bulk, Change, Difference, FileChange, FileCount, Files, Folder, Growth, Installed, LayerLine, Layers, PackageChange,
    PackageCount, Side, Size, Sizes,
};
pub use setting::{Setting, SettingKind};

/// Compares two images.
pub fn compare(before: &Contents, after: &Contents) -> Difference {
    Difference {
        schema: 1,
        same_image: before.config_digest == after.config_digest,
        before: Side::of(before),
        after: Side::of(after),
        sizes: sizes::compare(before, after),
        counts: packages::count(before, after),
        packages: packages::compare(before, after),
        configuration: configuration::compare(&before.config, &after.config),
        layers: layers::compare(before, after),
        files: files::compare(before, after),
    }
}
