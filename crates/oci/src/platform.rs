//! Platforms: what an image runs on, and which of several images suits one.
//!
//! Names are Go's (`amd64`, not `x86_64`). They are compared after [`Platform::normalised`], which
//! knows the common other spellings, and the order of preference is containerd's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;

/// Operating system and processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the processor architecture.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Go's name of the operating system.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// Variant of the architecture, such as `v7` for `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system (Windows).
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system (Windows).
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
}

/// How well an image's platform suits: 0 is exactly, higher is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(usize);

impl Platform {
    /// An operating system and an architecture, in Go's names.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// The platform this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86" => ("386", None),
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => (
                if cfg!(target_endian = "little") {
                    "ppc64le"
                } else {
                    "ppc64"
                },
                None,
            ),
            "loongarch64" => ("loong64", None),
            same_in_go => (same_in_go, None),
        };
        Self {
            variant: variant.map(str::to_owned),
            ..Self::new(std::env::consts::OS, architecture)
        }
    }

    /// The same platform in the spelling used for comparing.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = self
            .variant
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let (architecture, variant) = match (
            self.architecture.to_ascii_lowercase().as_str(),
            variant.as_str(),
        ) {
            ("i386" | "386", _) => ("386".to_owned(), String::new()),
            ("x86_64" | "x86-64" | "amd64", "v1" | "1") => ("amd64".to_owned(), String::new()),
            ("x86_64" | "x86-64", variant) => ("amd64".to_owned(), variant.to_owned()),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64".to_owned(), String::new()),
            ("aarch64", variant) => ("arm64".to_owned(), variant.to_owned()),
            ("armhf", _) => ("arm".to_owned(), "v7".to_owned()),
            ("armel", _) => ("arm".to_owned(), "v6".to_owned()),
            ("arm", "") => ("arm".to_owned(), "v7".to_owned()),
            ("arm", number @ ("5" | "6" | "7" | "8")) => ("arm".to_owned(), format!("v{number}")),
            (architecture, variant) => (architecture.to_owned(), variant.to_owned()),
        };
        Self {
            os,
            architecture,
            variant: Some(variant).filter(|variant| !variant.is_empty()),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// How well an image for `image` runs on this platform; `None` if it does not.
    ///
    /// A processor runs what its forerunners run: `amd64` of a level the lower levels and then `386`;
    /// `arm` of a version the lower versions down to `v5`; `arm64` then `arm` from `v8` down.
    pub fn suits(&self, image: &Self) -> Option<Rank> {
        let (host, image) = (self.normalised(), image.normalised());
        if host.os != image.os {
            return None;
        }
        let image = (
            image.architecture.as_str(),
            image.variant.as_deref().unwrap_or_default(),
        );
        host.runs()
            .iter()
            .position(|(architecture, variant)| (architecture.as_str(), variant.as_str()) == image)
            .map(Rank)
    }

    /// What a normalised platform runs, best first.
    fn runs(&self) -> Vec<(String, String)> {
        let variant = self.variant.clone().unwrap_or_default();
        let number = variant
            .strip_prefix('v')
            .and_then(|text| text.parse::<u8>().ok());
        let mut runs = vec![(self.architecture.clone(), variant.clone())];
        let mut also = |architecture: &str, variant: String| {
            runs.push((architecture.to_owned(), variant));
        };
        match self.architecture.as_str() {
            "amd64" => {
                for level in (2..number.unwrap_or(1)).rev() {
                    also("amd64", format!("v{level}"));
                }
                if !variant.is_empty() {
                    also("amd64", String::new());
                }
                also("386", String::new());
            }
            "arm" => {
                for version in (5..number.unwrap_or(5)).rev() {
                    also("arm", format!("v{version}"));
                }
            }
            "arm64" => {
                if !variant.is_empty() {
                    also("arm64", String::new());
                }
                for version in (5..=8).rev() {
                    also("arm", format!("v{version}"));
                }
            }
            _ => {}
        }
        runs
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform: expected OS/ARCHITECTURE[/VARIANT], such as linux/arm64/v8")]
pub struct PlatformError(String);

/// `os/architecture[/variant]`, or one of the first two alone, the host's standing for the other.
impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(is_word) {
            return Err(error());
        }
        let host = Self::host();
        let read = match parts.as_slice() {
            [one] if is_known_os(one) => Self {
                os: (*one).to_owned(),
                ..host
            },
            [one] if is_known_architecture(one) => Self::new(&host.os, one),
            [os, architecture] => Self::new(os, architecture),
            [os, architecture, variant] => Self {
                variant: Some((*variant).to_owned()),
                ..Self::new(os, architecture)
            },
            _ => return Err(error()),
        };
        Ok(read.normalised())
    }
}

fn is_known_os(word: &str) -> bool {
    matches!(
        word.to_ascii_lowercase().as_str(),
        "linux"
            | "windows"
            | "darwin"
            | "macos"
            | "freebsd"
            | "netbsd"
            | "openbsd"
            | "dragonfly"
            | "solaris"
            | "illumos"
            | "aix"
            | "android"
            | "plan9"
            | "js"
            | "wasip1"
    )
}

fn is_known_architecture(word: &str) -> bool {
    matches!(
        word.to_ascii_lowercase().as_str(),
        "386"
            | "i386"
            | "amd64"
            | "x86_64"
            | "x86-64"
            | "arm"
            | "armhf"
            | "armel"
            | "arm64"
            | "aarch64"
            | "loong64"
            | "mips"
            | "mipsle"
            | "mips64"
            | "mips64le"
            | "ppc64"
            | "ppc64le"
            | "riscv64"
            | "s390x"
            | "sparc64"
            | "wasm"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn platforms_are_read_in_any_common_spelling() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/i386", "linux/386"),
            ("windows/amd64", "windows/amd64"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/s390x", "linux/s390x"),
        ] {
            assert_eq!(read(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn one_word_stands_beside_the_host() {
        assert_eq!(
            read("linux").architecture,
            Platform::host().normalised().architecture
        );
        assert_eq!(read("arm64"), Platform::new(std::env::consts::OS, "arm64"));
    }

    #[test]
    fn other_texts_are_refused_with_the_form() {
        for text in [
            "",
            "/",
            "linux/",
            "linux//v8",
            "a/b/c/d",
            "lin ux/amd64",
            "pdp11",
        ] {
            assert_eq!(
                text.parse::<Platform>(),
                Err(PlatformError(text.to_owned())),
                "{text}"
            );
        }
    }

    /// Best first; the others do not run.
    fn check_order(host: &str, runs: &[&str], not: &[&str]) {
        let host = read(host);
        let ranks: Vec<_> = runs.iter().map(|image| host.suits(&read(image))).collect();
        assert!(ranks.iter().all(Option::is_some), "{host}: {ranks:?}");
        assert!(ranks.is_sorted(), "{host}: {ranks:?}");
        for image in not {
            assert_eq!(host.suits(&read(image)), None, "{host}: {image}");
        }
    }

    #[test]
    fn a_processor_runs_what_its_forerunners_run() {
        check_order(
            "linux/amd64",
            &["linux/amd64", "linux/amd64/v1", "linux/386"],
            &["linux/amd64/v2", "linux/arm64", "windows/amd64"],
        );
        check_order(
            "linux/amd64/v3",
            &[
                "linux/amd64/v3",
                "linux/amd64/v2",
                "linux/amd64",
                "linux/386",
            ],
            &["linux/amd64/v4"],
        );
        check_order(
            "linux/arm/v7",
            &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
            &["linux/arm64", "linux/arm/v8"],
        );
        check_order(
            "linux/arm64",
            &[
                "linux/arm64/v8",
                "linux/arm/v8",
                "linux/arm/v7",
                "linux/arm/v5",
            ],
            &["linux/arm64/v9", "linux/amd64"],
        );
        check_order("linux/386", &["linux/386"], &["linux/amd64"]);
        check_order("linux/riscv64", &["linux/riscv64"], &["linux/amd64"]);
    }
}
