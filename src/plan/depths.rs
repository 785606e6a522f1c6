//! Tensors before the cut whose features a head may take beside the cut's: nearer to the image, less of what the network was
//! trained for, and more of what another task may need (Evci et al. 2022, arXiv 2201.03529).

use super::opener::{Opener, tried};
use super::{Plan, PlanOptions, available_threads};
use crate::data::Layout;
use crate::engine::{Backend, Extractor};
use crate::graph::narrow;
use crate::onnx::graph::Index;
use crate::onnx::pooling::{Pooling, Tap};
use crate::onnx::schema::{GraphProto, data_type};
use crate::onnx::{Model, surgery};
use std::collections::HashSet;

/// More depths gain nothing (docs/heads.md).
const MOST_TAPS: usize = 6;
/// Features an image, of all depths.
const MOST_FEATURES: usize = 1 << 13;
/// Tensors to choose from: no network has as many, and engines are slow to tell so many shapes.
const MOST_PLACES: usize = 2000;
/// Values of all images' features: 512 MiB, of which a head's training makes copies.
const MOST_VALUES: usize = 1 << 27;

/// A tensor through which everything goes.
struct Place<'a> {
    tensor: &'a str,
    shape: &'a [usize],
    axes: Vec<i64>,
    channels: usize,
}

impl Place<'_> {
    /// Where there is a value for each channel.
    fn positions(&self) -> usize {
        self.shape[1..].iter().product::<usize>() / self.channels.max(1)
    }
}

impl Plan {
    /// Finds such tensors, opens the frozen part with them, and lists them in `taps`, the nearest to the cut first. Where there
    /// are none, or the engine does not give them, `extractor` is given back as it is.
    ///
    /// `images` is how many there will be: their features must fit into memory.
    pub fn deepen(&mut self, model: &Model, backend: &Backend, images: usize, extractor: Extractor) -> Extractor {
        // Squares leave the range of float16; a quantized part's tensors are bytes.
        if self.surgery.data_type != data_type::FLOAT || self.surgery.dequantize.is_some() {
            return extractor;
        }
        self.taps = self.find_taps(model, backend, MOST_FEATURES.min(MOST_VALUES / images.max(1)));
        let opened = (!self.taps.is_empty()).then(|| {
            let part = surgery::backbone(model, &self.surgery, &self.extraction());
            let mut engine = backend.open(&part, &self.input.axes(), available_threads()).ok()?;
            let rows = tried(&mut *engine, &self.input, 1).ok()?;
            let features = self.features + self.taps.iter().map(Tap::features).sum::<usize>();
            (rows.shape() == [1, features] && rows.iter().all(|value| value.is_finite())).then_some(engine)
        });
        match opened.flatten() {
            Some(engine) => Extractor::new(engine, 0, self.preprocessing.clone(), self.input.layout),
            None => {
                self.taps.clear();
                extractor
            }
        }
    }

    /// How the frozen part's rows are made: pooled as the head takes them, and the taps' features behind.
    pub fn extraction(&self) -> Pooling {
        match self.taps.is_empty() || matches!(self.pooling, Pooling::Depths(..)) {
            true => self.pooling.clone(),
            false => Pooling::Depths(Box::new(self.pooling.clone()), self.taps.clone()),
        }
    }

    /// How many of the extracted features each depth takes.
    pub fn columns(&self) -> Vec<usize> {
        let mut columns = vec![self.features];
        columns.extend(self.taps.iter().scan(self.features, |sum, tap| {
            *sum += tap.features();
            Some(*sum)
        }));
        columns
    }

    /// The plan of a head that takes the first `taps` taps.
    #[must_use]
    pub fn with_taps(&self, taps: usize) -> Plan {
        let mut plan = Plan { taps: self.taps[..taps].to_vec(), features: self.columns()[taps], ..self.clone() };
        plan.pooling = plan.extraction();
        plan
    }

    fn find_taps(&self, model: &Model, backend: &Backend, most: usize) -> Vec<Tap> {
        let part = surgery::backbone(model, &self.surgery, &Pooling::None);
        let index = Index::new(part.graph());
        // Zeros around a map are no features of its own.
        let padded = |tensor: &&str| index.producer(tensor).is_some_and(|node| node.is("Pad"));
        let narrow: Vec<&str> =
            narrow(part.graph(), &HashSet::new()).into_iter().filter(|tensor| !padded(tensor)).collect();
        if narrow.len() > MOST_PLACES {
            return Vec::new();
        }
        let images = self.input.batch.unwrap_or(2);
        let opener = Opener::new(backend, &self.surgery, &PlanOptions::default());
        let Some(shapes) = opener.shapes(model, &self.input, images) else { return Vec::new() };
        let place = |tensor| {
            let shape = &shapes.get(tensor)?[..];
            let last = match shape.len() {
                3 => true,
                4 => Pooling::channels_last(&index, tensor).unwrap_or(self.input.layout == Layout::Nhwc),
                _ => return None,
            };
            let channel = if last { shape.len() - 1 } else { 1 };
            let axes = (1..shape.len()).filter(|&axis| axis != channel).map(|axis| axis as i64).collect();
            let place = Place { tensor, shape, axes, channels: shape[channel] };
            (shape[0] == images && place.positions() > 1).then_some(place)
        };
        let places: Vec<Place> = narrow.into_iter().filter_map(place).collect();
        let mut left = most.saturating_sub(self.features);
        let mut taps = Vec::new();
        for place in ends(&places).into_iter().rev().take(MOST_TAPS) {
            let mean = !(taps.is_empty() && self.averages(part.graph(), place));
            let tap = Tap { tensor: place.tensor.into(), axes: place.axes.clone(), channels: place.channels, mean };
            if tap.features() > left {
                break;
            }
            left -= tap.features();
            taps.push(tap);
        }
        taps
    }

    /// Whether the cut's features are the means of this map.
    fn averages(&self, graph: &GraphProto, place: &Place) -> bool {
        const SHAPES: [&str; 8] =
            ["GlobalAveragePool", "AveragePool", "ReduceMean", "Flatten", "Reshape", "Squeeze", "Identity", "Dropout"];
        let (index, mut value) = (Index::new(graph), self.cut.as_str());
        while value != place.tensor {
            let Some(node) = index.producer(value).filter(|node| SHAPES.contains(&node.op_type())) else {
                return false;
            };
            let Some(before) = node.input.first() else { return false };
            value = before;
        }
        self.features == place.channels && !matches!(self.pooling, Pooling::Tokens(_))
    }
}

/// Where the network goes on to something else: the last of tensors of one shape, but not those that are wider than a
/// neighbour of as many positions (the inside of an inverted bottleneck), unless there is nothing behind. Of long rows of
/// tokens, which have one shape throughout, every quarter.
fn ends<'a, 'p>(places: &'p [Place<'a>]) -> Vec<&'p Place<'a>> {
    let runs: Vec<&[Place]> = places.chunk_by(|a, b| a.shape == b.shape).collect();
    let wider = |run: &[Place], other: Option<&&[Place]>| {
        other.is_some_and(|other| other[0].positions() == run[0].positions() && other[0].channels < run[0].channels)
    };
    let mut found = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|before| runs.get(before));
        if i + 1 < runs.len() && (wider(run, before) || wider(run, runs.get(i + 1))) {
            continue;
        }
        let parts = if run[0].shape.len() == 3 { 4.min(run.len()) } else { 1 };
        found.extend((1..=parts).map(|part| &run[part * run.len() / parts - 1]));
    }
    found
}
