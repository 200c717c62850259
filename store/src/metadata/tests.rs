use wire::message::Metadata as Told;

use super::*;

fn told(family: &str, help: &str) -> Told {
    Told {
        row: 0,
        family: family.to_owned(),
        kind: "gauge".to_owned(),
        help: help.to_owned(),
        unit: String::new(),
    }
}

#[test]
fn a_family_keeps_the_last_things_told_of_it() {
    let mut row = Row::default();
    for help in ["a", "b", "a", "c", "d", "e"] {
        row.add(&told("m", help));
    }
    let helps: Vec<&str> = row.variants.iter().map(|m| m.help.as_str()).collect();
    assert_eq!(helps, ["b", "c", "d", "e"]);
    assert!(!row.add(&told("m", "e")));
}

#[test]
fn a_tenant_s_bytes_are_what_its_rows_have() {
    let mut known = OfTenant::default();
    for help in ["a", "something longer", ""] {
        let mut row = Row::default();
        row.add(&told("m", help));
        known.set("m".to_owned(), row.clone());
        assert_eq!(known.bytes, row.bytes("m"));
    }
}
