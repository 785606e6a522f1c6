//! Machine code that was compiled before, in the user's cache folder.

#[cfg(not(feature = "cuda-emulated"))]
use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Bytes of a digest.
const DIGEST: usize = 32;

/// Where it is kept, unless the system has no such place.
#[cfg(not(feature = "cuda-emulated"))]
pub(super) fn folder() -> Option<std::path::PathBuf> {
    etcetera::choose_base_strategy().ok().map(|dirs| dirs.cache_dir().join("adapt-cuda"))
}

/// The code that was kept for all of this; else what `make` gives, which is kept. What cannot be read, or is damaged, counts
/// as not there, and what cannot be written is not kept.
///
/// # Errors
/// Those of `make`.
pub(super) fn code(
    folder: Option<&Path>,
    key: &[&str],
    make: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, String> {
    let digest = Sha256::digest(key.join("\0"));
    let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let path = folder.map(|folder| folder.join(format!("{name}.cubin")));
    if let Some(bytes) = path.as_ref().and_then(|path| fs::read(path).ok()) {
        let parts = bytes.split_at_checked(DIGEST);
        if let Some((_, code)) = parts.filter(|(digest, code)| *digest == &Sha256::digest(code)[..]) {
            return Ok(code.to_vec());
        }
    }
    let code = make()?;
    if let (Some(folder), Some(path)) = (folder, &path) {
        let _ = keep(folder, path, &code);
    }
    Ok(code)
}

/// Whole or not at all: another process may read it at any time.
fn keep(folder: &Path, path: &Path, code: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, &[&Sha256::digest(code)[..], code].concat())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_made_once_and_damaged_code_anew() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("kernels");
        let made = |key: &str, what: &[u8]| code(Some(&folder), &["source", key], || Ok(what.to_vec())).unwrap();
        assert_eq!(made("sm_90", b"first"), b"first");
        assert_eq!(made("sm_90", b"second"), b"first");
        assert_eq!(made("sm_80", b"third"), b"third");
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        for path in files {
            let mut bytes = fs::read(&path).unwrap();
            bytes.pop();
            fs::write(&path, bytes).unwrap();
        }
        assert_eq!(made("sm_90", b"fourth"), b"fourth");
        assert_eq!(made("sm_90", b"fifth"), b"fourth");
        assert!(code(Some(&folder), &["other"], || Err("it fails".into())).is_err());
        assert_eq!(code(None, &["source"], || Ok(vec![1])).unwrap(), [1]);
    }
}
