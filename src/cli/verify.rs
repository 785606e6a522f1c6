//! Whether a run's model still computes what it did, here and in any engine.

use super::options::{EngineOptions, Verbosity};
use super::print;
use super::progress::Reporter;
use adapt::Result;
use adapt::progress::Event;
use adapt::report::{self, json};
use adapt::verify::golden;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct VerifyOptions {
    /// The folder of a run
    pub run: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

pub fn run(options: &VerifyOptions) -> Result<()> {
    options.engine.limit_threads();
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: Event| reporter.event(event);
    let checked = golden::check(&options.run, &options.engine.resolve(&progress)?, &progress)?;
    reporter.finish();
    if options.json {
        return print(&json(&checked)?);
    }
    let golden::Checked { engine, images, input_steps, graph_unchecked, max_rel_diff, tolerance, .. } = checked;
    let input = match input_steps {
        Some(steps) => format!("preprocessing within {steps:.2} steps of a pixel"),
        None => "preprocessing in the graph".into(),
    };
    let unchecked = match graph_unchecked {
        true => "the preprocessing in the graph was not checked: only ONNX Runtime runs it (--engine ort)\n",
        false => "",
    };
    print(&format!(
        "{} in {} {}: {input}, outputs within {max_rel_diff:.1e} of their scale (allowed {tolerance:.0e})\n\
         {unchecked}",
        report::images(images),
        engine.name,
        engine.version
    ))
}
