//! `+`, `-`, `*` and `/` between tensors of one shape, their results, and numbers.

use super::Tensor;
use candle_core::Result;
use std::borrow::Borrow;
use std::ops::{Add, Div, Mul, Sub};

macro_rules! operator {
    ($trait:ident, $method:ident, $by:ident, $number:expr) => {
        impl<B: Borrow<Tensor>> $trait<B> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: B) -> Self::Output {
                self.$by(other.borrow())
            }
        }

        impl<B: Borrow<Tensor>> $trait<B> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: B) -> Self::Output {
                self.$by(other.borrow())
            }
        }

        impl<B: Borrow<Tensor>> $trait<Tensor> for Result<B> {
            type Output = Result<Tensor>;
            fn $method(self, other: Tensor) -> Self::Output {
                self?.borrow().$by(&other)
            }
        }

        impl<B: Borrow<Tensor>> $trait<&Tensor> for Result<B> {
            type Output = Result<Tensor>;
            fn $method(self, other: &Tensor) -> Self::Output {
                self?.borrow().$by(other)
            }
        }

        impl<B: Borrow<Tensor>> $trait<Result<B>> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: Result<B>) -> Self::Output {
                self.$by(other?.borrow())
            }
        }

        impl<B: Borrow<Tensor>> $trait<Result<B>> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: Result<B>) -> Self::Output {
                self.$by(other?.borrow())
            }
        }

        impl $trait<f64> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, number: f64) -> Self::Output {
                $trait::$method(&self, number)
            }
        }

        impl $trait<f64> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, number: f64) -> Self::Output {
                let (scale, shift): (f64, f64) = ($number)(number);
                self.affine(scale, shift)
            }
        }
    };
}
operator!(Add, add, plus, |number| (1., number));
operator!(Sub, sub, minus, |number: f64| (1., -number));
operator!(Mul, mul, times, |number| (number, 0.));
operator!(Div, div, over, |number: f64| (1. / number, 0.));
