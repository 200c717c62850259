//! backhaul's vocabulary and codecs: ids, labels, topics, payloads.
