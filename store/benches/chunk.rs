//! Measures chunks: `cargo bench -p store --bench chunk [-- FOLDER [STEP]]`, a folder of recorded pages (`<unix ms>.gz`, every
//! STEP-th of them; without one the four committed pages, too few for figures).
//!
//! All series are cut into chunks of n values. CPU is the thread's, per value of all series, the best of several rounds; the
//! mode of a series' last chunk is the next one's hint, as in the heads.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

#[path = "../../wire/tests/pages/page.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod page;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use store::seam;

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("a clock")
        .into()
}

/// The least of several rounds, ns per value.
fn best(values: usize, mut round: impl FnMut()) -> f64 {
    let rounds = (40_000_000 / values).clamp(3, 200);
    let times = (0..rounds).map(|_| {
        let before = cpu();
        round();
        cpu() - before
    });
    times.min().unwrap_or_default().as_nanos() as f64 / values as f64
}

fn measure(what: &str, series: &[Vec<f64>], n: usize) {
    let chunks: Vec<(usize, &[f64])> = series
        .iter()
        .enumerate()
        .flat_map(|(at, values)| values.chunks_exact(n).map(move |chunk| (at, chunk)))
        .collect();
    let values = chunks.len() * n;
    if values == 0 {
        return;
    }
    let mut encoder = seam::ChunkEncoder::default();
    let mut modes = vec![0; series.len()];
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let encode = best(values, || {
        bytes.clear();
        ends.clear();
        for (at, chunk) in &chunks {
            encoder.encode(chunk, &mut modes[*at], &mut bytes);
            ends.push(bytes.len());
        }
    });
    let mut out: Vec<f64> = Vec::new();
    let decode = best(values, || {
        let mut start = 0;
        for end in &ends {
            out.clear();
            seam::decode_chunk(&bytes[start..*end], n, &mut out).expect("a chunk");
            std::hint::black_box(out.last());
            start = *end;
        }
    });
    println!(
        "{what}, n={n}: {:.3} B/value, encode {encode:.2}, decode {decode:.2} ns/value",
        bytes.len() as f64 / values as f64
    );
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let folder = args.next().map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/pages"),
        PathBuf::from,
    );
    let step = args.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let pages = page::read_folder(&folder);
    let count = pages[0].samples.len();
    // Of pages that have the series of the first only.
    let pages: Vec<&page::Page> = pages
        .iter()
        .step_by(step)
        .filter(|page| page.samples.len() == count)
        .collect();
    let series: Vec<Vec<f64>> = (0..count)
        .map(|at| pages.iter().map(|page| page.samples[at].1).collect())
        .collect();
    println!("{} pages of {count} series", pages.len());
    let constant = |values: &Vec<f64>| values.iter().all(|value| value.to_bits() == values[0].to_bits());
    let changing: Vec<Vec<f64>> = series
        .iter()
        .filter(|values| !constant(values))
        .cloned()
        .collect();
    for n in [4, 32, 120, 240] {
        measure("all series", &series, n);
        measure("changing series", &changing, n);
    }
}
