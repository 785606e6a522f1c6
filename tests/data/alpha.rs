//! Models of two and of four channels: opacity is a value of its own.

use adapt::data::{Color, Layout, Pixels, Preprocessing, Spec, decode, decode_with_alpha, preprocess};
use image::{GrayImage, ImageFormat, Rgba, RgbaImage};
use std::io::Cursor;

fn spec(text: &str) -> Preprocessing {
    text.parse::<Spec>().unwrap().resolve(2, 2).unwrap()
}

fn values(image: &Pixels, p: &Preprocessing, layout: Layout) -> Vec<f32> {
    let mut out = vec![0.0; 4 * p.channels()];
    preprocess(image, p, layout, &mut out).unwrap();
    out
}

#[test]
fn opacity_is_kept_where_the_model_takes_it() {
    let image = RgbaImage::from_fn(2, 2, |x, y| Rgba([10, 20, 30, (100 * y + 50 * x) as u8]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    std::fs::write(&path, bytes.into_inner()).unwrap();
    let (plain, whole) = (decode(&path).unwrap(), decode_with_alpha(&path).unwrap());
    assert_eq!((plain.channels(), whole.channels()), (3, 4));

    let rgba = values(&whole, &spec("raw255,resize=none,color=rgba"), Layout::Nchw);
    assert_eq!(rgba[..12], [[10.0; 4], [20.0; 4], [30.0; 4]].concat());
    assert_eq!(rgba[12..], [0.0, 50.0, 100.0, 150.0]);
    let last = values(&whole, &spec("raw255,resize=none,color=rgba"), Layout::Nhwc);
    assert_eq!(last[4..8], [10.0, 20.0, 30.0, 50.0]);
    // Pillow's luma of (10, 20, 30) is 18.
    let gray = values(&whole, &spec("raw255,resize=none,color=grayalpha"), Layout::Nchw);
    assert_eq!(gray, [18.0, 18.0, 18.0, 18.0, 0.0, 50.0, 100.0, 150.0]);
    // Images without opacity are opaque, whether they were decoded so or not; colours alone drop it.
    for text in ["raw01,resize=none,color=rgba", "imagenet,resize=none,color=rgba"] {
        assert_eq!(values(&plain, &spec(text), Layout::Nchw)[12..], [1.0; 4], "{text}");
    }
    let grey = Pixels::Gray(GrayImage::from_pixel(2, 2, image::Luma([7])));
    assert_eq!(values(&grey, &spec("raw255,resize=none,color=rgba"), Layout::Nhwc)[..4], [7.0, 7.0, 7.0, 255.0]);
    let colours = spec("raw255,resize=none");
    assert_eq!(values(&whole, &colours, Layout::Nchw), values(&plain, &colours, Layout::Nchw));
}

#[test]
fn their_preprocessing_is_written_and_read() {
    for (text, color) in [("imagenet,color=rgba", Color::Rgba), ("inception,color=grayalpha", Color::GrayAlpha)] {
        let p = spec(text);
        assert_eq!((p.color, p.channels(), p.mean.len()), (color, color.channels(), color.channels()), "{text}");
        assert_eq!((p.mean.last(), p.std.last()), (Some(&0.0), Some(&1.0)), "{text}");
        assert_eq!(Preprocessing::from_json(&p.to_json(), None).unwrap(), p, "{text}");
        assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
    }
    assert_eq!(spec("color=rgba,mean=1:2:3:4").mean, [1.0, 2.0, 3.0, 4.0]);
    assert!("color=rgb,mean=1:2:3:4".parse::<Spec>().unwrap_err().contains("3 are needed"));
}
