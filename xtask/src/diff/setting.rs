//! What differs in how containers start, as a value.

use serde::Serialize;

/// What a setting is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// The platform that it is for.
    Platform,
    /// The user that it starts as.
    User,
    /// The folder that it starts in.
    WorkingDir,
    /// The program.
    Entrypoint,
    /// Its arguments, or the program where there is no entrypoint.
    Command,
    /// A port that it listens on.
    Port,
    /// Where a volume is made.
    Volume,
    /// How the engine asks whether it is well.
    HealthCheck,
    /// A variable.
    Environment,
    /// A label.
    Label,
}

impl SettingKind {
    /// As a person calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::User => "user",
            Self::WorkingDir => "working folder",
            Self::Entrypoint => "entrypoint",
            Self::Command => "command",
            Self::Port => "port",
            Self::Volume => "volume",
            Self::HealthCheck => "health check",
            Self::Environment => "variable",
            Self::Label => "label",
        }
    }
}

/// A setting that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setting {
    /// What it is of.
    pub kind: SettingKind,
    /// Of a label, a variable, a port or a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In the first; none: not set.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
    /// The name looks like that of a secret: the values are left out, and `…` stands in their place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}
