//! `report.html` in a real browser: no word on its console, no request to anywhere, and all of it without its script; and the program
//! that it shows for browsers.

use super::report::{PROGRAMS, agrees, code, place, with_photo};
use super::support::{Place, left_out};
use super::tasks;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::spawn;
use std::time::Duration;

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

fn headless(place: &Place, browser: &str) -> Command {
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"])
        .args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
        .arg(format!("--user-data-dir={}", place.path("profile").display()));
    command
}

/// The document that a page becomes, and what its console says.
fn open(place: &Place, browser: &str, page: &str) -> (String, Vec<String>) {
    let mut command = headless(place, browser);
    command
        .args(["--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("file://{}", place.path(Path::new(page)).display()));
    let ran = place.run(&mut command);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let told = ran.err.lines().filter(|line| line.contains(":CONSOLE:")).map(String::from).collect();
    (ran.out, told)
}

/// Serves a folder on this machine; what pages ask for below `/told/` is handed on instead.
fn serve(root: PathBuf) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, told) = channel();
    spawn(move || {
        // Browsers open connections ahead, on which nothing comes for a while.
        for stream in listener.incoming().flatten() {
            let (root, sender) = (root.clone(), sender.clone());
            spawn(move || answer(stream, &root, &sender));
        }
    });
    (address, told)
}

fn answer(mut stream: TcpStream, root: &Path, told: &Sender<String>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    lines.map_while(Result::ok).find(String::is_empty)?;
    if let Some(words) = path.strip_prefix("told/") {
        told.send(words.replace("%20", " ")).ok()?;
    }
    let (status, body) = fs::read(root.join(&path)).map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let kind = match path.rsplit('.').next()? {
        "html" => "text/html",
        "mjs" => "text/javascript",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()
}

/// What the program of the page in `out` answers for an image of the place, label and number of each; `before` is done first.
fn told(place: &Place, (browser, modules): (&str, &Path), image: &str, before: &str) -> Vec<(String, f64)> {
    let link = place.path("node_modules");
    if !link.exists() {
        std::os::unix::fs::symlink(modules, link).unwrap();
    }
    place.write("out/classify.mjs", code(&place.read("out/report.html"), "javascript"));
    let page = r#"<!doctype html><script type="importmap">
        {"imports": {"onnxruntime-web": "/node_modules/onnxruntime-web/dist/ort.bundle.min.mjs"}}</script>
        <script type="module">
        try {
            BEFORE
            const { load, pixels, classify } = await import("./classify.mjs");
            const file = await (await fetch("../IMAGE")).blob();
            const answers = await classify(await load(), await pixels(file));
            await fetch("/told/" + answers.map((a) => `${a.label}=${a.probability ?? a.value}`).join(";"));
        } catch (error) {
            await fetch("/told/" + encodeURIComponent(error));
        }
        </script>"#;
    place.write("out/page.html", page.replace("IMAGE", image).replace("BEFORE", before));
    let (address, told) = serve(place.path(""));
    let mut running = headless(place, browser);
    running.arg(format!("http://{address}/out/page.html")).stderr(Stdio::null());
    let mut running = running.spawn().unwrap();
    let told = told.recv_timeout(Duration::from_secs(120));
    running.kill().and_then(|()| running.wait()).unwrap();
    let told = told.expect("the page tells something");
    let one =
        |answer: &str| answer.split_once('=').and_then(|(label, number)| Some((label.into(), number.parse().ok()?)));
    told.split(';')
        .filter(|answer| !answer.is_empty())
        .map(|answer| one(answer).unwrap_or_else(|| panic!("{told}")))
        .collect()
}

#[test]
fn the_javascript_program_gives_the_same() {
    let Some(browser) = chromium() else { return };
    let Some(modules) = std::env::var_os("ADAPT_TEST_NODE_MODULES") else {
        left_out("after npm install onnxruntime-web, ADAPT_TEST_NODE_MODULES=$PWD/node_modules runs it");
        return;
    };
    let runs = (&*browser, Path::new(&modules));
    for (model, options) in PROGRAMS {
        let place = with_photo(model, options);
        // Of float16 also what older browsers do.
        let olds = ["", "delete globalThis.Float16Array;"];
        for before in &olds[..1 + usize::from(model.contains("float16"))] {
            let (label, probability) = told(&place, runs, "photo.png", before).swap_remove(0);
            agrees(&place, &format!("{label} {probability}"), &format!("{model} {options} {before}"));
        }
    }
    // Several labels, and a number.
    for (list, more) in [("labels.csv", ""), ("values.csv", "--label-column bright")] {
        let place = tasks::place();
        tasks::into(&place, list, "out", more);
        for row in tasks::rows(&place, "out", "test").iter().step_by(20) {
            let answers = told(&place, runs, &row[0], "");
            let labels: Vec<&str> = answers.iter().map(|(label, _)| &**label).collect();
            match list {
                "labels.csv" => assert_eq!(labels.join(";"), row[3]),
                _ => assert!((answers[0].1 - row[4].parse::<f64>().unwrap()).abs() < 2e-3, "{answers:?} {row:?}"),
            }
        }
    }
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
