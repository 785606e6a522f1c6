//! `report.html` in a real browser: no word on its console, no request to anywhere, and all of it without its script.

use super::report::place;
use super::support::{Place, left_out};
use std::path::Path;
use std::process::Command;

/// A Chromium, by name or path.
fn chromium() -> Option<String> {
    let known = ["chromium", "chromium-browser", "google-chrome"].map(String::from);
    let runs = |name: &String| Command::new(name).arg("--version").output().is_ok_and(|ran| ran.status.success());
    let found = std::env::var("ADAPT_TEST_CHROMIUM").ok().into_iter().chain(known).find(runs);
    if found.is_none() {
        left_out("no Chromium is installed (ADAPT_TEST_CHROMIUM=FILE names one)");
    }
    found
}

/// The document that a page becomes, and what its console says.
fn open(place: &Place, browser: &str, page: &str) -> (String, Vec<String>) {
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"])
        .args(["--enable-logging=stderr", "--v=0", "--disable-background-networking"])
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
        .arg(format!("--user-data-dir={}", place.path("profile").display()))
        .arg(format!("file://{}", place.path(Path::new(page)).display()));
    let ran = place.run(&mut command);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let told = ran.err.lines().filter(|line| line.contains(":CONSOLE:")).map(String::from).collect();
    (ran.out, told)
}

#[test]
fn the_page_is_quiet_and_whole_in_a_browser() {
    let Some(browser) = chromium() else { return };
    let place = place();
    place.main("").succeeds();
    let page = place.read("out/report.html");
    assert!(!page.contains("<button"));
    let holds = |dom: &str| {
        let words = [
            "id=\"figures\"",
            "95 % interval",
            "class=\"confusion\"",
            "href=\"#pair-0-0\"",
            "data:image/jpeg",
            "</html>",
        ];
        words.iter().for_each(|words| assert!(dom.contains(words), "{words}"));
    };
    // The page's policy refuses every request, and says so on the console.
    let (dom, told) = open(&place, &browser, "out/report.html");
    assert!(told.is_empty(), "{told:?}");
    holds(&dom);
    // Headings that sort are the script's.
    assert!(dom.contains("<button type=\"button\">Precision</button>"));

    // Another script than the page's own is refused: what is left is the page of a browser without scripts.
    place.write("plain.html", page.replace("<script>", "<script>alert(1);"));
    let (dom, told) = open(&place, &browser, "plain.html");
    assert!(told.len() == 1 && told[0].contains("Content Security Policy"), "{told:?}");
    holds(&dom);
    assert!(!dom.contains("<button"));

    // What would be noticed: a request, and a script that fails.
    place.write("asks.html", page.replace("</main>", "<img src=\"http://elsewhere.invalid/a.png\"></main>"));
    let (_, told) = open(&place, &browser, "asks.html");
    assert!(told.len() == 1 && told[0].contains("elsewhere.invalid"), "{told:?}");
    place.write("fails.html", "<!doctype html><script>nothing.there()</script>");
    let (_, told) = open(&place, &browser, "fails.html");
    assert!(told.len() == 1 && told[0].contains("Uncaught"), "{told:?}");
}
