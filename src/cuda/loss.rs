//! Losses.

use super::{Array, Work};
use candle_core::{Result, bail};

impl Array {
    /// A loss of these scores `[rows, classes]`, `loss_NAME` of `source/loss.cu`, for targets `[rows + 1, classes]`, of which
    /// the last row are the classes' weights; both are float32. Its gradient, of the losses' sum times `share`; and that sum,
    /// and in how many rows the largest score is the largest target's, `[2]`.
    ///
    /// # Errors
    /// Where the shapes do not fit, and those of the device.
    pub fn loss(&self, name: &str, targets: &Array, share: f32) -> Result<[Array; 2]> {
        let (&[rows, classes], &[wanted, columns]) = (self.dims(), targets.dims()) else {
            bail!("a loss of scores {:?} for targets {:?}", self.dims(), targets.dims())
        };
        if rows + 1 != wanted || classes != columns || rows * classes == 0 {
            bail!("a loss of scores {:?} for targets {:?}", self.dims(), targets.dims());
        }
        let (slope, own) = (Array::unset(&self.gpu, (rows, classes))?, Array::unset(&self.gpu, (rows, 2))?);
        let values =
            [self.memory(), targets.memory(), slope.memory(), own.memory(), rows.into(), classes.into(), share.into()];
        self.gpu.launch(&format!("loss_{name}"), Work::Blocks(rows), values)?;
        Ok([slope, own.reduce("sum", &[0])?.reshape(2)?])
    }
}
