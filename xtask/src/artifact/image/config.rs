//! What lies around the layer in an archive for `docker load`: `<digest>.json`, `manifest.json`.

use std::io;

use serde_json::json;
use tar::{EntryType, Header};

use super::ImageSpec;
use super::layer::BLOCK;
use crate::oci::Digest;

/// The image config (OCI image specification, image configuration). Its keys are in a fixed order.
pub(super) fn image_config(spec: &ImageSpec, diff_id: Digest) -> Vec<u8> {
    let mut config = serde_json::Map::new();
    if !spec.env.is_empty() {
        config.insert("Env".to_owned(), json!(spec.env));
    }
    if !spec.cmd.is_empty() {
        config.insert("Cmd".to_owned(), json!(spec.cmd));
    }
    if !spec.labels.is_empty() {
        config.insert("Labels".to_owned(), json!(spec.labels));
    }
    json!({
        "created": spec.created,
        "architecture": spec.platform.arch(),
        "os": spec.platform.os(),
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": spec.created, "created_by": "gantry" }],
    })
    .to_string()
    .into_bytes()
}

/// The archive's bytes before and after those of the layer.
pub(super) fn around_layer(spec: &ImageSpec, config: &[u8], diff_id: Digest, length: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let folder = diff_id.hex();
    let (config_path, layer_path) = (format!("{}.json", Digest::of(config).hex()), format!("{folder}/layer.tar"));
    let manifest = json!([{ "Config": config_path, "RepoTags": [spec.tag], "Layers": [layer_path] }]).to_string();

    let mut head = Vec::new();
    append(&mut head, &config_path, EntryType::Regular, config, spec.epoch)?;
    append(&mut head, "manifest.json", EntryType::Regular, manifest.as_bytes(), spec.epoch)?;
    append(&mut head, &format!("{folder}/"), EntryType::Directory, b"", spec.epoch)?;
    head.extend_from_slice(header(&layer_path, EntryType::Regular, length, spec.epoch)?.as_bytes());
    // A layer is made of whole blocks: nothing to fill up before the archive's end.
    Ok((head, vec![0; 2 * BLOCK]))
}

fn append(bytes: &mut Vec<u8>, path: &str, kind: EntryType, content: &[u8], mtime: u64) -> io::Result<()> {
    bytes.extend_from_slice(header(path, kind, content.len() as u64, mtime)?.as_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    Ok(())
}

fn header(path: &str, kind: EntryType, size: u64, mtime: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}
