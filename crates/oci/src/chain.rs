//! Chain ids: what names a stack of layers, as in the OCI image specification, "Layer ChainID".

use std::fmt;

use crate::{Algorithm, DiffId, Digest};

/// The name of a layer together with everything below it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain of a lowest layer, whose name is that layer's.
    pub fn base(lowest: &DiffId) -> Self {
        Self(lowest.0.clone())
    }

    /// The chain that results from putting `upper` on top of this one.
    #[must_use]
    pub fn with(&self, upper: &DiffId) -> Self {
        Self(Algorithm::Sha256.digest(format!("{self} {upper}").as_bytes()))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The chain id of each layer, from the lowest layer up: as many as there are diff ids.
pub fn chain_ids<'a>(diff_ids: impl IntoIterator<Item = &'a DiffId>) -> Vec<ChainId> {
    let mut chains: Vec<ChainId> = Vec::new();
    for diff_id in diff_ids {
        let chain = match chains.last() {
            None => ChainId::base(diff_id),
            Some(below) => below.with(diff_id),
        };
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff_id(of: &str) -> DiffId {
        DiffId(Algorithm::Sha256.digest(of.as_bytes()))
    }

    #[test]
    fn no_layers_have_no_chains() {
        assert_eq!(chain_ids([]), []);
    }

    #[test]
    fn one_layer_is_its_own_chain() {
        assert_eq!(chain_ids([&diff_id("a")]), [ChainId(diff_id("a").0)]);
    }

    #[test]
    fn a_chain_hashes_the_chain_below_a_space_and_the_diff_id() {
        let (a, b, c) = (diff_id("a"), diff_id("b"), diff_id("c"));
        let ab = ChainId(Algorithm::Sha256.digest(format!("{a} {b}").as_bytes()));
        let abc = ChainId(Algorithm::Sha256.digest(format!("{ab} {c}").as_bytes()));
        assert_eq!(chain_ids([&a, &b, &c]), [ChainId(a.0.clone()), ab, abc]);
    }
}
