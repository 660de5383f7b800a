//! `lapstrake df --tree`: who holds what.
//!
//! Every size counts once, so that the lines of one depth add up to the line above them. A layer that
//! several images have is shown with each, in brackets, and counts in a line of its own.

use std::path::Path;

use lapstrake_engine::{DiskUsage, Held, ImageUse, Object, ObjectUse};
use serde_json::{Value, json};

use crate::render::{self, bytes};
use crate::table::{self, elide};

pub(super) fn print(usage: &DiskUsage, root: &Path, as_json: bool) {
    if as_json {
        render::json(&object(usage, root));
        return;
    }
    let mut tree = Tree {
        width: table::width(),
    };
    tree.line(0, usage.total, &root.display().to_string());
    tree.images(usage);
    tree.writables(usage);
    for (area, held) in &usage.areas {
        tree.line(1, *held, area.name());
    }
    for mount in &usage.mounts {
        let on = mount.place.file_name();
        let on = on.map_or(String::new(), |name| {
            format!(", writes to {}", name.display())
        });
        let target = mount.target.display();
        let layers = mount.layers.len();
        render::line(&format!(
            "mounted at {target}: {layers} layers by {}{on}",
            mount.driver
        ));
    }
}

struct Tree {
    width: Option<usize>,
}

impl Tree {
    fn line(&mut self, depth: usize, held: Held, text: &str) {
        self.put(depth, &bytes(held.bytes), held.inodes, text);
    }

    fn put(&mut self, depth: usize, size: &str, inodes: u64, text: &str) {
        let indent = "  ".repeat(depth);
        let head = format!("{size:>10}  {inodes:>8}  {indent}");
        let text = table::plain(text);
        let text = match self.width {
            Some(width) => elide(&text, width.saturating_sub(head.len()).max(16)),
            None => text,
        };
        render::line(&format!("{head}{text}"));
    }

    fn images(&mut self, usage: &DiskUsage) {
        self.line(1, usage.content(), "images");
        for image in &usage.images {
            self.image(image);
        }
        if usage.shared.inodes > 0 {
            self.line(2, usage.shared, "shared by several of these");
        }
        if !usage.loose.is_empty() {
            let mut all = Held::default();
            for object in &usage.loose {
                all.bytes += object.held.bytes;
                all.inodes += object.held.inodes;
            }
            self.line(2, all, "of no image");
            for object in &usage.loose {
                self.line(3, object.held, &name(&object.object));
            }
        }
    }

    fn image(&mut self, image: &ImageUse) {
        let mut text = image.names.join(", ");
        if !image.writables.is_empty() {
            text.push_str(&format!(" (under {})", image.writables.join(", ")));
        }
        if image.mounted {
            text.push_str(" (mounted)");
        }
        self.line(2, image.unique, &text);
        for object in &image.objects {
            let (held, text) = (object.held, name(&object.object));
            if object.images > 1 {
                let size = format!("({})", bytes(held.bytes));
                let text = format!("{text}, in {} images", object.images);
                self.put(3, &size, held.inodes, &text);
            } else {
                self.line(3, held, &text);
            }
        }
    }

    fn writables(&mut self, usage: &DiskUsage) {
        self.line(1, usage.written(), "writable layers");
        for layer in &usage.writables {
            let state = if layer.mounted { ", mounted" } else { "" };
            self.line(
                2,
                layer.held,
                &format!("{} over {}{state}", layer.name, layer.image),
            );
        }
    }
}

fn name(object: &Object) -> String {
    let hex = &object.digest().hex()[..12];
    match object {
        Object::Layer(_) => format!("layer {hex}"),
        Object::Blob(_) => format!("document {hex}"),
    }
}

fn object(usage: &DiskUsage, root: &Path) -> Value {
    let held = |held: &Held| json!({ "bytes": held.bytes, "inodes": held.inodes });
    let one = |object: &ObjectUse| {
        json!({
            "kind": match object.object { Object::Layer(_) => "layer", Object::Blob(_) => "document" },
            "digest": object.object.digest(), "bytes": object.held.bytes,
            "inodes": object.held.inodes, "images": object.images,
        })
    };
    let images = usage.images.iter().map(|image| {
        json!({
            "names": image.names, "id": image.id, "manifest": image.manifest,
            "unique": held(&image.unique), "shared": held(&image.shared),
            "objects": image.objects.iter().map(one).collect::<Vec<_>>(),
            "writable_layers": image.writables, "mounted": image.mounted,
        })
    });
    let writables = usage.writables.iter().map(|layer| {
        json!({
            "name": layer.name, "image": layer.image, "mounted": layer.mounted,
            "bytes": layer.held.bytes, "inodes": layer.held.inodes,
        })
    });
    let mounts = usage.mounts.iter().map(|mount| {
        json!({ "target": mount.target, "driver": mount.driver, "layers": mount.layers, "place": mount.place })
    });
    let areas = usage
        .areas
        .iter()
        .map(|(area, taken)| (area.name().to_owned(), held(taken)));
    json!({
        "root": root, "total": held(&usage.total), "images": images.collect::<Vec<_>>(),
        "shared": held(&usage.shared), "loose": usage.loose.iter().map(one).collect::<Vec<_>>(),
        "writable_layers": writables.collect::<Vec<_>>(), "mounts": mounts.collect::<Vec<_>>(),
        "areas": Value::Object(areas.collect()),
        "prunable": usage.prunable, "prunable_all": usage.prunable_all,
    })
}
