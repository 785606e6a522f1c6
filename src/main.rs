//! The command line: a thin skin over the library.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let result = match arguments.command {
        None => cli::adapt::run(&arguments.adapt),
        Some(cli::Command::Inspect(options)) => cli::inspect::run(&options),
        Some(cli::Command::Predict(options)) => cli::predict::run(&options),
        Some(cli::Command::Eval(options)) => cli::eval::run(&options),
        Some(cli::Command::Explain(options)) => cli::explain::run(&options),
        Some(cli::Command::Embed(options)) => cli::embed::run(&options),
        Some(cli::Command::Cut(options)) => cli::cut::run(&options),
        Some(cli::Command::Data(options)) => cli::data::run(&options),
        Some(cli::Command::Audit(options)) => cli::audit::run(&options),
        Some(cli::Command::Rank(options)) => cli::rank::run(&options),
        Some(cli::Command::Measure(options)) => cli::measure::run(&options),
        Some(cli::Command::Report(options)) => cli::report::run(&options),
        Some(cli::Command::Compare(options)) => cli::compare::run(&options),
        Some(cli::Command::Verify(options)) => cli::verify::run(&options),
        Some(cli::Command::Cache(options)) => cli::cache::run(&options),
        Some(cli::Command::Merge(options)) => cli::merge::run(&options),
        Some(cli::Command::New(options)) => cli::new::run(&options),
        Some(cli::Command::Runtime(options)) => cli::runtime::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::tell(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
