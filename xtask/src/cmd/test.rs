//! stub
use super::Session;
use crate::cli::Test;
use crate::failure::Failure;
pub(super) async fn run(_s: &Session, _a: &Test) -> Result<(), Failure> {
    Ok(())
}
