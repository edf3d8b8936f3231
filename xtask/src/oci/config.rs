//! Image configurations, as far as they are read. (OCI image specification, "Image Configuration".)

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Digest;

/// What is read of an image configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The digests of the layers, uncompressed, lowest first.
    pub diff_ids: Vec<Digest>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// How a container of it starts.
    pub run: RunConfig,
    /// What made it, instruction by instruction; those that made no layer as well.
    pub history: Vec<Instruction>,
    /// `linux/amd64`, as the configuration has it.
    pub platform: String,
    /// When it was made (RFC 3339), as the builder says.
    pub created: Option<String>,
}

/// How a container of an image starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `user[:group]`; empty is root.
    pub user: String,
    /// `NAME=value`
    #[serde(deserialize_with = "nothing_is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "nothing_is_empty")]
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entrypoint.
    #[serde(deserialize_with = "nothing_is_empty")]
    pub cmd: Vec<String>,
    /// The folder it starts in.
    pub working_dir: String,
    /// `22/tcp`
    #[serde(deserialize_with = "nothing_is_empty")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Where volumes are made.
    #[serde(deserialize_with = "nothing_is_empty")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// How the engine asks whether it is well (an extension of Docker's); none: it does not.
    pub healthcheck: Option<serde_json::Value>,
}

/// A line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Instruction {
    /// `RUN apt-get update …`
    #[serde(deserialize_with = "nothing_is_empty")]
    pub created_by: String,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    config: Option<Settings>,
    rootfs: RootFs,
    #[serde(default, deserialize_with = "nothing_is_empty")]
    history: Vec<Instruction>,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    created: Option<String>,
}

#[derive(Default, Deserialize)]
struct Settings {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    run: RunConfig,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// Engines write `null` for what is empty.
fn nothing_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl ImageConfig {
    /// Reads the bytes of a configuration.
    ///
    /// # Errors
    /// They are none.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let Text { config, rootfs, history, os, architecture, created } = serde_json::from_slice(bytes)?;
        let Settings { labels, run } = config.unwrap_or_default();
        let platform = format!("{os}/{architecture}");
        Ok(Self { diff_ids: rootfs.diff_ids, labels: labels.unwrap_or_default(), run, history, platform, created })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_write_for_nothing_is_nothing() {
        let digest = Digest::of(b"");
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":null,"Entrypoint":["/e"],"Cmd":null,"Labels":null,
            "Volumes":null,"User":"root"}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}},
            "history":[{{"created_by":"RUN x"}},{{"empty_layer":true}}]}}"#
        );
        let config = ImageConfig::read(text.as_bytes()).expect("a configuration");
        assert_eq!((config.diff_ids, config.platform.as_str()), (vec![digest], "linux/amd64"));
        assert_eq!((config.run.entrypoint, config.run.env, config.run.user.as_str()), (vec!["/e".to_owned()], vec![], "root"));
        assert_eq!(config.history.iter().map(|line| line.empty_layer).collect::<Vec<_>>(), [false, true]);
        let least = format!(r#"{{"rootfs":{{"diff_ids":["{digest}"]}},"history":null}}"#);
        assert!(ImageConfig::read(least.as_bytes()).is_ok());
    }
}
