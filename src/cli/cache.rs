//! The features that earlier runs computed.

use super::options::{CacheOptions, bytes};
use super::print;
use adapt::error::printable;
use adapt::report::json;
use adapt::{Error, Result};
use clap::{Args, Subcommand};

#[derive(Args)]
pub struct CacheCommand {
    #[command(subcommand)]
    pub action: Option<CacheAction>,
    #[command(flatten)]
    pub cache: CacheOptions,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand, Clone, Copy)]
pub enum CacheAction {
    /// Shows where it is and what it holds
    Status,
    /// Removes everything in it but what a run may be writing: unfinished files of the last ten minutes
    Clear,
    /// Removes what was not used for longest
    Prune {
        /// What may be left, as 500M or 2G
        #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "10G")]
        max_size: u64,
    },
}

pub fn run(options: &CacheCommand) -> Result<()> {
    let Some(cache) = options.cache.open() else {
        return Err(Error::Usage("the cache is off; name its folder with --cache DIR".into()));
    };
    let removed = match options.action.unwrap_or(CacheAction::Status) {
        CacheAction::Status => None,
        CacheAction::Clear => Some(cache.prune(0)?),
        CacheAction::Prune { max_size } => Some(cache.prune(max_size)?),
    };
    let holding = cache.holding()?;
    if options.json {
        let value = serde_json::json!({ "folder": cache.folder(), "holding": holding, "removed_bytes": removed });
        return print(&json(&value)?);
    }
    let removed = removed.map_or(String::new(), |bytes| format!("removed {}\n", size(bytes)));
    print(&format!(
        "{removed}{}: {} rows of features of {} frozen parts, {}\n",
        printable(&cache.folder().display().to_string()),
        holding.rows,
        holding.models,
        size(holding.bytes)
    ))
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4) as usize;
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1u64 << (10 * unit)) as f64, units[unit]),
    }
}
