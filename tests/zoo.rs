//! Whole models, of the skeletons in `fixtures/zoo`: candle against ONNX Runtime, names tied to weights, cuts found.
//! `cargo run --release --example zoo` does it for all of them, and more (docs/zoo.md).

mod common;
#[path = "../fixtures/zoo/zoo.rs"]
mod zoo;

use adapt::graph::{Extent, Program, Tail, Wanted, tail};
use adapt::onnx::cut::{self, Classifier, Cut};
use adapt::onnx::parameters::{Parameter, untie, with_values};
use adapt::onnx::surgery::{self, Pooling};
use adapt::onnx::tensor::floats;
use adapt::plan::{Input, Inside, PlanOptions, preprocessing};
use adapt::progress::silent;
use adapt::tensor::{DType, Device, Tensor};
use adapt::train::LinearHead;
use adapt::{Adapted, Backend, Model, Plan};
use ndarray::{ArrayD, Axis, IxDyn, s};
use std::path::PathBuf;
use std::sync::LazyLock;

static RUNTIME: LazyLock<Backend> = LazyLock::new(common::onnx_runtime);

/// What the last layer with 1000 outputs reads, looked up in each graph by eye, and how many features that is.
const CUTS: [(&str, &str, usize); 26] = [
    ("keras_mobilenet_v2_tf2onnx", "mobilenetv2_1.00_224_1/global_average_pooling2d_1/Mean_Squeeze__397:0", 1280),
    ("paddle_mobilenet_v2_paddle2onnx", "p2o.pd_op.dropout.0.0", 1280),
    ("timm_deit_tiny_distilled_patch16_224_script", "/norm/LayerNormalization_output_0", 192),
    ("timm_efficientnet_lite0_script", "/global_pool/flatten/Flatten_output_0", 1280),
    ("timm_ghostnet_100_script", "/flatten/Flatten_output_0", 1280),
    ("timm_levit_128s_script", "/ReduceMean_output_0", 384),
    ("timm_mobileone_s0_script", "/head/global_pool/flatten/Flatten_output_0", 1024),
    ("timm_mobilevit_xxs_script", "/head/global_pool/flatten/Flatten_output_0", 320),
    ("timm_repvgg_a0_script", "/head/global_pool/flatten/Flatten_output_0", 1280),
    ("timm_resnet10t_script", "/global_pool/flatten/Flatten_output_0", 512),
    ("timm_vit_tiny_patch16_224_script", "/Gather_1_output_0", 192),
    ("tv_alexnet_script", "/classifier/classifier.5/Relu_output_0", 4096),
    ("tv_convnext_tiny_script", "/classifier/classifier.1/Flatten_output_0", 768),
    ("tv_densenet121_script", "/Flatten_output_0", 1024),
    ("tv_efficientnet_b0_dynamo", "view", 1280),
    ("tv_googlenet_script", "/Flatten_output_0", 1024),
    ("tv_mnasnet0_5_script", "/ReduceMean_output_0", 1280),
    ("tv_mobilenet_v2_script", "/Flatten_output_0", 1280),
    ("tv_mobilenet_v3_large_script", "/classifier/classifier.1/HardSwish_output_0", 1280),
    ("tv_mobilenet_v3_small_dynamo", "hardswish_18", 1024),
    ("tv_regnet_y_400mf_script", "/Flatten_output_0", 440),
    ("tv_resnet18_script", "/Flatten_output_0", 512),
    ("tv_resnet50_static", "/Flatten_output_0", 2048),
    ("tv_shufflenet_v2_x1_0_script", "/ReduceMean_output_0", 1024),
    ("tv_squeezenet1_1_script", "/features/features.12/Concat_output_0", 512),
    ("tv_vgg11_bn_script", "/classifier/classifier.4/Relu_output_0", 4096),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/zoo").join(format!("{name}.onnx"))
}

#[test]
fn the_classifier_of_every_model_is_found() {
    let names = zoo::skeletons().unwrap().into_iter().map(|path| path.file_stem().unwrap().to_owned());
    assert!(names.eq(CUTS.map(|(name, ..)| name)), "every model has its line in CUTS");
    for (name, tensor, features) in CUTS {
        let cut = cut::find(zoo::skeleton(&path(name)).unwrap().graph(), None, None).unwrap();
        assert_eq!((cut.tensor.as_str(), cut.features, cut.classes), (tensor, Some(features), Some(1000)), "{name}");
        let convolution = name == "tv_squeezenet1_1_script";
        assert_eq!(cut.classifier, if convolution { Classifier::Conv } else { Classifier::Linear }, "{name}");
        let averaged = ["timm_deit_tiny_distilled_patch16_224_script", "timm_levit_128s_script"].contains(&name);
        assert_eq!(cut.heads, if averaged { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn values_follow_their_recipes() {
    let [skeleton, model] = [zoo::skeleton, zoo::expand].map(|read| read(&path("tv_densenet121_script")).unwrap());
    let mut checked = 0;
    for (recipe, tensor) in skeleton.graph().initializer.iter().zip(&model.graph().initializer) {
        let Ok(recipe) = serde_json::from_str::<serde_json::Value>(recipe.doc_string()) else {
            assert_eq!(recipe, tensor);
            continue;
        };
        let [a, b] = ["a", "b"].map(|key| recipe[key].as_f64().unwrap());
        let values: Vec<f64> = floats(tensor).unwrap().into_iter().map(f64::from).collect();
        let (mean, deviation) = match recipe["kind"].as_str().unwrap() {
            "normal" => (a, b),
            _ => ((a + b) / 2., (b - a) / 12f64.sqrt()),
        };
        let count = values.len() as f64;
        let found = values.iter().sum::<f64>() / count;
        let spread = (values.iter().map(|v| (v - found).powi(2)).sum::<f64>() / count).sqrt();
        // Five standard errors.
        assert!((found - mean).abs() < 5. * deviation / count.sqrt(), "{}: mean {found}, not {mean}", tensor.name());
        assert!((spread / deviation - 1.).abs() < 5. / (2. * count).sqrt(), "{}: deviation {spread}", tensor.name());
        checked += 1;
    }
    assert!(checked > 300);
}

fn candle(program: &Program, images: &ArrayD<f32>, parameters: &[Tensor]) -> ArrayD<f32> {
    let values: Vec<f32> = images.iter().copied().collect();
    let images = Tensor::from_vec(values, images.shape(), &Device::Cpu).unwrap();
    let outputs = program.forward(&images, parameters).unwrap();
    let values = outputs[0].flatten_all().unwrap().to_vec1().unwrap();
    ArrayD::from_shape_vec(IxDyn(outputs[0].dims()), values).unwrap()
}

/// A model and its program.
struct Whole {
    model: Model,
    input: Input,
    program: Program,
    parameters: Vec<Tensor>,
}

impl Whole {
    fn new(name: &str) -> Whole {
        let model = zoo::expand(&path(name)).unwrap();
        let (input, _) = preprocessing::resolve(&model, None, None).unwrap();
        let program = Program::import(&model, &input.axes()).unwrap();
        let parameters = program.initial().unwrap();
        Whole { model, input, program, parameters }
    }

    fn candle(&self, images: &ArrayD<f32>, parameters: &[Tensor]) -> ArrayD<f32> {
        candle(&self.program, images, parameters)
    }

    fn agrees_with_onnx_runtime(&self) {
        let mut engine = RUNTIME.open(&self.model, &[], 1).unwrap();
        for batch in [1, 3] {
            let (photos, noise) = (zoo::photos(&self.input, 10, batch), zoo::noise(&self.input, 1, batch));
            for (kind, images) in [("photos", photos), ("noise", noise)] {
                let theirs = engine.run(images.view()).unwrap().swap_remove(0);
                assert_eq!(theirs.shape(), [batch, 1000]);
                let far = zoo::difference(&self.candle(&images, &self.parameters), &theirs);
                assert!(far <= 1e-4, "batch {batch}, {kind}: outputs differ by {far}");
                let depends = zoo::dependence(&theirs);
                assert!(kind == "noise" || depends >= 0.03, "the outputs hardly depend on the image: {depends}");
            }
        }
    }

    /// Chains of operators in one step give what the operators give one by one: outputs, and gradients by everything.
    fn chains_change_nothing(&self) {
        let plain = Program::import_plain(&self.model, &self.input.axes()).unwrap();
        assert!(self.program.steps() < plain.steps(), "nothing became one step");
        let images = zoo::photos(&self.input, 30, 1);
        let values: Vec<f64> = images.iter().map(|&value| f64::from(value)).collect();
        let images = Tensor::from_vec(values, images.shape(), &Device::Cpu).unwrap();
        let run = |program: &Program| {
            let program = program.to(DType::F64, &Device::Cpu).unwrap();
            let parameters = program.initial().unwrap();
            let wanted = Wanted { input: true, ..Wanted::parameters(&program) };
            let (outputs, tape) = program.forward_saving(&images, &parameters, &wanted).unwrap();
            let grads: Vec<_> = outputs.iter().map(|y| Some(y.affine(0.3, 1.).unwrap())).collect();
            let found = program.backward(tape, &grads).unwrap();
            let all = outputs.into_iter().map(Some).chain(found.parameters).chain([found.input]);
            let flat = |t: Option<Tensor>| t.map(|t| t.flatten_all().unwrap().to_vec1::<f64>().unwrap());
            all.map(flat).collect::<Vec<_>>()
        };
        for (place, (ours, theirs)) in run(&self.program).iter().zip(&run(&plain)).enumerate() {
            let (Some(ours), Some(theirs)) = (ours, theirs) else {
                assert_eq!(ours, theirs);
                continue;
            };
            let scale = theirs.iter().fold(1e-9, |largest: f64, v| largest.max(v.abs()));
            let far = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0., f64::max) / scale;
            assert!(far <= 1e-5, "value {place} differs by {far}");
        }
    }

    /// Each of six parameters from the first to the last, changed in the file and in the program.
    fn names_are_tied_to_weights(&self) {
        let images = zoo::photos(&self.input, 20, 1);
        let run = |model: &Model| {
            let mut engine = RUNTIME.open(model, &[], 1).unwrap();
            engine.run(images.view()).unwrap().swap_remove(0)
        };
        let file = untie(&self.model);
        let before = run(&file);
        let last = self.program.parameters().len() - 1;
        for place in (0..=5).map(|part| part * last / 5) {
            let parameter = &self.program.parameters()[place];
            let values = moved(parameter);
            let changed = with_values(&file, &parameter.name, &values).unwrap();
            let theirs = run(&changed);
            let mut parameters = self.parameters.clone();
            parameters[place] = Tensor::from_vec(values, parameter.shape.as_slice(), &Device::Cpu).unwrap();
            let change = zoo::difference(&theirs, &before);
            let far = zoo::difference(&self.candle(&images, &parameters), &theirs);
            assert!(change >= 1e-4, "{} changes the file's outputs by {change} only", parameter.name);
            assert!(far <= 1e-4f32.min(change / 10.), "with another {} outputs differ by {far}", parameter.name);
        }
    }

    /// What the plan finds before the cut, against means and deviations of what ONNX Runtime gives for those tensors; and a
    /// head on all of it, in the adapted file.
    fn depths_give_features(&self) {
        let mut model = self.model.clone();
        let (mut plan, plain) = Plan::make(&mut model, &RUNTIME, &PlanOptions::default(), &silent).unwrap();
        let mut extractor = plan.deepen(&model, &RUNTIME, 1000, plain);
        assert!(plan.taps.len() >= 2, "{:?}", plan.taps);
        let images = zoo::photos(&self.input, 40, plan.input.batch.unwrap_or(2));
        let rows = extractor.rows(images.view()).unwrap();
        for (tap, &end) in plan.taps.iter().zip(&plan.columns()[1..]) {
            let part = surgery::backbone(&model, &Cut::at(&tap.tensor), &Pooling::None);
            let mut maps =
                RUNTIME.open(&part, &plan.input.axes(), 1).unwrap().run(images.view()).unwrap().swap_remove(0);
            let axes: Vec<usize> = tap.axes.iter().map(|&axis| axis as usize).collect();
            let means = |maps: &ArrayD<f32>| {
                axes.iter().rev().fold(maps.mapv(f64::from), |maps, &axis| maps.mean_axis(Axis(axis)).unwrap())
            };
            let mean = means(&maps);
            let mut kept = mean.clone();
            axes.iter().for_each(|&axis| kept.insert_axis_inplace(Axis(axis)));
            let kept = kept.broadcast(maps.raw_dim()).unwrap().to_owned();
            maps.zip_mut_with(&kept, |value, mean| {
                *value = ((f64::from(*value) - mean).powi(2)) as f32;
            });
            let deviation = means(&maps).mapv(f64::sqrt);
            let parts = if tap.mean { vec![mean.clone(), deviation] } else { vec![deviation] };
            for (i, want) in parts.iter().rev().enumerate() {
                let found = rows.slice(s![.., end - (i + 1) * tap.channels..end - i * tap.channels]);
                let scale = want.iter().chain(&mean).fold(1e-9f64, |scale, v| scale.max(v.abs()));
                let far = found.iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0., f64::max) / scale;
                assert!(far < 1e-4, "{tap:?}: {far}");
            }
        }
        let deep = plan.with_taps(plan.taps.len());
        let adapted = Adapted::new(&model, &deep, &LinearHead::by_chance(3, deep.features, 1)).unwrap();
        let mut engine = RUNTIME.open(&adapted.scores(), &plan.input.axes(), 1).unwrap();
        let found = engine.run(images.view()).unwrap().swap_remove(0);
        let want = adapted.head.logits(rows.view()).unwrap().into_dyn();
        let far = zoo::difference(&found, &want);
        assert!(far < 1e-4, "the head on {} features: {far}", deep.features);
        // Training can begin with it.
        let program = Program::import(&adapted.scores(), &plan.input.axes()).unwrap();
        let far = zoo::difference(&candle(&program, &images, &program.initial().unwrap()), &want);
        assert!(far < 1e-4, "the same in training: {far}");
        // The way of deeper features to the head has no part in what blocks there are.
        let plain = Adapted::new(&model, &plan, &LinearHead::by_chance(3, plan.features, 1)).unwrap();
        for extent in [Extent::Last(0), Extent::Last(2), Extent::All] {
            let [deep, plain] = [&adapted, &plain].map(|adapted| tail(&adapted.scores(), &extent).unwrap());
            assert!(deep.depths == plain.depths && deep.norms == plain.norms, "{extent:?}");
            let own =
                |tail: &Tail| tail.starts.iter().filter(|s| !s.starts_with("adapt.")).cloned().collect::<Vec<_>>();
            assert_eq!(own(&deep), own(&plain), "{extent:?}");
        }
        // Nor do they keep a tail from beginning where it would without them: they are kept with what it begins with.
        let [deep, plain] = [&adapted, &plain].map(|adapted| {
            Inside::try_open(&adapted.model, &adapted.logits, &Extent::Last(2), &RUNTIME, &plan.input).unwrap()
        });
        assert_eq!(deep.start, plain.start);
        let kept = deep.frozen.unwrap().run(images.view()).unwrap().swap_remove(0);
        let found = candle(&deep.program, &kept, &deep.program.initial().unwrap());
        let far = zoo::difference(&found, &want);
        assert!(far < 1e-4, "behind {:?}: {far}", deep.start);
    }
}

/// Each value moved by up to three times their root mean square (or 1 where all are zero), up or down as if by chance.
fn moved(parameter: &Parameter) -> Vec<f32> {
    let square = parameter.values.iter().map(|v| v * v).sum::<f32>() / parameter.values.len() as f32;
    let size = if square > 0. { 3. * square.sqrt() } else { 1. };
    parameter.values.iter().enumerate().map(|(i, v)| v + size * (2.399 * i as f32 + 1.).sin()).collect()
}

/// One test a model, so that they run side by side.
macro_rules! whole_models {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let whole = Whole::new(stringify!($name));
            whole.agrees_with_onnx_runtime();
            whole.chains_change_nothing();
            whole.names_are_tied_to_weights();
            whole.depths_give_features();
        }
    )*};
}

whole_models! {
    keras_mobilenet_v2_tf2onnx
    paddle_mobilenet_v2_paddle2onnx
    timm_deit_tiny_distilled_patch16_224_script
    timm_efficientnet_lite0_script
    timm_ghostnet_100_script
    timm_levit_128s_script
    timm_mobilevit_xxs_script
    timm_resnet10t_script
    timm_vit_tiny_patch16_224_script
    tv_googlenet_script
    tv_mnasnet0_5_script
    tv_mobilenet_v2_script
    tv_mobilenet_v3_large_script
    tv_mobilenet_v3_small_dynamo
    tv_regnet_y_400mf_script
    tv_shufflenet_v2_x1_0_script
    tv_squeezenet1_1_script
}
