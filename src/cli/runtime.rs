//! Which ONNX Runtime is used.

use super::progress::Reporter;
use super::{RuntimeAction, RuntimeOptions, print, tables};
use adapt::Result;
use adapt::engine::runtime;
use adapt::report::json;

pub fn run(options: &RuntimeOptions) -> Result<()> {
    if let Some(RuntimeAction::Install) = options.action {
        let reporter = Reporter::new(false, false);
        let found = runtime::install(&|event| reporter.event(event))?;
        reporter.finish();
        return match options.json {
            true => print(&json(&found)?),
            false => {
                print(&format!("ONNX Runtime {} in {}\n", found.version.unwrap_or_default(), found.path.display()))
            }
        };
    }
    let candidates = runtime::candidates(options.ort_lib.as_deref());
    if options.json {
        return print(&json(&candidates)?);
    }
    let used = candidates.iter().position(|c| c.outcome.is_ok());
    let rows = candidates.iter().enumerate().map(|(i, c)| {
        let mark = if Some(i) == used { "used" } else { "" };
        let outcome = match &c.outcome {
            Ok(version) => version.clone(),
            Err(why) => why.clone(),
        };
        let path = c.path.as_ref().map_or(String::new(), |p| p.display().to_string());
        vec![c.source.to_string(), mark.into(), outcome, path]
    });
    let mut text = tables::table(&["looked for in", "", "found", "file"], usize::MAX, rows);
    if used.is_none() {
        text += "\nNo ONNX Runtime: tract is used, several times slower. Fetch one with: adapt runtime install\n";
    }
    print(&text)
}
