//! What a network that is trained inside is fed with: images, or what its frozen part gave for them; and its scores for them.

use super::inside::{Job, network};
use super::made::Work;
use adapt::data::augment::Level;
use adapt::data::{Dataset, Split};
use adapt::engine::{Extractor, KeptRows};
use adapt::onnx::schema::ValueInfoProto;
use adapt::onnx::surgery;
use adapt::plan::available_threads;
use adapt::progress::{Event, emit};
use adapt::train::Features;
use adapt::train::tune::{Feed, Network, Tuned};
use adapt::{Error, Result};
use ndarray::{Array2, Axis};
use std::sync::PoisonError;

/// Bytes of memory for what a frozen part gives.
const CACHE_LIMIT: u64 = 2 << 30;

/// Paths and labels.
pub(super) type Items = (Vec<String>, Vec<usize>);

pub(super) fn items(data: &Dataset, split: Split) -> Items {
    data.split(split).map(|item| (item.path.clone(), item.label)).unzip()
}

/// Whether the frozen features' nearest class mean is told beside a tail's figures on images that validate: where these are what judges it.
pub(super) fn judges_frozen(data: &Dataset) -> bool {
    data.task.is_multiclass() && data.split(Split::Test).next().is_none()
}

impl Job {
    /// Whether what the frozen part gives is kept: images are not changed each time.
    pub(super) fn keeps(&self) -> bool {
        self.settings.augment == Level::None && self.settings.steps > 0 && self.frozen.is_some()
    }

    /// Bytes of that, for images that training looks at.
    fn kept_bytes(&self, images: usize) -> Option<u64> {
        self.keeps()
            .then(|| self.inside.shape.iter().product::<usize>() as u64 * size_of::<f32>() as u64 * images as u64)
    }

    /// What the frozen part gives for the images that train and those that validate, where images are not changed each time; in a
    /// file beside the result where that is too much for memory. Where there is a way to `features`, those of the images that train
    /// come from the same pass, and where [`judges_frozen`] those of the images that validate. Images that cannot be read
    /// leave `data`.
    pub fn keep(
        &self,
        work: &Work,
        data: &mut Dataset,
        features: Option<Extractor>,
    ) -> Result<(Vec<Features>, Vec<KeptRows>)> {
        let bytes = self.kept_bytes([Split::Train, Split::Val].map(|split| data.split(split).count()).iter().sum());
        let (Some(frozen), Some(bytes)) = (&self.frozen, bytes) else { return Ok((Vec::new(), Vec::new())) };
        let mut frozen = frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = (bytes > work.options.training.cache_limit.unwrap_or(CACHE_LIMIT)).then(|| work.out.folder());
        let place = (self.inside.shape.iter().product(), folder);
        let judged = features.is_some() && judges_frozen(data);
        let mut joint = features.map(|extractor| self.joint(work, extractor)).transpose()?;
        let mut keep = |split, extractor: Option<&mut Extractor>| {
            Features::extract_keeping(data, split, extractor.unwrap_or(&mut *frozen), place, work.progress)
        };
        let (train, own) = keep(Split::Train, joint.as_mut())?;
        let (val, held) = keep(Split::Val, joint.as_mut().filter(|_| judged))?;
        let mut features = if joint.is_some() { vec![train] } else { Vec::new() };
        features.extend(judged.then_some(val));
        Ok((features, vec![own, held]))
    }

    /// What gives the cut's features and what is kept.
    fn joint(&self, work: &Work, extractor: Extractor) -> Result<Extractor> {
        let plan = work.plan;
        let mut model = surgery::backbone(work.model, &plan.surgery, &plan.pooling);
        let graph = model.proto.graph.get_or_insert_default();
        let start = self.start().unwrap_or_default();
        let place = usize::from(graph.output[0].name() != start);
        if place == 1 {
            graph.output.push(ValueInfoProto { name: Some(start.into()), ..Default::default() });
        }
        let engine = work.backend.open(&model, &plan.input.axes(), available_threads())?;
        Ok(extractor.keeping(engine, place))
    }

    pub(super) fn feed<'a>(
        &'a self,
        work: &'a Work,
        data: &'a Dataset,
        (paths, labels): &'a Items,
        kept: Option<&'a KeptRows>,
    ) -> Feed<'a> {
        let (preprocessing, layout) = (&work.plan.preprocessing, work.plan.input.layout);
        let (frozen, shape) = (self.frozen.as_ref(), &self.inside.shape);
        Feed { source: &data.source, paths, labels, preprocessing, layout, kept, frozen, shape }
    }

    /// The scores that training's own program gives for images, with the weights as the file has them.
    pub fn logits(&self, work: &Work, data: &Dataset, paths: &[String], tuned: &Tuned) -> Result<Array2<f32>> {
        self.trained_network(tuned)?.logits(&self.feed(work, data, &(paths.to_vec(), vec![0; paths.len()]), None))
    }

    /// The same for a split's images, from what the frozen part gave.
    pub fn scores(
        &self,
        work: &Work,
        data: &Dataset,
        split: Split,
        kept: &KeptRows,
        tuned: &Tuned,
    ) -> Result<Features> {
        let items = items(data, split);
        let (network, feed) = (self.trained_network(tuned)?, self.feed(work, data, &items, Some(kept)));
        let places: Vec<usize> = (0..items.0.len()).collect();
        let name = format!("scores of {split} images");
        emit(work.progress, Event::Stage { name: &name, total: places.len() as u64 })?;
        let mut rows = Array2::zeros((0, if places.is_empty() { 0 } else { self.classes() }));
        for chunk in places.chunks(self.settings.batch_size) {
            rows.append(Axis(0), network.logits_at(&feed, chunk)?.view()).map_err(|e| Error::Engine(e.to_string()))?;
            emit(work.progress, Event::Advance(chunk.len() as u64))?;
        }
        Ok(Features { split, rows, labels: items.1, paths: items.0, facts: Vec::new() })
    }

    fn trained_network(&self, tuned: &Tuned) -> Result<Network<'_>> {
        let rounded = tuned.values.keys().filter_map(|name| Some((name.clone(), self.adapted.floats(name)?)));
        network(&self.inside, &self.inside.program, &rounded.collect())
    }
}
