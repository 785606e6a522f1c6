//! JPEG files that become far smaller are decoded at a half or a quarter of their size: against Pillow, which decodes them in full.

use super::{as_rgb, golden, load, resolve, rgb, rows, run};
use adapt::data::{Layout, Pixels, Preprocessing, Resize, Source};

fn values(source: &Source, name: &str, p: &Preprocessing) -> Vec<f32> {
    let mut out = vec![f32::NAN; p.shape(1, Layout::Nhwc).iter().product()];
    source.values(name, p, Layout::Nhwc, &mut out).unwrap();
    out
}

#[test]
fn far_smaller_images_are_as_pillow_makes_them_from_all_pixels() {
    let source = Source::folder(golden(""));
    for row in rows("large.csv") {
        let [result, name, spec] = &row[..] else { panic!("{row:?}") };
        let p = resolve(&format!("raw255,{spec}"));
        let expected = rgb(&as_rgb(&load(result)));
        let differences: Vec<f32> =
            values(&source, name, &p).iter().zip(&expected).map(|(a, &b)| (a - f32::from(b)).abs()).collect();
        let mean = differences.iter().sum::<f32>() / differences.len() as f32;
        let most = differences.iter().fold(0f32, |a, &b| a.max(b));
        // 60 is not far smaller than 449. The others: colours without any brightness to them, as no photo has them.
        let allowed = if result.contains("-60") { (0.4, 2.) } else { (2., 8.) };
        assert!(mean < allowed.0 && most <= allowed.1, "{result}: off by {mean} in the mean, {most} at most");
    }
}

#[test]
fn only_jpegs_that_become_far_smaller_are_reduced() {
    let source = Source::folder(golden(""));
    let decoded = |name: &str, resize| {
        let image = source.content(name).unwrap().decode_for(false, resize).unwrap();
        (image.frame.size, [image.pixels.height(), image.pixels.width()], image.pixels.channels())
    };
    assert_eq!(decoded("large.jpg", Resize::Shortest(56)), ([449, 603], [225, 302], 3));
    assert_eq!(decoded("large-turned6.jpg", Resize::Longest(37)), ([603, 449], [151, 113], 3));
    assert_eq!(decoded("large-gray.jpg", Resize::Exact { height: 9, width: 9 }), ([449, 603], [113, 151], 1));
    assert_eq!(decoded("large.jpg", Resize::Shortest(57)).1, [449, 603]);
    assert_eq!(decoded("large.jpg", Resize::Exact { height: 9, width: 99 }).1, [449, 603]);
    assert_eq!(decoded("large.jpg", Resize::None).1, [449, 603]);
    assert_eq!(decoded("cmyk.jpg", Resize::Shortest(2)).1, [30, 40]);
    assert_eq!(decoded("rgb.png", Resize::Shortest(2)).1, [61, 97]);
    // One nearest pixel is one of the file's own.
    let mut p = resolve("raw255,resize=20x20,crop=none,filter=nearest");
    let all = values(&source, "large.jpg", &p);
    assert_eq!(all, run(&as_rgb(&load("large.jpg")), &p, Layout::Nhwc));
    p.filter = adapt::data::Filter::Box;
    assert_ne!(all, values(&source, "large.jpg", &p));
    assert!(matches!(load("large-gray.jpg"), Pixels::Gray(_)));
}

#[test]
fn a_large_jpeg_that_is_cut_off_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(golden("large.jpg")).unwrap();
    std::fs::write(folder.path().join("a.jpg"), &bytes[..bytes.len() / 2]).unwrap();
    let mut out = [0.; 3 * 32 * 32];
    let p = resolve("raw255,resize=32x32,crop=none");
    let reason = Source::folder(folder.path()).values("a.jpg", &p, Layout::Nchw, &mut out).unwrap_err();
    assert_eq!(reason, "truncated");
}
