//! The networks, layer by layer.

use super::builder::{Builder, Conv, Map, Start};
use crate::error::Result;

/// An input of at most so many pixels a side is CIFAR's kind: nothing is thrown away at the start.
const SMALL: usize = 64;

/// MobileNet's stages: expansion, channels, blocks, stride. The paper's form, narrower.
const STAGES: [[usize; 4]; 6] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 3, 2], [6, 96, 2, 1], [6, 160, 2, 2]];
/// Channels of its first and of its last convolution.
const ENDS: [usize; 2] = [16, 640];

fn is_small(input: &Map) -> bool {
    input.height.max(input.width) <= SMALL
}

pub(super) fn cnn(b: &mut Builder, input: &Map, classes: usize) -> Result<()> {
    let mut x = input.clone();
    for (i, channels) in [(1, 32), (2, 64)] {
        x = b.conv(&format!("conv{i}"), &x, Conv { bias: true, ..Conv::new(channels, 3) })?;
        x = b.relu(&format!("relu{i}"), &x);
        x = b.max_pool(&format!("pool{i}"), &x, 2, 0)?;
    }
    x = b.flatten("flatten", &x);
    x = b.dense("fc1", &x, 128, Start::He)?;
    x = b.relu("relu3", &x);
    b.logits("fc2", &x, classes)
}

/// arXiv 1512.03385 with basic blocks, `blocks` in each stage; projections where a block changes the shape.
pub(super) fn resnet(b: &mut Builder, input: &Map, widths: &[usize], blocks: usize, classes: usize) -> Result<()> {
    let first = widths[0];
    let stem = if is_small(input) { Conv::new(first, 3) } else { Conv { stride: 2, ..Conv::new(first, 7) } };
    let mut x = b.conv("conv1", input, stem)?;
    x = b.batch_norm("bn1", &x)?;
    x = b.relu("relu", &x);
    if !is_small(input) {
        x = b.max_pool("maxpool", &x, 3, 1)?;
    }
    for (stage, &width) in widths.iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = basic(b, &format!("layer{}.{block}", stage + 1), &x, width, stride)?;
        }
    }
    x = b.global_pool("avgpool", &x)?;
    x = b.flatten("flatten", &x);
    b.logits("fc", &x, classes)
}

fn basic(b: &mut Builder, name: &str, input: &Map, width: usize, stride: usize) -> Result<Map> {
    let layer = |part: &str| format!("{name}.{part}");
    let mut x = b.conv(&layer("conv1"), input, Conv { stride, ..Conv::new(width, 3) })?;
    x = b.batch_norm(&layer("bn1"), &x)?;
    x = b.relu(&layer("relu1"), &x);
    x = b.conv(&layer("conv2"), &x, Conv::new(width, 3))?;
    x = b.batch_norm(&layer("bn2"), &x)?;
    let mut shortcut = input.clone();
    if stride != 1 || input.channels != width {
        shortcut = b.conv(&layer("downsample.conv"), input, Conv { stride, ..Conv::new(width, 1) })?;
        shortcut = b.batch_norm(&layer("downsample.bn"), &shortcut)?;
    }
    x = b.add(&layer("add"), &x, &shortcut);
    Ok(b.relu(&layer("relu2"), &x))
}

/// arXiv 1801.04381. On small inputs neither the first convolution nor the first stage that would halves the size.
pub(super) fn mobilenet(b: &mut Builder, input: &Map, classes: usize) -> Result<()> {
    let first = if is_small(input) { 1 } else { 2 };
    let mut x = normed(b, "stem", input, Conv { stride: first, ..Conv::new(ENDS[0], 3) }, true)?;
    for (stage, [expansion, channels, blocks, stride]) in STAGES.into_iter().enumerate() {
        let stride = if stage == 1 { first } else { stride };
        for block in 0..blocks {
            let name = format!("stage{}.{block}", stage + 1);
            x = inverted(b, &name, &x, expansion, channels, if block == 0 { stride } else { 1 })?;
        }
    }
    x = normed(b, "head", &x, Conv::new(ENDS[1], 1), true)?;
    x = b.global_pool("avgpool", &x)?;
    x = b.flatten("flatten", &x);
    b.logits("classifier", &x, classes)
}

/// Expand, filter each channel, project; added to the input where the shape allows it.
fn inverted(b: &mut Builder, name: &str, input: &Map, expansion: usize, channels: usize, stride: usize) -> Result<Map> {
    let layer = |part: &str| format!("{name}.{part}");
    let mut x = input.clone();
    if expansion != 1 {
        x = normed(b, &layer("expand"), &x, Conv::new(input.channels * expansion, 1), true)?;
    }
    let depthwise = Conv { stride, groups: x.channels, ..Conv::new(x.channels, 3) };
    x = normed(b, &layer("depthwise"), &x, depthwise, true)?;
    x = normed(b, &layer("project"), &x, Conv::new(channels, 1), false)?;
    let same = stride == 1 && input.channels == channels;
    Ok(if same { b.add(&layer("add"), &x, input) } else { x })
}

fn normed(b: &mut Builder, name: &str, input: &Map, conv: Conv, activated: bool) -> Result<Map> {
    let x = b.conv(&format!("{name}.conv"), input, conv)?;
    let x = b.batch_norm(&format!("{name}.bn"), &x)?;
    Ok(if activated { b.relu6(&format!("{name}.relu6"), &x) } else { x })
}
