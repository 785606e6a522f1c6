//! The images by which models are judged.

use crate::data::{Dataset, Item, Split};
use sha2::{Digest, Sha256};

/// At most so many training images, of each class its share. Which ones hangs on the seed and on their paths alone.
pub(super) fn sample(data: &Dataset, most: usize, seed: u64) -> Vec<&Item> {
    let mut items: Vec<&Item> = data.split(Split::Train).collect();
    let key = |item: &&Item| {
        let hash: [u8; 32] = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(&item.path).finalize().into();
        (item.label, hash)
    };
    items.sort_by_cached_key(key);
    // Evenly from a list that is sorted by class: each class gets its share, to within one.
    let (count, taken) = (items.len(), items.len().min(most));
    (0..taken).map(|i| items[i * count / taken]).collect()
}
