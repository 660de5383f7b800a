//! Storage options, as `--storage-opt` and `storage-opts` give them: `KEY=VALUE`, with Docker's keys
//! where Docker has them.
//!
//! An option of a driver that is not the chosen one has no effect, and is told; an unknown one is an
//! error that names those that there are.

use lapstrake_snapshot::CopyUp;
use lapstrake_snapshot::room::{self, Limit};

use crate::choose::DriverName;
use crate::erofs::PageCache;
use crate::vfs::Xattrs;

/// All options, for all drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `erofs.page_cache`.
    pub page_cache: PageCache,
    /// `erofs.metacopy`.
    pub erofs_copy_up: CopyUp,
    /// `overlay2.metacopy`.
    pub overlay2_copy_up: CopyUp,
    /// `vfs.xattrs`.
    pub vfs_xattrs: Xattrs,
    /// `size`, `inodes`, `<driver>.size` and `<driver>.inodes`: what a writable layer may use.
    limits: Vec<(Option<DriverName>, Limit)>,
    /// Drivers of which options were given.
    given: Vec<(DriverName, String)>,
    /// What was given and is not needed.
    ignored: Vec<String>,
}

/// Why an option cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `=`.
    #[error("storage option {0:?} has no value: write KEY=VALUE")]
    NoValue(String),
    /// Nobody knows it.
    #[error("unknown storage option {key:?}: there are {}", known())]
    Unknown {
        /// The key.
        key: String,
    },
    /// The value is none of those that there are.
    #[error("storage option {key}={value:?}: write {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What there is.
        allowed: &'static str,
    },
    /// A size or a number is none.
    #[error("storage option {key}")]
    Limit {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: room::Error,
    },
}

fn known() -> &'static str {
    "erofs.page_cache, erofs.metacopy, overlay2.metacopy, overlay2.override_kernel_check and vfs.xattrs; \
     and size and inodes, also with erofs., overlay2. or vfs. before"
}

impl Options {
    /// What holds when nothing is said.
    pub const DEFAULT: Self = Self {
        // See docs/design/0002-page-cache.md.
        page_cache: PageCache::Direct,
        erofs_copy_up: CopyUp::AttributesFirst,
        overlay2_copy_up: CopyUp::AttributesFirst,
        vfs_xattrs: Xattrs::Needed,
        limits: Vec::new(),
        given: Vec::new(),
        ignored: Vec::new(),
    };

    /// Reads options in order: a later one of the same key counts.
    pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut all = Self::DEFAULT;
        for option in options {
            let Some((key, value)) = option.split_once('=') else {
                return Err(Error::NoValue(option.to_owned()));
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            all.take(&key, value)?;
        }
        Ok(all)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let bad = |allowed| Error::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            allowed,
        };
        let (driver, name) = match key.split_once('.') {
            Some((driver, name)) => match driver.parse::<DriverName>() {
                Ok(driver) => (Some(driver), name),
                Err(_) => {
                    return Err(Error::Unknown {
                        key: key.to_owned(),
                    });
                }
            },
            None => (None, key),
        };
        match (driver, name) {
            (Some(DriverName::Erofs), "page_cache") => {
                self.page_cache = match value {
                    "direct" => PageCache::Direct,
                    "buffered" => PageCache::Buffered,
                    _ => return Err(bad("direct or buffered")),
                }
            }
            (Some(DriverName::Erofs), "metacopy") => {
                self.erofs_copy_up = metacopy(value).ok_or_else(|| bad("on or off"))?;
            }
            (Some(DriverName::Overlay2), "metacopy") => {
                self.overlay2_copy_up = metacopy(value).ok_or_else(|| bad("on or off"))?;
            }
            (Some(DriverName::Overlay2), "override_kernel_check") => {
                self.ignored
                    .push(format!("{key}: the kernel is asked, not its version"));
            }
            (Some(DriverName::Vfs), "xattrs") => {
                self.vfs_xattrs = match value {
                    "i_want_broken_containers" => Xattrs::BestEffort,
                    _ => return Err(bad("i_want_broken_containers, or leave it out")),
                }
            }
            (_, "size" | "inodes") => {
                let limit = Limit::from_options([&*format!("{name}={value}")]);
                let limit = limit.map_err(|source| Error::Limit {
                    key: key.to_owned(),
                    source,
                })?;
                self.limits.push((driver, limit));
            }
            _ => {
                return Err(Error::Unknown {
                    key: key.to_owned(),
                });
            }
        }
        self.given
            .extend(driver.map(|driver| (driver, key.to_owned())));
        Ok(())
    }

    /// What a writable layer of this driver may use, when nothing is said of that layer.
    pub fn limit(&self, driver: DriverName) -> Limit {
        let mut all = Limit::NONE;
        for (of, limit) in &self.limits {
            if of.is_none_or(|of| of == driver) {
                all.bytes = limit.bytes.or(all.bytes);
                all.inodes = limit.inodes.or(all.inodes);
            }
        }
        all
    }

    /// What was given that has no effect with this driver, in words.
    pub fn without_effect(&self, driver: DriverName) -> Vec<String> {
        let others = self.given.iter().filter(|(of, _)| *of != driver);
        others
            .map(|(_, key)| format!("{key}: the storage driver is {driver}"))
            .chain(self.ignored.iter().cloned())
            .collect()
    }
}

fn metacopy(value: &str) -> Option<CopyUp> {
    match value {
        "on" | "true" | "1" => Some(CopyUp::AttributesFirst),
        "off" | "false" | "0" => Some(CopyUp::Whole),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_taken() {
        let options = Options::parse([
            "erofs.page_cache=buffered",
            "erofs.metacopy=off",
            "overlay2.metacopy=off",
            "overlay2.override_kernel_check=true",
            "vfs.xattrs=i_want_broken_containers",
            "overlay2.size=10G",
            "inodes=1000",
        ])
        .unwrap();
        assert_eq!(options.page_cache, PageCache::Buffered);
        assert_eq!(options.erofs_copy_up, CopyUp::Whole);
        assert_eq!(options.overlay2_copy_up, CopyUp::Whole);
        assert_eq!(options.vfs_xattrs, Xattrs::BestEffort);
        let limit = |bytes| Limit {
            bytes,
            inodes: Some(1000),
        };
        assert_eq!(options.limit(DriverName::Overlay2), limit(Some(10 << 30)));
        assert_eq!(options.limit(DriverName::Erofs), limit(None));
        let told = options.without_effect(DriverName::Erofs);
        assert!(
            told.iter().any(|line| line.starts_with("vfs.xattrs")),
            "{told:?}"
        );
        assert!(
            !told.iter().any(|line| line.starts_with("erofs.")),
            "{told:?}"
        );
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(Options::parse([]).unwrap(), Options::DEFAULT);
        assert_eq!(Options::DEFAULT.limit(DriverName::Erofs), Limit::NONE);
    }

    #[test]
    fn what_is_no_option_is_refused_in_words() {
        for (option, words) in [
            ("size", "KEY=VALUE"),
            ("dm.basesize=10G", "there are erofs.page_cache"),
            ("overlay2.nonsense=1", "there are erofs.page_cache"),
            ("erofs.page_cache=maybe", "direct or buffered"),
            ("vfs.xattrs=no", "i_want_broken_containers"),
        ] {
            let error = Options::parse([option]).unwrap_err().to_string();
            assert!(error.contains(words), "{option}: {error}");
        }
        assert!(matches!(
            Options::parse(["size=much"]),
            Err(Error::Limit { .. })
        ));
    }
}
