//! Where the work is done: the engine, and the device of candle's programs.

use super::AdaptOptions;
use super::resume::Recipe;
use super::training::Train;
use adapt::engine::{Backend, Cache, Choice, Extractor, trial};
use adapt::onnx::Model;
use adapt::plan::{self, Plan, PlanOptions};
use adapt::progress::{Event, Progress, emit};
use adapt::tensor::{Device, Wanted};
use adapt::{Error, Result};

/// So few images are not worth a trial of two engines, which runs as many.
const FEW: usize = 256;

/// What earlier runs left.
pub struct Before<'a> {
    pub cache: Option<&'a Cache>,
    /// Of the run that goes on.
    pub recipe: Option<&'a Recipe>,
}

/// A network that is open in an engine: it is as the plan left it.
struct Opened {
    model: Model,
    backend: Backend,
    plan: Plan,
    extractor: Extractor,
}

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

/// The engine, and the plan with it, for so many images. On a GPU that is candle's program, or ONNX Runtime where that is asked
/// for, candle cannot run the network, or it is the faster of the two; where neither can, what is used without a GPU does, and
/// the GPU is for training alone. ONNX Runtime is to prove the result, too: it is fetched where it is missing.
pub fn plan(
    options: &AdaptOptions,
    model: &mut Model,
    (asked, images): (&PlanOptions, usize),
    before: &Before,
    progress: Progress,
) -> Result<(Backend, Plan, Extractor)> {
    let device = open(options.device, progress)?;
    let own = options.engine.resolve(progress)?.on(device.clone());
    let candle = || Ok(Backend::resolve(Choice::Candle, None, true, progress)?.on(device.clone()));
    let provider = || own.on_gpu().map_err(Error::Engine);
    let there: [(bool, &dyn Fn() -> Result<Backend>); 2] =
        [(options.engine.engine == Choice::Auto, &candle), (own.name() == "onnxruntime", &provider)];
    let (mut all, mut whys): (Vec<Opened>, Vec<String>) = Default::default();
    for (_, open) in there.into_iter().filter(|(possible, _)| *possible && !device.is_cpu()) {
        if !all.is_empty() && images <= FEW {
            break;
        }
        let mut model = model.clone();
        let made = open().and_then(|backend| Ok((Plan::make(&mut model, &backend, asked, progress)?, backend)));
        match made {
            Ok(((plan, extractor), backend)) => all.push(Opened { model, backend, plan, extractor }),
            Err(error @ (Error::Model { .. } | Error::Engine(_))) => whys.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let taken = match <[Opened; 2]>::try_from(all) {
        Ok(both) => Some(choose(both, before, progress)?),
        Err(mut one) => one.pop(),
    };
    if let Some(Opened { model: its, backend, mut plan, extractor }) = taken {
        if let Some(why) = whys.first().filter(|_| plan.engine.name != "candle") {
            plan.notes.push(format!("candle does not run the frozen part on {}: {why}", plan.device));
        }
        *model = its;
        return Ok((backend, plan, extractor));
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

/// Of a network that is open in candle and in ONNX Runtime, both on a GPU: that of the run that goes on, else that whose features
/// an earlier run kept, since no clock is to choose among engines' roundings anew; else the faster one, by one measured batch.
fn choose(both: [Opened; 2], before: &Before, progress: Progress) -> Result<Opened> {
    let cached = |own: Opened| Opened { extractor: own.plan.cached(own.extractor, &own.model, before.cache), ..own };
    let [mut candle, mut provider] = both.map(cached);
    let known = |own: &Opened| before.recipe.map_or(own.extractor.is_known(), |recipe| recipe.engine_is(&own.plan));
    match [known(&candle), known(&provider)] {
        [true, _] => return Ok(candle),
        [false, true] => return Ok(provider),
        [false, false] => emit(progress, Event::Stage { name: "trying engines", total: 0 })?,
    }
    let input = candle.plan.input.clone();
    let mut engines = [&mut candle, &mut provider].map(|own| own.extractor.engine());
    let most = plan::MOST_VALUES / input.len().max(1);
    let images = engines.iter().fold(most, |most, engine| most.min(engine.at_once())).max(1);
    let batch = plan::probe(&input, images);
    let seconds = engines.each_mut().map(|engine| trial::seconds(&mut **engine, batch.view()));
    let told = [("candle", &seconds[0]), ("ONNX Runtime", &seconds[1])].map(|(name, taken)| match taken {
        Ok(seconds) => format!("{name} takes {:.1} ms", 1e3 * seconds),
        Err(why) => format!("{name} fails ({why})"),
    });
    let (mut taken, other) = if trial::is_second(&seconds) { (provider, candle) } else { (candle, provider) };
    drop(other);
    // For the other one's.
    taken.backend.trim();
    taken.plan.notes.push(format!(
        "the frozen part runs in {} on {}: for {images} images at once {}; ONNX Runtime is taken where it is faster by more than \
         a tenth, and --engine candle or ort leaves no choice",
        taken.plan.engine.name,
        taken.plan.device,
        told.join(", ")
    ));
    Ok(taken)
}
