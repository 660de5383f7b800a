//! What holds for the layers of every stack.

use std::collections::BTreeMap;

use crate::{Error, Layer, Result};

/// How many lower directories overlay takes.
pub const MAX_LAYERS: usize = 500;

/// Positions of the layers that matter to an overlay, bottom first; an error if it cannot take
/// them. Of a layer that stands twice only the upper one does: whatever the lower one shows or
/// hides, the upper one shows or hides above it.
pub fn distinct(stack: &[Layer]) -> Result<Vec<usize>> {
    let mut top = BTreeMap::new();
    for (position, layer) in stack.iter().enumerate() {
        if let Some(other) = top.insert(&layer.id, position)
            && stack[other] != *layer
        {
            return Err(Error::Ambiguous {
                id: layer.id.clone(),
            });
        }
    }
    if top.len() > MAX_LAYERS {
        return Err(Error::TooManyLayers {
            layers: top.len(),
            max: MAX_LAYERS,
        });
    }
    let mut positions: Vec<usize> = top.into_values().collect();
    positions.sort_unstable();
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoredFile;
    use lapstrake_oci::{Algorithm, DiffId};
    use std::path::PathBuf;

    fn layer(name: &str) -> Layer {
        Layer {
            id: DiffId(Algorithm::Sha256.digest(name.as_bytes())),
            index: StoredFile {
                path: PathBuf::new(),
                len: 0,
            },
            index_blake3: String::new(),
            skeleton: PathBuf::new(),
            data: None,
        }
    }

    #[test]
    fn of_a_layer_that_stands_twice_the_upper_one_counts() {
        let stack = [layer("a"), layer("b"), layer("a")];
        assert_eq!(distinct(&stack).expect("fits"), [1, 2]);
        assert_eq!(distinct(&[]).expect("fits"), [0; 0]);
    }

    #[test]
    fn one_id_with_two_files_is_refused() {
        let other = Layer {
            skeleton: PathBuf::from("/other"),
            ..layer("a")
        };
        let result = distinct(&[layer("a"), other]);
        assert!(matches!(result, Err(Error::Ambiguous { .. })), "{result:?}");
    }

    #[test]
    fn overlay_takes_500() {
        let stack: Vec<_> = (0..501).map(|n| layer(&n.to_string())).collect();
        assert_eq!(distinct(&stack[1..]).expect("fits").len(), 500);
        let result = distinct(&stack);
        assert!(
            matches!(result, Err(Error::TooManyLayers { .. })),
            "{result:?}"
        );
    }
}
