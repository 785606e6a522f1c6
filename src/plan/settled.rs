//! What is decided before anything is tried with the frozen part: the size of images, their preprocessing, the cut.

use super::input::drop_idle;
use super::preprocessing::{self, Sourced};
use super::size::{self, Fit};
use super::{Input, PlanOptions, evidence, extra};
use crate::error::{Error, Result};
use crate::graph;
use crate::onnx::Model;
use crate::onnx::cut::{self, Classifier, Cut};
use crate::onnx::graph::Index;
use crate::onnx::normalize::{branches, functions, halves, names, softmax};
use crate::onnx::schema::TypeProto;
use crate::onnx::surgery::{self, Pooling};
use crate::onnx::validate::validate;

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
    /// Inputs that went, in words.
    idle: Option<String>,
    sized: Option<String>,
    stored: Vec<String>,
}

/// Settles it. `model` comes back with further inputs stored, `bfloat16` widened, and without
/// functions where the classifier is in one, or in a branch. `runs` tells whether the part up to
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
    let path = model.path.display().to_string();
    let usage = |what: String| Error::Usage(format!("{path}: {what}"));
    let (cut, inlined, idle) = find_alone(model, options).map_err(usage)?;
    let (mut input, mut preprocessing) = preprocessing::resolve(model, options.preprocess.as_ref(), options.size)?;
    let open = size::is_open(model, options)?;
    if !Index::new(model.graph()).ancestors(&[&cut.tensor]).1.contains(input.name.as_str()) {
        let tensor = &cut.tensor;
        return Err(usage(format!("the tensor '{tensor}' does not depend on the image; choose another one to cut at")));
    }
    if !is_tensor(model, &cut.tensor) {
        let (what, instead) = (&cut.tensor, "choose a tensor before it with --cut, or another --output");
        return Err(usage(format!("its output '{what}' is no tensor, and nothing of it can be features; {instead}")));
    }
    let mut sized = None;
    if open {
        match size::search(model, options, &input, |trial, input| runs(trial, &cut, input))? {
            Fit::Wanted => {}
            Fit::Other(other, sourced) => {
                sized = Some(size::note(&input, &other));
                (input, preprocessing) = (other, sourced);
            }
            Fit::None => sized = cut.features.map(|features| size::doubt(&input, features)),
        }
    }
    let stored = extra::store(model, &input);
    let frozen = surgery::backbone(model, &cut, &Pooling::None);
    graph::room(&frozen, &input.axes()).map_err(|what| Error::model(&model.path, what))?;
    Ok(Settled { input, preprocessing, cut, changes: Changes { widened, inlined, idle, sized, stored } })
}

/// [`find`], in what is left of the model without the inputs that nothing before the cut needs.
fn find_alone(model: &mut Model, options: &PlanOptions) -> std::result::Result<(Cut, bool, Option<String>), String> {
    let (cut, inlined) = find(model, options.output.as_deref(), options.cut.as_deref())?;
    let idle = drop_idle(model, cut.end());
    if idle.is_empty() {
        return Ok((cut, inlined, None));
    }
    let note = format!("inputs that are not needed are dropped, with what hangs on them: {}", idle.join(", "));
    // Places of nodes have changed, and its output may be gone.
    let (cut, also) = match Index::new(model.graph()).has(&cut.output) {
        true => find(model, Some(&cut.output), options.cut.as_deref())?,
        false => find(model, None, Some(&cut.tensor))?,
    };
    Ok((cut, inlined || also, Some(note)))
}

/// Whether an output is a tensor, as far as the file says.
pub(super) fn is_tensor(model: &Model, output: &str) -> bool {
    let declared = model.graph().output.iter().find(|o| o.name() == output).and_then(|o| o.r#type.as_ref());
    declared.is_none_or(|declared| declared.tensor_type.is_some() || *declared == TypeProto::default())
}

/// [`cut::find`], in the nodes of functions and of stored conditions' branches too where the graph itself shows no classifier,
/// or no such tensor: `model` is then, and where `true` says so, a graph without those. An activation that is written out at
/// its end becomes one node.
pub(super) fn find(
    model: &mut Model,
    output: Option<&str>,
    at: Option<&str>,
) -> std::result::Result<(Cut, bool), String> {
    let cut = search(model, output, at);
    let branches = model.graph().node.iter().any(|node| node.is("If"));
    let plain = model.proto.functions.is_empty() && !branches;
    if plain || cut.as_ref().is_ok_and(|cut| cut.classifier != Classifier::None) {
        return cut.map(|cut| (cut, false));
    }
    let mut flat = model.clone();
    let inner = flatten(&mut flat).and_then(|()| search(&mut flat, output, at));
    match inner {
        Ok(inner) if inner.classifier != Classifier::None || cut.is_err() => {
            *model = flat;
            Ok((inner, true))
        }
        _ => cut.map(|cut| (cut, false)),
    }
}

fn search(model: &mut Model, output: Option<&str>, at: Option<&str>) -> std::result::Result<Cut, String> {
    let plain = at.map(|_| model.clone());
    softmax::join(&mut model.proto);
    let mut found = cut::find(model.graph(), output, at);
    if let (Ok(cut), Some(graph)) = (&mut found, model.proto.graph.as_mut()) {
        cut.gather(graph);
    }
    match plain {
        // A tensor inside the activation has nothing behind it any more.
        Some(plain) if found.is_err() => {
            *model = plain;
            cut::find(model.graph(), output, at)
        }
        _ => found,
    }
}

/// Functions' nodes, and those of the branches that stored conditions choose, become the graph's own; its others stay as they
/// came. What they read of each other was nobody's to check before.
fn flatten(model: &mut Model) -> std::result::Result<(), String> {
    functions::inline(&mut model.proto)?;
    if model.graph().node.iter().any(|node| node.is("If")) {
        let before = model.graph().clone();
        names::unique(&mut model.proto)?;
        branches::take(&mut model.proto)?;
        surgery::list_stored(&mut model.proto);
        model.proto.graph.iter_mut().for_each(|graph| names::restore(graph, &before));
    }
    validate(model).map_err(|error| error.to_string())
}

impl Settled {
    /// What was changed or chosen so that the model can run, a line each.
    pub fn changes(&self) -> impl Iterator<Item = &str> {
        let widened = "the file's bfloat16 is exported as float32, which ONNX Runtime can run on a CPU";
        let widened = self.changes.widened.then_some(widened);
        let inlined = "what is replaced lies inside a function or a branch: the exported file has the nodes of those in its graph";
        let inlined = self.changes.inlined.then_some(inlined);
        widened
            .into_iter()
            .chain(inlined)
            .chain(self.changes.idle.as_deref())
            .chain(self.changes.sized.as_deref())
            .chain(self.changes.stored.iter().map(String::as_str))
    }

    /// What the user should know of what was found.
    pub fn notes(&self, model: &Model) -> Vec<String> {
        let Settled { cut, preprocessing: known, .. } = self;
        let mut notes = Vec::new();
        if known.guessed {
            notes.push(format!(
                "{} ({}); {} training images or more decide it when the model is adapted, where they tell conventions apart; --preprocess settles it",
                Sourced::GUESS,
                known.source,
                evidence::LEAST
            ));
        }
        let others: Vec<_> = model.graph().output.iter().map(|o| o.name()).filter(|o| *o != cut.output).collect();
        if !others.is_empty() {
            notes.push(format!("of the outputs only '{}' is adapted; dropped: {}", cut.output, others.join(", ")));
        }
        if cut.decided {
            let gave = if is_tensor(model, &cut.output) { "the choice alone" } else { "a list with names" };
            notes.push(format!("the output '{}' gave {gave}: it now gives a value for each class", cut.output));
        }
        if cut.heads > 1 {
            let which = if cut.tokens.is_empty() { String::new() } else { format!(", tokens {:?}", cut.tokens) };
            let on = if cut.apart.is_empty() { cut.tensor.clone() } else { cut.apart.join("' and '") };
            notes.push(format!("one head on '{on}'{which} takes the place of {} joined ones", cut.heads));
        }
        if cut.classifier == Classifier::None {
            let what = match () {
                _ if cut.tensor == cut.output => "the output ",
                _ if cut.tail.is_empty() => "",
                _ => "ahead of the final activation, ",
            };
            notes.push(format!("no classifier was found: {what}'{}' is taken as the features", cut.tensor));
        }
        if let Some(name) = surgery::renamed(model.graph(), cut) {
            notes.push(format!("the tensor '{}' is kept: the adapted model's output is called '{name}'", cut.output));
        }
        notes.extend(self.changes().map(String::from));
        notes
    }
}
