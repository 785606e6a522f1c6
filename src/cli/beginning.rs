//! The head that training begins with where none is trained first.

use super::inside::Job;
use super::made::Work;
use adapt::train::LinearHead;

impl Job {
    /// Classes whose rows of the head are the original's to begin with.
    pub fn taken(&self) -> usize {
        self.known.iter().flatten().count()
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
