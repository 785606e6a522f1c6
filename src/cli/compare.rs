//! Runs side by side.

use super::{print, tables};
use adapt::Result;
use adapt::error::printable;
use adapt::report::compare::{Compared, Side, compare};
use adapt::report::json;
use adapt::report::recorded::Recorded;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct CompareOptions {
    /// The folders of runs; the further ones are compared with the first
    #[arg(required = true, num_args = 2..)]
    pub runs: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(options: &CompareOptions) -> Result<()> {
    let runs = options.runs.iter().map(|run| Recorded::read(run)).collect::<Result<Vec<_>>>()?;
    let compared = compare(&runs)?;
    print(&if options.json { json(&compared)? } else { text(&compared) })
}

fn text(compared: &Compared) -> String {
    let header = ["run", "model", "trained", "seconds", "accuracy", "macro-F1", "log-loss", "ECE"];
    let row = |side: &Side| {
        let m = &side.figures;
        let figure = |name: &str, value: f64| tables::with_interval(value, m.intervals.get(name));
        let seconds = side.seconds.map_or("?".into(), |s| format!("{s:.1}"));
        let figures = [figure("accuracy", m.accuracy), figure("macro_f1", m.macro_f1), format!("{:.4}", m.log_loss)];
        let begin = vec![side.run.clone(), side.model.clone(), side.train.clone(), seconds];
        [begin, figures.into(), vec![format!("{:.4}", m.ece)]].concat()
    };
    let mut text = tables::table(&header, 3, compared.runs.iter().map(row));
    text += &format!(
        "on the {} {} images that all of them have; in brackets: 95 % intervals\n",
        compared.images, compared.split
    );
    for against in &compared.differences {
        text += &format!("\n{} less {}\n", printable(&against.run), printable(&against.against));
        let rows = ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier"].into_iter().filter_map(|name| {
            let found = against.figures.get(name)?;
            let [low, high] = found.interval;
            let sure = if low > 0. || high < 0. { "not by chance" } else { "may be chance" };
            let interval = format!("{low:+.4} to {high:+.4}");
            Some(vec![name.replace('_', " "), format!("{:+.4}", found.difference), interval, sure.into()])
        });
        text += &tables::table(&["", "difference", "95 % interval", ""], 1, rows);
    }
    text
}
