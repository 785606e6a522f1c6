//! What of a graph can be trained where a part of it cannot.

use super::facts::Facts;
use super::{Found, import_any};
use crate::guard::gave_up;
use crate::onnx::cut::Cut;
use crate::onnx::graph::{Index, readers, reads};
use crate::onnx::schema::{GraphProto, NodeProto, ValueInfoProto};
use crate::onnx::{Model, surgery};
use std::collections::{HashMap, HashSet};
use tract_onnx::Onnx;

/// The tensors through which everything goes that the image has to say to the first output, in the order of the graph;
/// only those behind all of `places`.
pub fn narrow<'a>(graph: &'a GraphProto, places: &HashSet<usize>) -> Vec<&'a str> {
    let index = Index::new(graph);
    let output = graph.output[0].name();
    let needed = index.ancestors(&[output]).0;
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let images = graph.input.iter().map(|i| i.name()).filter(|name| !stored.contains(name));
    // For each value that hangs on the image, how many nodes still read it.
    let mut users: HashMap<&str, usize> = HashMap::new();
    // A shape tells of the number of images alone: whoever asks for it does not hold its tensor.
    let asks = |node: &NodeProto| node.is("Shape") || node.is("Size");
    for node in needed.iter().map(|&place| &graph.node[place]).filter(|node| !asks(node)) {
        reads(node).for_each(|value| *users.entry(value).or_default() += 1);
    }
    *users.entry(output).or_default() += 1;
    let mut live: HashMap<&str, usize> = images.filter_map(|name| Some((name, *users.get(name)?))).collect();
    let mut ahead = needed.iter().filter(|place| places.contains(place)).count();
    let mut found = Vec::new();
    for place in needed {
        let node = &graph.node[place];
        ahead -= usize::from(places.contains(&place));
        if asks(node) {
            continue;
        }
        let mut hangs = false;
        for value in reads(node) {
            if let Some(left) = live.get_mut(value) {
                hangs = true;
                *left -= 1;
                if *left == 0 {
                    live.remove(value);
                }
            }
        }
        if !hangs {
            continue;
        }
        let made = node.output.iter().filter_map(|o| Some((o.as_str(), *users.get(o.as_str())?)));
        live.extend(made);
        if ahead == 0 && live.len() == 1 {
            found.extend(live.keys().copied());
        }
    }
    found.dedup();
    found
}

/// The first tensor behind `places` whose shape is known and behind which all can be trained, and what the importer found
/// there. Importing from a tensor needs its shape: `facts` tell it, or the file does.
pub(super) fn import_behind<'a>(
    onnx: &Onnx,
    model: &'a Model,
    places: &HashSet<usize>,
    facts: &Facts,
) -> Option<(&'a str, Found)> {
    const MOST_TRIED: usize = 3;
    let graph = model.graph();
    let told = |name: &str| graph.value_info.iter().find(|info| info.name() == name).cloned();
    let known = narrow(graph, places).into_iter().filter(|tensor| *tensor != graph.output[0].name());
    let known = known.filter_map(|tensor| Some((tensor, facts.declaration(tensor).or_else(|| told(tensor))?)));
    for (tensor, info) in known.take(MOST_TRIED) {
        match import_any(onnx, &behind(model, info)?, &[]) {
            Ok(found) if found.obstacles.is_empty() => return Some((tensor, found)),
            Err(why) if gave_up(&why) => return None,
            _ => {}
        }
    }
    None
}

/// What comes behind a tensor, with it (declared by `input`) as the input; `None` where the model has no graph or output.
pub fn behind(model: &Model, input: ValueInfoProto) -> Option<Model> {
    let mut model = model.clone();
    let asking = asking_for_the_batch(model.graph());
    let graph = model.proto.graph.as_mut()?;
    // The number of images is the same there.
    asking.into_iter().for_each(|place| graph.node[place].input = vec![input.name().to_owned()]);
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    graph.input.retain(|given| stored.contains(given.name()));
    graph.node.retain(|node| !node.output.iter().any(|output| output == input.name()));
    graph.input.push(input);
    let output = Cut::at(graph.output.first()?.name());
    Some(surgery::backbone(&model, &output, &surgery::Pooling::None))
}

/// The places of the nodes that ask for the image's shape and of which nothing is read but the first number.
fn asking_for_the_batch(graph: &GraphProto) -> Vec<usize> {
    let index = Index::new(graph);
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let images = graph.input.iter().map(|i| i.name()).filter(|name| !stored.contains(name)).collect::<HashSet<_>>();
    let of_the_image = |node: &NodeProto| {
        node.is("Shape") && node.attribute.is_empty() && node.input.first().is_some_and(|x| images.contains(x.as_str()))
    };
    let first = |node: &NodeProto| {
        let place = node.input.get(1).and_then(|place| index.integers(place));
        node.is("Gather") && node.int("axis", 0) == 0 && place.is_some_and(|place| place == [0])
    };
    let users = readers(graph);
    let given: HashSet<&str> = graph.output.iter().map(|output| output.name()).collect();
    let asks_no_more = |place: &usize| {
        graph.node[*place].output.iter().all(|shape| {
            let mut users = users.get(shape.as_str()).into_iter().flatten();
            users.all(|&user| first(&graph.node[user])) && !given.contains(shape.as_str())
        })
    };
    (0..graph.node.len()).filter(|&place| of_the_image(&graph.node[place])).filter(asks_no_more).collect()
}
