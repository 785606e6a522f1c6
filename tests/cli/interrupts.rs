//! Ctrl-C and SIGTERM in the middle of the work.

use super::support::{Place, Running};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Images that take long to decode, by hard links to one.
fn slow(place: &Place) {
    let big = image::RgbImage::from_fn(2500, 2500, |x, y| image::Rgb([(x * y) as u8, x as u8, (x ^ y) as u8]));
    big.save(place.path("big.png")).unwrap();
    for class in ["a", "b"] {
        fs::create_dir_all(place.path(format!("slow/{class}"))).unwrap();
        for i in 0..400 {
            fs::hard_link(place.path("big.png"), place.path(format!("slow/{class}/{i}.png"))).unwrap();
        }
    }
}

/// The plan is printed right before it.
fn wait_for_extraction(running: &Running) {
    let start = Instant::now();
    while !running.err().contains("engine ") {
        assert!(start.elapsed() < Duration::from_secs(30), "{}", running.err());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn interruptions_leave_nothing_behind() {
    let place = Place::usual();
    slow(&place);
    for (signal, earlier) in [("INT", false), ("TERM", true)] {
        if earlier {
            place.main("").succeeds();
        }
        let kept = earlier.then(|| fs::read(place.path("out/model.onnx")).unwrap());
        let mut command = place.command();
        command.args(["--data", "slow", "--onnx", "tiny.onnx", "--out", "out", "--force", "--preprocess", "imagenet"]);
        let running = place.start(&mut command);
        wait_for_extraction(&running);
        assert!(place.path("out.partial").is_dir());
        std::thread::sleep(Duration::from_millis(100));
        let sent = Instant::now();
        let pid = running.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        running.wait().fails(130, &["interrupted"]);
        assert!(sent.elapsed() < Duration::from_secs(10), "it went on for {:?}", sent.elapsed());
        match kept {
            None => assert_eq!(place.outputs(), [""; 0]),
            Some(bytes) => {
                assert_eq!(place.outputs(), ["out"]);
                assert_eq!(fs::read(place.path("out/model.onnx")).unwrap(), bytes);
            }
        }
    }
}

#[test]
fn two_runs_do_not_share_a_folder() {
    let place = Place::usual();
    slow(&place);
    let mut command = place.command();
    command.args(["--data", "slow", "--onnx", "tiny.onnx", "--out", "out", "--preprocess", "imagenet"]);
    let mut running = place.start(&mut command);
    wait_for_extraction(&running);
    place.main("").fails(2, &["out: another run is writing there", "choose another --out"]);
    place.main("--force").fails(2, &["another run is writing there"]);
    assert!(running.child.try_wait().unwrap().is_none(), "{}", running.err());
    assert_eq!(place.outputs(), ["out.partial"]);
    // A killed run's folder is free again.
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_eq!(place.outputs(), ["out.partial"]);
    place.main("").succeeds();
    assert_eq!(place.outputs(), ["out"]);
    assert!(!place.path("out/.lock").exists());
}
