//! Bytes of version 1, pinned: every later version must read them, and a change of what is written shows here.

use wire::batch::{Batch, Encoding, Group, Header, Key, KeyId, Presence, Row, encode, peek};
use wire::config;
use wire::dict::{self, Dictionary, SeriesId};
use wire::message::RuleFile;
use wire::{BootId, Labels, Seq, SessionId, Timestamp};

fn dictionary() -> Dictionary {
    let mut list = Dictionary::new();
    for (name, mode) in [
        ("up", ""),
        ("cpu_seconds_total", "idle"),
        ("cpu_seconds_total", "user"),
    ] {
        let pairs = [
            ("__name__", name),
            ("instance", "gw-1"),
            ("job", "node"),
            ("mode", mode),
        ];
        list.append(Labels::new(pairs).expect("labels"))
            .expect("a short list");
    }
    list
}

fn batch(values: [[f64; 3]; 2]) -> Batch {
    let row = |n: u64| Row {
        seq: Seq::new(7 + n),
        time: Timestamp::from_ms(1_700_000_000_000 + 15_000 * n as i64),
        mono_ms: 60_000 + 15_000 * n,
    };
    let mut present = Presence::none(6);
    for cell in 0..5 {
        present.set(cell, true);
    }
    let group = Group {
        series: (0..3).map(SeriesId::new).collect(),
        rows: vec![row(0), row(1)],
        values: (0..3).flat_map(|s| values.map(|row| row[s])).collect(),
        present: Some(present),
        ..Group::default()
    };
    let header = Header {
        session: SessionId::new(0x0102_0304_0506_0708),
        boot: BootId::new(0x1112_1314_1516_1718),
        dict: dictionary().hash(),
        total: 5,
        clock_error_ms: 3,
    };
    Batch {
        header,
        groups: vec![group],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

const HASH: &str = "b267d6789ac34059f18fd4e0653255f5";
const DICT: &str = "0008011a10b267d6789ac34059f18fd4e0653255f522560a100a08696e7374616e6365120467772d310a0b0a036a6f6212046e6f646510031a33000c5f5f6e616d655f5fff7570ff091c6370755f7365636f6e64735f746f74616cff6d6f6465ff69646c65ff200575736572ff";
const DEFINING: &str = "0008011108070605040302011a10b267d6789ac34059f18fd4e0653255f52801300539181716151413121140034a350a02000218012212070380a0abfef962b1ea01c0f6a3fef962002a04000200013201023a040108000c420602d29c01be074a02eb17";
const KEYED: &str = "0008011108070605040302012001300540034a2c100118012206070300b1ea012a04000200013201073a02027c4a060203f12eeb175209080e2db29defa72640";

const CONFIG_HASH: u64 = 0xe8014d2422fa0b7c;
const CONFIG: &str = "000801117c0bfa22244d01e81a140a05612e796d6c120b67726f7570733a205b5d0a";

#[test]
fn a_dictionary_of_version_1_is_read_and_written() {
    let list = dictionary();
    assert_eq!(list.hash().to_string(), HASH);
    assert_eq!(
        dict::encode(&list, None)
            .iter()
            .map(|p| hex(p))
            .collect::<String>(),
        DICT
    );
    let read = dict::decode(&unhex(DICT))
        .unwrap()
        .apply(&Dictionary::new())
        .unwrap();
    assert_eq!(read, list);
}

#[test]
fn batches_of_version_1_are_read_and_written() {
    let defining = batch([[1.0, 100.25, 0.479], [1.0, 115.5, 0.0]]);
    let keyed = batch([[0.0, 130.25, f64::NAN], [1.0, 145.5, 0.0]]);
    let encoded = encode(&defining, Encoding::Defines(KeyId::FIRST));
    assert_eq!(hex(&encoded.payload), DEFINING);
    let key: Key = encoded.key.unwrap();
    assert_eq!(hex(&encode(&keyed, Encoding::Keyed(&key)).payload), KEYED);

    let read = peek(&unhex(DEFINING)).unwrap().decode(3, None).unwrap();
    assert_eq!((read.batch, read.key.as_ref()), (defining, Some(&key)));
    let read = peek(&unhex(KEYED)).unwrap().decode(3, Some(&key)).unwrap();
    assert_eq!(format!("{:?}", read.batch), format!("{keyed:?}"));
}

#[test]
fn a_configuration_of_version_1_is_read_and_written() {
    let file = RuleFile {
        name: "a.yml".to_owned(),
        text: "groups: []\n".to_owned(),
    };
    let (hash, payload) = config::encode(vec![file.clone()]).unwrap();
    assert_eq!((hash, hex(&payload).as_str()), (CONFIG_HASH, CONFIG));
    assert_eq!(config::decode(&unhex(CONFIG)).unwrap().rule_files, [file]);
}
