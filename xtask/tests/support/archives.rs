//! Small archives that look like the vendors', the same bytes every time.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// An archive of files: name, mode, content. Names that end in `/` are folders.
fn tar_gz(files: &[(String, u32, String)]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, mode, content) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
        header.set_mode(*mode);
        header.set_uid(1001);
        header.set_gid(127);
        header.set_mtime(1_787_000_000);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Text that compression makes little of, so that transfers have something to cut.
fn noise(seed: &str, lines: u32) -> String {
    (0..lines).fold(String::new(), |text, line| text + &xtask::oci::Digest::of(format!("{seed}{line}")).hex() + "\n")
}

/// `actions-runner-linux-*.tar.gz`: everything at the top.
pub fn runner(version: &str, arch: &str) -> Vec<u8> {
    let script = |text: &str| format!("#!/bin/sh\n{text}\n");
    tar_gz(&[
        ("./".into(), 0o755, String::new()),
        ("./bin/".into(), 0o755, String::new()),
        ("./bin/Runner.Listener".into(), 0o755, script(&format!("echo {version}"))),
        ("./bin/Runner.Worker".into(), 0o755, script("exit 0")),
        ("./externals/".into(), 0o755, String::new()),
        ("./externals/README".into(), 0o644, noise(&format!("{version}{arch}"), 1000)),
        ("./config.sh".into(), 0o755, script("exec \"$(dirname \"$0\")/bin/Runner.Listener\" configure \"$@\"")),
        ("./run.sh".into(), 0o755, script("exec \"$(dirname \"$0\")/bin/Runner.Listener\" run \"$@\"")),
        ("./env.sh".into(), 0o755, script("exit 0")),
    ])
}

/// `vscode_cli_alpine_*_cli.tar.gz`: one file, `code`.
pub fn vscode_cli(commit: &str, version: &str, arch: &str) -> Vec<u8> {
    let code = format!("#!/bin/sh\necho 'code {version} (commit {commit})'\n# {}", noise(arch, 50).replace('\n', "\n# "));
    tar_gz(&[("code".into(), 0o755, code)])
}

/// `vscode-server-linux-*-web.tar.gz`: one folder, `folder`.
pub fn vscode_server(commit: &str, version: &str, folder: &str) -> Vec<u8> {
    tar_gz(&[
        (format!("{folder}/"), 0o755, String::new()),
        (format!("{folder}/product.json"), 0o644, format!("{{\"commit\":\"{commit}\",\"version\":\"{version}\"}}\n")),
        (format!("{folder}/bin/"), 0o755, String::new()),
        (format!("{folder}/bin/code-server"), 0o755, format!("#!/bin/sh\necho {version}\n")),
        (format!("{folder}/node"), 0o755, "#!/bin/sh\nexit 0\n".into()),
        (format!("{folder}/out/server-main.js"), 0o644, noise(folder, 500)),
    ])
}

/// A `.vsix`. (Nothing in the tests opens it: bytes that begin as a zip archive does are enough.)
pub fn extension(version: &str) -> Vec<u8> {
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.write_all(noise(version, 300).as_bytes()).unwrap();
    bytes
}
