//! How layers are compressed. A value.

use std::fmt;
use std::str::FromStr;

use super::media_type;

/// A compressor and its level: what a layer is asked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// What every client can pull.
    Gzip {
        /// 1 to 12, as libdeflate counts; 6 is docker's.
        level: u32,
    },
    /// Smaller and faster. Docker Engine 23 and later, containerd, Fargate and podman can pull it, Docker 20.10 cannot.
    Zstd {
        /// 1 to 19.
        level: u32,
    },
}

/// The text names no compressor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no compression: `gzip` or `zstd`")]
pub struct InvalidCompression(pub String);

impl Compression {
    /// `gzip`, `zstd`
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip { .. } => "gzip",
            Self::Zstd { .. } => "zstd",
        }
    }

    /// The compressor's level.
    pub fn level(self) -> u32 {
        match self {
            Self::Gzip { level } | Self::Zstd { level } => level,
        }
    }

    /// The largest level that is taken; the smallest is 1.
    pub fn largest_level(self) -> u32 {
        match self {
            Self::Gzip { .. } => 12,
            Self::Zstd { .. } => 19,
        }
    }

    /// The same compressor at another level, if it has that one.
    #[must_use]
    pub fn at(self, level: u32) -> Option<Self> {
        (1..=self.largest_level()).contains(&level).then_some(match self {
            Self::Gzip { .. } => Self::Gzip { level },
            Self::Zstd { .. } => Self::Zstd { level },
        })
    }

    /// The media type of a layer that is compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip { .. } => media_type::LAYER_GZIP,
            Self::Zstd { .. } => media_type::LAYER_ZSTD,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: 6 }
    }
}

impl FromStr for Compression {
    type Err = InvalidCompression;

    /// By name, at its usual level.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "gzip" => Ok(Self::default()),
            "zstd" => Ok(Self::Zstd { level: 3 }),
            _ => Err(InvalidCompression(text.to_owned())),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.level())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels() {
        let gzip: Compression = "gzip".parse().expect("a compression");
        let zstd: Compression = "zstd".parse().expect("a compression");
        assert_eq!((gzip.to_string(), zstd.to_string()), ("gzip 6".to_owned(), "zstd 3".to_owned()));
        assert_eq!("GZIP".parse::<Compression>(), Err(InvalidCompression("GZIP".to_owned())));
        for (compression, level, expected) in [
            (gzip, 1, Some(Compression::Gzip { level: 1 })),
            (gzip, 12, Some(Compression::Gzip { level: 12 })),
            (gzip, 13, None),
            (gzip, 0, None),
            (zstd, 19, Some(Compression::Zstd { level: 19 })),
            (zstd, 20, None),
            (zstd, 0, None),
        ] {
            assert_eq!(compression.at(level), expected, "{compression} at {level}");
        }
    }
}
