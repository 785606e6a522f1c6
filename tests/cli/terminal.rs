//! What a terminal shows while the work goes on.

use super::support::Place;

#[test]
fn stages_of_unknown_length_count() {
    let place = Place::empty();
    (0..600).for_each(|i| place.write(&format!("many/{}/{i}.png", ["a", "b"][i % 2]), ""));
    // `script` gives a program a terminal.
    let shown = place.shell("TERM=xterm script -qec \"$ADAPT data many\" /dev/null").out;
    let behind = |part: &str| part.chars().take(60).collect::<String>();
    let counted = |part: String| part.contains("256") || part.contains("512");
    assert!(shown.split("listing images").skip(1).any(|part| counted(behind(part))), "{shown:?}");
    // Elsewhere there are plain lines, and none for it.
    assert!(!place.adapt("data many").err.contains("listing"));
}
