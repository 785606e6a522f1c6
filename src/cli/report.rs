//! `report.html` made again from a run's files.

use super::{print, tell};
use adapt::data::{Source, reopen};
use adapt::report::OutDir;
use adapt::report::html::{REPORT, render};
use adapt::report::recorded::Recorded;
use adapt::{Error, Result};
use clap::Args;
use std::fs;
use std::path::PathBuf;

#[derive(Args)]
pub struct ReportOptions {
    /// The folder of a run
    pub run: PathBuf,
    /// Where the run's images are now [default: where they were]
    #[arg(long, value_name = "DIR|FILE")]
    pub data: Option<PathBuf>,
    /// The page to write [default: report.html in the run's folder]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The report of a run that is about to end, in its folder.
pub fn write(out: &OutDir, source: &Source) -> Result<()> {
    out.write(REPORT, render(&Recorded::read(out.folder())?, &Ok(source))?.as_bytes())
}

pub fn run(options: &ReportOptions) -> Result<()> {
    let recorded = Recorded::read(&options.run)?;
    let place = options.data.clone().or_else(|| recorded.run["data"]["path"].as_str().map(PathBuf::from));
    let source = match &place {
        None => Err("run.json does not say where the images were".into()),
        Some(place) => reopen(place).map_err(|e| format!("{e}; --data says where they are now")),
    };
    if let Err(why) = &source {
        tell(&format!("warning: without pictures: {why}"));
    }
    let page = render(&recorded, &source.as_ref().map_err(Clone::clone))?;
    let out = options.out.clone().unwrap_or_else(|| options.run.join(REPORT));
    fs::write(&out, page).map_err(Error::io(&out))?;
    print(&format!("written  {}\n", adapt::error::printable(&out.to_string_lossy())))
}
