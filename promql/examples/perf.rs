use promql::*;
use std::time::Instant;
struct M(Vec<Series>);
impl SeriesSource for M {
    fn select(&self, _m: &[Matcher], _h: &Hints) -> Result<Vec<Series>, SourceError> {
        Ok(self.0.clone())
    }
}
fn main() {
    let mut v = vec![];
    for s in 0..500 {
        let n = 5760;
        let t: Vec<i64> = (0..n).map(|i| i * 15000).collect();
        let vals: Vec<f64> = (0..n).map(|i| ((i * (s + 1)) % 10000) as f64 + 0.1).collect();
        v.push(Series {
            labels: [
                ("__name__", "m_total"),
                ("i", &s.to_string() as &str),
                ("j", if s % 2 == 0 { "a" } else { "b" }),
            ]
            .into_iter()
            .collect(),
            samples: Samples::from_floats(t, vals).unwrap(),
        });
    }
    let m = M(v);
    let t = Instant::now();
    let _ = m.0.clone();
    eprintln!("clone {:?}", t.elapsed());
    for q in [
        "m_total",
        "sum by (j) (m_total)",
        "sum(rate(m_total[5m]))",
        "sum(rate(m_total[1h]))",
        "sum_over_time(m_total[1h])",
        "max_over_time(m_total[1h])",
        "avg_over_time(m_total[1d])",
        "quantile_over_time(0.9, m_total[1h])",
        "m_total / m_total",
        "topk(5, m_total)",
    ] {
        let p = parse(q).unwrap();
        let t = Instant::now();
        let a = eval_range(&p, 0, 86_400_000, 60_000, &m, &Options::default()).unwrap();
        let n = if let QueryValue::Matrix(s) = &a.value {
            s.len()
        } else {
            0
        };
        eprintln!("{q}: {:?} ({n})", t.elapsed());
    }
}
