//! `Attention` of operator set 23, in products and softmax.

use super::Family;
use super::onnx::{Parsed, Shape, Wires, given, made};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{AxisOp, DimLike, Tensor as Host, TractError, bail, ensure};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::logic::{self, Iff};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};

pub(super) const FAMILY: Family = Family { operators: &[], lower: |_| None, parsers: &[("Attention", parse)] };

/// Larger masks that the file only describes are taken for an attack.
const LARGEST: usize = 1 << 26;

struct Attention {
    heads: [Option<usize>; 2],
    causal: bool,
    scale: Option<f32>,
    softcap: f32,
}

fn parse(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let [_, key, value, mask, past_key, past_value, lengths] = given(node);
    ensure!(key == Some(1) && value == Some(2), "keys or values are missing");
    if past_key.is_some() || past_value.is_some() || lengths.is_some() {
        bail!("Attention that goes on from a cache is not known")
    }
    let count = |name: &str| TractResult::Ok(node.get_attr_opt::<i64>(name)?.and_then(|n| usize::try_from(n).ok()));
    let attention = Attention {
        heads: [count("q_num_heads")?, count("kv_num_heads")?],
        causal: node.get_attr_opt::<i64>("is_causal")?.unwrap_or(0) == 1,
        scale: node.get_attr_opt("scale")?,
        softcap: node.get_attr_opt("softcap")?.unwrap_or(0.),
    };
    made(node, Shape::Rank, move |wires, inputs| attention.wire(wires, inputs, mask.map(|mask| inputs[mask])))
}

/// `[N, length, heads · width]` as `[N, heads, length, width]`.
fn by_heads(wires: &mut Wires, x: OutletId, heads: Option<usize>) -> TractResult<OutletId> {
    let shape = wires.shape(x)?;
    if shape.len() == 4 {
        return Ok(x);
    }
    let ([_, _, all], Some(heads)) = (&shape[..], heads) else { bail!("its number of heads is not known") };
    let width = all.to_usize()?.checked_div(heads).filter(|width| width * heads == all.to_usize().unwrap_or(0));
    let width = width.ok_or_else(|| TractError::msg("its heads do not divide its channels"))?;
    let split = AxisOp::Reshape(2, tvec!(all.clone()), tvec!(heads.to_dim(), width.to_dim()));
    let split = wires.wire(split, &[x])?;
    wires.wire(AxisOp::Move(2, 1), &[split])
}

impl Attention {
    /// `softmax(softcap(q·kᵀ·scale) + mask)·v`; several heads of the queries may share one of the keys.
    fn wire(&self, wires: &mut Wires, inputs: &[OutletId], mask: Option<OutletId>) -> TractResult<OutletId> {
        let flat = wires.shape(inputs[0])?.len() == 3;
        let q = by_heads(wires, inputs[0], self.heads[0])?;
        let [k, v] = [by_heads(wires, inputs[1], self.heads[1])?, by_heads(wires, inputs[2], self.heads[1])?];
        let (q_shape, k_shape) = (wires.shape(q)?, wires.shape(k)?);
        let (heads, groups) = (q_shape[1].to_usize()?, k_shape[1].to_usize()?);
        ensure!(groups > 0 && heads % groups == 0, "{heads} heads of queries share {groups} of keys");
        let split = |wires: &mut Wires, x: OutletId| {
            let to = tvec!(groups.to_dim(), (heads / groups).to_dim());
            wires.wire(AxisOp::Reshape(1, tvec!(heads.to_dim()), to), &[x])
        };
        let q = split(wires, q)?;
        let [k, v] = [wires.wire(AxisOp::Add(2), &[k])?, wires.wire(AxisOp::Add(2), &[v])?];
        let product = |equation: &str| TractResult::Ok(EinSum::new(equation.parse()?, f32::datum_type()));
        let mut scores = wires.wire(product("bhgmk,bhgnk->bhgmn")?, &[q, k])?;
        let width = q_shape[3].to_usize()?.max(1);
        let scale = wires.number(self.scale.unwrap_or(1. / (width as f32).sqrt()), scores)?;
        scores = wires.wire(math::mul(), &[scores, scale])?;
        if self.softcap != 0. {
            let cap = wires.number(self.softcap, scores)?;
            let small = wires.wire(math::div(), &[scores, cap])?;
            let bent = wires.wire(math::tanh(), &[small])?;
            scores = wires.wire(math::mul(), &[bent, cap])?;
        }
        let mut seen = match mask {
            Some(mask) => masked(wires, &mut scores, mask, heads, split)?,
            None => None,
        };
        if self.causal {
            let causal = causal(wires, q_shape[2].to_usize()?, k_shape[2].to_usize()?)?;
            seen = Some(seen.map_or(Ok(causal), |seen| wires.wire(logic::and(), &[seen, causal]))?);
        }
        let weights = weights(wires, scores, seen)?;
        let y = wires.wire(product("bhgmn,bhgnv->bhgmv")?, &[weights, v])?;
        let join = AxisOp::Reshape(1, tvec!(groups.to_dim(), (heads / groups).to_dim()), tvec!(heads.to_dim()));
        let y = wires.wire(join, &[y])?;
        if !flat {
            return Ok(y);
        }
        let y = wires.wire(AxisOp::Move(1, 2), &[y])?;
        let width = wires.shape(y)?[3].clone();
        let all = tvec!(heads.to_dim() * width.clone());
        wires.wire(AxisOp::Reshape(2, tvec!(heads.to_dim(), width), all), &[y])
    }
}

/// Adds a mask of numbers to the scores, and gives the places that queries may look at, where those are not all.
fn masked(
    wires: &mut Wires,
    scores: &mut OutletId,
    mask: OutletId,
    heads: usize,
    split: impl Fn(&mut Wires, OutletId) -> TractResult<OutletId>,
) -> TractResult<Option<OutletId>> {
    let open = wires.known::<f32>(mask, "mask").is_ok_and(|values| values.iter().all(|&v| v > f32::MIN));
    let mask = wires.ranked(mask, 4)?;
    let shape = wires.shape(mask)?;
    let several = heads > 1 && shape[1] == heads.to_dim();
    let mask = if several { split(wires, mask)? } else { wires.wire(AxisOp::Add(2), &[mask])? };
    if !wires.dtype(mask)?.is_float() {
        return Ok(Some(mask));
    }
    *scores = wires.wire(math::add(), &[*scores, mask])?;
    if open {
        return Ok(None);
    }
    let least = wires.number(f32::MIN, mask)?;
    wires.wire(TypedBinOp(logic::comp_gt(), None), &[mask, least]).map(Some)
}

/// The softmax over the places that are seen; zeros where none is, as in ONNX Runtime.
fn weights(wires: &mut Wires, mut scores: OutletId, seen: Option<OutletId>) -> TractResult<OutletId> {
    if let Some(seen) = seen {
        // Not infinite: the softmax of nothing but −∞ has neither values nor gradients.
        let never = wires.number(f32::MIN, scores)?;
        scores = wires.wire(Iff, &[seen, scores, never])?;
    }
    let weights = wires.wire(Softmax::new(tvec!(4), None, SoftmaxKind::Softmax), &[scores])?;
    let Some(seen) = seen else { return Ok(weights) };
    let zero = wires.number(0., weights)?;
    wires.wire(Iff, &[seen, weights, zero])
}

/// Whether a query may look: not at what lies behind it.
fn causal(wires: &mut Wires, queries: usize, keys: usize) -> TractResult<OutletId> {
    ensure!(queries.saturating_mul(keys) <= LARGEST, "its mask is too large");
    let values: Vec<bool> = (0..queries * keys).map(|i| i % keys <= i / keys).collect();
    wires.constant(Host::from_shape(&[1, 1, 1, queries, keys], &values)?)
}
