//! Preprocessing that nothing tells, decided from the images.

use crate::cli::support::Place;
use adapt::onnx::schema::{TensorProto, data_type};
use adapt::onnx::{Model, tensor};
use adapt::random::{stream, uniform};
use std::fs;
use std::path::Path;

/// The embedded model, which takes (pixel - 127) / 128, made to take pixels of 0 to 255 by its first convolution.
fn on_pixels(path: &Path) -> Model {
    let mut model = Model::open(path).unwrap();
    let graph = model.proto.graph.as_mut().unwrap();
    let conv = graph.node.iter().find(|node| node.op_type() == "Conv").unwrap().input.clone();
    let place = |name: &str, graph: &adapt::onnx::schema::GraphProto| {
        graph.initializer.iter().position(|tensor| tensor.name() == name).unwrap()
    };
    let [weight, bias] = [1, 2].map(|input| place(&conv[input], graph));
    let [weights, biases] = [weight, bias].map(|place| tensor::floats(&graph.initializer[place]).unwrap());
    let each = weights.len() / biases.len();
    let sums = weights.chunks(each).map(|weights| weights.iter().sum::<f32>());
    let biases = biases.iter().zip(sums).map(|(bias, sum)| bias - sum * 127. / 128.);
    let floats = |old: &TensorProto, values: Vec<f32>| {
        let dims: Vec<usize> = old.dims.iter().map(|&size| size as usize).collect();
        tensor::initializer(old.name(), &dims, values, data_type::FLOAT)
    };
    graph.initializer[bias] = floats(&graph.initializer[bias], biases.collect());
    graph.initializer[weight] = floats(&graph.initializer[weight], weights.iter().map(|w| w / 128.).collect());
    model
}

/// That model's file, with nothing beside it, and some of the fixture's images.
fn place() -> Place {
    let place = Place::empty();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    on_pixels(&root.join("models/efficientnet_lite0/model.onnx")).save(&place.path("model.onnx")).unwrap();
    for class in fs::read_dir(root.join("fixtures/fashion/train")).unwrap().map(|entry| entry.unwrap()) {
        let name = class.file_name().into_string().unwrap();
        let mut files: Vec<_> = fs::read_dir(class.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in &files[..6] {
            let target = place.path(format!("data/{name}")).join(file.file_name().unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(file, target).unwrap();
        }
    }
    place
}

#[test]
fn of_bytes_the_order_of_channels_and_the_geometry_are_decided() {
    let place = place();
    fs::copy(crate::common::golden("tiny_u8.onnx"), place.path("model.onnx")).unwrap();
    let ran = place.adapt("--onnx model.onnx --data data --val 0 --out out").succeeds();
    let evidence = place.json("out/run.json")["plan"]["evidence"].clone();
    let specs = |of: usize| {
        let candidates = evidence[of]["candidates"].as_array().unwrap();
        candidates.iter().map(|one| one["spec"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The images are grey: the order of their channels is nobody's concern.
    assert_eq!(specs(0), ["raw255"]);
    assert!(specs(1).len() == 3 && specs(1).iter().all(|spec| spec.starts_with("raw255")), "{evidence}");
    assert!(!ran.out.contains("a guess"), "{}", ran.out);
}

#[test]
fn the_model_s_own_convention_is_found() {
    let place = place();
    let job = "--onnx model.onnx --data data --val 0 --out out";
    place.run(place.command().args(job.split(' '))).succeeds();
    let run = place.json("out/run.json");
    let evidence = &run["plan"]["evidence"];
    let values = &evidence[0]["candidates"];
    let chosen = values[evidence[0]["chosen"].as_u64().unwrap() as usize]["spec"].as_str().unwrap();
    assert_eq!(chosen, "raw255", "{evidence}");
    assert_eq!(evidence[0]["images"], 60);
    assert!(
        run["plan"]["preprocessing_source"].as_str().unwrap().starts_with("trying conventions on 60 of the images")
    );
    let page = place.read("out/report.html");
    let table = page.split("Preprocessing: conventions compared").last().unwrap().split("</table>").next().unwrap();
    let tried = values.as_array().unwrap().iter().map(|one| one["spec"].as_str().unwrap());
    assert!(tried.into_iter().all(|spec| table.contains(spec)) && table.contains("raw255, chosen"), "{table}");
    let notes = run["plan"]["notes"].to_string();
    assert!(notes.contains("was chosen by trying") && !notes.contains("is a guess"), "{notes}");
    // Within noise the commoner one is taken, and the runner-up is another one.
    for step in evidence.as_array().unwrap() {
        let place = |key: &str| step[key].as_u64().unwrap();
        let [margin, error] = [0, 1].map(|i| step["margin"][i].as_f64().unwrap());
        let other = step["candidates"][place("runner_up") as usize]["spec"].as_str().unwrap();
        let near = margin <= error.max(0.001);
        assert!(
            if near { place("chosen") < place("runner_up") } else { place("chosen") != place("runner_up") },
            "{step}"
        );
        let told = |note: &serde_json::Value| {
            let note = note.as_str().unwrap();
            note.contains(&format!("; '{other}' is")) && note.contains("within noise") == near
        };
        assert!(run["plan"]["notes"].as_array().unwrap().iter().any(told), "{step}{notes}");
    }
    // What the user says is not asked of the images.
    let told = [job, "--force --preprocess imagenet"].join(" ");
    place.run(place.command().args(told.split(' '))).succeeds();
    assert!(place.json("out/run.json")["plan"].get("evidence").is_none());
}

#[test]
fn trials_of_an_earlier_run_are_not_run_again() {
    let place = place();
    let holding = || {
        let status = place.run(place.command().args(["cache", "--cache", "kept", "--json"])).succeeds();
        serde_json::from_str::<serde_json::Value>(&status.out).unwrap()["holding"].take()
    };
    let job = "--onnx model.onnx --data data --val 0 --out out --force --head ncm --cache kept";
    place.run(place.command().args(job.split(' '))).succeeds();
    let (first, held) = (place.json("out/run.json")["plan"]["evidence"].clone(), holding());
    // Grey images: five conventions of values without those that only swap channels, two more geometries, and the features.
    assert!(held["models"].as_u64().unwrap() >= 8, "{held}");
    place.run(place.command().args(job.split(' '))).succeeds();
    assert_eq!((place.json("out/run.json")["plan"]["evidence"].clone(), holding()), (first, held));
}

#[test]
fn sizes_are_compared_where_the_model_takes_any() {
    let place = place();
    let mut model = Model::open(place.path("model.onnx")).unwrap();
    let input = model.proto.graph.as_mut().unwrap().input[0].r#type.as_mut().unwrap();
    let dims = &mut input.tensor_type.as_mut().unwrap().shape.as_mut().unwrap().dim;
    for (dim, name) in dims[2..].iter_mut().zip(["H", "W"]) {
        dim.value = Some(adapt::onnx::schema::dimension::Value::DimParam(name.into()));
    }
    model.save(&place.path("open.onnx")).unwrap();
    let job = "--onnx open.onnx --data data --val 0 --out out --head ncm";
    place.run(place.command().args(job.split(' '))).succeeds();
    let run = place.json("out/run.json");
    let sizes = &run["plan"]["evidence"][2];
    let specs: Vec<&str> =
        sizes["candidates"].as_array().unwrap().iter().map(|c| c["spec"].as_str().unwrap()).collect();
    let sides = [160, 192, 256, 288, 384].map(|side| format!("{side}x{side}"));
    assert!(specs.len() > 2 && specs[1..].iter().all(|spec| sides.iter().any(|side| spec.contains(side))), "{specs:?}");
    // What is chosen is what is exported and checked.
    let spec = specs[sizes["chosen"].as_u64().unwrap() as usize];
    let side = run["plan"]["input"]["height"].as_u64().unwrap();
    let told = spec.contains(&format!("{side}x{side}")) || (spec == specs[0] && side == 224);
    assert!(told, "{spec} {side}");
    // --size settles it.
    let told = [job, "--force --size 160x160"].join(" ");
    place.run(place.command().args(told.split(' '))).succeeds();
    let run = place.json("out/run.json");
    assert_eq!((&run["plan"]["input"]["height"], run["plan"]["evidence"].as_array().unwrap().len()), (&160.into(), 2));
}

#[test]
fn noise_decides_nothing() {
    let place = Place::usual();
    for seed in 0..6 {
        for (class, name) in ["a", "b"].into_iter().enumerate() {
            fs::create_dir_all(place.path(format!("noise{seed}/{name}"))).unwrap();
            for i in 0..20 {
                let mut random = stream(seed, name, class as u64, i);
                let mut value = || (uniform(&mut random) * 256.) as u8;
                let image = image::RgbImage::from_fn(16, 16, |_, _| image::Rgb([value(), value(), value()]));
                image.save(place.path(format!("noise{seed}/{name}/{i}.png"))).unwrap();
            }
        }
        let job = format!("--data noise{seed} --onnx tiny.onnx --out out --force --val 0 --head ncm");
        let ran = place.adapt(&job).succeeds();
        assert!(ran.err.contains("preprocessing is a guess"), "{seed}: {}", ran.err);
    }
}

#[test]
fn a_few_images_tell_nothing() {
    let place = Place::usual();
    let ran = place.main("").succeeds();
    assert!(ran.err.contains("preprocessing is a guess"), "{}", ran.err);
}
