//! Whether the contract was kept: the equation exactly, and every sample as it was measured.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tests::api::Equation;
use tests::oracle;
use tests::site::now;
use wire::Timestamp;

use crate::world::{Agent, PATIENCE, World};

/// Value by series, by time.
type Rows = BTreeMap<i64, BTreeMap<u32, f64>>;

impl World {
    /// Each device's terms, when nothing is under way.
    pub(crate) fn audit(&mut self, what: &str) {
        for agent in 0..self.agents.len() {
            let lost = self.audit_device(&self.agents[agent], what);
            self.agents[agent].lost = lost;
            self.agents[agent].may_drop = false;
        }
        self.costs.store = false;
    }

    /// Returns how many samples are lost by now.
    fn audit_device(&self, agent: &Agent, what: &str) -> u64 {
        let (api, id) = (self.site.api(), &agent.plan.id);
        let pending = || api.device(id).map_or(u64::MAX, |device| device.samples.pending);
        self.site.wait_until(
            &format!("{what}: {id} has nothing pending at the bridge"),
            PATIENCE,
            || pending() == 0,
        );
        let device = api.device(id).expect("the bridge knew the device a moment ago");
        let samples = &device.samples;
        assert_eq!(
            samples.generated,
            samples.stored + samples.lost(),
            "{what}: {id}: {samples:?}"
        );
        let gaps: u64 = device.gaps.iter().map(|gap| gap.samples).sum();
        assert_eq!(gaps, samples.lost(), "{what}: {id}: {:?}", device.gaps);
        let equation = self.balanced(id, samples.stored, what);
        assert_eq!(equation.duplicates, 0, "{what}: {id}: {equation:?}");
        let made = self.site.status(&agent.plan.name()).generated;
        if !agent.forgot {
            assert_eq!(samples.generated, made, "{what}: {id}: {samples:?}");
        }
        if samples.lost() != agent.lost {
            println!(
                "{what}: {id}: lost {} after {}: {:?}",
                samples.lost(),
                agent.lost,
                device.gaps
            );
        }
        if !agent.may_drop && !self.costs.store {
            // Values of the journal that a start left out for want of a dictionary count once the device has sent it again.
            let found_again = agent.forgot && samples.lost() < agent.lost;
            assert!(
                found_again || samples.lost() == agent.lost,
                "{what}: {id}: {} lost before: {samples:?}",
                agent.lost
            );
        }
        let damaged = equation.removed.get("damaged").copied().unwrap_or(0);
        if !self.costs.ever {
            assert_eq!(
                (damaged, equation.recovered),
                (0, 0),
                "{what}: {id}: {equation:?}"
            );
        }
        samples.lost()
    }

    /// What reading the store back finds, once it balances: it is read part by part, while rows leave the quarantine.
    fn balanced(&self, id: &str, stored: u64, what: &str) -> Equation {
        let until = Instant::now() + PATIENCE;
        loop {
            let equation = self.site.api().equation(id).expect("the bridge knows the device");
            let removed: u64 = equation.removed.values().sum();
            if equation.read_back + removed + equation.quarantined == stored + equation.recovered {
                return equation;
            }
            assert!(
                Instant::now() < until,
                "{what}: {id}: {equation:?}, {stored} stored"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Every sample that a query finds is one that was measured, and none is there twice; but one that a damaged ledger did
    /// not know of may be there again at a time that the device has corrected since.
    pub(crate) fn audit_samples(&self) {
        for agent in &self.agents {
            let id = &agent.plan.id;
            let (rows, equation) = self.all_rows(id);
            let mut measured = BTreeSet::new();
            let (mut again, mut mixed) = (0, 0);
            for (time, row) in &rows {
                // A damaged block takes some series of a row and leaves others.
                let whole = row.len() == agent.plan.series as usize;
                assert!(whole || self.costs.ever, "{id}: half a row at {time}: {row:?}");
                let Some(value) = row.get(&0) else { continue };
                let at = measured_at(*value, *time);
                if !measured.insert(at) {
                    again += row.len() as u64;
                    assert!(
                        again <= equation.recovered,
                        "{id}: the row of {at} is there twice"
                    );
                }
                for (n, value) in row {
                    let expected = oracle::value(*n, Timestamp::from_ms(at));
                    if *value != expected {
                        let other = self.may_mix(&equation) && is_of_a_row_near(*n, *value, at);
                        assert!(
                            other,
                            "{id}: {n} at {time} is {value}, not {expected}: {equation:?}"
                        );
                        mixed += 1;
                    }
                }
            }
            let Equation {
                read_back, recovered, ..
            } = equation;
            println!(
                "site {}: {id}: {read_back} samples are as measured, {again} of them again, {mixed} in another's row, {recovered} recovered",
                self.number
            );
        }
    }

    /// Whether a row may have values of two: rows that a damaged ledger did not know come again, at times that were corrected
    /// since, which other rows may have. Of these the one that came later holds, and damage may take a part of it.
    fn may_mix(&self, equation: &Equation) -> bool {
        self.costs.ever && equation.recovered > 0 && equation.removed.contains_key("conflict")
    }

    /// A device's rows and what the store counts: as many samples, when no row leaves the quarantine between one and the
    /// other.
    fn all_rows(&self, id: &str) -> (Rows, Equation) {
        let until = Instant::now() + PATIENCE;
        loop {
            let rows = self.rows(id);
            let found: usize = rows.values().map(BTreeMap::len).sum();
            let equation = self.site.api().equation(id).expect("the bridge knows the device");
            if found as u64 == equation.read_back {
                return (rows, equation);
            }
            assert!(Instant::now() < until, "{id}: {equation:?}, {found} found");
        }
    }

    /// All of a device's rows by time, ms: value by series.
    fn rows(&self, id: &str) -> Rows {
        let mut rows = Rows::new();
        let expr = format!("{}{{device_id=\"{id}\"}}[200h]", oracle::METRIC);
        let end = (now().ms() / 1000 + 86_400).to_string();
        let data = self.site.api().data("query", &[("query", &expr), ("time", &end)]);
        let found = tests::api::series(&data.expect("a query for the device's samples"));
        for one in found.expect("series") {
            let n: u32 = one.metric["n"].parse().expect("label n is a number");
            for (at, value) in one.samples {
                let twice = rows
                    .entry((at * 1000.0).round() as i64)
                    .or_default()
                    .insert(n, value);
                assert!(twice.is_none(), "{id}: {n} at {at} twice");
            }
        }
        rows
    }
}

/// Whether a series had a value within some seconds of a time.
fn is_of_a_row_near(series: u32, value: f64, at: i64) -> bool {
    let mut near = at - 10_000..=at + 10_000;
    near.any(|ms| oracle::value(series, Timestamp::from_ms(ms)) == value)
}

/// When the row was measured whose first series has a value: the time nearest to the row's own, which the bridge's clock
/// may have corrected.
fn measured_at(value: f64, time: i64) -> i64 {
    const CYCLE: i64 = 1_000_000_007;
    let off = (value as i64 - time).rem_euclid(CYCLE);
    let off = if off > CYCLE / 2 { off - CYCLE } else { off };
    time + off
}
