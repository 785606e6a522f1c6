//! The adapted model: surgery, and what its metadata tell whoever loads it.

use super::InputInfo;
use super::bake::bake;
use crate::data::{Color, Preprocessing, Task};
use crate::error::{Error, Result};
use crate::metrics::{Figures, Outlier};
use crate::onnx::cut::Cut;
use crate::onnx::graph::Index;
use crate::onnx::schema::{ModelProto, NodeProto, TensorProto, data_type};
use crate::onnx::surgery::Pooling;
use crate::onnx::{Model, head, metadata, parameters, pooling, surgery, tensor};
use crate::plan::{Activation, Plan, labels::python_dict, outliers};
use crate::train::LinearHead;
use crate::train::heads::Abstention;
use ndarray::{Array1, Array2};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

/// An adapted model and the head in it.
pub struct Adapted {
    /// The model to write.
    pub model: Model,
    /// The head with its weights rounded to the file's type: what the file computes.
    pub head: LinearHead,
    /// The hidden layer before it, rounded so, where it has one.
    pub hidden: Option<LinearHead>,
    /// What the output is.
    pub activation: Activation,
    /// The output's name.
    pub output: String,
    /// The tensor that holds the head's scores.
    pub logits: String,
    /// The initializers of the head: `[classes, features]` and `[classes]`.
    pub names: [String; 2],
}

impl Adapted {
    /// Surgery: `head` behind the frozen part of `model`.
    ///
    /// # Errors
    /// [`Error::Model`] when anything but the head would differ from the original.
    pub fn new(model: &Model, plan: &Plan, head: &LinearHead) -> Result<Adapted> {
        Adapted::with_hidden(model, plan, None, head)
    }

    /// The same with a hidden layer of ReLUs before the head.
    ///
    /// # Errors
    /// Those of [`Adapted::new`].
    pub fn with_hidden(model: &Model, plan: &Plan, hidden: Option<&LinearHead>, head: &LinearHead) -> Result<Adapted> {
        let numbers = hidden.into_iter().chain([head]).flat_map(|layer| layer.weight.iter().chain(&layer.bias));
        let kind = head::stored_type(&plan.surgery, numbers);
        let flat = |values: Vec<f32>| {
            let raw = tensor::encode_floats(values, kind);
            let data_type = match kind {
                known @ (data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE) => known,
                _ => data_type::FLOAT,
            };
            tensor::floats(&TensorProto { data_type: Some(data_type), raw_data: Some(raw), ..Default::default() })
                .unwrap_or_default()
        };
        let shape = |_| Error::Train("the head's shape is not [classes, features]".into());
        let stored = |layer: &LinearHead| {
            let weight = flat(layer.weight.iter().copied().collect());
            let weight = Array2::from_shape_vec(layer.weight.dim(), weight).map_err(shape)?;
            Ok::<_, Error>(LinearHead { weight, bias: Array1::from_vec(flat(layer.bias.to_vec())) })
        };
        let (hidden, head) = (hidden.map(stored).transpose()?, stored(head)?);
        let layers: Vec<_> = hidden.iter().chain([&head]).map(|layer| (layer.weight.flatten(), &layer.bias)).collect();
        let layers: Vec<_> = layers.iter().filter_map(|(w, bias)| Some((w.as_slice()?, bias.as_slice()?))).collect();
        let mut adapted = surgery::attach_layers(model, &plan.surgery, &plan.pooling, &layers);
        match plan.task {
            Task::Multilabel => head::to_sigmoids(&mut adapted),
            _ => head::exclude(&mut adapted),
        }
        unchanged(model, plan.surgery.end(), &adapted, |_| false)?;
        let output = adapted.graph().output[0].name().to_string();
        let activation = match Activation::of(model.graph(), &plan.surgery) {
            Activation::Softmax | Activation::LogSoftmax if plan.task == Task::Multilabel => Activation::Sigmoid,
            other if plan.task == Task::Multilabel => other,
            other => other.exclusive(),
        };
        // Surgery appends it.
        let gemm = adapted.graph().node.iter().rev().find(|node| node.is("Gemm")).cloned().unwrap_or_default();
        let [_, weight, bias] = gemm.input.try_into().unwrap_or_default();
        let logits = gemm.output.into_iter().next().unwrap_or_default();
        Ok(Adapted { model: adapted, head, hidden, activation, output, logits, names: [weight, bias] })
    }

    /// Gives trained weights their values, each under the name by which its nodes read it and in the file's own type.
    ///
    /// # Errors
    /// [`Error::Model`] when anything but these would differ from the original.
    pub fn train(&mut self, original: &Model, plan: &Plan, values: &HashMap<String, Vec<f32>>) -> Result<()> {
        let mut model = parameters::untie_only(&self.model, |name| values.contains_key(name));
        parameters::set_values(&mut model, values)?;
        unchanged(original, plan.surgery.end(), &model, |name| values.contains_key(name))?;
        self.model = model;
        let [weight, bias] = self.names.each_ref().map(|name| self.floats(name));
        let [weight, bias] = [weight.unwrap_or_default(), bias.unwrap_or_default()];
        let dim = self.head.weight.dim();
        let shape = |_| Error::Train("the head's shape is not [classes, features]".into());
        self.head =
            LinearHead { weight: Array2::from_shape_vec(dim, weight).map_err(shape)?, bias: Array1::from_vec(bias) };
        Ok(())
    }

    /// The same model with the preprocessing in its graph; see [`super::bake`].
    pub fn baked(&self, plan: &Plan) -> Model {
        let mut model = bake(&self.model, plan);
        let input = model.graph().input[0].name().to_string();
        amend(&mut model, |contract| {
            contract["baked"] = true.into();
            contract["input"]["name"] = input.into();
        });
        // Their readers would preprocess.
        KEYS.iter().for_each(|key| metadata::remove(&mut model.proto, key));
        model
    }

    /// Writes into the metadata when answers are not to be taken, once the model is described.
    pub fn abstain(&mut self, abstention: &Abstention) {
        amend(&mut self.model, |contract| contract["abstain"] = json!(abstention));
    }

    /// Writes into the metadata from which probability on each label is given, once the model is described.
    pub fn give_from(&mut self, thresholds: &[f32]) {
        amend(&mut self.model, |contract| contract["thresholds"] = json!(thresholds));
    }

    /// Writes into the metadata what tells images that are unlike those of the training, once the model is described.
    ///
    /// # Errors
    /// Why there is no room for it.
    pub fn tell_outliers(&mut self, plan: &Plan, outlier: &Outlier) -> std::result::Result<(), String> {
        let known = outliers::text(&self.features(plan), outlier)?;
        metadata::set(&mut self.model.proto, outliers::KEY, known);
        Ok(())
    }

    /// The tensor `[images, features]` of what is taken at the cut: the head's input, or the first of what it is joined of.
    fn features(&self, plan: &Plan) -> String {
        let index = Index::new(self.model.graph());
        let mut tensor = self.logits.clone();
        let ours = |node: &&NodeProto| node.label().starts_with("adapt.");
        // Ours alone: the score's `Gemm`, hidden layers, depths. The original may have such nodes, too.
        while let Some(node) = index.producer(&tensor).filter(ours).filter(|_| tensor != plan.surgery.end()) {
            let deeper = node.is("Gemm") || node.is("Relu") || pooling::joins_depths(node);
            match node.input.first().filter(|_| deeper) {
                Some(input) => tensor = input.clone(),
                None => break,
            }
        }
        tensor
    }

    /// An initializer's values.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        tensor::floats(self.model.graph().initializer.iter().find(|tensor| tensor.name() == name)?)
    }

    /// The model with the head's scores as its output, `[images, classes]`.
    pub fn scores(&self) -> Model {
        surgery::backbone(&self.model, &Cut::at(&self.logits), &Pooling::None)
    }

    /// Writes into the metadata what a user of the model needs: `adapt.contract`, and the keys of other readers.
    pub fn describe(&mut self, plan: &Plan, classes: &[String], metrics: &BTreeMap<String, Figures>) {
        let mut contract = json!({
            "schema": 1,
            "classes": classes,
            "preprocessing": plan.preprocessing.to_json(),
            "input": InputInfo::from(&plan.input),
            "output": self.output,
            "activation": self.activation,
            "task": if plan.task.is_multiclass() { json!("classify") } else { json!(plan.task) },
            "metrics": metrics.iter().map(|(k, v)| (k.clone(), v.summary())).collect::<BTreeMap<_, _>>(),
            "source": { "sha256": self.model.sha256 },
            "version": env!("CARGO_PKG_VERSION"),
        });
        if let Some(contract) = contract.as_object_mut().filter(|_| plan.task == Task::Regression) {
            let targets = contract.shift_remove("classes").unwrap_or_default();
            contract.insert("targets".into(), targets);
        }
        let proto = &mut self.model.proto;
        // Windows ML's keys told the original's preprocessing: the contract has its own.
        proto.metadata_props.retain(|entry| !entry.key().starts_with("Image."));
        metadata::set_contract(proto, &contract);
        // What the original may have is of other features.
        metadata::remove(proto, outliers::KEY);
        match plan.task {
            Task::Regression => metadata::remove(proto, "names"),
            _ => metadata::set(proto, "names", python_dict(classes)),
        }
        ultralytics(proto, plan);
    }
}

/// Changes the contract of a model that has one.
fn amend(model: &mut Model, change: impl FnOnce(&mut serde_json::Value)) {
    if let Ok(Some(mut contract)) = metadata::contract(&model.proto) {
        change(&mut contract);
        metadata::set_contract(&mut model.proto, &contract);
    }
}

const KEYS: [&str; 4] = ["imgsz", "task", "stride", "channels"];

/// Ultralytics' readers scale to 0-1 and no more, and take one class for the answer: the keys by which they accept a model are set only where that is
/// right, and removed where the original had them.
fn ultralytics(proto: &mut ModelProto, plan: &Plan) {
    let (height, width) = plan.preprocessing.size();
    let values = [format!("[{height}, {width}]"), "classify".into(), "1".into(), plan.input.channels.to_string()];
    for (key, value) in KEYS.into_iter().zip(values) {
        if plan.task.is_multiclass() && plain(&plan.preprocessing) {
            metadata::set(proto, key, value)
        } else {
            metadata::remove(proto, key)
        }
    }
}

fn plain(p: &Preprocessing) -> bool {
    let scaled = (p.scale - 1.0 / 255.0).abs() < 1e-8;
    scaled && p.color != Color::Bgr && p.mean.iter().all(|&m| m == 0.0) && p.std.iter().all(|&s| s == 1.0)
}

/// Frozen really is frozen: the nodes before the cut are the original's, in order, and so are all its stored tensors that
/// are still there; all but those `trained`, and what gave those their values.
fn unchanged(original: &Model, cut: &str, adapted: &Model, trained: impl Fn(&str) -> bool) -> Result<()> {
    let (old, new) = (original.graph(), adapted.graph());
    let stored: HashMap<_, _> = old.initializer.iter().map(|t| (t.name(), t)).collect();
    let frozen = new.initializer.iter().filter(|t| !trained(t.name()));
    let tensor = frozen.into_iter().find(|t| stored.get(t.name()).is_some_and(|old| old != t));
    let (nodes, _) = Index::new(old).ancestors(&[cut]);
    let kept = || nodes.iter().filter(|&&i| !old.node[i].output.iter().any(|output| trained(output)));
    let node = kept().zip(&new.node).find(|&(&i, node)| old.node[i] != *node);
    let missing = (new.node.len() < kept().count() && node.is_none()).then(|| "a node".to_string());
    let changed = tensor.map(|t| t.name().to_string()).or_else(|| node.map(|(_, n)| n.label())).or(missing);
    let error =
        |what| Error::model(&original.path, format!("{what} is frozen, but would be changed; please report this"));
    changed.map_or(Ok(()), |what| Err(error(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::schema::GraphProto;
    use std::path::Path;

    #[test]
    fn what_is_frozen_must_stay() {
        let model = Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny.onnx")).unwrap();
        let told = |trained: &str, change: &dyn Fn(&mut GraphProto)| {
            let mut adapted = model.clone();
            change(adapted.proto.graph.as_mut().unwrap());
            unchanged(&model, "features", &adapted, |name| name == trained).map_err(|error| error.to_string())
        };
        let weight = |graph: &mut GraphProto| {
            let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name() == "w").unwrap();
            let mut values = tensor::floats(tensor).unwrap();
            values[5] += 1e-3;
            tensor.raw_data = Some(tensor::encode_floats(values, data_type::FLOAT));
        };
        let refused = |found: std::result::Result<(), String>, what: &str| {
            let error = found.unwrap_err();
            assert!(error.contains(&format!("{what} is frozen, but would be changed")), "{error}");
        };
        assert_eq!(told("", &|_| {}), Ok(()));
        refused(told("", &weight), "w");
        refused(told("b", &weight), "w");
        assert_eq!(told("w", &weight), Ok(()));
        refused(told("w", &|graph| graph.node[1].op_type = Some("Tanh".into())), "relu (Tanh)");
        refused(told("w", &|graph| graph.node.truncate(3)), "a node");
        // Behind the cut stands the new head.
        assert_eq!(told("", &|graph| graph.node[4].op_type = Some("MatMul".into())), Ok(()));
    }
}
