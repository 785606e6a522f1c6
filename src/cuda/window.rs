//! Pooling.

use super::{Array, Value, Work};
use crate::kernels::Window;
use crate::kernels::pool::Divisor;
use candle_core::Result;

impl From<&Window> for Value {
    fn from(w: &Window) -> Value {
        let pairs = [w.input, w.output, w.kernel, w.stride, w.dilation, w.before];
        let mut window = [0; 12];
        window.iter_mut().zip(pairs.as_flattened()).for_each(|(to, &from)| *to = from as i32);
        Value { window }
    }
}

fn divided(divisor: Divisor) -> [Value; 3] {
    let (kind, after) = match divisor {
        Divisor::One => (0, [0; 2]),
        Divisor::Inside => (1, [0; 2]),
        Divisor::Padded { after } => (2, after),
    };
    [kind.into(), after[0].into(), after[1].into()]
}

impl Array {
    /// The largest value under each position of a window, of this shape together.
    ///
    /// # Errors
    /// Of the device.
    pub fn max_pool(&self, w: &Window, shape: &[usize]) -> Result<Array> {
        let made = Array::unset_as(self.half, &self.gpu, shape)?;
        let values = [self.map(), made.map(), made.len().into(), w.into()];
        self.gpu.launch("max_pool", Work::Each(made.len()), values)?;
        Ok(made)
    }

    /// Its gradient by this input.
    ///
    /// # Errors
    /// Of the device.
    pub fn max_pool_back(&self, w: &Window, grad: &Array) -> Result<Array> {
        let (made, places) = (Array::unset_as(self.half, &self.gpu, self.dims())?, self.gpu.alloc(false, grad.len())?);
        let values = [self.map(), (&places).into(), grad.len().into(), w.into()];
        self.gpu.launch("max_pool_places", Work::Each(grad.len()), values)?;
        let values = [(&places).into(), grad.map(), made.map(), self.len().into(), w.into()];
        self.gpu.launch("max_pool_back", Work::Each(self.len()), values)?;
        Ok(made)
    }

    /// The sum under each position of a window, divided as told, of this shape together.
    ///
    /// # Errors
    /// Of the device.
    pub fn sum_pool(&self, w: &Window, divisor: Divisor, shape: &[usize]) -> Result<Array> {
        let made = Array::unset_as(self.half, &self.gpu, shape)?;
        let [kind, y, x] = divided(divisor);
        let values = [self.map(), made.map(), made.len().into(), w.into(), kind, y, x];
        self.gpu.launch("sum_pool", Work::Each(made.len()), values)?;
        Ok(made)
    }

    /// Its gradient by an input of this shape; this is that by the output.
    ///
    /// # Errors
    /// Of the device.
    pub fn sum_pool_back(&self, w: &Window, divisor: Divisor, shape: &[usize]) -> Result<Array> {
        let made = Array::unset_as(self.half, &self.gpu, shape)?;
        let [kind, y, x] = divided(divisor);
        let values = [self.map(), made.map(), made.len().into(), w.into(), kind, y, x];
        self.gpu.launch("sum_pool_back", Work::Each(made.len()), values)?;
        Ok(made)
    }
}
