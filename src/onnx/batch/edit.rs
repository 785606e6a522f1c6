//! The constants that hold a fixed batch, freed.

use super::super::graph::{Index, Names, reads};
use super::super::pooling::{int, named};
use super::super::schema::{GraphProto, NodeProto, TensorProto, data_type};
use super::super::tensor::{integers, set_raw};
use super::trace::Trace;
use std::collections::HashMap;

/// Another target shape for a node, which takes it as its second input.
struct Edit<'a> {
    node: usize,
    name: &'a str,
    value: Vec<i64>,
}

/// Frees the constants of `graph`, which is that of `index`; with `computed`, targets that are computed from the image too.
pub(super) fn constants(
    graph: &mut GraphProto,
    index: &Index,
    trace: &Trace,
    (input, fixed): (&str, usize),
    computed: bool,
) {
    let mut edits = Vec::new();
    for (place, node) in index.graph.node.iter().enumerate() {
        let edited = match node.op_type() {
            "Reshape" => reshape(index, trace, node, fixed, computed),
            "Expand" => expand(index, trace, node, fixed),
            _ => None,
        };
        edits.extend(edited.map(|value| Edit { node: place, name: &node.input[1], value }));
    }
    let names = Names::of(index.graph);
    let mut added = Added { graph, names, input, batch: None, instead: None, before: HashMap::new() };
    added.targets(index, &edits);
    for (place, node) in index.graph.node.iter().enumerate() {
        match node.op_type() {
            "Resize" => added.resize(index, trace, place, node, fixed),
            "LSTM" | "GRU" | "RNN" => added.states(index, trace, place, node, fixed),
            _ => added.operands(index, trace, place, node, fixed),
        }
    }
    let before = added.before;
    let nodes = std::mem::take(&mut graph.node).into_iter().enumerate();
    graph.node = nodes.flat_map(|(i, n)| before.get(&i).cloned().unwrap_or_default().into_iter().chain([n])).collect();
}

/// A `Reshape`'s target with its batch free, where it has to change.
fn reshape(index: &Index, trace: &Trace, node: &NodeProto, fixed: usize, computed: bool) -> Option<Vec<i64>> {
    let target = node.input.get(1).filter(|target| computed || index.is_fixed(target))?;
    let zero_copies = node.int("allowzero", 0) == 0;
    let output = node.output.first()?;
    let full = || Some(trace.shape(output)?.iter().map(|&size| size as i64).collect::<Vec<_>>());
    let mut target = index.integers(target).or_else(full)?;
    let Some((place, shape)) = trace.place(output).zip(trace.shape(output)) else {
        // Nothing is known of it.
        let begins = target.len() > 1 && target[0] == fixed as i64 && zero_copies && trace.shape(output).is_none();
        target.first_mut().into_iter().for_each(|first| *first = 0);
        return begins.then_some(target);
    };
    let (_, from, old) = trace.data(node)?;
    let axis = place.axis;
    let copied = from == place && old.get(axis) == shape.get(axis) && zero_copies;
    match target.get(axis)? {
        -1 => return None,
        0 if copied => return None,
        _ if copied && target.contains(&-1) => target[axis] = 0,
        _ => {
            if target.iter().any(|&size| size < 1) {
                target = full()?;
            }
            target[axis] = -1;
        }
    }
    Some(target)
}

/// An `Expand`'s target that leaves the batch as it is.
fn expand(index: &Index, trace: &Trace, node: &NodeProto, fixed: usize) -> Option<Vec<i64>> {
    let mut target = index.integers(node.input.get(1)?)?;
    let (place, rank) = (trace.place(node.output.first()?)?, trace.shape(node.output.first()?)?.len());
    let axis = (place.axis + target.len()).checked_sub(rank)?;
    let held = target.get(axis).is_some_and(|&size| size == fixed as i64 && size != 1);
    target[axis] = 1;
    held.then_some(target)
}

/// Sets a stored `int64` list; `false` where it is not stored under that name.
fn set(graph: &mut GraphProto, name: &str, value: &[i64]) -> bool {
    let raw = || value.iter().flat_map(|v| v.to_le_bytes()).collect();
    if let Some(tensor) = graph.initializer.iter_mut().find(|t| t.name() == name) {
        set_raw(tensor, raw());
        return true;
    }
    let node = graph.node.iter_mut().find(|n| n.is("Constant") && n.output.iter().any(|o| o == name));
    let attribute = node.and_then(|n| n.attribute.iter_mut().find(|a| matches!(a.name(), "value" | "value_ints")));
    match attribute {
        Some(attribute) if attribute.name() == "value_ints" => attribute.ints = value.to_vec(),
        Some(attribute) => attribute.t.iter_mut().for_each(|t| set_raw(t, raw())),
        None => return false,
    }
    true
}

/// A stored `true`.
fn truth(name: &str) -> TensorProto {
    let raw_data = Some(vec![1u8].into());
    TensorProto { name: Some(name.into()), data_type: Some(data_type::BOOL), raw_data, ..Default::default() }
}

/// Nodes that are put before others, by the place of those.
struct Added<'g> {
    graph: &'g mut GraphProto,
    names: Names,
    input: &'g str,
    /// The value that holds the batch, once it is made: `[N]`.
    batch: Option<String>,
    /// A truth value that chooses an edited target, once it is made.
    instead: Option<String>,
    before: HashMap<usize, Vec<NodeProto>>,
}

impl Added<'_> {
    /// A node before that at `place`; its output's name.
    fn node(&mut self, place: usize, op_type: &str, input: Vec<String>, attributes: Vec<(&str, i64)>) -> String {
        let attributes = attributes.into_iter().map(|(name, value)| int(name, value)).collect();
        let output = named(self.graph, &mut self.names, op_type, "adapt.batch", input, attributes);
        self.before.entry(place).or_default().extend(self.graph.node.pop());
        output
    }

    fn stored(&mut self, values: &[i64]) -> String {
        let name = self.names.fresh("adapt.batch.numbers");
        self.graph.initializer.push(integers(&name, values));
        name
    }

    /// Writes edited targets: where they are stored, or beside those where others read the old ones too; where they are
    /// computed, as a choice between the two, so that all that computed the old one stays.
    fn targets(&mut self, index: &Index, edits: &[Edit]) {
        let mut readers: HashMap<&str, usize> = HashMap::new();
        let outputs = index.graph.output.iter().map(|o| o.name());
        index.graph.node.iter().flat_map(reads).chain(outputs).for_each(|name| *readers.entry(name).or_default() += 1);
        let mut by_name: HashMap<&str, Vec<&Edit>> = HashMap::new();
        edits.iter().for_each(|edit| by_name.entry(edit.name).or_default().push(edit));
        for edit in edits {
            let same = &by_name[edit.name];
            let alone = readers.get(edit.name) == Some(&same.len()) && same.iter().all(|e| e.value == edit.value);
            if alone && set(self.graph, edit.name, &edit.value) {
                continue;
            }
            let target = self.stored(&edit.value);
            if index.constant(edit.name).is_some() {
                self.graph.node[edit.node].input[1] = target;
                continue;
            }
            let instead = self.instead.clone().unwrap_or_else(|| {
                let name = self.names.fresh("adapt.batch.true");
                self.graph.initializer.push(truth(&name));
                name
            });
            self.instead = Some(instead.clone());
            let chosen = self.node(edit.node, "Where", vec![instead, target, edit.name.into()], vec![]);
            self.graph.node[edit.node].input[1] = chosen;
        }
    }

    /// The number of images, `[N]`. What comes first makes it for all.
    fn batch(&mut self, place: usize) -> String {
        if let Some(batch) = &self.batch {
            return batch.clone();
        }
        let shape = self.node(place, "Shape", vec![self.input.into()], vec![]);
        let first = self.stored(&[0]);
        let batch = self.node(place, "Gather", vec![shape, first], vec![("axis", 0)]);
        self.batch = Some(batch.clone());
        batch
    }

    /// A stored operand of images holds the same for each: one is kept, and repeated where it is put beside theirs.
    fn operands(&mut self, index: &Index, trace: &Trace, place: usize, node: &NodeProto, fixed: usize) {
        let Some(at) = node.output.first().and_then(|o| trace.place(o)) else { return };
        let Some(rank) = node.output.first().and_then(|o| trace.shape(o)).map(|shape| shape.len()) else { return };
        let join = node.is("Concat");
        if at.outer != 1 || !join && !["Add", "Sub", "Mul", "Div", "Where"].iter().any(|name| node.is(name)) {
            return;
        }
        for (i, value) in node.input.iter().enumerate().filter(|(_, value)| trace.place(value).is_none()) {
            let Some(shape) = trace.shape(value).filter(|_| index.is_fixed(value)) else { continue };
            let Some(axis) = (at.axis + shape.len()).checked_sub(rank).filter(|&axis| shape[axis] == fixed) else {
                continue;
            };
            let mut operand = self.first(place, value.clone(), axis, fixed);
            if join {
                operand = self.repeated(place, operand, axis, rank, 1);
            }
            self.graph.node[place].input[i] = operand;
        }
    }

    /// What is stored for the first of `rows` along an axis.
    fn first(&mut self, place: usize, value: String, axis: usize, rows: usize) -> String {
        if rows == 1 {
            return value;
        }
        let [start, end, axes] = [0, 1, axis as i64].map(|number| self.stored(&[number]));
        self.node(place, "Slice", vec![value, start, end, axes], vec![])
    }

    /// One row along an axis, so often for each image.
    fn repeated(&mut self, place: usize, value: String, axis: usize, rank: usize, often: usize) -> String {
        let mut batch = self.batch(place);
        if often > 1 {
            let often = self.stored(&[often as i64]);
            batch = self.node(place, "Mul", vec![batch, often], vec![]);
        }
        let (ahead, behind) = (self.stored(&vec![1; axis]), self.stored(&vec![1; rank.saturating_sub(axis + 1)]));
        let target = self.node(place, "Concat", vec![ahead, batch, behind], vec![("axis", 0)]);
        self.node(place, "Expand", vec![value, target], vec![])
    }

    /// Stored lengths and first states of a recurrent layer, which there are one of for each of its sequences: the same for
    /// all, as they are in practice, or the trial fails.
    fn states(&mut self, index: &Index, trace: &Trace, place: usize, node: &NodeProto, fixed: usize) {
        let Some((_, at, shape)) = trace.data(node).filter(|_| node.int("layout", 0) == 0) else { return };
        let rows = shape.get(1).copied().filter(|rows| at.axis == 1 && rows.is_multiple_of(fixed)).unwrap_or(0);
        for (i, value) in node.input.iter().enumerate().skip(4).take(3) {
            let axis = usize::from(i > 4);
            // What is expanded to as many sequences as there are may have been stored for as many already.
            let expanded = index.producer_index(value).filter(|&made| index.graph.node[made].is("Expand"));
            let expanded = expanded.filter(|_| !index.is_fixed(value));
            let stored = expanded.and_then(|made| index.graph.node[made].input.first()).unwrap_or(value);
            let Some(shape) = trace.shape(stored).filter(|_| index.is_fixed(stored)) else { continue };
            if rows == 0 || shape.get(axis) != Some(&rows) {
                continue;
            }
            let first = self.first(expanded.unwrap_or(place), stored.clone(), axis, rows);
            match expanded {
                Some(made) => self.graph.node[made].input[0] = first,
                None => self.graph.node[place].input[i] = self.repeated(place, first, axis, shape.len(), rows / fixed),
            }
        }
    }

    /// `Resize` to stored sizes: the first becomes the batch.
    fn resize(&mut self, index: &Index, trace: &Trace, place: usize, node: &NodeProto, fixed: usize) {
        let Some(sizes) = node.input.get(3).filter(|sizes| index.is_fixed(sizes)) else { return };
        let first = node.input.first().and_then(|x| trace.place(x)).is_some_and(|at| at.axis == 0 && at.outer == 1);
        let held = index.integers(sizes).is_some_and(|sizes| sizes.len() == 4 && sizes[0] == fixed as i64);
        if !first || !held {
            return;
        }
        let batch = self.batch(place);
        let rest = self.stored(&[1, 2, 3]);
        let rest = self.node(place, "Gather", vec![sizes.clone(), rest], vec![("axis", 0)]);
        self.graph.node[place].input[3] = self.node(place, "Concat", vec![batch, rest], vec![("axis", 0)]);
    }
}
