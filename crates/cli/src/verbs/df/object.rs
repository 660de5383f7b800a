//! `lapstrake df --tree --json`: docs/cli.md says what each field means. Lists have a stable order.

use std::path::Path;

use lapstrake_engine::{
    ContainerUse, DiskUsage, Held, ImageUse, Object, ObjectUse, VolumeUse, WritableUse,
};
use serde_json::{Map, Value, json};

pub(super) fn of(usage: &DiskUsage, root: &Path) -> Value {
    let areas = (usage.areas.iter()).map(|(area, taken)| (area.name().to_owned(), held(*taken)));
    let unknown = usage
        .unknown
        .iter()
        .map(|(path, taken)| json!({ "path": path, "bytes": taken.bytes, "inodes": taken.inodes }));
    let mounts = usage.mounts.iter().map(|mount| {
        json!({ "target": mount.target, "driver": mount.driver, "layers": mount.layers, "place": mount.place })
    });
    json!({
        "root": root,
        "total": held(usage.total),
        "images": usage.images.iter().map(image).collect::<Vec<_>>(),
        "shared": held(usage.shared),
        "loose": usage.loose.iter().map(content).collect::<Vec<_>>(),
        "containers": usage.containers.iter().map(container).collect::<Vec<_>>(),
        "writable_layers": usage.writables.iter().map(layer).collect::<Vec<_>>(),
        "volumes": usage.volumes.iter().map(volume).collect::<Vec<_>>(),
        "areas": Value::Object(areas.collect::<Map<_, _>>()),
        "unknown": unknown.collect::<Vec<_>>(),
        "mounts": mounts.collect::<Vec<_>>(),
        "prunable": usage.prunable,
        "prunable_all": usage.prunable_all,
    })
}

fn held(held: Held) -> Value {
    json!({ "bytes": held.bytes, "inodes": held.inodes })
}

fn image(image: &ImageUse) -> Value {
    json!({
        "names": image.names, "id": image.id, "manifest": image.manifest,
        "unique": held(image.alone), "shared": held(image.shared),
        "objects": image.objects.iter().map(content).collect::<Vec<_>>(),
        "writable_layers": image.writables, "mounted": image.mounted,
    })
}

fn content(object: &ObjectUse) -> Value {
    let kind = match object.object {
        Object::Layer(_) => "layer",
        Object::Blob(_) => "document",
    };
    json!({
        "kind": kind, "digest": object.object.digest(), "bytes": object.held.bytes,
        "inodes": object.held.inodes, "tar_bytes": object.tar, "images": object.images,
        "writable_layers": object.writables,
    })
}

fn container(container: &ContainerUse) -> Value {
    let room = container.layer.as_ref().map(|layer| layer.held);
    let content = container.layer.as_ref().map(|layer| layer.content);
    json!({
        "name": container.name, "id": container.id, "state": container.phase.name(),
        "image": container.image, "image_id": container.image_id,
        "unique": held(container.alone()), "shared": held(container.shared()),
        "writable_layer": held(room.unwrap_or_default()), "logs": held(container.logs),
        "files": held(container.files), "content": held(content.unwrap_or_default()),
        "written": container.written, "volumes": container.volumes,
    })
}

fn layer(layer: &WritableUse) -> Value {
    json!({
        "name": layer.name, "image": layer.image, "mounted": layer.mounted,
        "unique": held(layer.alone()), "shared": held(layer.shared),
    })
}

fn volume(volume: &VolumeUse) -> Value {
    json!({
        "name": volume.name, "anonymous": volume.anonymous, "unique": held(volume.held),
        "containers": volume.containers,
    })
}
