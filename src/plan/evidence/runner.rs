//! A frozen part that conventions are tried with.

use crate::data::{Layout, Preprocessing};
use crate::engine::{Backend, Cache, Engine, Shelf};
use crate::error::{Error, Result};
use crate::onnx::cut::Classifier;
use crate::onnx::{Model, surgery};
use crate::plan::{Activation, Plan, available_threads};
use ndarray::{ArrayD, Axis};

/// The frozen part in an engine, with the old head beside it where there is one.
pub(super) struct Runner {
    engine: Box<dyn Engine>,
    fingerprint: String,
    cache: Option<Cache>,
    pub layout: Layout,
    /// Values of a row before those of the old head.
    pub features: usize,
    /// What the old head's output means.
    pub old: Option<Activation>,
}

impl Runner {
    pub fn new(plan: &Plan, model: &Model, backend: &Backend, cache: Option<&Cache>) -> Result<Runner> {
        let open = |model: Model| {
            let engine = backend.open(&model, &plan.input.axes(), available_threads())?;
            Ok::<_, Error>((engine, model))
        };
        let cut = &plan.surgery;
        let whole = !matches!(cut.classifier, Classifier::None | Classifier::Chosen) && !cut.decided;
        let both = whole.then(|| open(surgery::with_old_head(model, cut, &plan.pooling)).ok()).flatten();
        // The plan has proven the frozen part for any number of images: what is behind it may be made for one.
        let both = both.and_then(|(mut engine, model)| {
            gives_rows(&mut *engine, &plan.preprocessing, plan.input.layout).then_some((engine, model))
        });
        let old = both.is_some().then(|| Activation::of(model.graph(), cut));
        let (engine, model) = match both {
            Some(both) => both,
            None => open(surgery::backbone(model, cut, &plan.pooling))?,
        };
        let (cache, fingerprint) = (cache.cloned(), model.fingerprint());
        Ok(Runner { engine, fingerprint, cache, layout: plan.input.layout, features: plan.features, old })
    }

    /// Rows of earlier runs.
    pub fn shelf(&mut self, p: &Preprocessing) -> Option<Shelf> {
        let whole = || vec![(String::new(), 0)];
        let cache = self.cache.as_ref()?;
        Some(cache.shelf(&self.fingerprint, (whole(), 1), (p, self.layout), &*self.engine))
    }

    /// The rows of images whose `values` are there: features, then the old head's output. Values may be infinite or NaN.
    pub fn rows(&mut self, images: usize, values: Vec<f32>, p: &Preprocessing) -> Result<Vec<Vec<f32>>> {
        let input = ArrayD::from_shape_vec(p.shape(images, self.layout).to_vec(), values);
        let found = self.engine.run(input.map_err(|e| Error::Engine(e.to_string()))?.view())?;
        let mut rows = vec![Vec::new(); images];
        for output in &found[..if self.old.is_some() { 2 } else { 1 }] {
            let values: Vec<f32> = output.iter().copied().collect();
            for (row, values) in rows.iter_mut().zip(values.chunks((values.len() / images).max(1))) {
                row.extend(values);
            }
        }
        Ok(rows)
    }
}

/// Whether all outputs have a row for each image.
fn gives_rows(engine: &mut dyn Engine, p: &Preprocessing, layout: Layout) -> bool {
    let images = 2;
    let found = engine.run(ArrayD::zeros(p.shape(images, layout).to_vec()).view());
    found.is_ok_and(|outputs| outputs.iter().all(|output| output.ndim() > 0 && output.len_of(Axis(0)) == images))
}
