//! Images as files.

use lapstrake_oci::{DiffId, Image, Reference, Repo};
use lapstrake_transfer::archive::{
    Form, Plan, Planned, SaveEvent, ToSave, plan, write_directory, write_tar,
};

use crate::Engine;
use crate::error::{Error, Result};
use crate::events::Action;
use crate::image::Claimed;
use crate::names::{Found, ImageName, Named, find, is_tagged};
use crate::output::{Output, Target, new_directory};

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
        tell: &(dyn Fn(SaveEvent) + Sync),
    ) -> Result<Saved> {
        let names = self.store.state().names()?;
        let chosen = choose(&names, images)?;
        let claimed: Result<Vec<_>> = (chosen.iter())
            .map(|chosen| self.claim_image(&chosen.named))
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
                write_tar(&self.store, &plan, output.out(), tell)?;
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
        for image in &claimed {
            self.tell_by_id(Action::Save, &image.image.config);
        }
        self.note_use(claimed.iter().map(|image| &image.image.manifest));
        Ok(Saved::of(plan))
    }

    fn to_save(&self, chosen: Chosen, claimed: &Claimed) -> Result<ToSave> {
        let ids = &claimed.config.value().rootfs.diff_ids;
        let image = &claimed.image;
        let missing = |id: &DiffId| Error::NoLayer {
            image: image.reference.clone(),
            layer: id.clone(),
        };
        let records = self.store.state().layers(ids)?;
        let lens = ids.iter().zip(records);
        let lens: Result<Vec<_>> = lens
            .map(|(id, record)| Ok(record.ok_or_else(|| missing(id))?.tar_len))
            .collect();
        let manifest = self.manifest(image)?;
        Ok(ToSave {
            image: Image::new(manifest, claimed.config.clone())?,
            tar_lens: lens?,
            manifest: image.manifest.clone(),
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
    named: Named,
    names: Vec<Reference>,
}

/// The images that these words stand for, in the order of the words; each image once, with all names
/// that were asked for.
fn choose(known: &[Named], words: &[ImageName]) -> Result<Vec<Chosen>> {
    let mut all: Vec<Chosen> = Vec::new();
    for word in words {
        for (named, name) in meant(known, word)? {
            let there = all
                .iter_mut()
                .find(|chosen| chosen.named.0.config == named.0.config);
            let chosen = match there {
                Some(chosen) => chosen,
                None => {
                    let names = Vec::new();
                    all.push(Chosen { named, names });
                    all.last_mut().expect("it was pushed just now")
                }
            };
            let is_new = |name: &Reference| !chosen.names.contains(name);
            chosen.names.extend(name.filter(is_new));
        }
    }
    Ok(all)
}

/// What a word stands for, and the name to save it under.
fn meant(known: &[Named], word: &ImageName) -> Result<Vec<(Named, Option<Reference>)>> {
    // Without tag and digest, it is a repository's name.
    if let Ok(repo) = word.to_string().parse::<Repo>() {
        let named = known.iter().filter(|(image, _)| is_tagged(image));
        let named: Vec<_> = named
            .filter_map(|named| Some((named.clone(), named.0.reference.parse::<Reference>().ok()?)))
            .filter(|(_, name)| *name.repo() == repo)
            .map(|(named, name)| (named, Some(name)))
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
    }
    Ok(match find(known, word)? {
        Found::Name(named) => {
            let name = named.0.reference.parse::<Reference>().ok();
            vec![(named, name.filter(|name| name.digest().is_none()))]
        }
        // All names lead to the same image.
        Found::Image(names) => names
            .into_iter()
            .take(1)
            .map(|named| (named, None))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;
    use lapstrake_store::ImageRecord;

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

    fn records() -> Vec<Named> {
        let images = [
            image("a:1", "one"),
            image("a:latest", "two"),
            image("b/c:1", "one"),
            image(&pinned("a", "three"), "three"),
            image("localhost:5000/a:1", "three"),
        ];
        (images.into_iter())
            .map(|image| (image.clone(), image.manifest))
            .collect()
    }

    /// These words stand for these images, by a name that each has, with these names.
    fn check(words: &[&str], want: &[(&str, &[&str])]) {
        let words: Vec<_> = words.iter().map(|word| word.parse().unwrap()).collect();
        let got = choose(&records(), &words).unwrap();
        let got: Vec<_> = got
            .iter()
            .map(|chosen| {
                let names = chosen.names.iter().map(Reference::familiar);
                (chosen.named.0.config.clone(), names.collect::<Vec<_>>())
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
        for word in ["a:2", "zzzz", &pinned("b/c", "two")] {
            let error = choose(&records(), &[word.parse().unwrap()]).unwrap_err();
            let is_none = matches!(error, Error::NoImage(_) | Error::Misspelt { .. });
            assert!(is_none, "{word}: {error}");
        }
    }
}
