//! The scoreboard: every ONNX model of a folder through all that `adapt` does with one. `docs/zoo.md` says what the
//! columns are. Each model has a process of its own, so that its peak memory, and its crash, are its own.

#[path = "../../fixtures/zoo/zoo.rs"]
mod zoo;

mod gradients;
mod row;

use adapt::progress::silent;
use adapt::{Backend, Choice, Error, Result};
use clap::Parser;
use row::{Row, columns};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Columns that are shown where asked for.
#[derive(clap::Args)]
struct Extra {
    /// Also time forward and backward of 8 images
    #[arg(long)]
    backward: bool,
    /// Also compare the gradient by all parameters with central differences, in float64
    #[arg(long)]
    slopes: bool,
}

/// A table of what becomes of each ONNX model of a folder
#[derive(Parser)]
struct Arguments {
    /// The folder; the models of fixtures/zoo where none is given
    dir: Option<PathBuf>,
    /// Only write the models of fixtures/zoo to this folder
    #[arg(long, value_name = "OUT", conflicts_with = "dir")]
    expand: Option<PathBuf>,
    #[command(flatten)]
    extra: Extra,
    /// Measure this one model, with images to adapt it to, in this process
    #[arg(long, hide = true, num_args = 2)]
    one: Option<Vec<PathBuf>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all models passed.
fn run(arguments: &Arguments) -> Result<bool> {
    if let Some([model, images]) = arguments.one.as_deref() {
        let row = row::measure(model, images, &arguments.extra);
        println!("{}", serde_json::to_string(&row).map_err(|e| Error::Engine(e.to_string()))?);
        return Ok(true);
    }
    if let Some(out) = &arguments.expand {
        std::fs::create_dir_all(out).map_err(Error::io(out))?;
        zoo::skeletons()?.iter().try_for_each(|skeleton| expand(skeleton, out).map(|_| ()))?;
        return Ok(true);
    }
    // Fetched once, if at all, and not by the first model.
    Backend::resolve(Choice::Ort, None, false, &silent)?;
    let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let images = row::images(&folder.path().join("images"))?;
    let models = arguments.dir.as_deref().map_or_else(zoo::skeletons, zoo::models)?;
    if models.is_empty() {
        return Err(Error::Usage("no .onnx file lies in that folder".into()));
    }
    let names: Vec<_> = models.iter().map(|path| path.file_stem().unwrap_or_default().to_string_lossy()).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let columns = columns(width, &arguments.extra);
    println!("{}", line(columns.iter().map(|(title, _)| title.to_string()), &columns));
    // Numbers to the right.
    let rule = columns.iter().map(|(title, width)| match *title {
        "model" | "cut" => "---".to_owned(),
        _ => format!("{:->width$}", ":"),
    });
    println!("{}", line(rule, &columns));
    let mut passed = true;
    for (path, name) in models.iter().zip(&names) {
        // One at a time: together they would fill a disk.
        let made = if arguments.dir.is_some() { path.clone() } else { expand(path, folder.path())? };
        let row = in_child(&made, &images, arguments);
        if arguments.dir.is_none() {
            std::fs::remove_file(&made).map_err(Error::io(&made))?;
        }
        println!("{}", line(std::iter::once(name.to_string()).chain(row.cells), &columns));
        // Not to standard output, which then is a table and nothing else.
        row.failures.iter().for_each(|what| eprintln!("{name}: {what}"));
        passed &= row.failures.is_empty();
    }
    Ok(passed)
}

fn expand(skeleton: &Path, out: &Path) -> Result<PathBuf> {
    let path = out.join(skeleton.file_name().unwrap_or_default());
    std::fs::write(&path, zoo::expand(skeleton)?.to_bytes()?).map_err(Error::io(&path))?;
    Ok(path)
}

/// A model measured in a process of its own.
fn in_child(model: &Path, images: &Path, arguments: &Arguments) -> Row {
    let told = [(arguments.extra.backward, "--backward"), (arguments.extra.slopes, "--slopes")];
    let run = || -> std::io::Result<_> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--one").args([model, images]);
        command.args(told.iter().filter(|(told, _)| *told).map(|(_, flag)| flag)).output()
    };
    let failed = |what: String| Row { failures: vec![what], ..Row::default() };
    match run() {
        Ok(output) => {
            let last = |text: &[u8]| String::from_utf8_lossy(text).lines().last().unwrap_or_default().to_owned();
            let row = serde_json::from_str(&last(&output.stdout));
            row.unwrap_or_else(|_| failed(format!("the process ended: {} {}", output.status, last(&output.stderr))))
        }
        Err(error) => failed(format!("no process: {error}")),
    }
}

/// A line of a Markdown table that is one to the eye as well.
fn line(cells: impl Iterator<Item = String>, columns: &[(&str, usize)]) -> String {
    let cells = cells.chain(std::iter::repeat(String::new())).zip(columns).enumerate();
    // Names stand on the left.
    let cell = |(place, (cell, &(_, width)))| match place {
        0 => format!(" {cell:width$} |"),
        _ => format!(" {cell:>width$} |"),
    };
    format!("|{}", cells.map(cell).collect::<String>())
}
