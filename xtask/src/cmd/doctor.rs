//! stub
use super::Session;
use crate::cli::Doctor;
use crate::failure::Failure;
pub(super) async fn run(_s: &Session, _a: &Doctor) -> Result<(), Failure> {
    Ok(())
}
