//! Asks a library whether it is an ONNX Runtime that can be used, without making it the process's own.

use libloading::{Library, Symbol};
use ort::sys::OrtApiBase;
use std::ffi::CStr;
use std::path::Path;

type Getter = unsafe extern "C" fn() -> *const OrtApiBase;

/// Whether `path` is a mere name, which the system's loader looks for.
pub(super) fn is_bare(path: &Path) -> bool {
    path.components().count() == 1 && !path.is_absolute()
}

/// The library's version, or one line saying why it cannot be used.
pub(super) fn probe(path: &Path) -> Result<String, String> {
    if !is_bare(path) {
        // Opening a pipe or a device would hang.
        let about = path.metadata().map_err(|e| e.to_string())?;
        if !about.is_file() {
            return Err("not a file".into());
        }
    }
    // SAFETY: this runs the library's initialisers, which is what naming a library to load means.
    let library = unsafe { Library::new(path) }.map_err(|e| explain(&e))?;
    let version = version(&library);
    if version.is_ok() {
        // Unloading a C++ library is where crashes live, and the one that is chosen is about to be loaded anyway.
        std::mem::forget(library);
    }
    version
}

fn version(library: &Library) -> Result<String, String> {
    // SAFETY: ONNX Runtime's C interface since 1.0; each pointer is checked before it is followed.
    let base = unsafe {
        let getter: Symbol<Getter> = library.get(b"OrtGetApiBase").map_err(|_| "it has no OrtGetApiBase")?;
        getter().as_ref()
    };
    let base = base.ok_or("OrtGetApiBase gave nothing")?;
    // SAFETY: as above; the string is static and ends in a NUL.
    let text = unsafe { (base.GetVersionString)().as_ref().map(|first| CStr::from_ptr(first)) };
    let version = text.and_then(|t| t.to_str().ok()).ok_or("it gives no version")?.to_owned();
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    if numbers.next() != Some(1) || numbers.next().is_none_or(|minor| minor < ort::MINOR_VERSION) {
        return Err(format!("its version is {version}, and 1.{} or a later 1.x is needed", ort::MINOR_VERSION));
    }
    // ort panics over a null interface, so it is asked for here.
    // SAFETY: as above.
    match unsafe { (base.GetApi)(ort::MINOR_VERSION).is_null() } {
        true => Err(format!("version {version} does not offer the interface of 1.{}", ort::MINOR_VERSION)),
        false => Ok(version),
    }
}

/// libloading keeps what the system said in the error's source.
fn explain(error: &libloading::Error) -> String {
    use std::error::Error;
    crate::engine::one_line(&error.source().map_or_else(|| error.to_string(), ToString::to_string))
}
