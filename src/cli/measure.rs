//! What running a model takes, in a process that has seen no other.

use super::options::EngineOptions;
use super::print;
use adapt::engine::Backend;
use adapt::onnx::Model;
use adapt::plan::{Input, Plan, available_threads};
use adapt::rank::{Cost, Meter};
use adapt::report::json;
use adapt::{Error, Result};
use clap::Args;
use std::io::{Read, Write, stdin};
use std::process::{Command, Stdio};

/// Hands the frozen part to this program again, since memory can only be told where no other model was.
pub fn measured(frozen: &Model, plan: &Plan, backend: &Backend, options: &EngineOptions) -> Result<Cost> {
    let Ok(bytes) = frozen.to_bytes() else {
        // More than protobuf holds: what has no bytes is measured here.
        let mut engine = backend.open(frozen, &plan.input.axes(), available_threads())?;
        let cost = Meter::start().measure(&mut *engine, &plan.input)?;
        return Ok(Cost { memory_bytes: None, ..cost });
    };
    let failed = |what: String| Error::Engine(format!("measuring: {what}"));
    let mut command = Command::new(std::env::current_exe().map_err(|e| failed(e.to_string()))?);
    let engine = match backend.name() {
        "onnxruntime" => "ort",
        other => other,
    };
    let input = json(&plan.input)?;
    command.args(["measure", &input, "--offline", "--engine", engine, "--threads"]);
    command.arg(available_threads().min(1024).to_string());
    options.ort_lib.iter().for_each(|library| {
        command.arg("--ort-lib").arg(library);
    });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    // It reads all before it writes. Where it ended early, it says why.
    let _ = child.stdin.take().map(|mut input| input.write_all(&bytes));
    drop(bytes);
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let told = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: ").to_owned();
    serde_json::from_slice(&output.stdout)
        .map_err(|_| failed(if told.is_empty() { output.status.to_string() } else { told }))
}

#[derive(Args)]
pub struct MeasureOptions {
    /// As JSON
    #[arg(value_parser = |text: &str| serde_json::from_str::<Input>(text))]
    pub input: Input,
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// What the model on standard input takes, as JSON.
pub fn run(options: &MeasureOptions) -> Result<()> {
    options.engine.limit_threads();
    let backend = options.engine.resolve(&adapt::progress::silent)?;
    let meter = Meter::start();
    let mut bytes = Vec::new();
    stdin().read_to_end(&mut bytes).map_err(Error::io("standard input"))?;
    let model = Model::from_bytes("standard input", bytes)?;
    let mut engine = backend.open(&model, &options.input.axes(), available_threads())?;
    drop(model);
    print(&json(&meter.measure(&mut *engine, &options.input)?)?)
}
