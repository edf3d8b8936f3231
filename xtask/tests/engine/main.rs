//! The engine, for real: `DOCKER_HOST` or the default socket. They fail without one. The only image that they need is
//! made here, from Debian's `busybox-static`, and loaded.

mod bench;
mod builds;
mod confined;
mod containers;
mod images;
mod pulls;
mod ways;
