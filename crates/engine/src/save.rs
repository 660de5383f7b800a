//! Images as files.

use lapstrake_oci::{DiffId, Image, Reference, Repo};
use lapstrake_store::ImageRecord;
use lapstrake_transfer::archive::{
    Form, Plan, Planned, SaveEvent, ToSave, plan, write_directory, write_tar,
};

use crate::Engine;
use crate::error::{Error, Result};
use crate::image::Claimed;
use crate::output::{Output, Target, new_directory};
use crate::remove::{ImageName, by_id, is_tagged};

/// As what images are saved.
#[derive(Debug)]
pub enum SaveAs<'a> {
    /// As an archive: Docker's, which is an OCI layout too.
    Archive(Target<'a>),
    /// As an OCI layout in a directory, which must be new.
    Directory(&'a std::path::Path),
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The images.
    pub images: Vec<Planned>,
    /// How many layers; one that several images have counts once.
    pub layers: usize,
    /// Bytes of these layers.
    pub bytes: u64,
}

impl Engine {
    /// Saves images. As with Docker, a name without a tag stands for all tags of it, and an image that is
    /// given by its id or digest is saved without a name.
    ///
    /// # Errors
    /// If there is no such image, a layer is damaged, or the output refuses. A file or directory is not
    /// there then.
    pub fn save(
        &self,
        images: &[ImageName],
        what: &SaveAs<'_>,
        tell: &dyn Fn(SaveEvent),
    ) -> Result<Saved> {
        let records = self.store.state().images()?;
        let chosen = choose(&records, images)?;
        let claimed: Result<Vec<_>> = (chosen.iter())
            .map(|chosen| self.claim_image(&chosen.image))
            .collect();
        let claimed = claimed?;
        let images = chosen.into_iter().zip(&claimed);
        let images: Result<Vec<_>> = images
            .map(|(chosen, claimed)| self.to_save(chosen, claimed))
            .collect();
        let images = images?;
        let plan = match what {
            SaveAs::Archive(target) => {
                let plan = plan(&images, Form::Docker);
                let mut output = Output::to(target)?;
                write_tar(&self.store, &plan, &mut output, tell)?;
                output.finish()?;
                plan
            }
            SaveAs::Directory(path) => {
                let plan = plan(&images, Form::Layout);
                new_directory(path, |made| {
                    Ok(write_directory(&self.store, &plan, made, tell)?)
                })?;
                plan
            }
        };
        Ok(Saved::of(plan))
    }

    fn to_save(&self, chosen: Chosen, claimed: &Claimed) -> Result<ToSave> {
        let ids = &claimed.config.value().rootfs.diff_ids;
        let missing = |id: &DiffId| Error::NoLayer {
            image: chosen.image.reference.clone(),
            layer: id.clone(),
        };
        let records = self.store.state().layers(ids)?;
        let lens = ids.iter().zip(records);
        let lens: Result<Vec<_>> = lens
            .map(|(id, record)| Ok(record.ok_or_else(|| missing(id))?.tar_len))
            .collect();
        let manifest = self.manifest(&chosen.image)?;
        Ok(ToSave {
            image: Image::new(manifest, claimed.config.clone())?,
            tar_lens: lens?,
            manifest: chosen.image.manifest,
            names: chosen.names,
        })
    }
}

impl Saved {
    fn of(plan: Plan) -> Self {
        Self {
            layers: plan.layers().count(),
            bytes: plan.layer_bytes(),
            images: plan.images,
        }
    }
}

/// An image, and the names that it is saved under.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chosen {
    image: ImageRecord,
    names: Vec<Reference>,
}

/// The images that these words stand for, in the order of the words; each image once, with all names
/// that were asked for.
fn choose(records: &[ImageRecord], words: &[ImageName]) -> Result<Vec<Chosen>> {
    let mut all: Vec<Chosen> = Vec::new();
    for word in words {
        for (image, name) in meant(records, word.as_str())? {
            let there = all
                .iter_mut()
                .find(|chosen| chosen.image.config == image.config);
            let chosen = match there {
                Some(chosen) => chosen,
                None => {
                    let names = Vec::new();
                    all.push(Chosen { image, names });
                    all.last_mut().expect("it was pushed just now")
                }
            };
            let is_new = |name: &Reference| !chosen.names.contains(name);
            chosen.names.extend(name.filter(is_new));
        }
    }
    Ok(all)
}

/// The image that a word stands for; of several with the same repository, the one with the default tag.
pub(crate) fn one(records: &[ImageRecord], word: &ImageName) -> Result<ImageRecord> {
    let named = word.as_str().parse::<Reference>();
    let named = named.map(|reference| reference.to_string());
    if let Ok(text) = &named
        && let Some(image) = records.iter().find(|image| image.reference == *text)
    {
        return Ok(image.clone());
    }
    let mut meant = meant(records, word.as_str())?;
    match (meant.pop(), meant.is_empty()) {
        (Some((image, _)), true) => Ok(image),
        _ => Err(Error::Ambiguous(word.as_str().to_owned())),
    }
}

/// What a word stands for, and the name to save it under.
fn meant(records: &[ImageRecord], word: &str) -> Result<Vec<(ImageRecord, Option<Reference>)>> {
    // Without tag and digest, it is a repository's name.
    if let Ok(repo) = word.parse::<Repo>() {
        let named = records.iter().filter(|image| is_tagged(image));
        let named: Vec<_> = named
            .filter_map(|image| Some((image.clone(), image.reference.parse::<Reference>().ok()?)))
            .filter(|(_, name)| *name.repo() == repo)
            .map(|(image, name)| (image, Some(name)))
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
    } else if let Ok(reference) = word.parse::<Reference>() {
        let (text, repo) = (reference.to_string(), reference.repo());
        let is_meant = |image: &&ImageRecord| match reference.digest() {
            None => image.reference == text,
            Some(digest) => {
                let name = image.reference.parse::<Reference>();
                let same_repo = name.is_ok_and(|name| name.repo() == repo);
                image.reference == text || (same_repo && image.manifest == *digest)
            }
        };
        if let Some(image) = records.iter().find(is_meant) {
            let name = reference.digest().is_none().then_some(reference);
            return Ok(vec![(image.clone(), name)]);
        }
    }
    // All names of one id lead to the same image.
    let image = by_id(records, word)?.swap_remove(0);
    Ok(vec![(image, None)])
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    fn image(name: &str, text: &str) -> ImageRecord {
        ImageRecord {
            reference: name.parse::<Reference>().unwrap().to_string(),
            manifest: Algorithm::Sha256.digest(text.as_bytes()),
            config: Algorithm::Sha256.digest(format!("config of {text}").as_bytes()),
        }
    }

    fn pinned(repo: &str, text: &str) -> String {
        format!("{repo}@{}", Algorithm::Sha256.digest(text.as_bytes()))
    }

    fn records() -> [ImageRecord; 5] {
        [
            image("a:1", "one"),
            image("a:latest", "two"),
            image("b/c:1", "one"),
            image(&pinned("a", "three"), "three"),
            image("localhost:5000/a:1", "three"),
        ]
    }

    /// These words stand for these images, by a name that each has, with these names.
    fn check(words: &[&str], want: &[(&str, &[&str])]) {
        let words: Vec<_> = words.iter().map(|word| word.parse().unwrap()).collect();
        let got = choose(&records(), &words).unwrap();
        let got: Vec<_> = got
            .iter()
            .map(|chosen| {
                let names = chosen.names.iter().map(Reference::familiar);
                (chosen.image.config.clone(), names.collect::<Vec<_>>())
            })
            .collect();
        let want: Vec<_> = want
            .iter()
            .map(|(text, names)| {
                let names = names.iter().map(|name| (*name).to_owned());
                (image("x", text).config, names.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_name_with_a_tag_is_one_and_without_it_stands_for_all() {
        check(&["a:1"], &[("one", &["a:1"])]);
        check(&["a"], &[("one", &["a:1"]), ("two", &["a:latest"])]);
        check(&["docker.io/b/c"], &[("one", &["b/c:1"])]);
        check(&["localhost:5000/a"], &[("three", &["localhost:5000/a:1"])]);
    }

    #[test]
    fn an_image_is_saved_once_with_all_names_asked_for() {
        let (one, two): (&[&str], &[&str]) = (&["b/c:1", "a:1"], &["a:latest"]);
        check(&["b/c:1", "a", "a:1"], &[("one", one), ("two", two)]);
        let id = image("x", "one").config.to_string();
        check(&[&id, "a:1"], &[("one", &["a:1"])]);
    }

    #[test]
    fn by_id_or_digest_it_has_no_name() {
        let id = image("x", "two").config;
        check(&[&id.to_string()], &[("two", &[])]);
        check(&[&id.hex()[..12]], &[("two", &[])]);
        check(&[&pinned("a", "three")], &[("three", &[])]);
        check(&[&pinned("b/c", "one")], &[("one", &[])]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for word in ["a:2", "c", "sha256:", "!", &pinned("b/c", "two")] {
            let error = choose(&records(), &[word.parse().unwrap()]).unwrap_err();
            assert!(matches!(error, Error::NoImage(_)), "{word}: {error}");
        }
    }
}
