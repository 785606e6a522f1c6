//! The head that training begins with: one that is trained first, or what the original has of it and chance.

use super::clock::Clock;
use super::inside::Job;
use super::made::Work;
use adapt::Result;
use adapt::data::{Dataset, Split};
use adapt::engine::{Extractor, KeptRows};
use adapt::metrics::Answers;
use adapt::plan::Plan;
use adapt::report::{Adapted, AnyHead, HeadInfo, Problems, SeveralInfo};
use adapt::train::heads::Chosen;
use adapt::train::{Features, LinearHead};
use ndarray::s;
use std::collections::BTreeMap;
use std::time::Duration;

/// A head that was chosen.
pub(super) struct Fitted {
    pub head: LinearHead,
    /// Its hidden layer, if it has one.
    pub hidden: Option<LinearHead>,
    pub taps: usize,
    pub name: String,
    pub told: AnyHead,
    pub thresholds: Vec<f32>,
    pub problems: Option<Problems>,
}

impl Fitted {
    /// The best for the labels, once copies and, with classes, images that look wrongly labelled were looked for.
    pub fn screened(
        work: &Work,
        parts: &mut [Features; 3],
        data: &mut Dataset,
        clock: &mut Clock,
        fit: impl Fn(&Work, &Features, &Dataset, Duration) -> Result<Chosen>,
    ) -> Result<Fitted> {
        if data.task.is_multiclass() {
            let (chosen, problems) = work.screened(parts, data, clock, fit)?;
            let fitted = Fitted::of_classes(work, chosen, &parts[0]);
            return Ok(Fitted { problems: Some(problems), ..fitted });
        }
        let problems = Some(work.without_copies(parts, data)?);
        clock.lap(|seconds| &mut seconds.audit);
        Ok(Fitted { problems, ..Fitted::several(work, &parts[0], data)? })
    }

    pub fn of_classes(work: &Work, chosen: Chosen, train: &Features) -> Fitted {
        let told = HeadInfo::new(&chosen, &train.labels, work.options.heads.abstain);
        let (taps, name, told) = (chosen.taps(), chosen.name(), AnyHead::Classes(told.into()));
        let (thresholds, problems) = (Vec::new(), None);
        Fitted { head: chosen.head, hidden: chosen.hidden, taps, name, told, thresholds, problems }
    }

    pub fn several(work: &Work, train: &Features, data: &Dataset) -> Result<Fitted> {
        let chosen = work.choose_several(train, data)?;
        let told = SeveralInfo::new(&chosen, data.truth(&train.labels).view(), &data.classes)?;
        let (taps, name, told) = (chosen.taps(), chosen.name(), AnyHead::Several(told.into()));
        let thresholds = chosen.thresholds;
        Ok(Fitted { head: chosen.head, hidden: None, taps, name, told, thresholds, problems: None })
    }
}

/// What is there when training inside begins.
pub(super) struct Begun {
    pub probe: Option<Fitted>,
    pub problems: Option<Problems>,
    /// What the frozen part gave, where it came with the features.
    pub kept: Vec<KeptRows>,
    /// The splits of which no image was read.
    pub unseen: &'static [Split],
    pub nearest_mean: BTreeMap<Split, Answers>,
}

/// Trains a head first, if that is wanted, and looks for what is to be left out.
pub(super) fn begin(
    work: &Work,
    job: &Job,
    data: &mut Dataset,
    mut extractor: Extractor,
    clock: &mut Clock,
) -> Result<Begun> {
    let (mut probe, mut problems, mut unseen, mut nearest_mean) = (None, None, &Split::ALL[..], BTreeMap::new());
    let mut kept = Vec::new();
    let probing = job.probes(work);
    if !work.options.drop.is_empty() {
        let mut parts = work.all_features(data, &mut extractor, clock)?;
        let fitted = Fitted::screened(work, &mut parts, data, clock, |work, features, data, spent| {
            work.probe(features, data, spent)
        })?;
        problems = fitted.problems.clone();
        nearest_mean = work.nearest_mean(&parts, data)?;
        probe = Some(fitted).filter(|_| probing);
        unseen = &[];
    } else if probing && job.dwarfs_a_pass(work, data) {
        let parts = work.all_features(data, &mut extractor, clock)?;
        nearest_mean = work.nearest_mean(&parts, data)?;
        probe = Some(Fitted::of_classes(work, work.probe(&parts[0], data, Duration::ZERO)?, &parts[0]));
        unseen = &[];
    } else if probing {
        let features = match job.keeps() {
            true => {
                let (features, rows) = job.keep(work, data, Some(extractor))?;
                (kept, unseen) = (rows, &[Split::Test]);
                nearest_mean = work.nearest_mean(&features, data)?;
                features.into_iter().next().unwrap_or_else(|| unreachable!("there is a way to them"))
            }
            false => {
                unseen = &[Split::Val, Split::Test];
                work.features(data, Split::Train, &mut extractor)?
            }
        };
        clock.lap(|seconds| &mut seconds.extract_train);
        probe = Some(match data.task.is_multiclass() {
            true => Fitted::of_classes(work, work.probe(&features, data, Duration::ZERO)?, &features),
            false => Fitted::several(work, &features, data)?,
        });
    }
    Ok(Begun { probe, problems, kept, unseen, nearest_mean })
}

impl Job {
    /// Classes whose rows of the head are the original's to begin with.
    pub fn taken(&self) -> usize {
        self.known.iter().flatten().count()
    }

    /// The adapted model, and its plan. Where the start's weights were taken, depths whose features it took no notice of have no part
    /// in it.
    pub(super) fn finished(self, work: &Work, is_start: bool, probe: Option<&Fitted>) -> Result<(Adapted, Plan)> {
        let (mut plan, mut adapted) = (work.plan.with_taps(work.plan.taps.len()), self.adapted);
        // Told by the weights: a run that goes on may have begun with another head than its budget has time for now.
        let LinearHead { weight, bias } = &adapted.head;
        let columns = work.plan.columns();
        let idle = |taps: &usize| weight.slice(s![.., columns[*taps]..]).iter().all(|value| *value == 0.);
        if let Some(taps) = (0..plan.taps.len()).find(idle).filter(|_| is_start) {
            let own = LinearHead { weight: weight.slice(s![.., ..columns[taps]]).to_owned(), bias: bias.clone() };
            plan = work.plan.with_taps(taps);
            adapted = Adapted::new(work.model, &plan, &own)?;
        }
        if let Some(probe) = probe {
            plan.head.clone_from(&probe.name);
        }
        Ok((adapted, plan))
    }

    /// A head drawn by chance, but for the rows that the original has.
    pub(super) fn drawn(&self, work: &Work) -> LinearHead {
        let mut head = LinearHead::by_chance(self.classes(), work.plan.features, work.options.seed);
        for (class, (weight, bias)) in self.known.iter().enumerate().filter_map(|(k, row)| Some((k, row.as_ref()?))) {
            head.weight.row_mut(class).iter_mut().zip(weight).for_each(|(own, &known)| *own = known);
            head.bias[class] = *bias;
        }
        head
    }
}
