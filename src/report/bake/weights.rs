//! What each pixel of an image's side weighs in each pixel of the resized one, as nodes.

use super::chain::{Chain, int, tensor};
use crate::data::Filter;
use crate::onnx::schema::data_type;
use crate::onnx::tensor::initializer;
use std::f32::consts::PI;

impl Chain {
    /// `[out, side]`: what each pixel of a side weighs in each kept pixel of the resized one. Rows beyond it are zeros.
    pub fn weights(&mut self, filter: Filter, side: &str, resized: &str, out: u32) -> String {
        let places: Vec<f32> = (0..out).map(|place| place as f32).collect();
        let places = self.floats(&[out as usize, 1], &places);
        let kept = self.integers(&[out.into()]);
        let two = self.integers(&[2]);
        let start = self.node("Sub", &[resized, &kept]);
        let start = self.node("Div", &[&start, &two]);
        let start = self.cast(&start, data_type::FLOAT);
        let place = self.node("Add", &[&places, &start]);
        let [side_float, resized_float] = [side, resized].map(|size| self.cast(size, data_type::FLOAT));
        let scale = self.node("Div", &[&side_float, &resized_float]);
        let centre = self.with("Add", &place, 0.5);
        let centre = self.node("Mul", &[&centre, &scale]);
        // 0, 1, … side - 1: `Range` came later.
        let one = initializer("", &[1], [1.], data_type::FLOAT);
        let ones = self.attributes("ConstantOfShape", &[side], vec![tensor("value", one)]);
        let pixels = self.node("NonZero", &[&ones]);
        let pixels = self.cast(&pixels, data_type::FLOAT);
        if filter == Filter::Nearest {
            let nearest = self.node("Floor", &[&centre]);
            let away = self.node("Sub", &[&pixels, &nearest]);
            let away = self.node("Abs", &[&away]);
            return self.falling(&away);
        }
        let pixels = self.with("Add", &pixels, 0.5);
        let away = self.node("Sub", &[&pixels, &centre]);
        let spread = self.with("Max", &scale, 1.);
        let away = self.node("Div", &[&away, &spread]);
        let weights = self.filter(filter, &away);
        let tail = self.integers(&[1]);
        let column = self.attributes("Concat", &[side, &tail], vec![int("axis", 0)]);
        let one = initializer("", &[1], [1.], data_type::FLOAT);
        let column = self.attributes("ConstantOfShape", &[&column], vec![tensor("value", one)]);
        let sums = self.node("MatMul", &[&weights, &column]);
        // Rows that lie outside may have no weights at all.
        let sums = self.with("Max", &sums, 1e-3);
        let weights = self.node("Div", &[&weights, &sums]);
        let inside = self.inside(&place, &resized_float);
        let weights = self.node("Mul", &[&weights, &inside]);
        self.fixed_point(&weights)
    }

    /// Weights as the resizing of images has them (`fast_image_resize`, after Pillow-SIMD): whole multiples of the power of
    /// two with which the largest just fits into 16 bits. Else every hundredth pixel would be another by one.
    fn fixed_point(&mut self, weights: &str) -> String {
        let largest = self.node("ReduceMax", &[weights]);
        let limit = self.number(32767.5);
        let ratio = self.node("Div", &[&limit, &largest]);
        let ratio = self.node("Log", &[&ratio]);
        let bits = self.with("Mul", &ratio, std::f32::consts::LOG2_E);
        let bits = self.node("Ceil", &[&bits]);
        let bits = self.with("Sub", &bits, 1.);
        let bits = self.with("Min", &bits, 21.);
        let two = self.number(2.);
        let one = self.node("Pow", &[&two, &bits]);
        let weights = self.node("Mul", &[weights, &one]);
        let weights = self.with("Add", &weights, 0.5);
        let weights = self.node("Floor", &[&weights]);
        self.node("Div", &[&weights, &one])
    }

    /// 1 for places of 0 to `count` - 1, 0 for others.
    fn inside(&mut self, place: &str, count: &str) -> String {
        let below = self.with("Add", place, 1.);
        let above = self.node("Sub", &[count, place]);
        let [below, above] = [below, above].map(|value| {
            let value = self.with("Max", &value, 0.);
            self.with("Min", &value, 1.)
        });
        self.node("Mul", &[&below, &above])
    }

    /// 1 - |x| where that is positive, else 0; `x` is not negative.
    fn falling(&mut self, x: &str) -> String {
        let one = self.number(1.);
        let value = self.node("Sub", &[&one, x]);
        self.with("Max", &value, 0.)
    }

    /// The filter's value at distances in pixels of the smaller image.
    fn filter(&mut self, filter: Filter, away: &str) -> String {
        let x = self.node("Abs", &[away]);
        match filter {
            Filter::Bilinear | Filter::Nearest => self.falling(&x),
            Filter::Box => {
                // Half a pixel to the right belongs to it, to the left does not.
                let half = self.number(0.5);
                let left = self.number(-0.5);
                let right = self.node("Less", &[&half, away]);
                let right = self.node("Not", &[&right]);
                let left = self.node("Less", &[&left, away]);
                let both = self.node("And", &[&left, &right]);
                self.cast(&both, data_type::FLOAT)
            }
            Filter::Bicubic => {
                // With a = -0.5; each part is 0 where the other begins, or where the filter ends.
                let near = self.with("Min", &x, 1.);
                let near = self.polynomial(&near, &[1.5, -2.5, 0., 1.]);
                let far = self.with("Max", &x, 1.);
                let far = self.with("Min", &far, 2.);
                let far = self.polynomial(&far, &[-0.5, 2.5, -4., 2.]);
                self.node("Add", &[&near, &far])
            }
            Filter::Hamming => {
                let x = self.with("Min", &x, 1.);
                let angle = self.with("Mul", &x, PI);
                let window = self.node("Cos", &[&angle]);
                let window = self.with("Mul", &window, 0.46);
                let window = self.with("Add", &window, 0.54);
                let sinc = self.sinc(&x);
                self.node("Mul", &[&sinc, &window])
            }
            Filter::Lanczos => {
                let x = self.with("Min", &x, 3.);
                let third = self.with("Mul", &x, 1. / 3.);
                let [sinc, window] = [&x, &third].map(|x| self.sinc(x));
                self.node("Mul", &[&sinc, &window])
            }
        }
    }

    /// By Horner's rule, the highest power first.
    fn polynomial(&mut self, x: &str, factors: &[f32]) -> String {
        let mut value = self.number(factors[0]);
        for &factor in &factors[1..] {
            value = self.node("Mul", &[&value, x]);
            value = self.with("Add", &value, factor);
        }
        value
    }

    /// sin(πx) / πx.
    fn sinc(&mut self, x: &str) -> String {
        // Nearer to 0 it is 1 to all digits of float32.
        let x = self.with("Max", x, 1e-4);
        let angle = self.with("Mul", &x, PI);
        let sine = self.node("Sin", &[&angle]);
        self.node("Div", &[&sine, &angle])
    }
}
