//! Models in tract, which is built in: slower than ONNX Runtime, but always there.

use super::port::{Named, in_pieces, join};
use super::{Engine, Kind, Port, refused};
use crate::error::{Error, Result};
use crate::graph::import::{self, chain};
use crate::guard::{gave_up, quietly};
use crate::onnx::{Model, normalize};
use half::f16;
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::optim::Optimizer;

pub(super) const NAME: &str = "tract";

/// The version in Cargo.lock, which a test compares.
pub(super) const VERSION: &str = "0.23.9";

type Plan = Arc<TypedRunnableModel>;

pub(super) struct Session {
    plan: Plan,
    port: Port,
    outputs: Vec<String>,
    /// The model's file, for errors.
    path: PathBuf,
    /// The number of images that the plan takes at once; `None` is any, and then a batch is not shared out.
    batch: Option<usize>,
    pool: Option<rayon::ThreadPool>,
}

impl Session {
    pub(super) fn open(model: &Model, shape: &[Option<usize>], threads: usize) -> Result<Session> {
        let port = Port::of(model, shape).map_err(|what| refused(model, what))?;
        let normal = normalize::for_import(model)?;
        let proto = import::decode(&normal, &port)?;
        // It gives all of them one name.
        if let Some(second) = normalize::undecided(&normal).get(1) {
            let what = format!("tract cannot run it: node {}: {}", second.label(), normalize::UNDECIDED);
            return Err(refused(model, format!("{what}; of such nodes tract takes one")));
        }
        let (plan, batch) =
            plan(&proto, &port).map_err(|what| refused(model, format!("tract cannot run it: {what}")))?;
        let outputs = proto.graph.iter().flat_map(|graph| &graph.output).map(|output| output.name.clone()).collect();
        let pool = (threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build()).transpose();
        let pool = pool.map_err(|e| Error::Engine(format!("tract's threads: {e}")))?;
        Ok(Session { plan, batch, port, outputs, path: model.path.clone(), pool })
    }

    /// Runs `input` in pieces of `batch` images, shared out among the threads.
    fn shared_out(&self, input: &ArrayViewD<f32>, wanted: &[usize], batch: usize) -> Result<Vec<ArrayD<f32>>> {
        let one = |part: ArrayViewD<f32>| run(&self.plan, self.port.kind, &self.outputs, part, wanted);
        let images = input.len_of(Axis(0));
        let pieces = images.div_ceil(batch);
        let Some(pool) = self.pool.as_ref().filter(|_| pieces > 1) else { return in_pieces(input.view(), batch, one) };
        let work = |piece: usize| {
            let range = piece * batch..images.min((piece + 1) * batch);
            let (images, part) = (range.len(), input.slice_axis(Axis(0), Slice::from(range)));
            let names = wanted.iter().map(|&index| self.outputs.get(index).cloned().unwrap_or_default());
            Ok((images, names.zip(in_pieces(part, batch, one)?).collect::<Named>()))
        };
        join(pool.install(|| (0..pieces).into_par_iter().map(work).collect::<Result<Vec<_>>>())?)
    }
}

impl Engine for Session {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn input(&self) -> &Port {
        &self.port
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn together(&self) -> Option<usize> {
        self.batch
    }

    fn run_outputs(&mut self, input: ArrayViewD<f32>, wanted: &[usize]) -> Result<Vec<ArrayD<f32>>> {
        self.port.check(input.shape())?;
        let given = self.shared_out(&input, wanted, self.batch.unwrap_or(input.shape()[0]));
        given.map_err(|error| Error::Engine(format!("{}: {error}", self.path.display())))
    }
}

/// The plan, and the number of images that it takes.
///
/// A batch of open size is planned for one image, which runs three to six times faster than a batch of unknown size
/// (measured: 24 images a second against 4), and gives an image the same bits whatever its neighbours are.
fn plan(proto: &pb::ModelProto, port: &Port) -> std::result::Result<(Plan, Option<usize>), String> {
    let batch = port.fixed_batch().or(Some(1));
    let single = build(proto, port, batch);
    let enough = single.as_ref().map_or_else(|why| gave_up(why), |(_, by_image)| *by_image);
    if !enough && port.fixed_batch().is_none() {
        // With one image the batch may get lost in a Squeeze; such graphs need it unknown.
        if let Ok((plan, true)) = build(proto, port, None) {
            return Ok((plan, None));
        }
    }
    single.map(|(plan, _)| (plan, batch))
}

/// The optimised plan for `batch` images, and whether each output has a row for each.
fn build(proto: &pb::ModelProto, port: &Port, batch: Option<usize>) -> std::result::Result<(Plan, bool), String> {
    let work = || -> TractResult<(Plan, bool)> {
        let (typed, images) = import::typed(&import::reader(), proto, port, batch)?;
        let mut model = typed.clone();
        if optimise(&mut model).is_err() {
            // The optimiser fails on some graphs that run as they are: LeViT's strided slices behind a reshape.
            model = typed;
        }
        let facts = model.output_outlets()?.iter().map(|&outlet| model.outlet_fact(outlet));
        let by_image =
            facts.collect::<TractResult<Vec<_>>>()?.iter().all(|fact| fact.shape.dims().first() == Some(&images));
        Ok((model.into_runnable()?, by_image))
    };
    quietly(work).and_then(|built| built.map_err(chain))
}

/// Each change of the optimiser's costs a walk over all nodes: on chains of thousands it would hardly end. Networks stay
/// far below this product of nodes and changes (measured: 7 million at most, MaxViT).
const MOST_WORK: usize = 20_000_000;

/// As tract does by itself, with as many changes as its time allows; a graph runs with any number of them.
fn optimise(model: &mut TypedModel) -> TractResult<()> {
    let steps = MOST_WORK / model.nodes.len().max(1);
    Optimizer::declutter().stopping_at(steps).session().optimize(model)?;
    model.optimize_with_session(&mut Optimizer::codegen().stopping_at(steps).session())
}

fn run(plan: &Plan, kind: Kind, names: &[String], input: ArrayViewD<f32>, wanted: &[usize]) -> Result<Named> {
    let failed = |what: String| Error::Engine(format!("tract: {what}; try --engine ort"));
    let result = quietly(|| {
        let dense = input.as_standard_layout();
        let (shape, data) = (dense.shape(), dense.as_slice().unwrap_or_default());
        let tensor = match kind {
            Kind::F32 => Tensor::from_shape(shape, data),
            // The model is widened, the values are still those that a float16 input would hold.
            Kind::F16 => {
                Tensor::from_shape(shape, &data.iter().map(|&v| f16::from_f32(v).to_f32()).collect::<Vec<_>>())
            }
            Kind::U8 => Tensor::from_shape(shape, &data.iter().map(|v| v.round() as u8).collect::<Vec<_>>()),
        };
        let outputs = plan.run(tvec!(tensor?.into()))?;
        let take = |&index: &usize| {
            let name = names.get(index).cloned().unwrap_or_default();
            let value = outputs.get(index).ok_or_else(|| TractError::msg(format!("there is no output {index}")))?;
            let array =
                floats_of(value).map_err(|e| e.context(format!("output '{name}' cannot be read as numbers")))?;
            Ok((name, array))
        };
        wanted.iter().map(take).collect::<TractResult<Named>>()
    });
    result.and_then(|outputs| outputs.map_err(chain)).map_err(failed)
}

fn floats_of(value: &Tensor) -> TractResult<ArrayD<f32>> {
    let floats = value.cast_to::<f32>()?;
    let data = floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    Ok(ArrayD::from_shape_vec(IxDyn(value.shape()), data)?)
}
