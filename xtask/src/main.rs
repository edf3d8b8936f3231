//! `cargo xtask`: the command line of the pipeline.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match xtask::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help on stdout and usage errors on stderr, and knows the code of each (0 and 2).
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    xtask::cmd::run(cli)
}
