//! Which ONNX Runtime is used.

use super::progress::Reporter;
use super::{RuntimeAction, RuntimeOptions, print, tables};
use adapt::Result;
use adapt::engine::runtime;
use adapt::report::json;
use adapt::tensor;

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
    // A library that a person named must work: nothing is used in its stead.
    let named = |c: &&runtime::Candidate| matches!(c.source, "ORT_DYLIB_PATH" | "--ort-lib") && c.path.is_some();
    let broken = candidates.iter().find(|c| named(c) && c.outcome.is_err()).map(|c| c.source);
    let used = candidates.iter().position(|c| c.outcome.is_ok()).filter(|_| broken.is_none());
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
    if let Some(source) = broken {
        text += &format!(
            "\nWhat {source} names cannot be used, and nothing is taken in its stead: correct it or leave it out\n"
        );
    } else if used.is_none() {
        text += "\nNo ONNX Runtime: tract is used, several times slower. Fetch one with: adapt runtime install\n";
    }
    let rows = tensor::found().into_iter().map(|(name, outcome)| {
        let (usable, what) = match outcome {
            Ok(what) => ("yes", what),
            Err(why) => ("no", why),
        };
        vec![name, usable.into(), what]
    });
    text += &format!("\n{}", tables::table(&["for a GPU", "usable", "what"], usize::MAX, rows));
    print(&text)
}
