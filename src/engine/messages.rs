//! ONNX Runtime's messages, for people.

use crate::guard::one_line;

/// What failed, and at which node: without the status, and the source file, function and condition that told of it.
pub(super) fn in_short(message: &str) -> String {
    const NODE: &str = "while running ";
    let parsed = || {
        let (operator, rest) = message.split_once(NODE)?.1.split_once(" node. Name:'")?;
        let (name, what) = rest.split_once("' Status Message: ")?;
        Some((name, operator, what))
    };
    let Some((name, operator, what)) = parsed() else { return unsigned(&one_line(message)).into() };
    let node = if name.is_empty() { format!("a node ({operator})") } else { format!("node '{name}' ({operator})") };
    one_line(&format!("{node}: {}", plain(what)))
}

/// The words behind the signature of the function that told them: `void a::f(int, g(b)) They differ.`
fn unsigned(text: &str) -> &str {
    let Some((name, _)) = text.split_once('(').filter(|(name, _)| name.contains("::")) else { return text };
    let mut depth = 0;
    let end = text.char_indices().skip_while(|(at, _)| *at < name.len()).find(|(_, c)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    });
    end.map(|(at, _)| text[at + 1..].trim()).filter(|words| !words.is_empty()).unwrap_or(text)
}

/// The message's own words: `/source/file.h:91 void f(int) a == b was false. They differ.` or `file.h:9 Compute They differ.`
fn plain(what: &str) -> &str {
    let Some((source, rest)) =
        what.split_once(' ').filter(|(first, _)| first.contains(".h:") || first.contains(".cc:"))
    else {
        return what;
    };
    let words = match rest.rsplit_once(" was false.") {
        Some((_, words)) => words,
        None if source.contains('/') => rest,
        None => rest.split_once(' ').map_or(rest, |(_, words)| words),
    };
    if words.trim().is_empty() { rest } else { words }
}

#[cfg(test)]
mod tests {
    use super::in_short;

    /// What ONNX Runtime 1.23 to 1.26 say.
    #[test]
    fn the_node_and_the_reason_are_left() {
        let start = "Non-zero status code returned while running";
        for (message, expected) in [
            (
                "Reshape node. Name:'/r' Status Message: /onnxruntime_src/core/reshape_helper.h:91 \
                 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) \
                 input_shape_size == requested_shape_size was false. The input tensor cannot be reshaped.\n",
                "node '/r' (Reshape): The input tensor cannot be reshaped.",
            ),
            (
                "MatMul node. Name:'' Status Message: matmul_helper.h:59 Compute A mismatch",
                "a node (MatMul): A mismatch",
            ),
            ("Gemm node. Name:'g' Status Message: GEMM: W: {5,3} K: 7 N:3", "node 'g' (Gemm): GEMM: W: {5,3} K: 7 N:3"),
            ("Add node. Name:'a' Status Message: /o/e.cc:5 f() ok was false.", "node 'a' (Add): f() ok was false."),
        ] {
            assert_eq!(in_short(&format!("{start} {message}")), expected);
        }
        let signed =
            "/src/model.cc:8 void onnxruntime::Model::f(const std::map<int>&, g(int)) Unsupported IR version: 99 (14)";
        assert_eq!(in_short(signed), "Unsupported IR version: 99 (14)");
        assert_eq!(in_short("Got invalid dimensions\n for input"), "Got invalid dimensions for input");
    }
}
