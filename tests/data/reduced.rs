//! Large JPEG files, decoded at a fraction of their size, against Pillow, which decodes them in full
//! (`tests/golden/make_reduced.py`).

use adapt::data::{Layout, Source, Spec, decode, preprocess};
use std::path::Path;

#[test]
fn large_jpeg_files_look_as_if_decoded_in_full() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reduced");
    let source = Source::folder(&folder);
    for (name, color) in [("color", "rgb"), ("gray", "gray"), ("gray", "rgb"), ("turned", "rgb")] {
        let spec: Spec = format!("raw255,resize=96,crop=80x80,color={color}").parse().unwrap();
        let p = spec.resolve(80, 80).unwrap();
        let values = |make: &dyn Fn(&mut [f32])| {
            let mut out = vec![0.; p.channels() * 80 * 80];
            make(&mut out);
            out
        };
        let small = values(&|out| source.values(&format!("{name}.jpg"), &p, Layout::Nhwc, out).unwrap());
        let full = decode(&folder.join(format!("{name}.jpg"))).unwrap();
        let full = values(&|out| preprocess(&full, &p, Layout::Nhwc, out).unwrap());
        // It is not simply the same decoder.
        assert_ne!(small, full, "{name}");
        let pillow = image::open(folder.join(format!("{name}.png"))).unwrap();
        let pillow = if color == "gray" { pillow.into_luma8().into_raw() } else { pillow.into_rgb8().into_raw() };
        let off = small.iter().zip(&pillow).map(|(a, b)| (a - f32::from(*b)).abs());
        let (mean, most) = off.fold((0., 0f32), |(sum, most), d| (sum + d / pillow.len() as f32, most.max(d)));
        assert!(mean < 0.4 && most <= 4., "{name} as {color}: {mean} levels in the mean, {most} at most");
    }
}

#[test]
fn what_is_cut_short_or_not_much_larger_is_decoded_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reduced/color.jpg")).unwrap();
    std::fs::write(folder.path().join("short.jpg"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(folder.path().join("whole.jpg"), &whole).unwrap();
    let source = Source::folder(folder.path());
    let p = "raw255".parse::<Spec>().unwrap().resolve(700, 700).unwrap();
    let mut out = vec![0.; 3 * 700 * 700];
    assert_eq!(source.values("short.jpg", &p, Layout::Nchw, &mut out).unwrap_err(), "truncated");
    source.values("whole.jpg", &p, Layout::Nchw, &mut out).unwrap();
    let mut full = vec![0.; out.len()];
    preprocess(&decode(&folder.path().join("whole.jpg")).unwrap(), &p, Layout::Nchw, &mut full).unwrap();
    assert!(out == full);
}
