//! The templates.

use crate::error::{Error, Result};
use crate::report::precise;
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;
use std::sync::LazyLock;

pub(super) const STYLE: &str = include_str!("templates/style.css");
pub(super) const SCRIPT: &str = include_str!("templates/script.js");

const TEMPLATES: [(&str, &str); 7] = [
    ("report.html", include_str!("templates/report.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("several.html", include_str!("templates/several.html")),
    ("plots.html", include_str!("templates/plots.html")),
    ("card.html", include_str!("templates/card.html")),
    ("python.txt", include_str!("templates/python.txt")),
    ("javascript.txt", include_str!("templates/javascript.txt")),
];

/// Texts are escaped in templates whose name ends in `.html`.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("fixed", fixed);
    environment.add_filter("precise", |value: minijinja::Value| number(value, precise));
    environment.add_filter("percent", |value: f64| format!("{:.1} %", 100. * value));
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).expect("the templates are part of the program, and tested");
    }
    environment
});

/// Around a name from outside in which something is written from right to left: what stands beside it stays in its place.
/// [`crate::error::printable`] lets none of them in.
const ISOLATE: [char; 2] = ['\u{2068}', '\u{2069}'];

/// A name, isolated from the text around it where it would turn that.
pub(super) fn isolated(name: String) -> String {
    let [start, end] = ISOLATE;
    if name.contains(turns) { format!("{start}{name}{end}") } else { name }
}

/// A text as a terminal has it: nothing is isolated there.
pub(super) fn plain(text: String) -> String {
    text.replace(ISOLATE, "")
}

/// Whether it is of a script that goes from right to left, or a mark that makes text go so.
fn turns(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{200f}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}')
        || matches!(c, '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// Isolated names as elements, of which nothing is left in what one copies. In attributes, titles and drawings, which take none,
/// the characters stay.
fn elements(page: String) -> String {
    let [start, end] = ISOLATE;
    if !page.contains(start) {
        return page;
    }
    let mut told = String::with_capacity(page.len());
    for (place, part) in page.split_inclusive('<').enumerate() {
        // Behind the first `<` each part begins with a tag.
        let tag = if place > 0 { part.find('>').unwrap_or(part.len()) } else { 0 };
        let (tag, text) = part.split_at(tag);
        told += tag;
        match tag.starts_with("title") || tag.starts_with("text") {
            true => told += text,
            false => told += &text.replace(start, "<bdi>").replace(end, "</bdi>"),
        }
    }
    told
}

/// A number with so many decimals; a dash where there is none.
fn fixed(value: minijinja::Value, decimals: usize) -> String {
    number(value, |value| format!("{value:.decimals$}"))
}

fn number(value: minijinja::Value, written: impl Fn(f64) -> String) -> String {
    f64::try_from(value).ok().filter(|value| value.is_finite()).map_or("–".into(), written)
}

/// A template with these values.
pub(super) fn render(name: &str, values: impl Serialize) -> Result<String> {
    let template = ENVIRONMENT.get_template(name);
    let text = template.and_then(|template| template.render(context! { ..minijinja::Value::from_serialize(values) }));
    let text = text.map_err(|e| Error::Engine(format!("writing the report: {e:#}")))?;
    Ok(if name.ends_with(".html") { elements(text) } else { text })
}
