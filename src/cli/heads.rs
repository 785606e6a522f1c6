//! Options of the head, and its choice.

use super::made::Work;
use super::screen::Drop;
use super::training::Train;
use super::{classes_only, tables};
use adapt::Result;
use adapt::data::{Dataset, Split};
use adapt::engine::{Backend, Cache, Extractor};
use adapt::error::printable;
use adapt::metrics::{Answers, Outlier};
use adapt::onnx::Model;
use adapt::plan::Plan;
use adapt::progress::Event;
use adapt::report::precise;
use adapt::train::heads::{Chosen, Kind, Metric, Several, Wishes, choose, choose_several, kind, nearest_class_mean};
use adapt::train::{Features, separate};
use clap::Args;
use ndarray::s;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is left of a budget at least, where a head is chosen again.
const LEAST_BUDGET: Duration = Duration::from_secs(1);
/// The share of a budget that goes into the head with which training inside the network begins.
const FIRST_HEADS_SHARE: f64 = 0.2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Head {
    /// The best of all, also on features of tensors before the cut
    Auto,
    /// Softmax regression with an L2 penalty
    Softmax,
    /// Linear discriminant analysis with a shrunk covariance
    Lda,
    /// The nearest class mean by the cosine
    Ncm,
    /// A perceptron with one hidden layer, which auto tries on many images alone
    Mlp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The mean F1 over the classes: rare ones count like others
    MacroF1,
    /// The share of images whose class is found
    Accuracy,
    /// How probable the true classes are
    LogLoss,
}

#[derive(Args)]
pub struct HeadOptions {
    /// The kind of head, with --train head [default: auto]
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Head")]
    pub head: Option<Head>,
    /// What the best head is best at, in cross-validation [default: macro-f1]
    #[arg(long, value_enum, value_name = "METRIC", help_heading = "Head")]
    pub metric: Option<By>,
    /// Folds of the cross-validation that chooses the head, whose figures are told; images are dealt into them twice at least, few up to ten
    /// times; it then learns from all training images
    /// [default: 5, beside the images held out by --val; numbers without --groups: each image left out by itself]
    #[arg(long, value_name = "K", value_parser = folds, help_heading = "Head")]
    pub cv: Option<usize>,
    /// The share of answers that are to be right, as 0.95: the model's metadata then tell from which probability on they are, by images
    /// that the head did not learn from and 95 % sure, and predict marks the others
    #[arg(long, value_name = "PRECISION", value_parser = precision, help_heading = "Head")]
    pub abstain: Option<f64>,
}

impl HeadOptions {
    /// The options that were given, where a network is trained that has no choice.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            (self.head.is_some(), "--head"),
            (self.metric.is_some(), "--metric"),
            (self.cv.is_some(), "--cv"),
            (self.abstain.is_some(), "--abstain"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }

    /// Refuses what is for classes where the labels are none.
    pub fn check(&self, data: &Dataset) -> Result<()> {
        let given = [
            (!matches!(self.head, None | Some(Head::Auto)), "--head"),
            (self.metric.is_some(), "--metric"),
            (self.abstain.is_some(), "--abstain"),
        ];
        given.into_iter().filter(|(given, _)| *given).try_for_each(|(_, option)| classes_only(data, option))
    }

    /// Lets the plan say what kinds there are to choose from, and gives what extracts the features that they take.
    pub fn ready(
        &self,
        plan: &mut Plan,
        (model, backend): (&Model, &Backend),
        data: &Dataset,
        extractor: Extractor,
        cache: Option<&Cache>,
    ) -> Extractor {
        let images = data.items.len();
        if let Some(kind) = self.kind() {
            plan.head = kind.to_string();
            return plan.cached_with_depths(extractor, (model, backend), images, cache);
        }
        let extractor = plan.deepen(model, backend, images, extractor);
        name(plan, "the best of several kinds");
        plan.cached(extractor, model, cache)
    }

    fn kind(&self) -> Option<Kind> {
        match self.head.unwrap_or(Head::Auto) {
            Head::Auto => None,
            Head::Softmax => Some(Kind::Softmax),
            Head::Lda => Some(Kind::Lda),
            Head::Ncm => Some(Kind::Ncm),
            Head::Mlp => Some(Kind::Mlp),
        }
    }

    fn metric(&self) -> Metric {
        match self.metric.unwrap_or(By::MacroF1) {
            By::MacroF1 => Metric::MacroF1,
            By::Accuracy => Metric::Accuracy,
            By::LogLoss => Metric::LogLoss,
        }
    }
}

/// Lets the plan say what there is to choose from: of heads for classes this.
pub fn name(plan: &mut Plan, of_classes: &str) {
    let kind = if plan.task.is_multiclass() { of_classes } else { kind(plan.task) };
    plan.head = match plan.taps.len() {
        0 => kind.into(),
        taps => format!("{kind}, on up to {} depths", taps + 1),
    };
}

impl Work<'_> {
    /// The head that suits the features best, where so much of the budget was spent on others.
    pub fn choose(&self, features: &Features, data: &Dataset, spent: Duration) -> Result<Chosen> {
        let (options, inside) = (&self.options.heads, &self.options.training);
        let wishes = Wishes {
            seed: self.options.seed,
            kind: options.kind(),
            beginning: false,
            metric: options.metric(),
            folds: options.cv,
            groups: data.groups_of(&features.paths),
            balanced: inside.balanced,
            curve: true,
            budget: self.time_for_head(spent),
            device: self.backend.device().clone(),
        };
        let chosen = self.choose_by(features, &self.plan.columns(), data, &wishes)?;
        if inside.balanced && wishes.kind == Some(Kind::Ncm) {
            self.reporter.say_beside("note: --balanced: the nearest class mean counts all classes alike anyway");
        }
        // Regressions' strengths and perceptrons' epochs are chosen as long as there is time.
        let timed = matches!(wishes.kind, Some(Kind::Softmax | Kind::Mlp));
        let idle = [(options.metric.is_some(), "--metric"), (inside.budget.is_some() && !timed, "--budget")];
        for (_, option) in idle.into_iter().filter(|(given, _)| *given && chosen.compared.len() < 2) {
            let why = match wishes.kind.is_none() && wishes.budget.is_some() && chosen.folds > 0 {
                true => "there was time for one head",
                false => "there was one head",
            };
            self.reporter.say_beside(&format!("note: {option}: {why}, and nothing to choose"));
        }
        if chosen.uncompared.is_none() {
            self.tell_unjudged(features, data, &wishes);
            self.tell_fewer(chosen.folds, "half of the classes have no more", &wishes);
        }
        Ok(chosen)
    }

    /// What the nearest class mean of the first part's images, at the cut, reaches on the others, which are held out, by split;
    /// nothing where there are no classes.
    pub fn nearest_mean(&self, parts: &[Features], data: &Dataset) -> Result<BTreeMap<Split, Answers>> {
        let [train, held @ ..] = parts else { return Ok(BTreeMap::new()) };
        let held: Vec<&Features> = held.iter().filter(|part| !part.paths.is_empty()).collect();
        if held.is_empty() || !data.task.is_multiclass() {
            return Ok(BTreeMap::new());
        }
        let at_cut = s![.., ..self.plan.features];
        let head = nearest_class_mean(train.rows.slice(at_cut), &train.labels, data.classes.len())?;
        let judged = |part: &Features| {
            Ok((part.split, Answers::new(&part.labels, head.logits(part.rows.slice(at_cut))?.view())))
        };
        held.into_iter().map(judged).collect()
    }

    /// What tells images that are unlike those of the training.
    pub fn outlier(&self, train: &Features, data: &Dataset) -> Option<Outlier> {
        let (rows, groups) = (train.rows.slice(s![.., ..self.plan.features]), data.groups_of(&train.paths));
        data.task.is_multiclass().then(|| Outlier::fit(rows, &train.labels, &groups, data.classes.len()))?
    }

    /// The head for several labels or numbers.
    pub fn choose_several(&self, features: &Features, data: &Dataset) -> Result<Several> {
        let wishes = Wishes {
            seed: self.options.seed,
            folds: self.options.heads.cv,
            groups: data.groups_of(&features.paths),
            // Of what training inside the network begins with none is wanted.
            curve: self.options.train == Train::Head,
            budget: self.time_for_head(Duration::ZERO),
            device: self.backend.device().clone(),
            ..Wishes::default()
        };
        let (rows, truths) = (features.rows.view(), data.truth(&features.labels));
        let chosen = choose_several(rows, &self.plan.columns(), truths.view(), data.task, &wishes, self.progress)?;
        if chosen.compared.len() > 1 || self.options.verbosity.verbose {
            self.reporter.say(&tables::several(&chosen));
        } else if chosen.curve.is_some() {
            self.reporter.say(tables::curve(chosen.curve.as_ref()).trim_start());
        }
        self.tell_fewer(chosen.folds, "there are no more training", &wishes);
        Ok(chosen)
    }

    /// Names the classes that no fold can judge: what is held out of them, nothing has learnt.
    fn tell_unjudged(&self, features: &Features, data: &Dataset, wishes: &Wishes) {
        const MOST: usize = 5;
        let counts = separate(&features.labels, &wishes.groups, data.classes.len());
        let names = data.classes.iter().zip(counts).filter(|(_, count)| *count == 1);
        let names: Vec<String> = names.map(|(name, _)| format!("'{}'", printable(name))).collect();
        if names.is_empty() || names.len() == data.classes.len() {
            return;
        }
        let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
        let what = match (wishes.groups.is_empty(), names.len()) {
            (true, 1) => "has one image",
            (true, _) => "have one image each",
            (false, 1) => "has all images in one group",
            (false, _) => "have all images in one group each",
        };
        let names = names.into_iter().take(MOST).collect::<Vec<_>>().join(", ");
        let chooses = wishes.metric == Metric::MacroF1 && wishes.kind.is_none();
        let prefers = if chooses { "; heads that count all classes alike are preferred for them" } else { "" };
        let told = format!(
            "{names}{more} {what}: no fold can judge that, and the folds' figures count such images as mistakes{prefers}"
        );
        let _ = self.reporter.event(Event::Warning(&told));
    }

    /// Says that there are fewer folds than are asked for, and why.
    fn tell_fewer(&self, folds: usize, why: &str, wishes: &Wishes) {
        if wishes.folds.is_some_and(|wanted| wanted > folds) {
            let few = if wishes.groups.is_empty() { "images" } else { "groups" };
            self.reporter.say_beside(&format!("note: --cv: in {folds} folds, since {why} {few}"));
        }
    }

    /// What a budget has for heads, where so much of it was spent on others.
    fn time_for_head(&self, spent: Duration) -> Option<Duration> {
        let share = if self.options.train == Train::Head { 1. } else { FIRST_HEADS_SHARE };
        let left = |budget: Duration| budget.mul_f64(share).saturating_sub(spent).max(LEAST_BUDGET.min(budget));
        self.options.training.budget.map(left)
    }

    /// What training inside the network begins with, where so much of a budget was spent on others: softmax regression on the cut's
    /// features, or the best on those of several depths. What images are dropped by must not hang on a clock.
    pub fn probe(&self, features: &Features, data: &Dataset, spent: Duration) -> Result<Chosen> {
        let (seed, balanced) = (self.options.seed, self.options.training.balanced);
        // By the loss of training no adjustment wins. Where one is asked for, what counts rare classes like others chooses among them.
        let metric = if balanced { Metric::MacroF1 } else { Metric::LogLoss };
        let (groups, device) = (data.groups_of(&features.paths), self.backend.device().clone());
        let budget = self.time_for_head(spent).filter(|_| !self.options.drop.contains(&Drop::Suspects));
        let kind = Some(Kind::Softmax).filter(|_| self.plan.taps.is_empty());
        let wishes =
            Wishes { seed, kind, beginning: true, metric, groups, balanced, budget, device, ..Wishes::default() };
        self.choose_by(features, &self.plan.columns(), data, &wishes)
    }

    fn choose_by(&self, features: &Features, columns: &[usize], data: &Dataset, wishes: &Wishes) -> Result<Chosen> {
        let (rows, classes) = (features.rows.view(), data.classes.len());
        let chosen = choose(rows, columns, &features.labels, classes, wishes, self.progress)?;
        if let Some(why) = chosen.uncompared {
            let (name, temperature) = (chosen.name(), precise(chosen.temperature));
            let usual = format!("the temperature {temperature} is a usual one, not found on these images");
            self.reporter.say(&format!("head     {name}: {why}, so nothing was compared; {usual}"));
        } else if chosen.compared.len() > 1 || self.options.verbosity.verbose {
            self.reporter.say(&tables::heads(&chosen, wishes.metric));
        }
        Ok(chosen)
    }
}

fn folds(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|folds| (2..=100).contains(folds)).ok_or_else(|| "give a number from 2 to 100".into())
}

fn precision(text: &str) -> std::result::Result<f64, String> {
    let fits = |share: &f64| (0. ..1.).contains(share);
    text.parse().ok().filter(fits).ok_or_else(|| "give a number from 0 to 1; 1 itself is never sure".into())
}
