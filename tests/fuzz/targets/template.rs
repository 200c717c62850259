//! Alert templates: any text is parsed or refused, and its expansion ends, with little output.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::{InstantSample, Labels};
use rules::template::{MAX_OUTPUT_BYTES, Site, Subject, Template};

fuzz_target!(|body: &[u8]| {
    let Ok(text) = std::str::from_utf8(body) else { return };
    let Ok(template) = Template::parse("Fuzz", text) else { return };
    let labels: Labels = [("__name__", "up"), ("instance", "host:9100"), ("job", "node")]
        .into_iter()
        .collect();
    let site = Site {
        external_labels: &labels,
        external_url: "http://prometheus:9090/path",
    };
    let subject = Subject::new(&labels, 0.5, None, site);
    let mut query = |_: &str| Ok(vec![InstantSample::new(labels.clone(), 0, 1.5)]);
    if let Ok(text) = template.expand(&subject, &mut query) {
        assert!(template.is_plain() || text.len() <= MAX_OUTPUT_BYTES);
    }
});
