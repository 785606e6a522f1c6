//! The preprocessings that have a name.

use super::preprocess::{Color, Filter, IMAGENET_MEAN, IMAGENET_STD};

/// A named preprocessing whose size is still open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Preset {
    pub name: &'static str,
    pub color: Color,
    pub filter: Filter,
    /// Whether the shorter side is resized to round(size / 0.875), or to the size itself.
    pub margin: bool,
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

const IMAGENET: Preset = Preset {
    name: "imagenet",
    color: Color::Rgb,
    filter: Filter::Bilinear,
    margin: true,
    scale: 1.0 / 255.0,
    mean: IMAGENET_MEAN,
    std: IMAGENET_STD,
};

pub(super) static PRESETS: [Preset; 7] = [
    IMAGENET,
    Preset { name: "inception", mean: [0.5; 3], std: [0.5; 3], ..IMAGENET },
    Preset { name: "raw01", mean: [0.0; 3], std: [1.0; 3], ..IMAGENET },
    Preset { name: "raw255", scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..IMAGENET },
    Preset {
        name: "clip",
        filter: Filter::Bicubic,
        margin: false,
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.261_302_6, 0.275_777_1],
        ..IMAGENET
    },
    Preset {
        name: "efficientnet-lite",
        filter: Filter::Bicubic,
        mean: [127.0 / 255.0; 3],
        std: [128.0 / 255.0; 3],
        ..IMAGENET
    },
    Preset {
        name: "caffe",
        color: Color::Bgr,
        scale: 1.0,
        mean: [123.68, 116.779, 103.939],
        std: [1.0; 3],
        ..IMAGENET
    },
];
