//! What optimizers do.

use super::{Array, Value, Work};
use candle_core::{Result, bail};

/// As `source/update.cu` has it.
const PARTS: usize = 64;

impl Array {
    /// In place: `update_NAME` of `source/update.cu` by a gradient, with its moments, which change too, and its numbers.
    ///
    /// # Errors
    /// Where the sizes differ, and those of the device.
    pub fn update(&self, name: &str, grad: &Array, moments: &[&Array], numbers: &[f32]) -> Result<()> {
        let mut values: Vec<Value> = vec![self.memory(), grad.memory()];
        for moment in moments {
            values.push(moment.memory());
        }
        if moments.iter().chain([&grad]).any(|other| other.len() != self.len()) {
            bail!("a step of {} values by a gradient of {}", self.len(), grad.len());
        }
        if self.is_empty() {
            return Ok(());
        }
        values.push(self.len().into());
        values.extend(numbers.iter().map(|&number| Value::from(number)));
        self.gpu.0.machine.launch(&format!("update_{name}"), Work::Each(self.len()), &values)
    }

    /// The sum of all squares of these arrays, without axes. There is one at least.
    ///
    /// # Errors
    /// Of the device.
    pub fn squares(arrays: &[&Array]) -> Result<Array> {
        let Some(gpu) = arrays.first().map(|array| &array.gpu) else { bail!("no arrays to sum up") };
        let sums = Array::unset(gpu, (arrays.len(), PARTS))?;
        for (place, array) in arrays.iter().enumerate() {
            let own = Value { pointer: sums.memory.pointer + (place * PARTS * size_of::<f32>()) as u64 };
            gpu.launch("squares", Work::Blocks(PARTS), [array.map(), own, array.len().into()])?;
        }
        sums.reduce("sum", &[0, 1])?.reshape(())
    }
}
