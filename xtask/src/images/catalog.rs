//! The images we make, as data.

use crate::error::{Error, Result};

/// How layer blobs are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip at level 6, as docker does.
    Gzip,
    /// zstd at level 3, as docker does when asked for zstd.
    Zstd,
    /// The tar as it is.
    Plain,
}

/// What makes one layer, on top of the layers before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Debian's minimal system.
    Debootstrap,
    /// Packages; with or without those they only recommend.
    Apt {
        /// Their names.
        packages: &'static [&'static str],
        /// Whether recommended packages come too.
        recommends: bool,
    },
    /// A shell script run in the root so far.
    Shell(&'static str),
    /// The given one of a hundred small layers.
    Small(u32),
    /// Fifty thousand small files in a tree like that of a JavaScript project.
    ManyFiles,
}

/// One image.
#[derive(Debug)]
pub struct Image {
    /// Its name: the reference name in the layout, the repository in the registry.
    pub name: &'static str,
    /// What it is for, in a line.
    pub about: &'static str,
    /// How its layers are compressed.
    pub compression: Compression,
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    Listed(&'static [Step]),
    /// The Debian base and small layers up to this number in all.
    SmallUpTo(u32),
}

impl Image {
    /// What makes it, bottom layer first.
    pub fn steps(&self) -> Vec<Step> {
        match self.steps {
            Steps::Listed(steps) => steps.to_vec(),
            Steps::SmallUpTo(count) => std::iter::once(Step::Debootstrap)
                .chain((2..=count).map(Step::Small))
                .collect(),
        }
    }
}

const SCIENCE: &[Step] = &[
    Step::Debootstrap,
    Step::Apt {
        packages: &["python3"],
        recommends: false,
    },
    Step::Apt {
        packages: &["python3-numpy", "python3-scipy", "python3-pandas"],
        recommends: false,
    },
    Step::Shell(APP),
];

/// An application's layer: it adds, replaces, removes, and makes a directory anew.
const APP: &str = r#"
mkdir -p /app
cat > /app/main.py <<'EOF'
import numpy, scipy.linalg, pandas
frame = pandas.DataFrame({"x": numpy.arange(4.0)})
frame["y"] = scipy.linalg.solve(numpy.eye(4) * 2, frame["x"])
print(frame.to_string(index=False))
EOF
printf 'The science image\n' > /etc/motd
sed -i 's/^VERSION=.*/VERSION="science"/' /usr/lib/os-release
rm -rf /usr/share/doc/python3-scipy /usr/share/doc/python3-pandas
rm -f /usr/share/common-licenses/GPL-1 /etc/debian_version
rm -rf /var/lib/dpkg/info.tmp /usr/share/lintian
mkdir -p /usr/share/lintian
printf 'only this\n' > /usr/share/lintian/overrides
rm -rf /usr/share/bash-completion
mkdir /usr/share/bash-completion
mkdir /usr/share/bash-completion/completions
printf '# none\n' > /usr/share/bash-completion/completions/none
ln -s /app/main.py /usr/local/bin/science
chmod 0755 /app/main.py
chown -R 1000:1000 /app
rm -rf /usr/games
printf 'a file where a directory was\n' > /usr/games
"#;

/// Every image.
pub const ALL: &[Image] = &[
    Image {
        name: "debian",
        about: "Debian's minimal system, one layer",
        compression: Compression::Gzip,
        steps: Steps::Listed(&[Step::Debootstrap]),
    },
    Image {
        name: "science",
        about: "python3, numpy, scipy, pandas and an application: 4 layers, about 1 GB of tar",
        compression: Compression::Gzip,
        steps: Steps::Listed(SCIENCE),
    },
    Image {
        name: "science-zstd",
        about: "the same, zstd",
        compression: Compression::Zstd,
        steps: Steps::Listed(SCIENCE),
    },
    Image {
        name: "science-plain",
        about: "the same, uncompressed",
        compression: Compression::Plain,
        steps: Steps::Listed(SCIENCE),
    },
    Image {
        name: "layers100",
        about: "100 layers: the Debian base and 99 small ones that change each other's files",
        compression: Compression::Gzip,
        steps: Steps::SmallUpTo(100),
    },
    Image {
        name: "files50k",
        about: "the Debian base and 50,000 small files",
        compression: Compression::Gzip,
        steps: Steps::Listed(&[Step::Debootstrap, Step::ManyFiles]),
    },
];

/// The images with these names, or all if none is given.
pub fn select(names: &[String]) -> Result<Vec<&'static Image>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    names.iter().map(|name| find(name)).collect()
}

/// The image with this name.
pub fn find(name: &str) -> Result<&'static Image> {
    ALL.iter()
        .find(|image| image.name == name)
        .ok_or_else(|| Error::UnknownImage {
            name: name.to_owned(),
            known: ALL
                .iter()
                .map(|image| image.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hundred_layer_image_has_a_hundred_steps() {
        assert_eq!(find("layers100").unwrap().steps().len(), 100);
    }

    #[test]
    fn an_unknown_image_names_the_known_ones() {
        let error = find("no-such").unwrap_err().to_string();
        assert!(
            error.contains("`no-such`") && error.contains("files50k"),
            "{error}"
        );
    }
}
