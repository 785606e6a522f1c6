//! Along which axis of each tensor the images of a batch lie.

use super::super::graph::Index;
use super::super::schema::NodeProto;
use super::Shapes;
use std::collections::HashMap;

/// Where the images lie in a tensor: along `axis`, with `outer` elements of that axis around them (1 but where axes were
/// merged, as in `[rows * N, features]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) axis: usize,
    pub(super) outer: usize,
}

/// The shapes of a graph's tensors for `fixed` images, and where those images lie.
pub(super) struct Trace<'a> {
    index: &'a Index<'a>,
    shapes: &'a Shapes,
    fixed: usize,
    /// Which of several possible places is taken.
    reading: usize,
    places: HashMap<&'a str, Place>,
}

impl<'a> Trace<'a> {
    /// Follows the images from `input` through all nodes.
    pub(super) fn new(index: &'a Index<'a>, shapes: &'a Shapes, input: &'a str, fixed: usize, reading: usize) -> Self {
        let places = HashMap::from([(input, Place { axis: 0, outer: 1 })]);
        let mut trace = Trace { index, shapes, fixed, reading, places };
        for node in &index.graph.node {
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                if let Some(place) = trace.behind(node, output) {
                    trace.places.insert(output, place);
                }
            }
        }
        trace
    }

    pub(super) fn place(&self, value: &str) -> Option<Place> {
        self.places.get(value).copied()
    }

    pub(super) fn shape(&self, value: &str) -> Option<Vec<usize>> {
        let stored = || self.index.constant(value)?.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        self.shapes.get(value).cloned().or_else(stored)
    }

    /// The first input of the highest rank that holds images.
    pub(super) fn data<'n>(&self, node: &'n NodeProto) -> Option<(&'n str, Place, Vec<usize>)> {
        let known = |value: &'n String| Some((value.as_str(), self.place(value)?, self.shape(value)?));
        node.input.iter().filter_map(known).reduce(|best, next| if next.2.len() > best.2.len() { next } else { best })
    }

    fn behind(&self, node: &NodeProto, output: &str) -> Option<Place> {
        if ["Shape", "Size", "If", "Loop", "Scan"].iter().any(|name| node.is(name)) {
            return None;
        }
        let (_, place, from) = self.data(node)?;
        let to = self.shape(output)?;
        let Place { axis, outer } = place;
        let turned = match node.op_type() {
            "Transpose" => match node.attr("perm") {
                Some(perm) => perm.ints.iter().position(|&p| usize::try_from(p) == Ok(axis))?,
                None => from.len().checked_sub(axis + 1)?,
            },
            "Reshape" | "Flatten" => {
                let around = from[..axis].iter().product::<usize>() * outer;
                let found = places(around, &to, self.fixed);
                return found.get(self.reading.min(found.len().checked_sub(1)?)).copied();
            }
            "Unsqueeze" => {
                let mut axes = self.axes(node, to.len())?;
                axes.sort_unstable();
                axes.iter().fold(axis, |axis, &new| axis + usize::from(new <= axis))
            }
            "Squeeze" => self.without(axis, &self.axes(node, from.len())?)?,
            "Gather" => {
                let indices = self.shape(node.input.get(1)?)?.len();
                let along = absolute(node.int("axis", 0), from.len())?;
                if along < axis { (axis + indices).checked_sub(1)? } else { axis }
            }
            "Einsum" => einsum(node, &self.places, axis)?,
            name if name.starts_with("Reduce") || name.starts_with("Arg") => match node.int("keepdims", 1) {
                0 if name.starts_with("Arg") => self.without(axis, &[absolute(node.int("axis", 0), from.len())?])?,
                0 => self.without(axis, &self.axes(node, from.len())?)?,
                _ => axis,
            },
            // Shapes are aligned at their ends.
            _ => (axis + to.len()).checked_sub(from.len())?,
        };
        to.get(turned).filter(|size| from.get(axis) == Some(size)).map(|_| Place { axis: turned, outer })
    }

    /// The axes that a node names in an attribute or a stored input.
    fn axes(&self, node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
        let given = node.attr("axes").map(|axes| axes.ints.clone());
        let axes = given.or_else(|| self.index.integers(node.input.get(1)?))?;
        axes.iter().map(|&axis| absolute(axis, rank)).collect()
    }

    /// The place of an axis when others go; none when it goes itself.
    fn without(&self, axis: usize, gone: &[usize]) -> Option<usize> {
        (!gone.contains(&axis)).then(|| axis - gone.iter().filter(|&&other| other < axis).count())
    }
}

fn absolute(axis: i64, rank: usize) -> Option<usize> {
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|&axis| axis < rank)
}

/// Where `fixed` images can lie in a tensor of this shape that has the same elements in the same order as one with
/// `around` elements around the images; the likeliest first. With one image it may be ambiguous: an axis of their own
/// comes first, then the start of an axis, and the last axis, which holds features, comes last.
fn places(around: usize, shape: &[usize], fixed: usize) -> Vec<Place> {
    let mut found = Vec::new();
    let mut before = 1;
    for (axis, &size) in shape.iter().enumerate() {
        let outer = around.checked_div(before).filter(|_| around.is_multiple_of(before));
        if let Some(outer) = outer.filter(|outer| size != 0 && size.is_multiple_of((outer * fixed).max(1))) {
            found.push(Place { axis, outer });
        }
        before *= size;
    }
    let last = shape.len().saturating_sub(1);
    found.sort_by_key(|place| {
        let own = place.outer == 1 && shape[place.axis] == fixed;
        (!own, place.axis == last, place.outer != 1, place.axis)
    });
    found
}

/// The place of the axis in the result, by its letter.
fn einsum(node: &NodeProto, places: &HashMap<&str, Place>, axis: usize) -> Option<usize> {
    let equation = String::from_utf8(node.attr("equation")?.s().to_vec()).ok()?.replace(' ', "");
    let (terms, result) = equation.split_once("->").filter(|_| !equation.contains('.'))?;
    let (_, term) = node.input.iter().zip(terms.split(',')).find(|(input, _)| places.contains_key(input.as_str()))?;
    let letter = term.chars().nth(axis)?;
    result.chars().position(|c| c == letter)
}
