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
    let (mut there, mut whys) = (Vec::new(), Vec::new());
    if !device.is_cpu() && options.engine.engine == Choice::Auto {
        there.push(Backend::resolve(Choice::Candle, None, true, progress)?.on(device.clone()));
    }
    if !device.is_cpu() && own.name() == "onnxruntime" {
        own.on_gpu().map_or_else(|why| whys.push(why), |backend| there.push(backend));
    }
    for backend in there {
        let before = model.clone();
        match Plan::make(model, &backend, asked, progress) {
            Err(error @ (Error::Model { .. } | Error::Engine(_))) => {
                *model = before;
                whys.insert(0, error.to_string());
            }
            made => return made.map(|(plan, extractor)| (backend, plan, extractor)),
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
