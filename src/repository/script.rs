//! A script out of a variable, executed as one: with the interpreter of its first line, else Bash.
//!
//! It lies in a memory file: in no folder that could be mounted noexec, and in no argument.

use crate::process::{End, Handed, Program, Stream, Streams};
use crate::worker::{Runtime, Trouble};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

const BASH: &str = "/bin/bash";
/// The longest that a script may take.
const LONGEST: Duration = Duration::from_secs(1800);

/// Runs `text` to its end, with what it writes in the service's output; `set_up` completes the program.
///
/// # Errors
/// Without a reason because of a stop, else with it.
pub(super) fn run(runtime: &mut Runtime, text: &str, set_up: impl FnOnce(&mut Program)) -> Result<(), Option<String>> {
    let file = write(text).map_err(|error| Some(format!("a memory file for it: {error}")))?;
    let (path, mut arguments) = interpreter(text);
    arguments.push(format!("/dev/fd/{}", file.as_raw_fd()).into());
    let mut program = Program { path: path.into(), arguments, dies_with_parent: true, ..Program::default() };
    set_up(&mut program);
    let handed = [Handed { variable: "GANTRY_SCRIPT", descriptor: file.as_fd() }];
    let streams = Streams { input: false, output: Stream::Inherited, errors: Stream::Inherited };
    match runtime.run_in(&program, (&[], streams), &handed, LONGEST, true) {
        Ok(finished) if finished.end == End::Code(0) => Ok(()),
        Ok(finished) => Err(Some(format!("the script ended with {}", finished.end))),
        Err(Trouble::Stopped) => Err(None),
        Err(Trouble::TimedOut) => {
            Err(Some(format!("the script took longer than {} minutes and was killed", LONGEST.as_secs() / 60)))
        }
        Err(Trouble::NotStarted(error)) => Err(Some(format!("`{path}` cannot be started: {error}"))),
    }
}

fn write(text: &str) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(c"gantry-script", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// The interpreter of a script and its argument, as the kernel reads them.
fn interpreter(text: &str) -> (&str, Vec<OsString>) {
    let first = text.lines().next().and_then(|line| line.strip_prefix("#!")).map(str::trim).filter(|line| line.starts_with('/'));
    let Some(line) = first else { return (BASH, Vec::new()) };
    let (path, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let argument = argument.trim();
    (path, if argument.is_empty() { Vec::new() } else { vec![argument.into()] })
}

#[cfg(test)]
mod tests {
    use super::interpreter;
    use proptest::prelude::*;

    #[test]
    fn the_first_line_names_the_interpreter() {
        let table = [
            ("echo a", "/bin/bash", ""),
            ("#!/bin/sh\necho a", "/bin/sh", ""),
            ("#! /usr/bin/env python3 \nprint()", "/usr/bin/env", "python3"),
            ("#!/bin/bash -e x\n", "/bin/bash", "-e x"),
            ("#!relative", "/bin/bash", ""),
            ("", "/bin/bash", ""),
        ];
        for (text, path, argument) in table {
            let expected = if argument.is_empty() { Vec::new() } else { vec![argument.into()] };
            assert_eq!(interpreter(text), (path, expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_interpreter_is_always_a_path(text in "(#!)?[ \t]{0,2}/?\\PC{0,20}\n?\\PC*") {
            prop_assert!(interpreter(&text).0.starts_with('/'));
        }
    }
}
