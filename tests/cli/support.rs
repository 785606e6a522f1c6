//! A folder to run the program in, and what must hold of every refusal.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than any of these runs takes; what is still running then hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A temporary folder, the current one of the programs that it runs. `out` in it is where results go.
pub struct Place {
    dir: TempDir,
}

/// How a program ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A file of `tests/golden/hostile`.
pub fn hostile(name: &str) -> PathBuf {
    crate::common::golden("hostile").join(format!("{name}.onnx"))
}

/// Says that a test did not run; not by a macro, whose output is shown of failed tests only.
pub fn left_out(why: &str) {
    let thread = std::thread::current();
    let told = format!("NOT RUN: {}: {why}\n", thread.name().unwrap_or("a test"));
    std::io::stderr().write_all(told.as_bytes()).unwrap();
}

/// Writes a small image, whose colour tells its class and number.
pub fn image(path: &Path, class: usize, number: usize) {
    let mut base = [20, 20, 20];
    base[class % 3] = 200;
    let value = |c: u8, x: u32, y: u32| c.wrapping_add((number * 7) as u8 + (x * 3 + y) as u8);
    image::RgbImage::from_fn(12, 10, |x, y| image::Rgb(base.map(|c| value(c, x, y))))
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
}

impl Place {
    pub fn empty() -> Place {
        // ONNX Runtime is found by the program from here on, so that its messages do not depend on the machine.
        crate::common::runtime();
        Place { dir: tempfile::tempdir().unwrap() }
    }

    /// With `data/<class>/<0…5>.png`, and the model `tiny.onnx`.
    pub fn with_classes<S: AsRef<str>>(classes: &[S]) -> Place {
        let place = Place::empty();
        for (class, name) in classes.iter().enumerate() {
            place.images(&format!("data/{}", name.as_ref()), class, 6);
        }
        fs::copy(crate::common::golden("tiny.onnx"), place.path("tiny.onnx")).unwrap();
        place
    }

    pub fn usual() -> Place {
        Place::with_classes(&["a", "b", "c"])
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn images(&self, folder: &str, class: usize, count: usize) {
        fs::create_dir_all(self.path(folder)).unwrap();
        (0..count).for_each(|i| image(&self.path(folder).join(format!("{i}.png")), class, i));
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn read_bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The program, ready to start here, without the network.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adapt"));
        command.current_dir(self.dir.path()).env("PIP_NO_INDEX", "1").env("ADAPT_CACHE", "off").stdin(Stdio::null());
        command
    }

    /// Runs the program with these arguments, which hold no spaces.
    pub fn adapt(&self, arguments: &str) -> Ran {
        let mut command = self.command();
        command.args(arguments.split_whitespace());
        self.run(&mut command)
    }

    /// Runs the main job on `data` and `tiny.onnx` into `out`.
    pub fn main(&self, arguments: &str) -> Ran {
        self.adapt(&format!("--data data --onnx tiny.onnx --out out {arguments}"))
    }

    /// Runs `script` in a shell, where `$ADAPT` is the program.
    pub fn shell(&self, script: &str) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("ADAPT", env!("CARGO_BIN_EXE_adapt")).env("ADAPT_CACHE", "off");
        self.run(command.current_dir(self.dir.path()).stdin(Stdio::null()))
    }

    /// Starts a program whose output goes into files beside the folder.
    pub fn start(&self, command: &mut Command) -> Running {
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(files.path().join(name)).unwrap();
        let child = command.stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Running { child, files }
    }

    pub fn run(&self, command: &mut Command) -> Ran {
        self.start(command).wait()
    }

    /// Names in the folder that begin with `out`.
    pub fn outputs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|n| n.starts_with("out")).collect();
        names.sort();
        names
    }

    /// The main job must fail as [`Ran::fails`] says, and leave nothing behind.
    pub fn refuses(&self, arguments: &str, code: i32, words: &[&str]) {
        self.main(arguments).fails(code, words);
        assert_eq!(self.outputs(), [""; 0], "{arguments}");
    }
}

/// A program that was started.
pub struct Running {
    pub child: Child,
    files: TempDir,
}

impl Running {
    pub fn err(&self) -> String {
        fs::read_to_string(self.files.path().join("err")).unwrap()
    }

    pub fn wait(mut self) -> Ran {
        let start = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > LIMIT {
                self.child.kill().unwrap();
                panic!("it hangs; so far it said: {}", self.err());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |name: &str| String::from_utf8(fs::read(self.files.path().join(name)).unwrap()).unwrap();
        Ran { code: status.code(), out: text("out"), err: text("err") }
    }
}

impl Ran {
    /// One line that begins with `error:` and holds `words`; no panic, nothing on standard output.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) -> &Ran {
        let Ran { out, err, .. } = self;
        assert_eq!(self.code, Some(code), "{err}{out}");
        assert!(!err.contains("panicked") && out.is_empty(), "{err}{out}");
        let lines: Vec<_> = err.lines().filter(|line| line.starts_with("error:")).collect();
        assert_eq!(lines.len(), 1, "{err}");
        assert!(!lines[0].contains('\u{1b}'), "{err:?}");
        for word in words {
            assert!(lines[0].contains(word), "'{word}' is missing: {}", lines[0]);
        }
        self
    }

    #[track_caller]
    pub fn succeeds(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}{}", self.err, self.out);
        assert!(!self.err.contains("panicked") && !self.err.contains("error:"), "{}", self.err);
        self
    }
}
