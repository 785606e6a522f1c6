//! Convolution: depthwise by own kernels, everything else by cuDNN.

use super::pointwise::shared;
use super::{Array, Work};
use crate::kernels::Window;
use crate::kernels::conv::Conv;
use crate::kernels::precision::{Number, Precision};
use candle_core::Result;

/// What is added to each of a convolution's outputs, `[outputs]`, and the bounds of the sum.
pub type Bias<'a> = (&'a Array, [f32; 2]);

/// What is computed of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Forward,
    ByInput,
    ByKernel,
}

fn depthwise(conv: &Conv) -> bool {
    conv.groups > 1 && conv.inputs == conv.groups && conv.outputs == conv.groups
}

/// Rows that a thread makes, as `source/depthwise.cu` has it.
const STRIP: usize = 8;

/// How the kernels of depthwise convolution for windows like this end, and the windows' steps; the rest have no kernels of their own.
fn usual(w: &Window) -> Option<(&'static str, usize)> {
    let known = [("3x3", 3, 1), ("3x3_by_2", 3, 2), ("5x5", 5, 1), ("5x5_by_2", 5, 2)];
    let found = known.into_iter().find(|&(_, k, s)| (w.kernel, w.stride, w.dilation) == ([k; 2], [s; 2], [1; 2]));
    found.map(|(name, _, step)| (name, step))
}

/// The same convolution without padding, of a map that is cut off or has zeros around it: cuDNN pads both sides alike, and
/// counts the positions itself. `None` where that comes to the same.
fn framed(conv: &Conv) -> Option<Conv> {
    let (w, mut framed) = (&conv.window, *conv);
    for axis in 0..2 {
        let span = w.dilation[axis] * (w.kernel[axis] - 1) + 1;
        // As far as the last position reaches.
        framed.window.input[axis] = (w.output[axis] - 1) * w.stride[axis] + span;
        framed.window.before[axis] = 0;
    }
    let counted = |axis: usize| {
        let span = w.dilation[axis] * (w.kernel[axis] - 1) + 1;
        Some((w.input[axis] + 2 * w.before[axis]).checked_sub(span)? / w.stride[axis] + 1)
    };
    let alike = (0..2).all(|axis| counted(axis) == Some(w.output[axis]));
    (!alike && !depthwise(conv)).then_some(framed)
}

/// Whether maps are bfloat16 now.
fn halves() -> bool {
    Precision::current().conv == Number::Bf16
}

impl Array {
    /// `[images, channels, height, width]` with other sizes of the map: cut off, or with zeros around.
    fn resized(&self, planes: usize, from: [usize; 2], start: [isize; 2], to: [usize; 2]) -> Result<Array> {
        let mut x = self.reshape((planes, from[0], from[1]))?;
        for axis in 0..2 {
            let (length, wanted) = (from[axis] as isize, to[axis] as isize);
            let first = start[axis].max(0);
            let last = (start[axis] + wanted).min(length).max(first);
            let part = x.narrow(axis + 1, first as usize, (last - first) as usize)?;
            let mut shape = x.dims().to_vec();
            shape[axis + 1] = to[axis];
            x = Array::pasted(&[(&part, (first - start[axis]) as usize)], axis + 1, &shape)?;
        }
        Ok(x)
    }

    /// The convolution of this map (`x`) with a kernel; the output has this shape.
    ///
    /// # Errors
    /// Of the device.
    pub fn conv(&self, conv: &Conv, k: &Array, shape: &[usize]) -> Result<Array> {
        self.conv_biased(conv, k, None, shape)
    }

    /// The same, plus a bias `[outputs]` where there is one, between two bounds.
    ///
    /// # Errors
    /// Of the device.
    pub fn conv_biased(&self, conv: &Conv, k: &Array, bias: Option<Bias>, shape: &[usize]) -> Result<Array> {
        let maps = [conv.outputs, conv.window.positions()];
        if conv.y_len() == 0 || conv.x_len() == 0 {
            return Array::full(&self.gpu, 0., shape)?.biased(maps, bias);
        }
        if let Some(framed) = framed(conv) {
            return self.in_frame(conv, &framed)?.conv_biased(&framed, k, bias, shape);
        }
        if !depthwise(conv) {
            return Array::multiplied(Way::Forward, conv, [self, k], shape)?.biased(maps, bias);
        }
        let (made, k) = (Array::unset_as(halves(), &self.gpu, shape)?, &k.floats()?);
        let ([height, width], planes) = (conv.window.output, conv.images * conv.inputs);
        let (kernel, n) = match usual(&conv.window) {
            Some((name, _)) => (format!("depthwise_{name}"), planes * height.div_ceil(STRIP) * width),
            None => ("depthwise".into(), made.len()),
        };
        let (biased, (t, [low, high])) = (usize::from(bias.is_some()), bias.unwrap_or((k, [0.; 2])));
        let t = t.floats()?;
        let values = [
            self.map(),
            k.memory(),
            made.map(),
            n.into(),
            conv.inputs.into(),
            (&conv.window).into(),
            biased.into(),
            t.memory(),
            low.into(),
            high.into(),
        ];
        self.gpu.launch(&kernel, Work::Each(n), values)?;
        Ok(made)
    }

    /// Adds a bias to what was just made, in place: maps of so many channels and pixels each.
    fn biased(self, [channels, inner]: [usize; 2], bias: Option<Bias>) -> Result<Array> {
        let Some((t, [low, high])) = bias else { return Ok(self) };
        let (t, n, channels, inner) = (t.floats()?, self.len(), channels.into(), inner.into());
        let values = [self.map(), t.memory(), self.map(), n.into(), channels, inner, low.into(), high.into()];
        self.gpu.launch("bias", Work::Each(n), values)?;
        Ok(self)
    }

    /// The gradient by the map, of this shape; this is that by the output.
    ///
    /// # Errors
    /// Of the device.
    pub fn conv_by_input(&self, conv: &Conv, k: &Array, shape: &[usize]) -> Result<Array> {
        if conv.y_len() == 0 || conv.x_len() == 0 {
            return Array::full(&self.gpu, 0., shape);
        }
        if let Some(framed) = framed(conv) {
            let (size, w) = (framed.window.input, &conv.window);
            let inner = self.conv_by_input(&framed, k, &[conv.images, conv.inputs, size[0], size[1]])?;
            let start = w.before.map(|before| before as isize);
            return inner.resized(conv.images * conv.inputs, size, start, w.input)?.reshape(shape);
        }
        if !depthwise(conv) {
            return Array::multiplied(Way::ByInput, conv, [k, self], shape);
        }
        let (made, k) = (Array::unset_as(halves(), &self.gpu, shape)?, k.floats()?);
        let (kernel, n) = match usual(&conv.window) {
            Some((name, step)) => {
                let w = &conv.window;
                // Cells as large as a step that the padded map has along an axis, but for those in the padding ahead of it.
                let [lines, columns] = [0, 1].map(|axis| {
                    let before = w.before[axis];
                    (w.input[axis] - 1 + before) / step - before / step + 1
                });
                let strips = lines.div_ceil(STRIP / step);
                (format!("depthwise_by_input_{name}"), conv.images * conv.inputs * strips * columns)
            }
            None => ("depthwise_by_input".into(), made.len()),
        };
        let values = [k.memory(), self.map(), made.map(), n.into(), conv.inputs.into(), (&conv.window).into()];
        self.gpu.launch(&kernel, Work::Each(n), values)?;
        Ok(made)
    }

    /// A transposed convolution: that, as a map of its own, plus a bias, which has a value for each of its channels.
    ///
    /// # Errors
    /// Where there are more or fewer, and those of the device.
    pub fn conv_transposed(&self, conv: &Conv, k: &Array, bias: &Array, shape: &[usize]) -> Result<Array> {
        let bias = (&bias.reshape(conv.inputs)?, [f32::NEG_INFINITY, f32::INFINITY]);
        self.conv_by_input(conv, k, shape)?.biased([conv.inputs, shape[2..].iter().product()], Some(bias))
    }

    /// The gradient by the kernel, of this shape, in float32; this is that by the output, `x` the map.
    ///
    /// # Errors
    /// Of the device.
    pub fn conv_by_kernel(&self, conv: &Conv, x: &Array, shape: &[usize]) -> Result<Array> {
        if conv.y_len() == 0 || conv.x_len() == 0 {
            return Array::full(&self.gpu, 0., shape);
        }
        if let Some(framed) = framed(conv) {
            return self.conv_by_kernel(&framed, &x.in_frame(conv, &framed)?, shape);
        }
        if !depthwise(conv) {
            return Array::multiplied(Way::ByKernel, conv, [x, self], shape)?.floats();
        }
        let [images, channels, window] = [conv.images.into(), conv.inputs.into(), (&conv.window).into()];
        if let Some((name, _)) = usual(&conv.window) {
            let (parts, each) = shared(conv.images, conv.inputs);
            let (made, n) = (Array::unset(&self.gpu, (parts, conv.k_len()))?, parts * conv.inputs);
            let values = [x.map(), self.map(), made.memory(), n.into(), images, channels, each.into(), window];
            self.gpu.launch(&format!("depthwise_by_kernel_{name}"), Work::Blocks(n), values)?;
            return made.joined(shape);
        }
        let made = Array::unset(&self.gpu, shape)?;
        let n = made.len();
        let values = [x.map(), self.map(), made.memory(), n.into(), images, channels, window];
        self.gpu.launch("depthwise_by_kernel", Work::Blocks(n), values)?;
        Ok(made)
    }

    /// The one of map, kernel and output that is not there yet, of this shape, by the library from the other two (in this
    /// order).
    fn multiplied(way: Way, conv: &Conv, factors: [&Array; 2], shape: &[usize]) -> Result<Array> {
        let number = Precision::current().conv;
        match Array::multiplied_as(number, way, conv, factors, shape) {
            // It may know no algorithm for these that always gives the same bits; TF32 rounds less, and takes float32's.
            Err(_) if number == Number::Bf16 => {
                // A kernel's gradient is float32 anyhow.
                Array::multiplied_as(Number::Tf32, way, conv, factors, shape)?.stored(way != Way::ByKernel)
            }
            done => done,
        }
    }

    fn multiplied_as(number: Number, way: Way, conv: &Conv, [a, b]: [&Array; 2], shape: &[usize]) -> Result<Array> {
        let made = Array::unset_as(number == Number::Bf16, &a.gpu, shape)?;
        let (a, b) = (a.as_factor(number)?, b.as_factor(number)?);
        let memories = match way {
            Way::Forward => [&*a, &*b, &*made.memory],
            Way::ByInput => [&*made.memory, &*a, &*b],
            Way::ByKernel => [&*a, &*made.memory, &*b],
        };
        made.gpu.0.machine.conv(way, conv, number, memories)?;
        Ok(made)
    }

    fn in_frame(&self, conv: &Conv, framed: &Conv) -> Result<Array> {
        let start = conv.window.before.map(|before| -(before as isize));
        self.resized(conv.images * conv.inputs, conv.window.input, start, framed.window.input)
    }
}
