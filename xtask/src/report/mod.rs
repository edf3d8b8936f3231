//! A page to look at: what a family is, what is in its images, what makes them big, what building them took, where they are
//! published. [`Report`] says it all; `html` makes a page of it, and of nothing else. Both are pure.

pub mod assemble;
mod html;
mod model;
pub mod treemap;

pub use html::page;
pub use model::{
    Asked, Build, Built, Change, ChangeFound, Destination, Group, Image, Item, Layer, PublishedTag, Report, Says, Smoke, Step,
    StepKind,
};

#[cfg(test)]
mod sample;
