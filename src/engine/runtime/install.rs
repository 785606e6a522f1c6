//! Fetches ONNX Runtime: pip downloads the wheel, its hash is checked against this file, the library is unpacked.

use super::{Found, PYTHON, probe};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The version of ONNX Runtime that this release fetches.
pub const VERSION: &str = "1.32.0";

/// No library of this version is larger than 36 MB; a limit all the same, for the archive is data.
const LIBRARY_LIMIT: u64 = 256 << 20;

const BY_HAND: &str = "set ORT_DYLIB_PATH to a libonnxruntime of version 1.17 or later";

/// The wheel of one platform. It is the one for CPython 3.12 everywhere: its Python does not matter, its hash does.
struct Wheel {
    tag: &'static str,
    sha256: &'static str,
    library: &'static str,
}

/// The wheel for this program's platform.
fn wheel(os: &str, arch: &str) -> Option<Wheel> {
    let (tag, sha256, library) = match (os, arch) {
        ("linux", "x86_64") => (
            "manylinux_2_28_x86_64",
            "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
            "libonnxruntime.so.1.32.0",
        ),
        ("linux", "aarch64") => (
            "manylinux_2_28_aarch64",
            "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
            "libonnxruntime.so.1.32.0",
        ),
        ("macos", "aarch64") => (
            "macosx_14_0_arm64",
            "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
            "libonnxruntime.1.32.0.dylib",
        ),
        ("windows", "x86_64") => {
            ("win_amd64", "efe7456952c243a05a53d5b8732953625144642c2f3989094277f6217f0c0c40", "onnxruntime.dll")
        }
        ("windows", "aarch64") => {
            ("win_arm64", "64d394c69d561af3efd4d4f49dcac8f11d0ce135a20701c16d53b74056cd4cf8", "onnxruntime.dll")
        }
        _ => return None,
    };
    Some(Wheel { tag, sha256, library })
}

/// The folder of the fetched library under this program's data directory.
pub(super) fn home(data: &Path) -> PathBuf {
    data.join(format!("onnxruntime-{VERSION}"))
}

/// Fetches ONNX Runtime into the user's data directory with `pip download`, unless it is there already.
///
/// Fails, saying what to do, where Python or pip is missing, the network fails, or the platform has no wheel.
pub fn install(progress: Progress) -> Result<Found> {
    let dirs = etcetera::choose_base_strategy().map_err(|_| {
        Error::Engine(format!("the home directory is not known, so there is no place for it: {BY_HAND}"))
    })?;
    install_in(&dirs.data_dir().join("adapt"), Path::new(PYTHON), progress)
}

/// As [`install`], into the data directory and with the Python interpreter that are given.
pub fn install_in(data: &Path, python: &Path, progress: Progress) -> Result<Found> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let unsupported = || Error::Engine(format!("there is no ONNX Runtime {VERSION} for {os} on {arch}: {BY_HAND}"));
    let wheel = wheel(os, arch).filter(|_| !cfg!(target_env = "musl")).ok_or_else(unsupported)?;
    let target = home(data);
    if let Some(found) = installed(&target, &wheel) {
        return Ok(found);
    }
    emit(progress, Event::Stage { name: "fetching ONNX Runtime", total: 0 })?;
    fs::create_dir_all(data).map_err(Error::io(data))?;
    let temp = Temp::new(data)?;
    download(python, &wheel, &temp.0, progress)?;
    let archive = single_wheel(&temp.0)?;
    check(&archive, wheel.sha256)?;
    let fresh = temp.0.join("fresh");
    fs::create_dir(&fresh).map_err(Error::io(&fresh))?;
    unpack(&archive, wheel.library, &fresh)?;
    emit(progress, Event::Advance(1))?;
    publish(&fresh, &target, &temp.0, &wheel)
}

fn installed(target: &Path, wheel: &Wheel) -> Option<Found> {
    let path = target.join(wheel.library);
    let version = probe::probe(&path).ok()?;
    Some(Found { path, source: super::Place::Data.label(), version: Some(version) })
}

/// Moves the unpacked folder to its place. Another process may have been first: then its library is used.
fn publish(fresh: &Path, target: &Path, temp: &Path, wheel: &Wheel) -> Result<Found> {
    if fs::rename(fresh, target).is_err() {
        if let Some(found) = installed(target, wheel) {
            return Ok(found);
        }
        // What is there is broken; it goes with the temporary folder.
        let _ = fs::rename(target, temp.join("broken"));
        fs::rename(fresh, target)
            .or_else(|e| if target.is_dir() { Ok(()) } else { Err(e) })
            .map_err(Error::io(target))?;
    }
    let path = target.join(wheel.library);
    let version = probe::probe(&path)
        .map_err(|why| Error::Engine(format!("{} was fetched but does not load ({why}): {BY_HAND}", path.display())))?;
    Ok(Found { path, source: super::Place::Data.label(), version: Some(version) })
}

/// A folder that goes when this value does.
struct Temp(PathBuf);

impl Temp {
    fn new(data: &Path) -> Result<Temp> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = data.join(format!(".onnxruntime-{}-{number}", std::process::id()));
        // One of this name is left from a killed process that had the same number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(Error::io(&path))?;
        Ok(Temp(path))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `pip download` with `dir` as its current folder, so that no module there can stand in for pip's.
fn download(python: &Path, wheel: &Wheel, dir: &Path, progress: Progress) -> Result<()> {
    let log = dir.join("pip.log");
    let errors = File::create(&log).map_err(Error::io(&log))?;
    let mut command = Command::new(python);
    command.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]);
    command.args(["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"]);
    command.args(["--platform", wheel.tag, "-d", ".", &format!("onnxruntime=={VERSION}")]);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let shown = python.display();
    let mut child = command.spawn().map_err(|e| {
        Error::Engine(format!(
            "ONNX Runtime is fetched with Python's pip, and {shown} cannot be run ({e}): install Python 3, or {BY_HAND}"
        ))
    })?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(Error::io(python))? {
            break status;
        }
        if let Err(stop) = emit(progress, Event::Advance(0)) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(stop);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if status.success() {
        return Ok(());
    }
    let said = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    Err(Error::Engine(pip_failed(&shown.to_string(), &said)))
}

/// One line out of what pip wrote to stderr.
fn pip_failed(python: &str, said: &str) -> String {
    if said.contains("No module named pip") {
        return format!(
            "ONNX Runtime is fetched with pip, which {python} does not have: run `{python} -m ensurepip` or install your system's python3-pip, or {BY_HAND}"
        );
    }
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines().rfind(|line| line.starts_with("ERROR")).or_else(|| lines().next_back()).unwrap_or("no message");
    // pip reports a dead network as a package that does not exist; its retries tell the truth.
    let network = lines().any(|line| line.contains("Retrying (") || line.contains("Could not fetch URL"));
    let what = if network { "the package index cannot be reached; " } else { "" };
    let last = super::super::one_line(last);
    format!("ONNX Runtime could not be fetched: {what}pip says: {last}; check the network or pip's index, or {BY_HAND}")
}

fn single_wheel(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).map_err(Error::io(dir))?.flatten().map(|e| e.path());
    let mut wheels = entries.filter(|p| p.extension().is_some_and(|e| e == "whl"));
    wheels.next().ok_or_else(|| Error::Engine(format!("pip succeeded but left no wheel of ONNX Runtime: {BY_HAND}")))
}

fn check(archive: &Path, expected: &str) -> Result<()> {
    let mut file = File::open(archive).map_err(Error::io(archive))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(Error::io(archive))? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let got = crate::onnx::hex(&hash.finalize());
    if got == expected {
        return Ok(());
    }
    Err(Error::Engine(format!(
        "the wheel of ONNX Runtime {VERSION} that pip fetched is not the published one (SHA-256 {got}, not {expected}): \
         check pip's index, or {BY_HAND}"
    )))
}

/// Unpacks the one file `onnxruntime/capi/<library>`; the archive's own names are never used as paths.
///
/// `libonnxruntime_providers_shared` stays behind: only GPU providers need it.
fn unpack(archive: &Path, library: &str, into: &Path) -> Result<()> {
    let bad = |e: String| Error::Engine(format!("the wheel of ONNX Runtime cannot be read ({e}): {BY_HAND}"));
    let file = File::open(archive).map_err(Error::io(archive))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|e| bad(e.to_string()))?;
    let entry = zip.by_name(&format!("onnxruntime/capi/{library}")).map_err(|e| bad(e.to_string()))?;
    let path = into.join(library);
    let mut out = File::create_new(&path).map_err(Error::io(&path))?;
    let written = io::copy(&mut entry.take(LIBRARY_LIMIT + 1), &mut out).map_err(Error::io(&path))?;
    if written > LIBRARY_LIMIT {
        return Err(bad("its library is too large".into()));
    }
    out.sync_all().map_err(Error::io(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_network_is_called_so() {
        let said = "WARNING: Retrying (Retry(total=0)) after connection broken\n\
                    ERROR: Could not find a version that satisfies the requirement\n\
                    ERROR: No matching distribution found for onnxruntime\n";
        let text = pip_failed("python3", said);
        assert!(text.contains("cannot be reached") && text.contains("No matching distribution"), "{text}");
        assert!(pip_failed("python3", "/usr/bin/python3: No module named pip\n").contains("ensurepip"));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn another_wheel_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.whl");
        fs::write(&path, "abc").unwrap();
        assert!(check(&path, "00").unwrap_err().to_string().contains("ba7816bf"));
        check(&path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        assert!(unpack(&path, "libonnxruntime.so", dir.path()).is_err());
    }

    #[test]
    fn every_platform_has_a_hash() {
        for (os, arch) in [("linux", "x86_64"), ("linux", "aarch64"), ("macos", "aarch64"), ("windows", "aarch64")] {
            assert_eq!(wheel(os, arch).unwrap().sha256.len(), 64);
        }
        assert!(wheel("macos", "x86_64").is_none());
    }
}
