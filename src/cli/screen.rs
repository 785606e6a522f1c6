//! What the main job finds wrong with its images on the way, and what it leaves out where it is told to.

use super::clock::Clock;
use super::made::Work;
use super::tables::quoted;
use adapt::Result;
use adapt::audit::shortcut::Shortcut;
use adapt::audit::{Finding, Kind, Screen, mislabelled, suspects};
use adapt::data::{Dataset, Facts, Item, Skipped, Split};
use adapt::error::printable;
use adapt::progress::{Event, emit};
use adapt::report::Problems;
use adapt::train::Features;
use adapt::train::heads::Chosen;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Images that are named of those that were left out.
const TOLD: usize = 5;

/// What is left out of the training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Drop {
    /// Copies of other training images but the first; all of them where their labels differ
    Duplicates,
    /// Copies of images to validate or test
    Leaks,
    /// Images whose labels are probably wrong
    Suspects,
}

impl Drop {
    /// What to say where nothing of the kind was found.
    fn none(self) -> &'static str {
        match self {
            Drop::Duplicates => "--drop duplicates: no training image is a copy of another",
            Drop::Leaks => "--drop leaks: no training image is a copy of one to validate or test",
            Drop::Suspects => "--drop suspects: no label looks wrong",
        }
    }

    /// What was found of a training image. In conflict with one that does not train it is a leak.
    fn takes(self, finding: &Finding) -> bool {
        match (self, finding.kind) {
            (Drop::Duplicates, Kind::Conflict) => finding.other == Some(Split::Train),
            (Drop::Duplicates, Kind::Duplicate) | (Drop::Leaks, Kind::Leak) | (Drop::Suspects, Kind::Suspect) => true,
            _ => false,
        }
    }
}

impl Work<'_> {
    /// Looks for copies, and for images that are of no use, and leaves out the copies that are not wanted.
    pub fn without_copies(&self, parts: &mut [Features; 3], data: &mut Dataset) -> Result<Problems> {
        let drop = &self.options.drop;
        let all = [Drop::Duplicates, Drop::Leaks].iter().any(|kind| drop.contains(kind));
        // Nothing else reads them.
        let facts: Vec<Facts> = parts.iter_mut().flat_map(|part| std::mem::take(&mut part.facts)).collect();
        let screen = Screen::new(data, parts, &facts);
        let mut found = if all { screen.all_copies(self.progress) } else { screen.quick_copies(self.progress) }?;
        found.extend(screen.showing_nothing());
        let far = screen.quick_outliers(self.plan.features, self.progress)?;
        let looked_for_outliers = far.is_some();
        found.extend(far.into_iter().flatten());
        let shortcuts = match data.task.is_multiclass() {
            true => screen.quick_shortcuts(self.options.seed, self.progress)?,
            false => Vec::new(),
        };
        self.warn(&found, data, if all { "" } else { "at least " })?;
        if !looked_for_outliers {
            let hint = self.hint(data, "looks for them");
            self.reporter.say(&format!("audit    among so many images outliers are not looked for{hint}"));
        }
        for remark in shortcuts.iter().filter(|shortcut| shortcut.is_much()).map(Shortcut::remark) {
            emit(self.progress, Event::Warning(&remark))?;
            data.notes.push(remark);
        }
        let mut problems = Problems { complete: all, ..Problems::default() };
        problems.add(found.iter().filter(|finding| finding.split == Split::Train));
        self.tell_none(&[Drop::Duplicates, Drop::Leaks], &found);
        problems.left_out = self.leave_out(&found, data, &mut parts[0])?;
        Ok(problems)
    }

    /// `; adapt audit --data photos lists them`, where it takes such labels
    fn hint(&self, data: &Dataset, does: &str) -> String {
        if !data.task.is_multiclass() {
            return String::new();
        }
        let place = quoted(&data.source.place().display().to_string());
        format!("; adapt audit --data {} {does}", printable(&place))
    }

    /// The same; then trains a head, leaves out what it shows to be labelled wrongly where that is wanted, and trains it again
    /// then. `fit` is told the time that went into earlier heads.
    pub fn screened(
        &self,
        parts: &mut [Features; 3],
        data: &mut Dataset,
        clock: &mut Clock,
        fit: impl Fn(&Self, &Features, &Dataset, Duration) -> Result<Chosen>,
    ) -> Result<(Chosen, Problems)> {
        let mut problems = self.without_copies(parts, data)?;
        clock.lap(|seconds| &mut seconds.audit);
        let started = Instant::now();
        let chosen = fit(self, &parts[0], data, Duration::ZERO)?;
        let spent = started.elapsed();
        let found = wrong_labels(&parts[0], &chosen, &data.classes);
        if !found.is_empty() {
            let (count, share) = (found.len(), 100. * found.len() as f64 / parts[0].paths.len() as f64);
            let what = format!(
                "training images that look like another class, wrongly labelled or hard: {count} ({share:.1} %)"
            );
            let hint = self.hint(data, "judges all images");
            self.reporter.say(&format!("audit    {what}: see report.html{hint}"));
        }
        match chosen.folds {
            0 if self.options.drop.contains(&Drop::Suspects) => {
                self.reporter.say("audit    --drop suspects: without cross-validation no label can be judged");
            }
            _ => self.tell_none(&[Drop::Suspects], &found),
        }
        problems.add(&found);
        let left_out = self.leave_out(&found, data, &mut parts[0])?;
        problems.left_out += left_out;
        if left_out == 0 {
            return Ok((chosen, problems));
        }
        self.reporter.say("audit    figures of cross-validation are of the images that are left, and flatter");
        Ok((fit(self, &parts[0], data, spent)?, problems))
    }

    /// Tells what copies there are, what shows nothing, and what is like no other.
    fn warn(&self, found: &[Finding], data: &Dataset, least: &str) -> Result<()> {
        let of = |kind: Kind| found.iter().filter(move |finding| finding.kind == kind && finding.split == Split::Train);
        if let Some(first) = of(Kind::Leak).next() {
            let (count, path, other) = (of(Kind::Leak).count(), &first.path, &first.suggestion);
            let what = format!(
                "training images that are copies of validation or test images: {least}{count}, as {path} of {other}"
            );
            match self.options.drop.contains(&Drop::Leaks) {
                true => self.reporter.say(&format!("audit    {what}")),
                false => emit(self.progress, Event::Warning(&format!("{what}; figures flatter (--drop leaks)")))?,
            }
        }
        let (copies, conflicts) = (of(Kind::Duplicate).count(), of(Kind::Conflict).count());
        if copies + conflicts > 0 {
            let what = format!(
                "training images that are copies of others: {least}{copies}; with copies of another label: {conflicts}"
            );
            self.reporter.say(&format!("audit    {what}"));
        }
        let (blank, tiny) = (of(Kind::Blank).count(), of(Kind::Tiny).count());
        if blank + tiny > 0 {
            let what =
                format!("training images of one colour all over: {blank}; of far fewer pixels than usual: {tiny}");
            self.reporter.say(&format!("audit    {what}"));
        }
        let far = of(Kind::Outlier).count();
        if far > 0 {
            let hint = self.hint(data, "lists them");
            self.reporter.say(&format!("audit    training images that are far from all others: {far}{hint}"));
        }
        Ok(())
    }

    /// Tells which of these kinds are to be left out, and are not there.
    fn tell_none(&self, kinds: &[Drop], found: &[Finding]) {
        let is_there = |kind: &Drop| found.iter().any(|one| one.split == Split::Train && kind.takes(one));
        for kind in kinds.iter().filter(|kind| self.options.drop.contains(kind) && !is_there(kind)) {
            self.reporter.say(&format!("audit    {}", kind.none()));
        }
    }

    /// Leaves training images out; answers how many.
    fn leave_out(&self, found: &[Finding], data: &mut Dataset, train: &mut Features) -> Result<usize> {
        let mut seen = HashSet::new();
        let skipped: Vec<Skipped> = found
            .iter()
            .filter(|finding| finding.split == Split::Train)
            .filter(|finding| self.options.drop.iter().any(|drop| drop.takes(finding)))
            .filter(|finding| seen.insert(finding.path.clone()))
            .map(|finding| Skipped { path: finding.path.clone(), reason: reason(finding) })
            .collect();
        if skipped.is_empty() {
            return Ok(0);
        }
        train.retain(|path| !seen.contains(path));
        self.reporter.say(&format!("audit    training images left out: {}, listed in run.json", skipped.len()));
        for Skipped { path, reason } in skipped.iter().take(TOLD) {
            self.reporter.say(&format!("         {}: {}", printable(path), printable(reason)));
        }
        data.remove_unreadable(skipped);
        data.check_classes()?;
        Ok(seen.len())
    }
}

fn reason(finding: &Finding) -> String {
    let Finding { label, suggestion, .. } = finding;
    match finding.kind {
        Kind::Leak => format!("a copy of {suggestion}, which validates or tests (--drop leaks)"),
        Kind::Conflict => format!("a copy of {suggestion}, which has another label (--drop duplicates)"),
        Kind::Suspect => format!("labelled {label}, looks like {suggestion} (--drop suspects)"),
        _ => format!("a copy of {suggestion} (--drop duplicates)"),
    }
}

/// Training images whose labels are probably wrong, by what cross-validation said of them.
fn wrong_labels(train: &Features, chosen: &Chosen, classes: &[String]) -> Vec<Finding> {
    if chosen.folds == 0 {
        return Vec::new();
    }
    let judgement = suspects::judge(chosen.out_of_fold.view(), &train.labels);
    let item = |(path, &label): (&String, &usize)| Item { path: path.clone(), label, split: Split::Train };
    let items: Vec<Item> = train.paths.iter().zip(&train.labels).map(item).collect();
    mislabelled(classes, &items.iter().collect::<Vec<_>>(), &judgement)
}
