//! Where the work is done: the engine, and the device of candle's programs.

use super::AdaptOptions;
use super::training::Train;
use adapt::engine::{Backend, Choice, Extractor};
use adapt::onnx::Model;
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::{Event, Progress, emit};
use adapt::tensor::{Device, Wanted};
use adapt::{Error, Result};

/// The device that is wanted; the processor, with a warning, where it was left open and a GPU cannot be used.
fn open(wanted: Wanted, progress: Progress) -> Result<Device> {
    match wanted.open() {
        Err(why) if wanted == Wanted::Auto => {
            emit(progress, Event::Warning(&format!("the GPU is not used: {why}")))?;
            Ok(Device::Cpu)
        }
        device => device.map_err(|why| Error::Usage(format!("--device: {why}"))),
    }
}

/// The engine, and the plan with it. On a GPU that is candle's program, or ONNX Runtime where that is asked for or candle cannot
/// run the network; where neither can, what is used without a GPU does, and the GPU is for training alone. ONNX Runtime is to
/// prove the result, too: it is fetched where it is missing.
pub fn plan(
    options: &AdaptOptions,
    model: &mut Model,
    asked: &PlanOptions,
    progress: Progress,
) -> Result<(Backend, Plan, Extractor)> {
    let device = open(options.device, progress)?;
    let own = options.engine.resolve(progress)?.on(device.clone());
    let candle = || Ok(Backend::resolve(Choice::Candle, None, true, progress)?.on(device.clone()));
    let provider = || own.on_gpu().map_err(Error::Engine);
    let there: [(bool, &dyn Fn() -> Result<Backend>); 2] =
        [(options.engine.engine == Choice::Auto, &candle), (own.name() == "onnxruntime", &provider)];
    let mut whys = Vec::new();
    for (_, open) in there.into_iter().filter(|(possible, _)| *possible && !device.is_cpu()) {
        let before = model.clone();
        let made = open().and_then(|backend| Ok((Plan::make(model, &backend, asked, progress)?, backend)));
        match made {
            Err(error @ (Error::Model { .. } | Error::Engine(_))) => {
                *model = before;
                whys.push(error.to_string());
            }
            made => return made.map(|((plan, extractor), backend)| (backend, plan, extractor)),
        }
    }
    let (mut plan, extractor) = Plan::make(model, &own, asked, progress)?;
    if !whys.is_empty() {
        plan.notes.push(format!("the frozen part does not run on {}: {}", plan.device, whys.join("; ")));
    } else if options.train == Train::Head && !device.is_cpu() && own.name() != "candle" {
        plan.notes.push(format!(
            "only heads that are trained step by step are on {}: the engine {} runs on the processor",
            plan.device,
            own.name()
        ));
    }
    Ok((own, plan, extractor))
}
