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
    text.map_err(|e| Error::Engine(format!("writing the report: {e:#}")))
}
