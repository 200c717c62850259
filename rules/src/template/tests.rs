use super::*;

fn expand(text: &str, labels: &[(&str, &str)], value: f64) -> String {
    let labels: Labels = labels.iter().copied().collect();
    let external: Labels = [("region", "eu")].into_iter().collect();
    let site = Site {
        external_labels: &external,
        external_url: "http://prom:9090/path",
    };
    let subject = Subject::new(&labels, value, None, site);
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

#[test]
fn work_is_bounded_whatever_the_template_asks() {
    let hostile = [
        "{{ range 1000000000 }}{{ end }}",
        "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}",
        "{{ define \"a\" }}{{ template \"b\" }}{{ template \"b\" }}{{ end }}{{ define \"b\" }}{{ template \"c\" }}{{ template \"c\" }}{{ end }}\
         {{ define \"c\" }}{{ range 5000 }}{{ end }}{{ end }}{{ template \"a\" }}",
        "{{ $s := \"x\" }}{{ range 9000 }}{{ $s = print $s $s }}{{ end }}{{ $s }}",
        "{{ range 9000 }}{{ printf \"%60000d\" 1 }}{{ end }}",
        "{{ range 9000 }}0123456789{{ end }}",
        "{{ range 9000 }}{{ reReplaceAll \"(((a{100}){100}){10})\" \"x\" \"aaaa\" }}{{ end }}",
        "{{ reReplaceAll \"\" \"0123456789\" (printf \"%900000d\" 1) }}",
        "{{ $x := args 1 }}{{ range 5000 }}{{ $x = args $x $x }}{{ end }}",
    ];
    for text in hostile {
        let expanded = expand(text, &[], 1.0);
        assert!(
            expanded.starts_with("ERROR error executing template __alert_T: "),
            "{text}: {expanded:.200}"
        );
    }
    let long = format!("{{{{ . }}}}{}", "x".repeat(MAX_TEMPLATE_BYTES));
    assert!(expand(&long, &[], 1.0).contains("longer than the limit"));
    assert!(expand("{{ query \"a\" }}", &[], 1.0).contains("error calling query: no queries here"));
}

#[test]
fn queries_are_counted() {
    let template = Template::parse(
        "T",
        "{{ range $i := 40 }}{{ query (printf \"a%d\" $i) | len }}{{ end }}",
    )
    .unwrap();
    let labels = Labels::default();
    let site = Site {
        external_labels: &labels,
        external_url: "",
    };
    let subject = Subject::new(&labels, 0.0, None, site);
    let mut asked = 0;
    let mut query = |_: &str| {
        asked += 1;
        Ok(Vec::new())
    };
    let error = template.expand(&subject, &mut query).unwrap_err();
    assert!(error.to_string().contains("more than 32 queries"), "{error}");
    assert_eq!(asked, 32);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_template_or_refused(text in "\\PC{0,60}", pieces in proptest::collection::vec(0_usize..PIECES.len(), 0..16)) {
        let _ = expand(&text, &[("a", "x")], 1.5);
        let _ = expand(&format!("{{{{{text}}}}}"), &[("a", "x")], 1.5);
        let pieced: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        let _ = expand(&pieced, &[("a", "x<no value>")], f64::NAN);
    }
}

const PIECES: [&str; 44] = [
    "{{",
    "}}",
    "{{ ",
    " }}",
    "{{-",
    "-}}",
    "if ",
    "else ",
    "end",
    "range ",
    "with ",
    "define \"x\"",
    "template \"x\" ",
    "block \"x\" ",
    "break",
    "continue",
    "$labels",
    "$value",
    ".",
    ".Labels",
    ".a",
    "$x",
    " := ",
    " = ",
    "|",
    "(",
    ")",
    "\"a\"",
    "`\\d`",
    "'c'",
    " 1",
    " -1.5e9",
    " printf \"%*[3]*.[2]*[1]f %v %d\" ",
    " query \"a\" ",
    " first ",
    " sortByLabel \"a\" ",
    " reReplaceAll \"(\" \"$9\" ",
    " slice ",
    " index ",
    " args ",
    " toTime ",
    " humanizeDuration ",
    "/*",
    "*/",
];
