//! Decoding and preprocessing against what Pillow and numpy make of the same images (tests/golden/make_images.py).

use adapt::data::augment::{Key, Level, preprocess_changed};
use adapt::data::{Layout, Pixels, Preprocessing, Spec, decode, decode_bytes, preprocess};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[path = "data/alpha.rs"]
mod alpha;
#[path = "data/audit.rs"]
mod audit;
#[path = "data/augment.rs"]
mod augment;
mod common;
#[path = "data/files.rs"]
mod files;
#[path = "data/folders.rs"]
mod folders;
#[path = "data/groups.rs"]
mod groups;
#[path = "data/lists.rs"]
mod lists;
#[path = "data/parquet.rs"]
mod parquet;
#[path = "data/records.rs"]
mod records;
#[path = "data/reduced.rs"]
mod reduced;
#[path = "data/shards.rs"]
mod shards;
#[path = "data/tasks.rs"]
mod tasks;
#[path = "data/texts.rs"]
mod texts;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images").join(name)
}

fn load(name: &str) -> Pixels {
    decode(&golden(name)).unwrap_or_else(|reason| panic!("{name}: {reason}"))
}

/// The values as RGB, whatever the image is.
fn rgb(image: &Pixels) -> Vec<u8> {
    match image {
        Pixels::Rgb(image) => image.as_raw().clone(),
        Pixels::Gray(image) => image.as_raw().iter().flat_map(|&v| [v; 3]).collect(),
        other => panic!("{} channels", other.channels()),
    }
}

fn as_rgb(image: &Pixels) -> Pixels {
    Pixels::Rgb(image::RgbImage::from_raw(image.width(), image.height(), rgb(image)).unwrap())
}

fn resolve(spec: &str) -> Preprocessing {
    let spec: Spec = spec.parse().unwrap_or_else(|e| panic!("{spec}: {e}"));
    let (height, width) = spec.size().unwrap_or((224, 224));
    spec.resolve(height, width).unwrap()
}

fn run(image: &Pixels, p: &Preprocessing, layout: Layout) -> Vec<f32> {
    let (height, width) = p.size();
    let mut out = vec![f32::NAN; p.channels() * height as usize * width as usize];
    preprocess(image, p, layout, &mut out).unwrap();
    out
}

fn rows(name: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(golden(name)).unwrap();
    reader.records().map(|row| row.unwrap().iter().map(str::to_string).collect()).collect()
}

#[test]
fn files_decode_as_in_pillow() {
    let mut seen = 0;
    for entry in fs::read_dir(golden("")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let (name, extension) = file.split_once('.').unwrap();
        let expected = format!("{name}.decoded.png");
        if file == expected || !golden(&expected).exists() {
            continue;
        }
        // Lossy formats may round differently from libjpeg and libwebp.
        let allowed = match (name, extension) {
            ("really-a-png", _) => 0,
            ("jpeg-420", _) => 5,
            (_, "jpg") => 3,
            ("webp-lossy", _) => 2,
            _ => 0,
        };
        let (got, want) = (load(&file), load(&expected));
        assert_eq!((got.width(), got.height()), (want.width(), want.height()), "{file}");
        let apart: Vec<u8> = rgb(&got).iter().zip(rgb(&want)).map(|(a, b)| a.abs_diff(b)).collect();
        let (worst, close) = (apart.iter().max().unwrap(), apart.iter().filter(|d| **d <= 2).count());
        println!("{file}: worst {worst}, {close} of {} within 2", apart.len());
        assert!(*worst <= allowed, "{file}: {worst} levels apart, {allowed} allowed");
        assert!(close * 100 >= apart.len() * 99, "{file}: {close} of {} within 2 levels", apart.len());
        let gray = ["gray", "gray16", "gray-alpha", "bits", "tiff-lzw", "tiff-fax", "jpeg-gray"].contains(&name);
        assert_eq!(matches!(got, Pixels::Gray(_)), gray, "{file}");
        seen += 1;
    }
    assert_eq!(seen, 37);
}

#[test]
fn what_pillow_reads_and_we_do_not_is_told() {
    for (name, what) in
        [("palette", "RGBPalette"), ("ycbcr", "24 bits"), ("gray-alpha", "16 bits"), ("float", "32 bits")]
    {
        let why = decode(&golden(&format!("tiff-{name}.tif"))).unwrap_err();
        assert!(
            why.starts_with("a kind of Tiff file that is not read (") && why.ends_with("; save it as PNG"),
            "{why}"
        );
        assert!(why.contains(what), "{why}");
    }
}

#[test]
fn resizing_agrees_with_pillow() {
    let cases = rows("resize.csv");
    assert_eq!(cases.len(), 45);
    for case in cases {
        let [expected, source, spec] = &case[..] else { panic!("{case:?}") };
        let (want, source) = (rgb(&load(expected)), load(source));
        let p = resolve(&format!("raw255,{spec}"));
        let got = run(&source, &p, Layout::Nhwc);
        assert_eq!(got.len(), want.len(), "{case:?}");
        let apart: Vec<f32> = got.iter().zip(&want).map(|(a, &b)| (a - f32::from(b)).abs()).collect();
        let close = apart.iter().filter(|d| **d <= 1.0).count() as f64 / apart.len() as f64;
        let worst = apart.iter().copied().fold(0.0, f32::max);
        println!("{spec}: {close:.4} within 1 level, worst {worst}");
        // Where a pixel's centre lies on the border between two boxes, the last bit of a sum decides which one it is in.
        let tied = spec.contains("filter=box");
        assert!(close >= if tied { 0.96 } else { 0.99 }, "{case:?}: {close} within 1 level");
        assert!(worst <= 3.0 || tied, "{case:?}: worst {worst}");
        // Grey pixels are resized once; three times must give the same.
        assert_eq!(got, run(&as_rgb(&source), &p, Layout::Nhwc), "{case:?}");
    }
}

#[test]
fn tensors_agree_with_numpy() {
    let cases = rows("tensor.csv");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let [expected, source, spec, layout] = &case[..] else { panic!("{case:?}") };
        let bytes = fs::read(golden(expected)).unwrap();
        let want = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let layout = if layout == "nhwc" { Layout::Nhwc } else { Layout::Nchw };
        let got = run(&load(source), &resolve(spec), layout);
        assert_eq!(got.len() * 4, bytes.len(), "{case:?}");
        for (at, (got, want)) in got.into_iter().zip(want).enumerate() {
            assert!((got - want).abs() <= 1e-6 * (1.0 + want.abs()), "{case:?} at {at}: {got}, expected {want}");
        }
    }
}

#[test]
fn cropping_while_resizing_equals_cropping_after() {
    let source = load("rgb.png");
    let whole = run(&source, &resolve("raw255,resize=150x238,filter=bicubic"), Layout::Nhwc);
    let part = run(&source, &resolve("raw255,resize=150,crop=101x64,filter=bicubic"), Layout::Nhwc);
    for (row, values) in part.chunks(64 * 3).enumerate() {
        let start = ((row + (150 - 101) / 2) * 238 + (238 - 64) / 2) * 3;
        for (a, b) in values.iter().zip(&whole[start..]) {
            assert!((a - b).abs() <= 1.0, "row {row}: {a} and {b}");
        }
    }
}

#[test]
fn extreme_shapes_take_little_memory() {
    for (width, height) in [(1, 60000), (60000, 1), (3, 65535)] {
        let image = Pixels::Rgb(image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(x + y) as u8, 7, 9])));
        for spec in ["imagenet", "clip", "raw01,crop=none", "resize=8192,crop=224", "resize=none,crop=224"] {
            assert!(run(&image, &resolve(spec), Layout::Nchw).iter().all(|v| v.is_finite()), "{spec}");
        }
    }
    // Filtered rows first: columns first would need 65535 x 2000 pixels.
    let wide = Pixels::Gray(image::GrayImage::from_fn(65535, 4, |x, _| image::Luma([(x / 257) as u8])));
    let ramp = run(&wide, &resolve("raw255,color=gray,resize=2000x256"), Layout::Nchw);
    assert!(ramp.chunks(256).all(|row| row.iter().enumerate().all(|(x, v)| (v - x as f32).abs() <= 1.0)));
}

#[test]
fn untrusted_files_give_a_reason() {
    let refuse = |bytes: &[u8]| decode_bytes(bytes).expect_err("it must be refused");
    assert_eq!(refuse(b""), "empty file");
    assert_eq!(refuse(b"hello, this is text and not a picture"), "not an image");
    let png = fs::read(golden("rgb.png")).unwrap();
    let mut bomb = png.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let crc = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&crc);
    assert_eq!(refuse(&bomb), "too large: 30000x30000 pixels");
    for name in ["rgb.png", "exif3.jpg", "jpeg-420.jpg", "cmyk.jpg", "webp-lossless.webp", "bmp.bmp", "gif.gif"] {
        let bytes = fs::read(golden(name)).unwrap();
        // A quarter: half of the GIF is a whole frame.
        let reason = refuse(&bytes[..bytes.len() / 4]);
        assert!(reason.len() < 200 && !reason.contains('\n'), "{name}: {reason}");
        if name.ends_with("jpg") || name == "rgb.png" {
            assert_eq!(reason, "truncated", "{name}");
        }
        // Damage at any place costs the image at most; it never ends the process.
        for at in (0..bytes.len()).step_by(bytes.len() / 97 + 1) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let _ = decode_bytes(&damaged);
            let _ = decode_bytes(&bytes[..at]);
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(unix)]
#[test]
fn pipes_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(decode(&pipe).unwrap_err(), "not a regular file");
    assert_eq!(decode(folder.path()).unwrap_err(), "not a regular file");
    assert!(decode(&folder.path().join("none.png")).is_err());
}

/// Figures, not a check: `cargo test --release --test data -- --ignored --nocapture`.
#[test]
#[ignore]
fn speed() {
    let time = |what: &str, n: u32, work: &mut dyn FnMut()| {
        work();
        let start = Instant::now();
        (0..n).for_each(|_| work());
        println!("{what}: {:.3} ms", start.elapsed().as_secs_f64() * 1e3 / f64::from(n));
    };
    let p = resolve("imagenet,filter=bicubic");
    let mut out = vec![0.0; 3 * 224 * 224];
    let small = fs::read(golden("gray.png")).unwrap();
    let gray = decode_bytes(&small).unwrap();
    time("28x28 grey, decode", 500, &mut || drop(decode_bytes(&small).unwrap()));
    time("28x28 grey, preprocess NCHW", 500, &mut || preprocess(&gray, &p, Layout::Nchw, &mut out).unwrap());
    time("28x28 grey, preprocess NHWC", 500, &mut || preprocess(&gray, &p, Layout::Nhwc, &mut out).unwrap());
    let colour = as_rgb(&gray);
    time("28x28 colour, preprocess NCHW", 500, &mut || preprocess(&colour, &p, Layout::Nchw, &mut out).unwrap());
    let mut varied = |what: &str, image: &Pixels, n| {
        for level in [Level::Light, Level::Strong] {
            let mut epoch = 0;
            time(&format!("{what}, {level:?}"), n, &mut || {
                epoch += 1;
                let key = Key { seed: 0, epoch, path: what };
                preprocess_changed(image, &p, Layout::Nchw, level.into(), key, &mut out).unwrap();
            });
        }
    };
    varied("28x28 grey", &gray, 500);
    varied("28x28 colour", &colour, 500);
    let large = image::RgbImage::from_fn(4000, 3000, |x, y| {
        let wave = (f64::from(x) / 37.0).sin() * (f64::from(y) / 23.0).cos();
        image::Rgb([(128.0 + 90.0 * wave) as u8, (x * y / 500) as u8, (x * 7919 + y * 104_729) as u8 % 32])
    });
    let mut jpeg = std::io::Cursor::new(Vec::new());
    large.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 90)).unwrap();
    let (jpeg, large) = (jpeg.into_inner(), Pixels::Rgb(large));
    varied("12 megapixels", &large, 20);
    println!("the 12-megapixel JPEG has {} bytes", jpeg.len());
    time("12 megapixels, decode", 5, &mut || drop(decode_bytes(&jpeg).unwrap()));
    time("12 megapixels, preprocess", 5, &mut || preprocess(&large, &p, Layout::Nchw, &mut out).unwrap());
}
