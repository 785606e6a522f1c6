//! What a person reads of training inside the network.

use super::inside::Job;
use adapt::data::augment::Level;
use adapt::report::time;
use adapt::train::tune::{BatchNorms, Epoch, OptimizerChoice as Optimizer};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The most images of the trials in which a head on several depths was better than the last blocks (docs/performance.md).
const FEW: usize = 1_000;

/// The rows of the plan.
pub fn plan(job: &Job) -> Vec<(&'static str, String)> {
    let (tensors, values) = job.trained();
    let frozen = match (job.start(), job.untrained()) {
        (Some(start), _) => format!("frozen before '{start}'"),
        (None, 0) => "nothing is frozen".into(),
        (None, others) => format!("{others} others are frozen"),
    };
    let s = &job.settings;
    let epochs = job.epochs();
    let optimizer = match s.optimizer {
        Optimizer::Sgd => format!("SGD, momentum {}", s.momentum),
        other => named(&other),
    };
    let mut how = format!("{epochs} epochs, {} steps of {} images, {optimizer}, ", s.steps, s.batch_size);
    let _ = write!(how, "learning rate {} {}, weight decay {}", s.lr, named(&s.schedule), s.weight_decay);
    for (name, value, none) in [
        ("layer decay", s.layer_decay, 1.),
        ("label smoothing", s.label_smoothing, 0.),
        ("average", s.ema, 0.),
        ("mixup", s.mixup, 0.),
        ("CutMix", s.cutmix, 0.),
        ("gradients clipped at", s.clip_grad, 0.),
        ("steps of warm-up", s.warmup as f64, 0.),
        ("patience", s.patience as f64, 0.),
    ] {
        if value != none {
            let _ = write!(how, ", {name} {value}");
        }
    }
    let _ = write!(how, ", {}{}", named(&s.loss), if s.balanced { ", classes weigh alike" } else { "" });
    match s.bn {
        BatchNorms::Frozen => how.push_str(", batch norms frozen"),
        BatchNorms::Affine => {}
        BatchNorms::Train => how.push_str(", batch norms follow the images"),
    }
    if s.augment != Level::None {
        let mirrored = if s.hflip == 0. { " without mirroring" } else { "" };
        let turned = if s.vflip > 0. { ", some upside down" } else { "" };
        let _ = write!(how, ", {} augmentation{mirrored}{turned}", named(&s.augment));
    }
    let mut rows = vec![("train", format!("{tensors} tensors, {values} weights; {frozen}")), ("", how)];
    let taken = job.taken();
    if taken > 0 {
        let others = if taken < job.classes() { "; the others by chance" } else { "" };
        rows.push((
            "",
            format!("{taken} of {} classes begin with the original's weights for them{others}", job.classes()),
        ));
    }
    if job.start().is_some() && job.images <= FEW && !job.from_scratch {
        rows.push(("", "in trials with 200 to 1,000 images --train head was better than the last two blocks".into()));
    }
    rows.extend(job.estimate().map(|[step, all]| ("", format!("a step takes {step:.2} s, all about {}", time(all)))));
    rows
}

/// As its serialised form.
fn named(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// How often the rows so far are written: as a whole each time, which among thousands of short epochs would take longer than these.
const WRITTEN: Duration = Duration::from_secs(1);

/// A line an epoch, with the header before the first.
pub struct Epochs {
    total: u64,
    begun: bool,
    written: Option<Instant>,
}

impl Epochs {
    pub fn new(total: u64) -> Epochs {
        Epochs { total, begun: false, written: None }
    }

    /// Whether they are to be written now; if so, not again for a while.
    pub fn are_due(&mut self) -> bool {
        let due = self.written.is_none_or(|at| at.elapsed() > WRITTEN);
        if due {
            self.written = Some(Instant::now());
        }
        due
    }

    pub fn row(&mut self, epoch: &Epoch) -> String {
        let figure = |value: Option<f64>, digits| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let cells = [
            format!("{}/{}", epoch.epoch, self.total),
            figure(epoch.train_loss, 4),
            figure(epoch.train_accuracy, 4),
            figure(epoch.val_loss, 4),
            figure(epoch.val_accuracy, 4),
            if epoch.epoch > 0 { format!("{:.1e}", epoch.lr) } else { "-".into() },
            figure(epoch.images_per_second, 1),
            epoch.seconds_left.map_or("-".into(), time),
        ];
        let line = |cells: [String; 8]| cells.iter().map(|cell| format!(" {cell:>10}")).collect::<String>();
        let header = ["epoch", "train loss", "accuracy", "val loss", "accuracy", "rate", "images/s", "left"];
        match std::mem::replace(&mut self.begun, true) {
            true => line(cells),
            false => format!("{}\n{}", line(header.map(str::to_owned)), line(cells)),
        }
    }
}
