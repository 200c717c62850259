//! Random rules over random series: all that `ALERTS` and `ALERTS_FOR_STATE` say, and the alerts with their texts, in
//! promtool and here.

use std::fmt::Write;

use crate::{assert_same, ours_in, promtool, theirs_in};

/// A small generator, so that a seed gives the same files everywhere (Steele, Lea, Flood: SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len() as u64) as usize]
    }
}

fn rules(random: &mut Random) -> String {
    let mut text = "groups:\n".to_owned();
    for group in 0..=random.below(2) {
        let _ = write!(text, "- name: g{group}\n  labels: {{g: '{group}'}}\n  rules:\n");
        if random.below(3) == 0 {
            text.push_str("  - {record: m:sum, expr: sum by (i) (m)}\n");
        }
        for rule in 0..=random.below(3) {
            let expr = random.one_of(&[
                "m > 1",
                "m < 2",
                "m == 1 or n > 9",
                "sum by (i) (m) > 1",
                "m:sum > 0",
                "absent(m{i=\"0\"})",
                "count(m) > 1",
                "rate(m[3m]) > 0",
                "ALERTS{alertstate=\"firing\", alertname=\"A0\"}",
                "m * on(i) group_left n{i=\"1\"}",
                "m > bool 1",
            ]);
            let hold = random.one_of(&["0s", "1m", "2m", "3m30s", "5m"]);
            let keep = random.one_of(&["0s", "0s", "1m", "2m", "4m"]);
            let label = random.one_of(&[
                "x",
                "{{ $labels.i }}",
                "{{ if gt $value 1.0 }}high{{ else }}low{{ end }}",
                "{{ $value }}",
            ]);
            let _ = write!(
                text,
                "  - alert: A{rule}\n    expr: {expr}\n    for: {hold}\n    keep_firing_for: {keep}\n    labels: {{l: '{label}'}}\n    \
                 annotations: {{v: '{{{{ $value }}}} of {{{{ $labels }}}}'}}\n"
            );
        }
    }
    text
}

fn tests(random: &mut Random) -> String {
    let mut text = "rule_files: [random.rules.yml]\ngroup_eval_order: [g0, g1, g2]\ntests:\n- interval: 1m\n  input_series:\n".to_owned();
    for series in ["m{i=\"0\"}", "m{i=\"1\"}", "m{i=\"2\"}", "n{i=\"1\"}"] {
        let values: Vec<&str> = (0..40)
            .map(|_| random.one_of(&["0", "1", "2", "2", "_", "_x3", "stale", "1x3", "3+1x4"]))
            .collect();
        let _ = writeln!(text, "  - {{series: '{series}', values: '{}'}}", values.join(" "));
    }
    text.push_str("  promql_expr_test:\n");
    for minute in 0..40 {
        let _ = writeln!(
            text,
            "  - {{expr: '{{__name__=~\"ALERTS.*|m:sum\"}}', eval_time: {minute}m}}"
        );
    }
    text.push_str("  alert_rule_test:\n");
    for minute in (0..40).step_by(3) {
        let alert = random.below(4);
        let _ = writeln!(text, "  - {{eval_time: {minute}m, alertname: A{alert}}}");
    }
    text
}

#[test]
fn random_rules_give_the_same_alerts_in_promtool() {
    let Some(promtool) = promtool() else { return };
    let rounds = std::env::var("BACKHAUL_RULE_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = std::env::var("BACKHAUL_RULE_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or(1);
    let rounds = rounds.unwrap_or(20);
    let mut compared = 0;
    for seed in seed..seed + rounds {
        println!("BACKHAUL_RULE_SEED={seed}");
        let mut random = Random(seed);
        let folder = std::env::temp_dir().join(format!("backhaul-rules-{}-{seed}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("random.rules.yml"), rules(&mut random)).unwrap();
        std::fs::write(folder.join("random.test.yml"), tests(&mut random)).unwrap();
        let ours = ours_in(&folder, "random.test.yml").join("\n");
        compared += ours.lines().count();
        let theirs = theirs_in(&promtool, &folder, "random.test.yml");
        assert_same(&format!("seed {seed} in {}", folder.display()), &ours, &theirs);
        std::fs::remove_dir_all(&folder).unwrap();
    }
    println!("{compared} lines are equal");
    // A rule that fails ends its file early.
    assert!(compared as u64 > 30 * rounds, "nothing to compare");
}
