//! What the fuzz targets call: the parser behind the seal, which strangers reach only with the secret.

use crate::Snapshot;

/// Reads bytes as a snapshot. What is one reads the same once it is written again.
#[expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzer looks for")]
pub fn snapshot(bytes: &[u8]) {
    if let Some(body) = Snapshot::decode(bytes) {
        assert!(body.weight() >= size_of::<Snapshot>());
        assert_eq!(Snapshot::decode(&body.encode()).as_ref(), Some(&body));
    }
}
