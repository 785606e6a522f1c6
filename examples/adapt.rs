//! The main job through the library: `cargo run --release --example adapt`.

use adapt::verify::{Expected, verify};
use adapt::{Adapted, Backend, Choice, Dataset, Features, OutDir, Plan, Split, fit_softmax};
use std::{collections::BTreeMap, path::Path};

fn main() -> adapt::Result<()> {
    let progress = &adapt::progress::silent;
    let mut model = adapt::builtin()?; // or Model::open("in.onnx")?
    let mut data = Dataset::read(Path::new("fixtures/fashion"), &Default::default(), progress)?;
    let backend = Backend::resolve(Choice::Auto, None, false, progress)?;
    let (plan, mut backbone) = Plan::make(&mut model, &backend, &Default::default(), progress)?;

    let train = Features::extract(&mut data, Split::Train, &mut backbone, progress)?;
    let fit = fit_softmax(train.rows.view(), &train.labels, data.classes.len(), &Default::default(), progress)?;
    let test = Features::extract(&mut data, Split::Test, &mut backbone, progress)?;

    let mut adapted = Adapted::new(&model, &plan, &fit.head)?;
    let mut metrics = BTreeMap::new();
    if let (Some(figures), _) = test.scored(&adapted.head)?.evaluate(&data)? {
        println!("test accuracy {:.4}", figures.accuracy);
        metrics.insert("test".into(), figures.into());
    }
    adapted.describe(&plan, &data.classes, &metrics);
    let out = OutDir::create(Path::new("runs/example"), true)?;
    out.write_model(&adapted, &plan, &data.classes)?;

    let sample = Features::sample([&test, &train], 64);
    let images = (&data.source, &sample.paths[..]);
    let logits = adapted.head.logits(sample.rows.view())?;
    let trained = Expected { logits: logits.view(), features: Some(sample.rows.view()) };
    let parity = verify(&out.path("model.onnx"), &plan, adapted.activation, &backend, images, trained, progress)?;
    println!("{} agrees within {:.1e}: {}", parity.engine, parity.max_rel_logit_diff, out.commit()?.display());
    Ok(())
}
