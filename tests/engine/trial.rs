//! The choice between two engines by one measured batch.

use adapt::engine::trial::{is_second, seconds};
use adapt::engine::{Engine, Kind, Port};
use adapt::{Error, Result};
use ndarray::{ArrayD, ArrayViewD};
use std::thread::sleep;
use std::time::Duration;

/// It sleeps for so many milliseconds in each run, and fails in those behind.
struct Sleeper {
    naps: Vec<u64>,
    runs: usize,
    port: Port,
}

impl Engine for Sleeper {
    fn name(&self) -> &'static str {
        "sleeper"
    }

    fn version(&self) -> &str {
        "1"
    }

    fn input(&self) -> &Port {
        &self.port
    }

    fn outputs(&self) -> &[String] {
        &[]
    }

    fn run_outputs(&mut self, _: ArrayViewD<f32>, _: &[usize]) -> Result<Vec<ArrayD<f32>>> {
        let nap = self.naps.get(self.runs).ok_or_else(|| Error::Engine("no memory".into()))?;
        self.runs += 1;
        sleep(Duration::from_millis(*nap));
        Ok(Vec::new())
    }
}

#[test]
fn an_engine_is_measured_by_its_second_run() {
    let batch = ArrayD::zeros(vec![1, 3, 8, 8]);
    let sleeper = |naps: &[u64]| {
        let port = Port { name: "x".into(), kind: Kind::F32, dims: vec![None; 4] };
        Sleeper { naps: naps.to_vec(), runs: 0, port }
    };
    let mut engine = sleeper(&[1000, 10, 1000]);
    let taken = seconds(&mut engine, batch.view()).unwrap();
    assert!(engine.runs == 2 && (0.01..0.5).contains(&taken), "{taken}");
    for fails in [&[][..], &[0]] {
        assert!(seconds(&mut sleeper(fails), batch.view()).is_err());
    }
}

#[test]
fn the_second_engine_has_to_be_clearly_faster() {
    let fails = || Err(Error::Engine("no memory".into()));
    for (first, second, taken) in [
        (Ok(1.), Ok(0.8), true),
        (Ok(1.), Ok(0.95), false),
        (Ok(1.), Ok(1.), false),
        (Ok(1.), Ok(1.1), false),
        (Ok(0.), Ok(0.), false),
        (Ok(1.), fails(), false),
        (fails(), Ok(9.), true),
        (fails(), fails(), false),
    ] {
        let both = [first, second];
        assert_eq!(is_second(&both), taken, "{both:?}");
    }
}
