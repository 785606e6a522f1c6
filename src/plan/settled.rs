//! What is decided before anything is tried with the frozen part: the size of images, their preprocessing, the cut.

use super::preprocessing::{self, Sourced};
use super::{Input, PlanOptions, extra, size};
use crate::error::{Error, Result};
use crate::onnx::cut::{self, Classifier, Cut};
use crate::onnx::graph::Index;
use crate::onnx::normalize::{functions, halves};
use crate::onnx::{Model, surgery};

/// What the file and the user's wishes decide, and what it took.
pub struct Settled {
    /// The image input.
    pub input: Input,
    /// How images become input values.
    pub preprocessing: Sourced,
    /// Where the frozen part ends.
    pub cut: Cut,
    /// What was changed or chosen so that the model can run.
    changes: Changes,
}

#[derive(Default)]
struct Changes {
    widened: bool,
    inlined: bool,
    sized: Option<String>,
    stored: Vec<String>,
}

/// Settles it. `model` comes back with further inputs stored, `bfloat16` widened, and without
/// functions where the classifier is in one. `runs` tells whether the part up to
/// a cut runs with images of a size; it is only asked where the size is open.
///
/// # Errors
/// [`Error::Usage`] for an unknown tensor, one that the image has no part in, or a size that does not fit,
/// [`Error::Model`] for a model without an image input.
pub fn settle(
    model: &mut Model,
    options: &PlanOptions,
    runs: impl Fn(&Model, &Cut, &Input) -> bool,
) -> Result<Settled> {
    let widened = halves::widen_bfloat16(&mut model.proto);
    let (mut input, mut preprocessing) = preprocessing::resolve(model, options.preprocess.as_ref(), options.size)?;
    let open = size::is_open(model, options)?;
    let path = model.path.display().to_string();
    let usage = |what: String| Error::Usage(format!("{path}: {what}"));
    let (cut, inlined) = find(model, options.output.as_deref(), options.cut.as_deref()).map_err(usage)?;
    if !Index::new(model.graph()).ancestors(&[&cut.tensor]).1.contains(input.name.as_str()) {
        let tensor = &cut.tensor;
        return Err(usage(format!("the tensor '{tensor}' does not depend on the image; choose another one to cut at")));
    }
    let search = || size::search(model, options, &input, |trial, input| runs(trial, &cut, input));
    let mut sized = None;
    if let Some((other, sourced)) = if open { search() } else { None } {
        sized = Some(size::note(&input, &other));
        (input, preprocessing) = (other, sourced);
    }
    let stored = extra::store(model, &input);
    Ok(Settled { input, preprocessing, cut, changes: Changes { widened, inlined, sized, stored } })
}

/// [`cut::find`], in the functions' nodes too where the graph itself shows no classifier: `model` is then, and where `true`
/// says so, a graph without functions.
pub(super) fn find(
    model: &mut Model,
    output: Option<&str>,
    at: Option<&str>,
) -> std::result::Result<(Cut, bool), String> {
    let cut = cut::find(model.graph(), output, at)?;
    if cut.classifier != Classifier::None || at.is_some() || model.proto.functions.is_empty() {
        return Ok((cut, false));
    }
    let mut flat = model.clone();
    let inner = functions::inline(&mut flat.proto).and_then(|()| cut::find(flat.graph(), output, None));
    match inner {
        Ok(inner) if inner.classifier != Classifier::None => {
            *model = flat;
            Ok((inner, true))
        }
        _ => Ok((cut, false)),
    }
}

impl Settled {
    /// What was changed or chosen so that the model can run, a line each.
    pub fn changes(&self) -> impl Iterator<Item = &str> {
        let widened = "the file's bfloat16 is exported as float32, which ONNX Runtime can run on a CPU";
        let widened = self.changes.widened.then_some(widened);
        let inlined = "the classifier lies inside a function: the exported file has the functions' nodes in its graph";
        let inlined = self.changes.inlined.then_some(inlined);
        widened
            .into_iter()
            .chain(inlined)
            .chain(self.changes.sized.as_deref())
            .chain(self.changes.stored.iter().map(String::as_str))
    }

    /// What the user should know of what was found.
    pub fn notes(&self, model: &Model) -> Vec<String> {
        let Settled { cut, preprocessing: known, .. } = self;
        let mut notes = Vec::new();
        if known.guessed {
            notes.push(format!("{} ({}); give --preprocess if you know better", Sourced::GUESS, known.source));
        }
        let others: Vec<_> = model.graph().output.iter().map(|o| o.name()).filter(|o| *o != cut.output).collect();
        if !others.is_empty() {
            notes.push(format!("of the outputs only '{}' is adapted; dropped: {}", cut.output, others.join(", ")));
        }
        if cut.decided {
            notes.push(format!(
                "the output '{}' gave the choice alone: it now gives a value for each class",
                cut.output
            ));
        }
        if cut.heads > 1 {
            let which = if cut.tokens.is_empty() { String::new() } else { format!(", tokens {:?}", cut.tokens) };
            notes.push(format!("one head on '{}'{which} takes the place of {} joined ones", cut.tensor, cut.heads));
        }
        if cut.classifier == Classifier::None {
            let what = if cut.tensor == cut.output { "the output" } else { "ahead of the final activation," };
            notes.push(format!("no classifier was found: {what} '{}' is taken as the features", cut.tensor));
        }
        if let Some(name) = surgery::renamed(model.graph(), cut) {
            notes.push(format!("the tensor '{}' is kept: the adapted model's output is called '{name}'", cut.output));
        }
        notes.extend(self.changes().map(String::from));
        notes
    }
}
