//! The texts that preprocessing is written as: the command line's SPEC and Hugging Face's JSON.

use super::resolve;
use adapt::data::{Color, Preprocessing, Resize, Spec};

const SPECS: [&str; 12] = [
    "imagenet",
    "inception",
    "raw01",
    "raw255",
    "clip",
    "efficientnet-lite",
    "caffe",
    "imagenet,resize=232,filter=bicubic",
    "raw01,resize=192x256",
    "caffe,crop=none,filter=lanczos,mean=1:2.5:3,std=0.1",
    "raw255,resize=none,scale=1/255,color=gray",
    "clip,resize=240x250,crop=224x224,mean=0.1,std=0.3,scale=0.00784,color=rgb",
];

#[test]
fn specs_and_json_round_trip() {
    for text in SPECS {
        let spec: Spec = text.parse().unwrap();
        assert_eq!(spec.to_string().parse::<Spec>().as_ref(), Ok(&spec), "{text}");
        assert_eq!(serde_json::from_value::<Spec>(serde_json::to_value(&spec).unwrap()).unwrap(), spec);
        let p = resolve(text);
        assert_eq!(Preprocessing::from_json(&p.to_json(), None).as_ref(), Ok(&p), "{text}: {}", p.to_json());
        assert_eq!(serde_json::from_value::<Preprocessing>(serde_json::to_value(&p).unwrap()).unwrap(), p);
    }
    assert_eq!("filter=bicubic, resize=232".parse::<Spec>().unwrap().to_string(), "imagenet,resize=232,filter=bicubic");
    assert_eq!(resolve("imagenet"), Preprocessing::imagenet(224, 224));
    assert_eq!(resolve("imagenet").resize, Resize::Shortest(256));
    assert_eq!(Spec::default().resolve(100, 200).unwrap(), Preprocessing::imagenet(100, 200));
    let gray = resolve("imagenet,color=gray");
    assert!(gray.channels() == 1 && (gray.mean[0] - 0.449).abs() < 1e-4 && gray.std.len() == 1);
}

#[test]
fn bad_specs_say_what_is_known() {
    for (text, part) in [
        ("imagnet", "did you mean 'imagenet'?"),
        ("", "known: imagenet, inception"),
        ("imagenet,clip", "preset is given twice"),
        ("filter=cubic", "did you mean 'bicubic'?"),
        ("sise=3", "unknown preprocessing key 'sise'; known: resize, crop"),
        ("std=0", "std must not be 0"),
        ("std=1:2", "3 are needed"),
        ("mean=nan", "write a number"),
        ("scale=1/0", "write a number"),
        ("resize=99999", "outside 1 to 8192"),
        ("crop=0", "outside 1 to 8192"),
        ("crop=axb", "HEIGHTxWIDTH"),
        ("resize=256,crop=none", "without a crop"),
        ("color=gray,mean=1:2:3", "mean has 3 values; 1 are needed"),
        ("resize=1,resize=2", "resize is given twice"),
        ("color=blue", "known: rgb, bgr, gray"),
        ("std=1e-38,scale=1e38", "not finite"),
    ] {
        let error = text.parse::<Spec>().expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
    let error = "crop=192".parse::<Spec>().unwrap().resolve(224, 224).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("gives 192x192 pixels but the model takes 224x224"));
}

#[test]
fn configs_of_old_and_new_processors_are_read() {
    let read = |text: &str, size| Preprocessing::from_json(&serde_json::from_str(text).unwrap(), size);
    let old_vit =
        read(r#"{"do_resize":true,"size":224,"resample":2,"image_mean":0.5,"image_std":[0.5]}"#, None).unwrap();
    assert_eq!((old_vit.resize, old_vit.crop), (Resize::Exact { height: 224, width: 224 }, None));
    assert_eq!((old_vit.mean, old_vit.scale), (vec![0.5; 3], 1.0 / 255.0));
    let clip = read(r#"{"do_center_crop":true,"size":{"shortest_edge":224},"resample":"bicubic"}"#, None).unwrap();
    assert_eq!((clip.resize, clip.crop, clip.std), (Resize::Shortest(224), Some((224, 224)), vec![1.0; 3]));
    let next = read(r#"{"size":{"shortest_edge":224},"crop_pct":0.875,"do_flip_channel_order":true}"#, None).unwrap();
    assert_eq!((next.resize, next.crop, next.color), (Resize::Shortest(256), Some((224, 224)), Color::Bgr));
    let raw = r#"{"do_resize":false,"do_rescale":false,"do_normalize":false,"image_mean":[9,9,9],"image_std":[9,9,9]}"#;
    let raw = read(raw, Some((10, 20))).unwrap();
    assert_eq!((raw.size(), raw.scale, raw.mean, raw.std), ((10, 20), 1.0, vec![0.0; 3], vec![1.0; 3]));
    // Only the last of these two is what the processor itself takes.
    for size in [r#"{"longest_edge":224}"#, r#"{"max_height":224,"max_width":224}"#] {
        let text = format!(r#"{{"size":{size},"do_center_crop":true,"crop_size":224}}"#);
        let padded = read(&text, None).unwrap();
        assert_eq!((padded.resize, padded.crop), (Resize::Longest(224), Some((224, 224))));
        assert_eq!(padded.to_json()["size"], serde_json::json!({ "max_height": 224, "max_width": 224 }));
    }
    for (text, part) in [
        ("[]", "JSON object"),
        (r#"{"size":{"max_height":3,"max_width":4}}"#, "height and width"),
        ("{}", "no size"),
        (r#"{"size":0}"#, "outside 1 to 8192"),
        (r#"{"size":-3}"#, "size must be a number of pixels"),
        (r#"{"size":{"longest_edge":3}}"#, "only longest_edge"),
        (r#"{"size":{"shortest_edge":224}}"#, "only shortest_edge"),
        (r#"{"size":224,"image_mean":[0,0,0],"image_std":[1,0,1]}"#, "std must not be 0"),
        (r#"{"size":224,"image_mean":[0,0],"image_std":[1,1,1]}"#, "mean has 2 values"),
        (r#"{"size":224,"image_mean":[0,0,0]}"#, "image_std must both be given"),
        (r#"{"size":224,"resample":9}"#, "resample must be 0 to 5"),
        (r#"{"size":224,"do_resize":"yes"}"#, "do_resize must be true or false"),
        (r#"{"size":224,"rescale_factor":1e300}"#, "finite number"),
        (r#"{"size":224,"crop_pct":0}"#, "crop_pct 0"),
    ] {
        let error = read(text, None).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}
