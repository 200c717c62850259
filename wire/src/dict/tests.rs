use proptest::prelude::*;

use super::*;
use crate::limits::MAX_MESSAGE;

fn sets() -> impl Strategy<Value = Vec<Labels>> {
    let set = proptest::collection::btree_map("[a-cé]{1,3}", "[xyzü]{1,4}", 0..6);
    let target = prop_oneof![Just("h:9100"), Just("h:9101")];
    let with_target = (set, target).prop_map(|(mut pairs, instance)| {
        pairs.insert("instance".to_owned(), instance.to_owned());
        Labels::new(pairs).unwrap()
    });
    proptest::collection::vec(with_target, 0..40)
}

fn dictionary(sets: &[Labels]) -> Dictionary {
    let mut dict = Dictionary::new();
    for set in sets {
        dict.append(set.clone()).unwrap();
    }
    dict
}

/// What a receiver that has `base` makes of the payloads.
fn receive(base: &Dictionary, payloads: &[Vec<u8>]) -> Dictionary {
    payloads.iter().fold(base.clone(), |list, payload| {
        assert!(payload.len() <= MAX_MESSAGE);
        decode(payload).unwrap().apply(&list).unwrap()
    })
}

proptest! {
    #[test]
    fn a_dictionary_survives_whole_and_as_an_addition(sets in sets(), known in 0usize..40) {
        let dict = dictionary(&sets);
        prop_assert_eq!(&receive(&Dictionary::new(), &encode(&dict, None)), &dict);
        let known = known.min(sets.len());
        let base = dictionary(&sets[..known]);
        prop_assert_eq!(dict.hash_at(known), Some(base.hash()));
        let payloads = encode(&dict, Some((base.hash(), known)));
        prop_assert_eq!(payloads.is_empty(), known == sets.len());
        prop_assert_eq!(receive(&base, &payloads).hash(), dict.hash());
    }

    #[test]
    fn a_payload_taken_apart_goes_together(sets in sets()) {
        let dict = dictionary(&sets);
        for (payload, outline) in encode(&dict, None).iter().zip(outlines(&dict)) {
            let message = decode(payload).unwrap();
            prop_assert_eq!(&message.outline(), &outline);
            let mut texts = outline.texts.iter().cloned();
            let missing = DictError::Malformed("a text is missing");
            let joined = Decoder::default().join(&outline.body, || texts.next().ok_or(missing.clone())).unwrap();
            prop_assert_eq!(joined, message);
            prop_assert_eq!(texts.next(), None);
            if !outline.texts.is_empty() {
                prop_assert_eq!(Decoder::default().join(&outline.body, || Err(missing.clone())), Err(missing.clone()));
            }
        }
    }

    #[test]
    fn texts_that_were_read_before_change_nothing(all in proptest::collection::vec(sets(), 1..4)) {
        let mut decoder = Decoder::default();
        for round in 0..2 {
            for sets in &all {
                // The same texts with other labels in common.
                let with = |set: &Labels| set.with("instance", ["a", "b"][round]);
                let dict = dictionary(&sets.iter().map(with).collect::<Vec<_>>());
                for payload in encode(&dict, None) {
                    prop_assert_eq!(decoder.decode(&payload), decode(&payload));
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_dictionary_and_harm_nobody(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        sets in sets(),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut plain = bytes;
        plain.insert(0, 0);
        let _ = decode(&plain);
        for mut payload in encode(&dictionary(&sets), None) {
            let body = crate::payload::open(&payload, 1 << 20).unwrap().into_owned();
            payload = [vec![0], body].concat();
            for (at, byte) in &flips {
                let at = at % payload.len();
                payload[at] = *byte;
            }
            if let Ok(message) = decode(&payload) {
                let _ = message.apply(&Dictionary::new());
            }
        }
    }
}

#[test]
fn a_large_dictionary_goes_in_messages_of_64_kib() {
    let sets: Vec<Labels> = (0..20_000)
        .map(|n| {
            let noise = xxhash_rust::xxh64::xxh64(&u64::to_le_bytes(n), 0);
            Labels::new([
                ("__name__", format!("m{noise}")),
                ("instance", format!("h{}", n % 7)),
            ])
            .unwrap()
        })
        .collect();
    let dict = dictionary(&sets);
    let payloads = encode(&dict, None);
    assert!(payloads.len() > 1);
    assert_eq!(receive(&Dictionary::new(), &payloads), dict);
}

#[test]
fn an_addition_needs_its_base_and_its_hash() {
    let all = [("a", "1"), ("b", "2")].map(|pair| Labels::new([pair]).unwrap());
    let (base, dict) = (dictionary(&all[..1]), dictionary(&all));
    let payload = encode(&dict, Some((base.hash(), 1))).remove(0);
    let message = decode(&payload).unwrap();
    assert_eq!(
        message.clone().apply(&Dictionary::new()),
        Err(DictError::Base { wanted: base.hash() })
    );
    assert_eq!(message.apply(&base).unwrap(), dict);
    // A list that this one does not begin with: everything is sent.
    let other = dictionary(&all[1..]);
    assert_eq!(
        decode(&encode(&dict, Some((other.hash(), 1)))[0]).unwrap().base(),
        None
    );
}

#[test]
fn what_exceeds_a_limit_is_not_appended() {
    let mut dict = Dictionary::new();
    let long = Labels::new([("a", "x".repeat(MAX_VALUE + 1))]).unwrap();
    assert_eq!(
        dict.append(long),
        Err(DictError::Limit("bytes of a label's value"))
    );
    let many = Labels::new((0..=MAX_LABELS).map(|n| (format!("l{n}"), "x"))).unwrap();
    assert_eq!(dict.append(many), Err(DictError::Limit("labels of a series")));
    let big = Labels::new((0..5).map(|n| (format!("l{n}"), "x".repeat(MAX_VALUE)))).unwrap();
    assert_eq!(dict.append(big), Err(DictError::Limit("bytes of a label set")));
    assert!(dict.is_empty());
}

#[test]
fn sets_that_share_everything_cannot_grow_without_bound() {
    // 100,000 sets of 16 KB each, written as two bytes apiece.
    let mut text = b"a\xff".to_vec();
    text.extend([b'x'; 4000]);
    text.push(0xff);
    let mut front = vec![0];
    crate::varint::put(&mut front, text.len() as u64);
    front.extend(&text);
    for _ in 1..MAX_SERIES {
        crate::varint::put(&mut front, text.len() as u64);
        front.push(0);
    }
    let body = crate::message::Dict {
        version: 1,
        base: Default::default(),
        hash: vec![0; 16].into(),
        sections: vec![crate::message::DictSection {
            common: Vec::new(),
            sets: MAX_SERIES as u32,
            front: front.into(),
        }],
    };
    let payload = crate::payload::seal(&prost::Message::encode_to_vec(&body));
    assert_eq!(decode(&payload), Err(DictError::Limit("labels of a message")));
}

#[test]
fn devices_of_the_same_series_share_their_texts() {
    let outline = |instance: &str| {
        let mut dict = Dictionary::new();
        for metric in 0..20 {
            let name = format!("node_metric_{metric}");
            let pairs = [
                ("__name__", name.as_str()),
                ("instance", instance),
                ("job", "node"),
            ];
            dict.append(Labels::new(pairs).unwrap()).unwrap();
        }
        outlines(&dict).remove(0)
    };
    let (a, b) = (outline("gw-1"), outline("gw-2"));
    assert_eq!((a.texts.len(), &a.texts), (1, &b.texts));
    assert!(a.body != b.body && a.body.len() < 64, "{}", a.body.len());
}
