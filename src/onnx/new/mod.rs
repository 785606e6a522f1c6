//! New networks with initial weights, for training from scratch.

mod builder;
mod networks;

use super::Model;
use crate::error::{Error, Result};
use builder::{Builder, Map};

/// A side of more pixels is no use to any of them.
const MOST_PIXELS: usize = 8192;

/// The networks that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Architecture {
    /// Two convolutions (32, 64) with ReLU and pooling, dense 128, dense: the classic for CIFAR-10 and MNIST
    Cnn,
    /// A ResNet with one block in each of three stages (16, 32, 64)
    Resnet8,
    /// The ResNet with two blocks in each of four stages (64 to 512)
    Resnet18,
    /// A small MobileNet-v2: inverted residuals of up to 160 channels
    Mobilenet,
}

/// What a new network is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNetwork {
    /// Which one.
    pub architecture: Architecture,
    /// Logits that it gives.
    pub classes: usize,
    /// Of its input: 1 for grey, 2 for grey and opacity, 3 for colours, 4 for colours and opacity.
    pub channels: usize,
    /// Of its input, in pixels.
    pub height: usize,
    /// Of its input, in pixels.
    pub width: usize,
    /// Decides the weights.
    pub seed: u64,
}

impl NewNetwork {
    /// The network as a model of opset 17, `input` [N, channels, height, width] to `logits` [N, classes]: float32, N free.
    /// ResNets and MobileNet have batch norms with initial statistics. Where no side of the input is above 64 pixels, they
    /// begin with a 3×3 convolution that keeps the size, as is usual for CIFAR, else as for ImageNet.
    ///
    /// Layers get He's normal weights (arXiv 1502.01852, by fan-in), the last one Glorot's uniform ones (Glorot and Bengio,
    /// 2010). The same description gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] when a number is out of range, the input too small for the poolings, or the network too large.
    pub fn build(&self) -> Result<Model> {
        let NewNetwork { architecture, classes, channels, height, width, seed } = *self;
        if !(1..=4).contains(&channels) {
            return Err(Error::Usage(format!("an input of {channels} channels; it must have 1 to 4")));
        }
        if [height, width].iter().any(|side| !(1..=MOST_PIXELS).contains(side)) {
            return Err(Error::Usage(format!(
                "an input of {height}x{width} pixels; a side must have 1 to {MOST_PIXELS}"
            )));
        }
        if classes < 2 {
            return Err(Error::Usage(format!("{classes} classes; there must be two at least")));
        }
        let mut builder = Builder::default();
        let input = Map { name: "input".into(), channels, height, width };
        match architecture {
            Architecture::Cnn => networks::cnn(&mut builder, &input, classes)?,
            Architecture::Resnet8 => networks::resnet(&mut builder, &input, &[16, 32, 64], 1, classes)?,
            Architecture::Resnet18 => networks::resnet(&mut builder, &input, &[64, 128, 256, 512], 2, classes)?,
            Architecture::Mobilenet => networks::mobilenet(&mut builder, &input, classes)?,
        }
        builder.model(&architecture.to_string(), &input, classes, seed)
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Architecture::Cnn => "cnn",
            Architecture::Resnet8 => "resnet8",
            Architecture::Resnet18 => "resnet18",
            Architecture::Mobilenet => "mobilenet",
        })
    }
}
