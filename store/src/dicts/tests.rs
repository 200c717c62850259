use bytes::Bytes;
use redb::ReadableTableMetadata;
use wire::Labels;
use xxhash_rust::xxh3::xxh3_128;

use super::file::{META, VERSION};
use super::*;
use crate::disk::SystemDisk;
use crate::journal::{begin, open_database};

fn disk() -> Arc<dyn Disk> {
    Arc::new(SystemDisk)
}

fn dicts(dir: &Path) -> Dicts {
    Dicts::open(&disk(), dir.join("dict.redb"), 1 << 20, 1000).unwrap()
}

fn name(device: &str) -> DeviceName {
    format!("t.{device}").parse().unwrap()
}

/// Series that all devices have, but for the instance.
fn dictionary(device: &str) -> Arc<Dictionary> {
    let mut dict = Dictionary::new();
    for metric in 0..20 {
        let metric = format!("node_metric_{metric}");
        let pairs = [("__name__", metric.as_str()), ("instance", device)];
        dict.append(Labels::new(pairs).unwrap()).unwrap();
    }
    Arc::new(dict)
}

fn new(device: &str) -> NewDictionary {
    NewDictionary {
        device: name(device),
        dictionary: dictionary(device),
        outline: None,
    }
}

fn assert_has(dicts: &Dicts, device: &str) {
    let dict = dictionary(device);
    assert_eq!(dicts.get(&name(device), dict.hash()).as_deref(), Some(&*dict));
}

fn texts(dicts: &Dicts) -> Vec<(u128, Bytes)> {
    let inner = dicts.lock();
    let read = inner.db.as_ref().unwrap().begin_read().unwrap();
    let table = read.open_table(TEXTS).unwrap();
    let keys: Vec<u128> = table.iter().unwrap().map(|row| row.unwrap().0.value()).collect();
    assert_eq!(keys.len() as u64, table.len().unwrap());
    keys.into_iter()
        .map(|key| (key, texts::get(&table, key).unwrap()))
        .collect()
}

#[test]
fn devices_share_texts_and_the_last_takes_them_along() {
    let dir = tempfile::tempdir().unwrap();
    let all = ["a", "b", "c"];
    {
        let dicts = dicts(dir.path());
        dicts.put(vec![new("a"), new("b")]).unwrap();
        dicts.put(vec![new("c")]).unwrap();
    }
    let dicts = dicts(dir.path());
    assert_eq!(texts(&dicts).len(), 1);
    all.iter().for_each(|device| assert_has(&dicts, device));
    assert_eq!(dicts.check().unwrap(), (3, Vec::new()));
    dicts.copy_to(&dir.path().join("copy.redb")).unwrap();
    let copy = Dicts::open(&disk(), dir.path().join("copy.redb"), 1 << 20, 1000).unwrap();
    all.iter().for_each(|device| assert_has(&copy, device));

    for (device, left) in all.iter().zip([1, 1, 0]) {
        dicts.forget_device(&name(device));
        assert_eq!(dicts.sweep(u64::MAX, &HashSet::new()).unwrap(), 1);
        assert_eq!(texts(&dicts).len(), left);
    }
    dicts.put(vec![new("b")]).unwrap();
    assert_eq!(texts(&dicts).len(), 1);
    assert_has(&dicts, "b");
}

#[test]
fn a_text_that_is_made_to_collide_takes_nobody_s_place() {
    let dir = tempfile::tempdir().unwrap();
    let outline = dict::outlines(&dictionary("a")).remove(0);
    let key = xxh3_128(&outline.texts[0]);
    {
        let dicts = dicts(dir.path());
        let inner = dicts.lock();
        let txn = begin(inner.db.as_ref().unwrap()).unwrap();
        let other = wire::payload::seal(b"another text of the same hash");
        txn.open_table(TEXTS)
            .unwrap()
            .insert(key, other.as_slice())
            .unwrap();
        txn.commit().unwrap();
    }
    let dicts = dicts(dir.path());
    dicts.put(vec![new("a")]).unwrap();
    assert_eq!(texts(&dicts)[1], (key + 1, outline.texts[0].clone()));
    drop(dicts);
    assert_has(&self::dicts(dir.path()), "a");
}

#[test]
fn a_file_of_version_1_is_read_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dict.redb");
    {
        let db = open_database(&disk(), &path, 1 << 20).unwrap();
        let txn = begin(&db).unwrap();
        txn.open_table(META).unwrap().insert("version", 1).unwrap();
        let mut row = Vec::new();
        for payload in dict::encode(&dictionary("a"), None) {
            row.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            row.extend_from_slice(&payload);
        }
        let key = key_of(&name("a"), dictionary("a").hash());
        txn.open_table(DICTS)
            .unwrap()
            .insert(key.as_slice(), row.as_slice())
            .unwrap();
        txn.commit().unwrap();
    }
    let first = dicts(dir.path());
    assert_has(&first, "a");
    first.put(vec![new("a"), new("b")]).unwrap();
    drop(first);
    let again = dicts(dir.path());
    assert_has(&again, "a");
    assert_has(&again, "b");
    assert_eq!(again.check().unwrap(), (2, Vec::new()));
    let inner = again.lock();
    let read = inner.db.as_ref().unwrap().begin_read().unwrap();
    let version = read
        .open_table(META)
        .unwrap()
        .get("version")
        .unwrap()
        .map(|v| v.value());
    assert_eq!(version, Some(VERSION));
}

#[test]
fn a_row_that_is_cut_is_no_dictionary() {
    let dict = dictionary("a");
    let outline = dict::outlines(&dict).remove(0);
    let mut bytes = Vec::new();
    row::put(&mut bytes, &outline.body, &[7]);
    let read = |bytes: &[u8]| {
        row::decode(&mut Decoder::default(), bytes, |key| {
            (key == 7).then(|| outline.texts[0].clone())
        })
    };
    assert_eq!(read(&bytes).as_ref(), Some(&*dict));
    assert_eq!(row::keys(&bytes).collect::<Vec<_>>(), [7]);
    for len in 1..bytes.len() {
        assert_eq!(read(&bytes[..len]), None, "{len}");
        assert_eq!(row::keys(&bytes[..len]).count(), 0);
    }
    assert_eq!(row::decode(&mut Decoder::default(), &bytes, |_| None), None);
}

#[test]
fn what_memory_has_no_room_for_is_read_again_but_its_length_is_known() {
    let dir = tempfile::tempdir().unwrap();
    // Room for two.
    let dicts = Dicts::open(&disk(), dir.path().join("dict.redb"), 1 << 20, 50).unwrap();
    let devices: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
    dicts
        .put(devices.iter().map(|device| new(device)).collect())
        .unwrap();
    let at_hand = || {
        let inner = dicts.lock();
        let at_hand = inner.cache.values().filter(|cached| cached.dict.is_some());
        let sets: usize = at_hand.map(|cached| cached.sets).sum();
        assert_eq!(inner.sets, sets);
        sets
    };
    assert_eq!(at_hand(), 40);
    for device in &devices {
        assert_eq!(dicts.sets(&name(device), dictionary(device).hash()), Some(20));
    }
    assert_eq!(at_hand(), 40);
    for device in &devices {
        assert_has(&dicts, device);
        assert!(at_hand() <= 50);
    }
    assert_eq!(dicts.sets(&name("d1"), dictionary("d2").hash()), None);
    dicts.forget_device(&name("d0"));
    dicts.lock().forget(&name("d0"), dictionary("d0").hash());
    dicts.lock().forget(&name("d9"), dictionary("d9").hash());
    at_hand();
}
