//! Names are tied to weights: every weight that can be trained, moved in the file and in the program, changes what both
//! compute, and alike.

mod common;
#[path = "../fixtures/zoo/zoo.rs"]
mod zoo;

use adapt::Model;
use adapt::graph::Program;
use adapt::onnx::parameters::untie;
use adapt::onnx::schema::ValueInfoProto;
use adapt::onnx::surgery::{size, tensor_type};
use adapt::plan::{Input, preprocessing};
use adapt::tensor::{Device, Tensor};
use ndarray::{ArrayD, IxDyn};
use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor as Value;
use std::path::PathBuf;
use std::sync::LazyLock;

/// ONNX Runtime itself: the library's engine feeds the image alone.
static RUNTIME: LazyLock<Environment> =
    LazyLock::new(|| ort::init_from(&common::runtime().path).unwrap().with_telemetry(false).build().unwrap());

/// The file, its weights listed among its inputs: so ONNX lets whoever runs it give other values for a stored tensor, and
/// one session does for all of them.
fn session(file: &Model, program: &Program) -> Session {
    let mut file = file.clone();
    let graph = file.proto.graph.as_mut().unwrap();
    let listed = program.parameters().iter().filter(|p| graph.input.iter().all(|input| input.name() != p.name));
    let info = |p: &adapt::onnx::parameters::Parameter| {
        let r#type = Some(tensor_type(1, p.shape.iter().map(|&n| size(n as i64)).collect()));
        ValueInfoProto { name: Some(p.name.clone()), r#type, ..Default::default() }
    };
    let listed: Vec<ValueInfoProto> = listed.map(info).collect();
    graph.input.extend(listed);
    let mut builder = Session::builder(&RUNTIME).unwrap().with_intra_threads(1).unwrap();
    builder.commit_from_memory(&file.to_bytes().unwrap()).unwrap()
}

/// Each value moved by up to three times their root mean square (or 1 where all are zero), up or down as if by chance.
fn moved(values: &[f32]) -> Vec<f32> {
    let square = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
    let size = if square > 0. { 3. * square.sqrt() } else { 1. };
    values.iter().enumerate().map(|(i, v)| v + size * (2.399 * i as f32 + 1.).sin()).collect()
}

fn check(mut model: Model, side: u32) {
    // Smaller images than the model was made for: the names are the same, and it takes less time.
    let (input, _) = preprocessing::resolve(&model, None, None).unwrap();
    let input = Input { height: side, width: side, ..input };
    let graph = model.proto.graph.as_mut().unwrap();
    graph.value_info.clear();
    graph.input[0].r#type = Some(tensor_type(1, input.shape(1).map(|n| size(n as i64)).to_vec()));
    let program = Program::import(&model, &input.axes()).unwrap();
    let images = zoo::photos(&input, 20, 1);
    let mut session = session(&untie(&model), &program);
    let value = |shape: &[usize], values: Vec<f32>| Value::from_array((shape.to_vec(), values)).unwrap();
    let mut theirs = |other: Option<(&str, &[usize], &[f32])>| {
        let image = value(images.shape(), images.iter().copied().collect());
        let mut inputs: Vec<(String, SessionInputValue)> = vec![(input.name.clone(), image.into())];
        inputs.extend(other.map(|(name, shape, values)| (name.into(), value(shape, values.to_vec()).into())));
        let outputs = session.run(inputs).unwrap();
        outputs[0].try_extract_array::<f32>().unwrap().to_owned()
    };
    let tensor = |shape: &[usize], values: Vec<f32>| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let image = tensor(images.shape(), images.iter().copied().collect());
    let mut parameters = program.initial().unwrap();
    let before = theirs(None);
    assert!(parameters.len() > 20);
    for (place, parameter) in program.parameters().iter().enumerate() {
        let (name, shape, values) = (&parameter.name, &parameter.shape[..], moved(&parameter.values));
        let theirs = theirs(Some((name, shape, &values)));
        let own = std::mem::replace(&mut parameters[place], tensor(shape, values));
        let output = program.forward(&image, &parameters).unwrap().swap_remove(0);
        let ours = ArrayD::from_shape_vec(IxDyn(output.dims()), output.flatten_all().unwrap().to_vec1().unwrap());
        parameters[place] = own;
        let (change, far) = (zoo::difference(&theirs, &before), zoo::difference(&ours.unwrap(), &theirs));
        assert!(change >= 1e-4, "{name} changes the file's output by {change} only");
        assert!(far <= 1e-4f32.min(change / 10.), "with another {name} outputs differ by {far}");
    }
}

fn skeleton(name: &str) -> Model {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/zoo").join(format!("{name}.onnx"));
    zoo::expand(&path).unwrap()
}

#[test]
fn embedded_model() {
    check(adapt::builtin().unwrap(), 64);
}

#[test]
fn resnet() {
    check(skeleton("timm_resnet10t_script"), 64);
}

#[test]
fn squeezenet() {
    check(skeleton("tv_squeezenet1_1_script"), 64);
}

#[test]
fn mobilenet() {
    check(skeleton("tv_mobilenet_v3_small_dynamo"), 64);
}

#[test]
fn transformer() {
    check(skeleton("timm_vit_tiny_patch16_224_script"), 224);
}
