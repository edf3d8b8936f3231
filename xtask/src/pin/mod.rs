//! References to this family's images in other people's files, and their digests: what is found, what it becomes, byte for
//! byte. Formatting, comments and line ends stay; a file's own comments and what is put together from variables are told and
//! left. Pure, but for [`write()`].

mod comments;
mod edit;
mod find;
mod write;

pub use comments::Kind;
pub use edit::{Change, diff, edited};
pub use find::{Found, Reference, find};
pub use write::{Replaced, write};
