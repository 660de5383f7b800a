//! `lapstrake df --tree`: who holds what.
//!
//! What each has alone counts once, so that the first two columns of one depth add up to those of the line above
//! them. What several have is shown with each of them in the other two columns, and counts in a line of its own.

use std::collections::BTreeMap;
use std::path::Path;

use lapstrake_engine::{
    ContainerUse, DiskUsage, Held, ImageUse, Object, ObjectUse, VolumeUse, WritableUse,
};

use crate::render::{self, bytes};
use crate::table::{self, elide};

/// What is left of a line that is shortened.
const LEAST: usize = 16;
/// Names that are listed.
const FEW: usize = 5;
/// Digits of an id.
const SHORT: usize = 12;

pub(super) fn print(usage: &DiskUsage, root: &Path) {
    let tree = Tree {
        width: table::width(),
        users: (usage.containers.iter())
            .map(|container| (&*container.id, &*container.name))
            .collect(),
    };
    tree.put(0, ["UNIQUE", "INODES", "SHARED", "INODES"], "");
    tree.line(0, usage.total, &root.display().to_string());
    tree.images(usage);
    tree.containers(usage);
    tree.writables(usage);
    tree.volumes(usage);
    for (area, held) in &usage.areas {
        tree.line(1, *held, area.name());
    }
    tree.unknown(usage);
    for mount in &usage.mounts {
        tree.mount(mount);
    }
}

struct Tree<'a> {
    width: Option<usize>,
    /// Names of containers, by id.
    users: BTreeMap<&'a str, &'a str>,
}

impl Tree<'_> {
    fn line(&self, depth: usize, alone: Held, text: &str) {
        let inodes = alone.inodes.to_string();
        self.put(depth, [&bytes(alone.bytes), &inodes, "", ""], text);
    }

    fn both(&self, depth: usize, alone: Held, shared: Held, text: &str) {
        if shared.inodes == 0 {
            return self.line(depth, alone, text);
        }
        let (inodes, shared_inodes) = (alone.inodes.to_string(), shared.inodes.to_string());
        let (alone, shared) = (bytes(alone.bytes), bytes(shared.bytes));
        self.put(depth, [&alone, &inodes, &shared, &shared_inodes], text);
    }

    fn put(&self, depth: usize, columns: [&str; 4], text: &str) {
        let [alone, inodes, shared, shared_inodes] = columns;
        let indent = "  ".repeat(depth);
        let head = format!("{alone:>8} {inodes:>7} {shared:>8} {shared_inodes:>7}  {indent}");
        let text = self.fit(text, head.len());
        render::line(format!("{head}{text}").trim_end());
    }

    fn fit(&self, text: &str, taken: usize) -> String {
        let text = table::plain(text);
        match self.width {
            Some(width) => elide(&text, width.saturating_sub(taken).max(LEAST)),
            None => text,
        }
    }

    fn images(&self, usage: &DiskUsage) {
        self.line(1, usage.content(), "images");
        for image in &usage.images {
            self.image(image);
        }
        if usage.shared != Held::default() {
            self.line(2, usage.shared, "shared, each counted once");
        }
        let loose = Held::sum(usage.loose.iter().map(|object| object.held));
        if loose != Held::default() {
            self.line(2, loose, "held by none");
            for object in &usage.loose {
                self.line(3, object.held, &name(&object.object));
            }
        }
    }

    fn image(&self, image: &ImageUse) {
        let mut text = image.names.join(", ");
        let under: Vec<_> = image.writables.iter().map(|id| self.user(id)).collect();
        if !under.is_empty() {
            text.push_str(&format!(" (under {})", few(&under)));
        }
        if image.mounted {
            text.push_str(" (mounted)");
        }
        self.both(2, image.alone, image.shared, &text);
        let is_layer = |object: &&ObjectUse| matches!(object.object, Object::Layer(_));
        for layer in image.objects.iter().filter(is_layer) {
            self.layer(layer);
        }
        let documents: Vec<_> = (image.objects.iter())
            .filter(|object| !is_layer(object))
            .collect();
        let (alone, shared): (Vec<&ObjectUse>, Vec<_>) =
            (documents.iter()).partition(|document| is_alone(document));
        let sum = |documents: Vec<&ObjectUse>| {
            Held::sum(documents.into_iter().map(|document| document.held))
        };
        self.both(3, sum(alone), sum(shared), "documents");
    }

    fn layer(&self, layer: &ObjectUse) {
        let text = name(&layer.object);
        if is_alone(layer) {
            return self.line(3, layer.held, &text);
        }
        let also = match (layer.images, layer.writables) {
            (0 | 1, writables) => format!("under {writables}"),
            (images, 0) => format!("in {images} images"),
            (images, writables) => format!("in {images}, under {writables}"),
        };
        let (size, inodes) = (bytes(layer.held.bytes), layer.held.inodes.to_string());
        self.put(3, ["", "", &size, &inodes], &format!("{text}, {also}"));
    }

    /// A container by its name, another writable layer by its own.
    fn user<'b>(&'b self, id: &'b str) -> &'b str {
        self.users.get(id).copied().unwrap_or(id)
    }

    fn containers(&self, usage: &DiskUsage) {
        self.line(1, usage.contained(), "containers");
        for container in &usage.containers {
            self.container(container);
        }
    }

    fn container(&self, container: &ContainerUse) {
        let id = container.id.get(..SHORT).unwrap_or(&container.id);
        let text = format!(
            "{} {id} {} over {}",
            container.name,
            container.phase.name(),
            container.image
        );
        self.both(2, container.alone(), container.shared(), &text);
        if let Some(layer) = &container.layer {
            self.line(3, layer.held, "writable layer");
            if layer.content != Held::default() {
                self.line(3, layer.content, "its image, which has no name");
            }
        }
        if container.logs != Held::default() {
            self.line(3, container.logs, "log");
        }
        self.line(3, container.files, "files");
    }

    fn writables(&self, usage: &DiskUsage) {
        if !usage.writables.is_empty() {
            self.line(1, usage.written(), "writable layers");
        }
        for layer in &usage.writables {
            self.writable(layer);
        }
    }

    fn writable(&self, layer: &WritableUse) {
        let state = if layer.mounted { ", mounted" } else { "" };
        let text = format!("{} over {}{state}", layer.name, layer.image);
        self.both(2, layer.alone(), layer.shared, &text);
    }

    fn volumes(&self, usage: &DiskUsage) {
        self.line(1, usage.in_volumes(), "volumes");
        for volume in &usage.volumes {
            self.volume(volume);
        }
    }

    fn volume(&self, volume: &VolumeUse) {
        let name = match volume.anonymous {
            true => volume.name.get(..SHORT).unwrap_or(&volume.name),
            false => &volume.name,
        };
        let text = match &*volume.containers {
            [] => format!("{name}, not used"),
            users => {
                let users: Vec<_> = users.iter().map(String::as_str).collect();
                format!("{name}, used by {}", few(&users))
            }
        };
        self.line(2, volume.held, &text);
    }

    fn unknown(&self, usage: &DiskUsage) {
        if usage.unknown.is_empty() {
            return;
        }
        self.line(1, usage.unexplained(), "unknown");
        for (path, held) in &usage.unknown {
            self.line(2, *held, &path.display().to_string());
        }
    }

    fn mount(&self, mount: &lapstrake_engine::LiveRoot) {
        let on = mount.place.file_name().map(|name| name.to_string_lossy());
        let on = on.map_or(String::new(), |name| {
            format!(", writes to {}", self.user(&name))
        });
        let text = format!(
            "mounted at {}: {} layers by {}{on}",
            mount.target.display(),
            mount.layers.len(),
            mount.driver
        );
        render::line(&self.fit(&text, 0));
    }
}

fn is_alone(object: &ObjectUse) -> bool {
    object.images + object.writables <= 1
}

/// Names, or how many there are.
fn few(names: &[&str]) -> String {
    match names {
        names if names.len() <= FEW => names.join(", "),
        names => format!("{} and {} more", names[..FEW].join(", "), names.len() - FEW),
    }
}

fn name(object: &Object) -> String {
    let hex = object.digest().hex();
    let hex = hex.get(..SHORT).unwrap_or(hex);
    match object {
        Object::Layer(_) => format!("layer {hex}"),
        Object::Blob(_) => format!("document {hex}"),
    }
}
