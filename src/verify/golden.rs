//! Three images of a run with what they become, so that anybody can see whether another stack does the same: `golden/`.

use super::{SMALLEST, compare, tolerance};
use crate::data::{Layout, Preprocessing, Source};
use crate::engine::Backend;
use crate::error::{Error, Result};
use crate::plan::{Activation, EngineInfo, Plan, Trained};
use crate::progress::Progress;
use ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix2};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Its name in a run's folder.
pub const FOLDER: &str = "golden";
/// The tensors' file in it: `input` as the network takes it, `logits`, and `output` as the model gives it.
pub const TENSORS: &str = "tensors.safetensors";
/// What the files are.
pub const LIST: &str = "golden.json";
/// What the names of images begin with.
pub const IMAGE: &str = "image-";

/// How many images.
const IMAGES: usize = 3;
/// What an input may be off by, in steps of an 8-bit pixel: resizing rounds to these.
const STEPS: f64 = 1.01;
/// As `tolerance`, for models that preprocess in their graphs.
const BAKED_LOGITS: f64 = 0.05;
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// `golden.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// In the order of the tensors' rows.
    pub images: Vec<Image>,
    /// The model's input.
    pub input: String,
    /// Whether it takes the images themselves, bytes as they are decoded, and preprocesses in its graph: the stored `input` is then
    /// what becomes of them inside.
    #[serde(default)]
    pub baked: bool,
    /// The model's output.
    pub output: String,
    /// What logits and output may be off by, relative to their largest absolute value.
    pub tolerance: f64,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Beside the list.
    pub file: String,
    /// In the data set.
    pub path: String,
}

/// What another machine, or engine, makes of a run's images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Who ran the model.
    pub engine: EngineInfo,
    /// How many images.
    pub images: usize,
    /// The largest difference of inputs, in steps of an 8-bit pixel, where adapt preprocesses.
    pub input_steps: Option<f64>,
    /// Whether the model preprocesses in its graph, where this engine cannot: what is behind that is checked alone.
    pub graph_unchecked: bool,
    /// The largest difference of outputs, relative to their largest absolute value.
    pub max_rel_diff: f64,
    /// What that may be.
    pub tolerance: f64,
    /// The share of images of the same class.
    pub class_agreement: f64,
}

/// Makes `folder` and writes three of the images at the given paths into it, with what they become: `logits` has the rows
/// of all, and the model's output, called `output`, is what becomes of them. `baked` is the input of a model that preprocesses
/// in its graph.
///
/// # Errors
/// [`Error::Io`]; [`Error::Data`] where an image cannot be read any more.
pub fn write(
    folder: &Path,
    plan: &Plan,
    (baked, output, activation): (Option<&str>, &str, Activation),
    (source, paths): (&Source, &[String]),
    logits: ArrayView2<f32>,
) -> Result<()> {
    let count = paths.len().min(IMAGES);
    let places: Vec<usize> = (0..count).map(|i| i * paths.len() / count).collect();
    fs::create_dir(folder).map_err(Error::io(folder))?;
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).map_err(Error::io(&folder.join(name)));
    let (p, layout) = (&plan.preprocessing, plan.input.layout);
    let (mut list, mut input) = (Vec::new(), Vec::new());
    for (i, &place) in places.iter().enumerate() {
        let path = &paths[place];
        let bad = |what: String| Error::data(source.locate(path), what);
        let bytes = source.bytes(path).map_err(bad)?;
        let extension = source.look(path).map_err(bad)?.0.replace("raw", "png");
        let file = format!("{IMAGE}{i}.{extension}");
        put(&file, &bytes)?;
        input.extend(values(source, path, p, layout).map_err(bad)?);
        list.push(Image { file, path: path.clone() });
    }
    let shape = p.shape(count, layout);
    let input = ArrayD::from_shape_vec(shape.to_vec(), input).expect("as many values as the shape says");
    let logits = logits.select(Axis(0), &places);
    let given = activation.apply(logits.view());
    let arrays = [("input", input), ("logits", logits.into_dyn()), ("output", given.into_dyn())];
    put(TENSORS, &tensors(&arrays)?)?;
    let (input, output) = (baked.unwrap_or(&plan.input.name).into(), output.into());
    let within = if baked.is_some() { BAKED_LOGITS } else { tolerance(plan) };
    let golden = Golden { images: list, input, baked: baked.is_some(), output, tolerance: within };
    let text = serde_json::to_string_pretty(&golden).map_err(|e| Error::Engine(format!("writing JSON: {e}")))?;
    put(LIST, (text + "\n").as_bytes())
}

/// An image as the model takes it.
fn values(source: &Source, path: &str, p: &Preprocessing, layout: Layout) -> std::result::Result<Vec<f32>, String> {
    let mut values = vec![0.; p.shape(1, layout).iter().product()];
    source.values(path, p, layout, &mut values)?;
    Ok(values)
}

/// Arrays by name as a safetensors file.
pub(crate) fn tensors(arrays: &[(&str, ArrayD<f32>)]) -> Result<Vec<u8>> {
    let failed = |e| Error::Engine(format!("writing safetensors: {e}"));
    let bytes: Vec<Vec<u8>> =
        arrays.iter().map(|(_, array)| array.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = arrays.iter().zip(&bytes).map(|((name, array), bytes)| {
        Ok((*name, TensorView::new(Dtype::F32, array.shape().to_vec(), bytes).map_err(failed)?))
    });
    safetensors::serialize(views.collect::<Result<Vec<_>>>()?, None).map_err(failed)
}

/// What is stored of a run's images.
struct Stored {
    folder: PathBuf,
    golden: Golden,
    input: ArrayD<f32>,
    logits: Array2<f32>,
    output: Array2<f32>,
}

impl Stored {
    fn read(run: &Path) -> Result<Stored> {
        let folder = run.join(FOLDER);
        let read = |name: &str| {
            let path = folder.join(name);
            match fs::metadata(&path) {
                Ok(meta) if meta.is_file() && meta.len() <= LARGEST => fs::read(&path).map_err(Error::io(&path)),
                Ok(_) => Err(Error::data(&path, "not a file that adapt wrote")),
                Err(e) => {
                    let what = format!("{}: {e}; give the folder of a run, which holds {FOLDER}/", path.display());
                    Err(Error::Usage(what))
                }
            }
        };
        let damaged = |name: &str, what: String| Error::data(folder.join(name), format!("damaged: {what}"));
        let golden: Golden = serde_json::from_slice(&read(LIST)?).map_err(|e| damaged(LIST, e.to_string()))?;
        if let Some(image) =
            golden.images.iter().find(|image| !image.file.starts_with(IMAGE) || image.file.contains('/'))
        {
            return Err(damaged(LIST, format!("'{}' is no file beside it", image.file)));
        }
        let bytes = read(TENSORS)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(TENSORS, e.to_string()))?;
        let array = |name: &str| {
            let view = tensors.tensor(name).map_err(|e| damaged(TENSORS, e.to_string()))?;
            let values = view.data().as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
            let fits = Some(view.shape().to_vec()).filter(|_| view.dtype() == Dtype::F32);
            let array = fits.and_then(|shape| ArrayD::from_shape_vec(shape, values).ok());
            array.ok_or_else(|| damaged(TENSORS, format!("'{name}' is no array of float32")))
        };
        let rows = |name: &str| {
            let rows = array(name)?.into_dimensionality::<Ix2>();
            rows.map_err(|e| damaged(TENSORS, format!("'{name}': {e}")))
        };
        let (input, logits, output) = (array("input")?, rows("logits")?, rows("output")?);
        if golden.images.is_empty() || output.nrows() != golden.images.len() || logits.dim() != output.dim() {
            return Err(damaged(TENSORS, "it has not a row for each image".into()));
        }
        Ok(Stored { folder, golden, input, logits, output })
    }

    /// The largest difference of the images' values, in steps of an 8-bit pixel.
    fn input_steps(&self, p: &Preprocessing, layout: Layout) -> Result<f64> {
        if self.input.shape() != p.shape(self.golden.images.len(), layout) {
            let what = "damaged: its shapes are not those of the images that the model takes";
            return Err(Error::data(self.folder.join(TENSORS), what));
        }
        // The smallest step that a pixel makes.
        let step = p.std.iter().fold(f32::INFINITY, |least, std| least.min((p.scale / std).abs()));
        let (source, mut steps) = (Source::folder(&self.folder), 0f64);
        for (image, stored) in self.golden.images.iter().zip(self.input.outer_iter()) {
            let found = values(&source, &image.file, p, layout);
            let found = found.map_err(|what| Error::data(self.folder.join(&image.file), what))?;
            steps = stored.iter().zip(&found).fold(steps, |most, (a, b)| most.max(f64::from((a - b).abs() / step)));
        }
        Ok(steps)
    }
}

/// Compares what the model of the run in `run` makes of its golden images, here and in this engine, with what it made of them
/// when it was written: the preprocessing, and the output for the stored input. A model that preprocesses in its graph gets
/// the images themselves, where the engine can run that; else what is behind it gets the stored input.
///
/// # Errors
/// [`Error::Parity`] where they differ, [`Error::Usage`] or [`Error::Data`] where `run` holds no golden images, or damaged
/// ones, and those of [`Trained::open`].
pub fn check(run: &Path, backend: &Backend, progress: Progress) -> Result<Checked> {
    let stored = Stored::read(run)?;
    let trained = Trained::open(&run.join("model.onnx"), None, None)?;
    let in_graph = trained.baked;
    let trained = trained.suited(backend)?;
    let (graph_unchecked, mut input_steps) = (in_graph && !trained.baked, None);
    let mut extractor = trained.extractor(backend)?;
    let found = if trained.baked {
        let files: Vec<&str> = stored.golden.images.iter().map(|image| image.file.as_str()).collect();
        extractor.run(&Source::folder(&stored.folder), &files, "verifying", progress)?.rows
    } else {
        input_steps = Some(stored.input_steps(&trained.preprocessing.preprocessing, trained.input.layout)?);
        extractor.rows(stored.input.view())?
    };
    let (max_rel_diff, class_agreement) = compare(stored.output.view(), found.view(), SMALLEST);
    let (of_logits, _) = compare(stored.output.view(), trained.activation.apply(stored.logits.view()).view(), SMALLEST);
    // No run writes a larger one.
    let tolerance = if trained.baked { BAKED_LOGITS } else { stored.golden.tolerance.min(1e-2) };
    let engine = EngineInfo { name: extractor.engine().name(), version: extractor.engine().version().into() };
    let images = stored.golden.images.len();
    let wrong = if let Some(steps) = input_steps.filter(|steps| *steps > STEPS) {
        format!("the images' preprocessed values differ by up to {steps:.1} steps of a pixel (allowed 1)")
    } else if max_rel_diff.is_nan() || max_rel_diff > tolerance {
        let name = engine.name;
        format!("{name} computes outputs that differ by {max_rel_diff:.1e} of their scale (allowed {tolerance:.0e})")
    } else if of_logits.is_nan() || of_logits > tolerance {
        format!(
            "the stored logits are not those of the stored outputs: {of_logits:.1e} apart (allowed {tolerance:.0e})"
        )
    } else {
        return Ok(Checked { engine, images, input_steps, graph_unchecked, max_rel_diff, tolerance, class_agreement });
    };
    Err(Error::Parity(format!("{}: {wrong}", run.display())))
}
