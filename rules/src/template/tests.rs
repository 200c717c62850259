use super::*;

fn expand(text: &str, labels: &[(&str, &str)], value: f64) -> String {
    let labels: Labels = labels.iter().copied().collect();
    let external: Labels = [("region", "eu")].into_iter().collect();
    let subject = Subject {
        labels: &labels,
        value,
        histogram: None,
        external_labels: &external,
        external_url: "http://prom:9090/path",
    };
    let mut query = |_: &str| Err("no queries here".to_owned());
    match Template::parse("T", text).and_then(|template| template.expand(&subject, &mut query)) {
        Ok(text) => text,
        Err(error) => format!("ERROR {error}"),
    }
}

#[test]
fn variables_and_missing_labels() {
    assert_eq!(
        expand("{{ $labels.a }}|{{ $labels.b }}|", &[("a", "x")], 1.0),
        "x||"
    );
    assert_eq!(
        expand(
            "{{ $value }} {{ $externalLabels.region }} {{ $externalURL }}",
            &[],
            1e6
        ),
        "1e+06 eu http://prom:9090/path"
    );
    assert_eq!(expand("{{ .Labels.a }}{{ .Value }}", &[("a", "x")], 0.5), "x0.5");
    assert_eq!(expand("{{ if eq $labels.nope \"\" }}y{{ end }}", &[], 0.0), "y");
    assert_eq!(
        expand("{{ printf \"%s-%q\" $labels.nope $labels.nope }}", &[], 0.0),
        "-\"\""
    );
    assert_eq!(expand("{{ index $labels \"nope\" }}", &[], 0.0), "");
    assert_eq!(expand("plain <no value>", &[], 0.0), "plain <no value>");
}
