//! Options of training.

use adapt::data::augment::Level;
use adapt::graph::Extent;
use adapt::tensor::{Number, Precision};
use adapt::train::loss::LossKind;
use adapt::train::schedule::Schedule;
use adapt::train::tune::{BatchNorms, BatchSize, OptimizerChoice as Optimizer, Wishes};
use adapt::{Error, Result};
use clap::Args;
use std::fmt;
use std::time::Duration;

/// What is trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Train {
    /// A new head on frozen features.
    Head,
    /// The head, and so much of the network.
    Inside(Extent),
}

impl fmt::Display for Train {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Train::Head => f.write_str("head"),
            Train::Inside(Extent::All) => f.write_str("all"),
            Train::Inside(Extent::Last(count)) => write!(f, "last:{count}"),
            Train::Inside(Extent::Behind(tensor)) => f.write_str(tensor),
        }
    }
}

/// `head`, `last:N`, `all`, or a tensor's name.
pub fn train(text: &str) -> std::result::Result<Train, String> {
    Ok(match text.split_once(':') {
        _ if text == "head" => Train::Head,
        _ if text == "all" => Train::Inside(Extent::All),
        Some(("last", count)) => {
            let count = count.parse().map_err(|_| format!("'{count}' is no number of blocks; give last:2, say"))?;
            if count == 0 { Train::Head } else { Train::Inside(Extent::Last(count)) }
        }
        _ if text.is_empty() => return Err("give head, last:N, all, or a tensor's name".into()),
        _ => Train::Inside(Extent::Behind(text.into())),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

/// For training inside the network; each has a default that fits the data set.
#[derive(Args)]
pub struct TrainingOptions {
    /// How often each image is seen
    #[arg(long, value_name = "N", value_parser = epochs, help_heading = "Training inside")]
    pub epochs: Option<usize>,
    /// Steps in all, instead of epochs; 0 writes the model as training would begin
    #[arg(long, value_name = "N", conflicts_with = "epochs", help_heading = "Training inside")]
    pub steps: Option<u64>,
    /// Images of a step, or all
    #[arg(short, long, value_name = "N|all", value_parser = batch_size, help_heading = "Training inside")]
    pub batch_size: Option<BatchSize>,
    /// The largest learning rate
    #[arg(long, value_name = "RATE", value_parser = positive, help_heading = "Training inside")]
    pub lr: Option<f64>,
    /// The optimiser
    #[arg(long, visible_alias = "opt", value_enum, help_heading = "Training inside")]
    pub optimizer: Option<Optimizer>,
    /// SGD's momentum
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Training inside")]
    pub momentum: Option<f64>,
    /// Weight decay; biases and scales have none
    #[arg(long, value_name = "RATE", value_parser = not_negative, help_heading = "Training inside")]
    pub weight_decay: Option<f64>,
    /// How the learning rate goes
    #[arg(long, visible_alias = "sched", value_enum, help_heading = "Training inside")]
    pub schedule: Option<Schedule>,
    /// Epochs in which the learning rate rises at first
    #[arg(long, visible_alias = "warmup-epochs", value_name = "EPOCHS", value_parser = rising, help_heading = "Training inside")]
    pub warmup: Option<f64>,
    /// The share of each target that is spread over all classes
    #[arg(long, visible_alias = "smoothing", value_name = "SHARE", value_parser = share, help_heading = "Training inside")]
    pub label_smoothing: Option<f64>,
    /// Decay of a moving average of the weights, which is then exported; 0 for none
    #[arg(long, visible_alias = "model-ema-decay", value_name = "DECAY", value_parser = share, help_heading = "Training inside")]
    pub ema: Option<f64>,
    /// The largest norm of a step's gradient; 0 for any
    #[arg(long, value_name = "NORM", value_parser = not_negative, help_heading = "Training inside")]
    pub clip_grad: Option<f64>,
    /// The learning rate's factor from each block to the one before it
    #[arg(long, value_name = "FACTOR", value_parser = probability, help_heading = "Training inside")]
    pub layer_decay: Option<f64>,
    /// How images are changed each time they are seen
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "Training inside")]
    pub augment: Option<Augment>,
    /// The share of the images that is mirrored, where they are changed [default: 0.5, 0 for classes that are digits or
    /// letters]
    #[arg(long, value_name = "SHARE", value_parser = probability, help_heading = "Training inside")]
    pub hflip: Option<f64>,
    /// The share of the images that is mirrored upside down, where they are changed, as suits pictures from above [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = probability, help_heading = "Training inside")]
    pub vflip: Option<f64>,
    /// Blends pairs of images, or of what the frozen part gives for them: the alpha of mixup's Beta distribution; 0 for none
    #[arg(long, value_name = "ALPHA", value_parser = not_negative, help_heading = "Training inside")]
    pub mixup: Option<f64>,
    /// Pastes pieces of images, or of the frozen part's maps, into others: the alpha of CutMix's Beta distribution; 0 for none
    #[arg(long, value_name = "ALPHA", value_parser = not_negative, help_heading = "Training inside")]
    pub cutmix: Option<f64>,
    /// Whether the head is trained alone first, which keeps features from being spoilt (LP-FT); without it classes that the
    /// original has by name begin with its weights [default: on, off for new networks]
    #[arg(long, value_enum, help_heading = "Training inside")]
    pub probe: Option<Switch>,
    /// What becomes of batch norms
    #[arg(long, value_enum, value_name = "MODE", help_heading = "Training inside")]
    pub bn: Option<BatchNorms>,
    /// Epochs without improvement on the validation images after which training ends; 0 for never
    #[arg(long, value_name = "EPOCHS", help_heading = "Training inside")]
    pub patience: Option<usize>,
    /// The loss
    #[arg(long, value_enum, help_heading = "Training inside")]
    pub loss: Option<LossKind>,
    /// Which factors a GPU rounds to TF32 in training steps [default: conv]
    #[arg(long, value_enum, value_name = "WHICH", help_heading = "Training inside")]
    pub tf32: Option<Tf32>,
    /// Let a GPU multiply in this type in training steps; weights stay float32
    #[arg(long, value_enum, value_name = "TYPE", conflicts_with = "tf32", help_heading = "Training inside")]
    pub amp: Option<Amp>,
    /// Let each class count alike, however many images it has
    #[arg(long, help_heading = "Training")]
    pub balanced: bool,
    /// The time that training may take, as 90s, 10m or 2h: epochs, or the heads that are compared, are chosen to fit
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with_all = ["epochs", "steps"], help_heading = "Training")]
    pub budget: Option<Duration>,
    /// Memory for what the frozen part gives, as 500M or 2G; more is kept in a file beside the result [default: 2G]
    #[arg(long, value_name = "SIZE", value_parser = super::options::bytes, help_heading = "Training inside")]
    pub cache_limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tf32 {
    /// None
    Off,
    /// Those of convolutions
    Conv,
    /// Those of matrix products, too
    On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Amp {
    /// bfloat16
    Bf16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Augment {
    /// Not at all
    None,
    /// Random crops and flips
    Light,
    /// Smaller crops, rotation and colours too
    Strong,
    /// Light where all of the network is trained, or its first layers; else none, so that what is frozen runs once
    Auto,
}

impl TrainingOptions {
    /// Whether a head is trained before the network is, which knows nothing yet where it is `initial`: a head trained on its
    /// features would, too.
    pub fn probes(&self, initial: bool) -> bool {
        self.probe.unwrap_or(if initial { Switch::Off } else { Switch::On }) == Switch::On
    }

    pub fn wishes(&self) -> Wishes {
        Wishes {
            epochs: self.epochs,
            steps: self.steps,
            batch_size: self.batch_size,
            lr: self.lr,
            optimizer: self.optimizer,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            schedule: self.schedule,
            warmup: self.warmup,
            label_smoothing: self.label_smoothing,
            ema: self.ema,
            clip_grad: self.clip_grad,
            layer_decay: self.layer_decay,
            augment: match self.augment {
                Some(Augment::None) => Some(Level::None),
                Some(Augment::Light) => Some(Level::Light),
                Some(Augment::Strong) => Some(Level::Strong),
                Some(Augment::Auto) | None => None,
            },
            hflip: self.hflip,
            vflip: self.vflip,
            mixup: self.mixup,
            cutmix: self.cutmix,
            bn: self.bn,
            patience: self.patience,
            loss: self.loss,
            balanced: self.balanced,
            precision: self.precision(),
            budget: self.budget,
        }
    }

    fn precision(&self) -> Option<Precision> {
        let (conv, product) = match (self.tf32, self.amp) {
            (None, None) => return None,
            (_, Some(Amp::Bf16)) => (Number::Bf16, Number::Bf16),
            (Some(Tf32::Off), _) => (Number::F32, Number::F32),
            (Some(Tf32::Conv), _) => (Number::Tf32, Number::F32),
            (Some(Tf32::On), _) => (Number::Tf32, Number::Tf32),
        };
        Some(Precision { conv, product })
    }

    /// Refuses what means nothing where no GPU trains.
    pub fn check_device(&self, on_gpu: bool) -> Result<()> {
        if !on_gpu && self.precision().is_some() {
            let what = "--tf32 and --amp are for a GPU, and the processor trains";
            return Err(Error::Usage(format!("{what}; leave them out, or give --device cuda")));
        }
        Ok(())
    }

    /// Refuses what means nothing where only a head is trained.
    pub fn check(&self, train: &Train) -> Result<()> {
        let other = self.probe.is_some() || self.cache_limit.is_some();
        let inside = Wishes { balanced: false, budget: None, ..self.wishes() };
        if *train == Train::Head && (other || inside != Wishes::default()) {
            let what = "options of training inside the network do nothing with --train head";
            return Err(Error::Usage(format!("{what}; add --train all, or --train last:2, say")));
        }
        if self.momentum.is_some() && self.optimizer != Some(Optimizer::Sgd) {
            return Err(Error::Usage("--momentum is SGD's; give --optimizer sgd, or leave it out".into()));
        }
        if self.schedule == Some(Schedule::OneCycle) && self.warmup.is_some_and(|epochs| epochs > 0.) {
            let what = "--warmup: the schedule onecycle is its own warm-up";
            return Err(Error::Usage(format!("{what}; leave one of them out, or give --schedule cosine")));
        }
        Ok(())
    }
}

fn number(text: &str, fits: impl Fn(f64) -> bool, what: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|&value: &f64| value.is_finite() && fits(value)).ok_or_else(|| what.into())
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    number(text, |value| value > 0., "give a number above 0")
}

fn not_negative(text: &str) -> std::result::Result<f64, String> {
    number(text, |value| value >= 0., "give a number, 0 or above")
}

fn rising(text: &str) -> std::result::Result<f64, String> {
    number(text, |value| (0. ..=1e6).contains(&value), "give a number of epochs, up to a million")
}

fn probability(text: &str) -> std::result::Result<f64, String> {
    number(text, |value| (0. ..=1.).contains(&value), "give a number from 0 to 1")
}

fn share(text: &str) -> std::result::Result<f64, String> {
    number(text, |value| (0. ..1.).contains(&value), "give a number from 0 to below 1")
}

fn epochs(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&epochs| epochs <= 1_000_000).ok_or_else(|| "give a number, up to a million".into())
}

fn batch_size(text: &str) -> std::result::Result<BatchSize, String> {
    match text.parse() {
        _ if text == "all" => Ok(BatchSize::All),
        Ok(size @ 1..) => Ok(BatchSize::Images(size)),
        _ => Err("give a number of images, or all".into()),
    }
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let factor = match &text[split..] {
        "s" | "" => 1.,
        "m" | "min" => 60.,
        "h" => 3600.,
        _ => f64::NAN,
    };
    let seconds = text[..split].parse().map_or(f64::NAN, |value: f64| value * factor);
    let fits = |seconds: &f64| (1. ..1e7).contains(seconds);
    Some(seconds).filter(fits).map(Duration::from_secs_f64).ok_or_else(|| "give a time, as 90s, 10m or 2h".into())
}
