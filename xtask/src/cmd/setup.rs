//! stub
use super::Session;
use crate::cli::Setup;
use crate::failure::Failure;
pub(super) async fn run(_s: &Session, _a: &Setup) -> Result<(), Failure> {
    Ok(())
}
pub(super) async fn ensure(_s: &Session, _p: &str, _y: bool, _t: bool) -> Result<(), Failure> {
    Ok(())
}
