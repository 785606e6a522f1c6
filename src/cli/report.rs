//! `report.html` made again from a run's files.

use super::{merge, print, tell, vacant};
use adapt::data::{Source, reopen};
use adapt::engine::Backend;
use adapt::error::printable;
use adapt::plan::Trained;
use adapt::progress::{Progress, silent};
use adapt::report::html::{Images, REPORT, is_page, pictures, render};
use adapt::report::maps::{MAPS, Maps};
use adapt::report::recorded::{Recorded, SCORES};
use adapt::report::{OutDir, json};
use adapt::{Error, Result};
use clap::Args;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

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
    /// Replace the file of --out, or a page with pictures of more images than can be read now
    #[arg(long)]
    pub force: bool,
}

/// The report of a run that is about to end, in its folder.
pub fn write(
    out: &OutDir,
    source: &Source,
    trained: &Result<Trained>,
    backend: &Backend,
    progress: Progress,
) -> Result<()> {
    let mut recorded = Recorded::read(out.folder())?;
    let maps = Maps::make(&recorded, trained, backend, source, progress)?;
    out.write(MAPS, json(&maps)?.as_bytes())?;
    recorded.maps = Some(maps);
    out.write(REPORT, render(&recorded, &Images::Named(source.clone()))?.text.as_bytes())
}

pub fn run(options: &ReportOptions) -> Result<()> {
    if let Some(out) = &options.out {
        vacant(out, options.force)?;
    }
    let recorded = Recorded::read(&options.run)?;
    let page = render(&recorded, &images(options, &recorded))?;
    let out = options.out.clone().unwrap_or_else(|| options.run.join(REPORT));
    vacant(&out, true)?;
    // A link is replaced itself.
    if out.exists() && !out.is_symlink() && !is_page(&out) {
        let what = "it is no report of adapt's, and would be lost; choose another --out, or remove it first";
        return Err(Error::data(&out, what));
    }
    if let Some(why) = &page.gone {
        let (before, now) = (fs::read(&out).map_or(0, |old| pictures(&old)), pictures(page.text.as_bytes()));
        if now < before && !options.force {
            let what =
                format!("it has {before} pictures, and would have {now}: {why}; --force replaces it all the same");
            return Err(Error::data(&out, what));
        }
        let with = if now == 0 { "without pictures" } else { "without some pictures" };
        tell(&format!("warning: {with}: {why}"));
    }
    for (file, known, what, more) in [
        (SCORES, recorded.scores.is_some(), "the map of the images, and tells less of each", ""),
        (MAPS, recorded.maps.is_some(), "pictures of what the model sees", ", adapt explain such of any images"),
    ] {
        if !known && !recorded.held_out.is_empty() {
            let file = printable(&options.run.join(file).to_string_lossy());
            let again = format!("the command in run.json makes the file anew{more}");
            tell(&format!("warning: {file} is not there: the page is without {what}; {again}"));
        }
    }
    merge::put(&out, true, |place| fs::write(place, &page.text).map_err(Error::io(place)))?;
    print(&format!("written  {}\n", printable(&out.to_string_lossy())))
}

/// Where `--data` says that they are, or else the run, which somebody else may have made: of what is read then the user is told.
fn images(options: &ReportOptions, recorded: &Recorded) -> Images {
    let gone = |why: &dyn Display| Images::Gone(format!("{why}; --data says where they are now"));
    if let Some(place) = &options.data {
        return reopen(place, &silent).map_or_else(|why| gone(&why), Images::Named);
    }
    let Some(place) = recorded.run["data"]["path"].as_str() else {
        return gone(&"run.json does not say where the images were");
    };
    if place.starts_with(['/', '\\']) && place[1..].starts_with(['/', '\\']) {
        return gone(&"run.json names another machine");
    }
    tell(&format!("images   {}, as run.json says", printable(place)));
    reopen(Path::new(place), &silent).map_or_else(|why| gone(&why), Images::Recorded)
}
