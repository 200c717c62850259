//! Dictionaries: what is read and fits its hash is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::dict::{Dictionary, decode, encode};
use wire::limits::MAX_MESSAGE;

fn receive(base: &Dictionary, payloads: &[Vec<u8>]) -> Dictionary {
    payloads.iter().fold(base.clone(), |list, payload| {
        assert!(payload.len() <= MAX_MESSAGE);
        decode(payload)
            .expect("own payload")
            .apply(&list)
            .expect("own list")
    })
}

fuzz_target!(|body: &[u8]| {
    let payload = [&[0], body].concat();
    let Ok(message) = decode(&payload) else { return };
    let mut list = Dictionary::new();
    for set in message.sets() {
        // The list as a whole may exceed a limit that a message keeps.
        let Ok(_) = list.append(set.clone()) else { return };
    }
    let _ = message.clone().apply(&Dictionary::new());
    assert_eq!(receive(&Dictionary::new(), &encode(&list, None)), list);
    let half = list.len() / 2;
    let known = list.hash_at(half).map(|hash| (hash, half));
    let mut start = Dictionary::new();
    for set in &list.sets()[..half] {
        start.append(set.clone()).expect("a part of a list");
    }
    assert_eq!(receive(&start, &encode(&list, known)), list);
});
