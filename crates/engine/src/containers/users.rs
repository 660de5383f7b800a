//! Which containers use a volume or an image, whether they run or not: their records tell.

use std::collections::BTreeMap;

use super::Containers;
use super::container::Container;

impl Containers {
    /// The containers that use a volume, whether they run or not, but for one.
    pub fn users_of(&self, volume: &str, but: Option<&str>) -> Vec<String> {
        let all = self.registry().all();
        let uses = |container: &Container| {
            container.with(|record| {
                let mounts = &record.settings.host.mounts;
                mounts.iter().any(|point| point.volume() == Some(volume))
            })
        };
        let users = all.iter().filter(|one| but != Some(&one.id) && uses(one));
        users.map(|container| container.id.clone()).collect()
    }

    /// How many containers use each volume that any uses.
    pub fn volume_users(&self) -> BTreeMap<String, usize> {
        let mut users = BTreeMap::new();
        for container in self.registry().all() {
            container.with(|record| {
                for name in record.volumes() {
                    *users.entry(name.to_owned()).or_default() += 1;
                }
            });
        }
        users
    }

    /// How many containers lie on each image on which any does.
    pub fn image_users(&self) -> BTreeMap<String, usize> {
        let mut users = BTreeMap::new();
        for container in self.registry().all() {
            let image = container.with(|record| record.image.clone());
            *users.entry(image).or_default() += 1;
        }
        users
    }
}
