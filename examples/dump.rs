fn main() {
    let a: Vec<String> = std::env::args().collect();
    let spec: adapt::data::Spec = "efficientnet-lite".parse().unwrap();
    let p = spec.resolve(224, 224).unwrap();
    let im = adapt::data::decode(a[1].as_ref()).unwrap();
    let mut out = vec![0f32; 3 * 224 * 224];
    adapt::data::preprocess(&im, &p, adapt::data::Layout::Nchw, &mut out).unwrap();
    std::fs::write(&a[2], out.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    eprintln!("{:?}", p);
}
