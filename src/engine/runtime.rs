//! ONNX Runtime's shared library: where it is looked for, and loading it.
//!
//! The order is fixed, the first usable one wins: `ORT_DYLIB_PATH`, `--ort-lib`, beside the executable, the user's data
//! directory (where [`install`] puts it), the active virtual environment, Python's `onnxruntime` package, the system's
//! library path. The two that a person named must work: one that does not is an error, never passed over.

mod install;
mod probe;

use crate::error::{Error, Result};
use etcetera::BaseStrategy;
pub use install::{VERSION, install, install_in};
use serde::Serialize;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// What to do where no usable library is at hand.
const REMEDY: &str = "run `adapt runtime install`, or set ORT_DYLIB_PATH to a libonnxruntime of version 1.17 or later";

/// The name of the Python interpreter that is asked and whose pip fetches.
pub(crate) const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// A usable ONNX Runtime library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The library's file; a bare name where the system's loader found it.
    pub path: PathBuf,
    /// How it was found, in words: `ORT_DYLIB_PATH`, `user data directory` …
    pub source: &'static str,
    /// What the library says its version is.
    pub version: Option<String>,
}

/// One place that was looked at, for `adapt runtime status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The place, in words.
    pub source: &'static str,
    /// The file there, if there is one.
    pub path: Option<PathBuf>,
    /// The library's version, or why there is none that can be used.
    pub outcome: std::result::Result<String, String>,
}

/// Where to look. [`Places::here`] reads this process's surroundings; tests build their own.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The value of `ORT_DYLIB_PATH`.
    pub dylib_path: Option<PathBuf>,
    /// The value of `--ort-lib`.
    pub ort_lib: Option<PathBuf>,
    /// The folder of the executable.
    pub exe_dir: Option<PathBuf>,
    /// This program's folder in the user's data directory; the library lies in `onnxruntime-<version>` under it.
    pub data_dir: Option<PathBuf>,
    /// The active virtual environment.
    pub virtual_env: Option<PathBuf>,
    /// The Python interpreter to ask for its `onnxruntime` package.
    pub python: Option<PathBuf>,
    /// Libraries that the system's loader is asked for: bare names, or files in the folders of its path.
    pub system: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Env,
    Flag,
    Exe,
    Data,
    Venv,
    Python,
    System,
}

impl Place {
    const ORDER: [Place; 7] =
        [Place::Env, Place::Flag, Place::Exe, Place::Data, Place::Venv, Place::Python, Place::System];

    fn label(self) -> &'static str {
        match self {
            Place::Env => "ORT_DYLIB_PATH",
            Place::Flag => "--ort-lib",
            Place::Exe => "beside the executable",
            Place::Data => "user data directory",
            Place::Venv => "virtual environment",
            Place::Python => "Python package",
            Place::System => "system library path",
        }
    }

    fn named_by_a_person(self) -> bool {
        matches!(self, Place::Env | Place::Flag)
    }
}

impl Places {
    /// The places of this process.
    pub fn here(ort_lib: Option<&Path>) -> Places {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        Places {
            dylib_path: var("ORT_DYLIB_PATH"),
            ort_lib: ort_lib.map(Path::to_path_buf),
            exe_dir: std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)),
            data_dir: etcetera::choose_base_strategy().ok().map(|dirs| dirs.data_dir().join("adapt")),
            virtual_env: var("VIRTUAL_ENV"),
            python: Some(PYTHON.into()),
            system: system_libraries(),
        }
    }

    /// The first usable library, or `None` where there is none anywhere.
    ///
    /// Fails where the library that `ORT_DYLIB_PATH` or `--ort-lib` names is missing or cannot be used.
    pub fn locate(&self) -> Result<Option<Found>> {
        for place in Place::ORDER {
            for path in self.files(place).unwrap_or_default() {
                match probe::probe(&path) {
                    Ok(version) => return Ok(Some(Found { path, source: place.label(), version: Some(version) })),
                    Err(why) if place.named_by_a_person() => return Err(refused(place.label(), &path, &why)),
                    Err(_) => {}
                }
            }
        }
        Ok(None)
    }

    /// Every place in order with what is there; nothing is passed over and nothing fails.
    pub fn candidates(&self) -> Vec<Candidate> {
        let look = |place: Place| -> Vec<Candidate> {
            let source = place.label();
            let one = |path: PathBuf| Candidate { source, outcome: probe::probe(&path), path: Some(path) };
            match self.files(place) {
                Err(why) => vec![Candidate { source, path: None, outcome: Err(why) }],
                Ok(files) => files.into_iter().map(one).collect(),
            }
        };
        // First, for the loader answers a bare name with any library of that name that is loaded by then.
        let system = look(Place::System);
        let named = Place::ORDER.into_iter().filter(|place| *place != Place::System);
        named.flat_map(look).chain(system).collect()
    }

    /// The files to try at `place`, never an empty list, or why there are none.
    fn files(&self, place: Place) -> std::result::Result<Vec<PathBuf>, String> {
        // The loader looks for a bare name everywhere but here: a file in the current folder needs its whole path.
        let whole = |p: &PathBuf| if p.exists() { std::path::absolute(p).ok() } else { None };
        let given = |path: &Option<PathBuf>| {
            let path = path.as_ref().ok_or_else(|| "not set".to_owned())?;
            Ok(vec![whole(path).unwrap_or_else(|| path.clone())])
        };
        match place {
            Place::Env => given(&self.dylib_path),
            Place::Flag => given(&self.ort_lib),
            Place::Exe => libraries_in(self.exe_dir.as_deref().ok_or("the executable's folder is not known")?),
            Place::Data => {
                let data = self.data_dir.as_deref().ok_or("the home directory is not known")?;
                libraries_in(&install::home(data))
            }
            Place::Venv => venv_libraries(self.virtual_env.as_deref().ok_or("none is active")?),
            Place::Python => {
                let python = self.python.as_deref().ok_or("not asked")?;
                libraries_in(&package_of(python)?.join("capi"))
            }
            Place::System if self.system.is_empty() => Err("no library of that name".into()),
            Place::System => Ok(self.system.clone()),
        }
    }
}

/// The library to use: the first usable one of [`Places::here`].
pub fn locate(ort_lib: Option<&Path>) -> Result<Option<Found>> {
    Places::here(ort_lib).locate()
}

/// What is at every place, for `adapt runtime status`.
pub fn candidates(ort_lib: Option<&Path>) -> Vec<Candidate> {
    Places::here(ort_lib).candidates()
}

/// Kept for the life of the process: ONNX Runtime allows one environment only, and none after it is gone.
static LOADED: Mutex<Option<(PathBuf, ort::environment::Environment)>> = Mutex::new(None);

/// Loads the library and makes the process's one ONNX Runtime environment, without telemetry.
///
/// A second call with the same library gives the same; one with another library fails, for a process has room for one.
pub fn environment(found: &Found) -> Result<ort::environment::Environment> {
    let mut loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((path, environment)) = loaded.as_ref() {
        if *path == found.path {
            return Ok(environment.clone());
        }
        let (old, new) = (path.display(), found.path.display());
        return Err(Error::Engine(format!(
            "ONNX Runtime is already loaded from {old}, and {new} cannot be added to it"
        )));
    }
    // ort panics, and that lazily, over libraries which are not ONNX Runtime or too old: so look first.
    probe::probe(&found.path).map_err(|why| refused(found.source, &found.path, &why))?;
    let made = crate::guard::quietly(|| {
        let builder = ort::init_from(&found.path).map_err(|e| e.to_string())?;
        builder.with_name("adapt").with_telemetry(false).build().map_err(|e| e.to_string())
    });
    match made {
        Ok(Ok(environment)) => {
            *loaded = Some((found.path.clone(), environment.clone()));
            Ok(environment)
        }
        Ok(Err(why)) | Err(why) => Err(refused(found.source, &found.path, &super::one_line(&why))),
    }
}

/// The error about a library that a person, or [`locate`], named.
fn refused(source: &str, path: &Path, why: &str) -> Error {
    let shown = path.display();
    if !probe::is_bare(path) && !path.exists() {
        return Error::Usage(format!("{source}: {shown} does not exist: {REMEDY}"));
    }
    Error::Engine(format!("{source}: {shown} cannot be used as ONNX Runtime ({why}): {REMEDY}"))
}

/// `libonnxruntime.so`, `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`, `onnxruntime.dll`.
fn is_library_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(DLL_PREFIX).and_then(|n| n.strip_prefix("onnxruntime")) else { return false };
    let numbers = |s: &str| s.chars().all(|c| c.is_ascii_digit() || c == '.');
    match rest.split_once(DLL_SUFFIX) {
        Some((before, after)) => numbers(before) && numbers(after),
        None => false,
    }
}

/// The libraries in a folder, by name, so that the choice does not hang on the order of the directory.
fn libraries_in(dir: &Path) -> std::result::Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let named = entries.flatten().filter(|e| e.file_name().to_str().is_some_and(is_library_name));
    let mut files: Vec<PathBuf> = named.map(|e| e.path()).collect();
    files.sort();
    if files.is_empty() { Err(format!("no ONNX Runtime library in {}", dir.display())) } else { Ok(files) }
}

/// The libraries of the `onnxruntime` package in a virtual environment, read off its folders: Python is not started.
fn venv_libraries(venv: &Path) -> std::result::Result<Vec<PathBuf>, String> {
    let mut roots = vec![venv.join("Lib")];
    let lib = std::fs::read_dir(venv.join("lib")).into_iter().flatten().flatten().map(|e| e.path());
    roots.extend(lib.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python"))));
    roots.sort();
    let capi = roots.into_iter().map(|root| root.join("site-packages/onnxruntime/capi"));
    let files = capi.filter_map(|dir| libraries_in(&dir).ok()).flatten().collect::<Vec<_>>();
    if files.is_empty() { Err(format!("no onnxruntime package in {}", venv.display())) } else { Ok(files) }
}

/// The folder of the interpreter's `onnxruntime` package, which is found but not imported.
fn package_of(python: &Path) -> std::result::Result<PathBuf, String> {
    // The current folder leaves sys.path first: a folder of images must not be able to bring its own library.
    const ASK: &str = "import sys; sys.path = [p for p in sys.path if p]; import importlib.util as u; \
                       s = u.find_spec('onnxruntime'); print(list(s.submodule_search_locations)[0] if s else '')";
    let shown = python.display();
    let answer = Command::new(python).args(["-c", ASK]).stdin(Stdio::null()).output();
    let answer = answer.map_err(|e| format!("{shown}: {e}"))?;
    let path = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if path.is_empty() || !answer.status.success() {
        return Err(format!("{shown} has no onnxruntime package"));
    }
    Ok(path.into())
}

/// Linux's loader is asked by bare name, which is its very search; those of macOS and Windows would look into the
/// current folder as well, so their folders are listed here.
fn system_libraries() -> Vec<PathBuf> {
    if cfg!(all(unix, not(target_vendor = "apple"))) {
        return vec!["libonnxruntime.so".into(), "libonnxruntime.so.1".into()];
    }
    let variable = if cfg!(windows) { "PATH" } else { "DYLD_LIBRARY_PATH" };
    let value = std::env::var_os(variable).unwrap_or_default();
    let fixed = if cfg!(windows) { &[][..] } else { &["/opt/homebrew/lib", "/usr/local/lib"][..] };
    let dirs = std::env::split_paths(&value).filter(|dir| dir.is_absolute()).chain(fixed.iter().map(PathBuf::from));
    dirs.filter_map(|dir| libraries_in(&dir).ok()).flatten().collect()
}
