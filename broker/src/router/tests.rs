//! What keeps operators served when a router dies, and what keeps it from dying.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SOON: Duration = Duration::from_secs(10);

struct Supervised {
    handle: RouterHandle,
    deaths: Arc<AtomicUsize>,
    starts: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn supervised() -> Supervised {
    let (handle, shutdown) = (RouterHandle::new(), CancellationToken::new());
    let (deaths, starts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (dead, started) = (Arc::clone(&deaths), Arc::clone(&starts));
    tokio::spawn(supervise(
        handle.clone(),
        shutdown.clone(),
        move || {
            started.fetch_add(1, Ordering::SeqCst);
            (0..1500)
                .map(|n| (format!("bh/1/acme.gw-{n}/state/00"), Bytes::from("state")))
                .collect()
        },
        move || {
            dead.fetch_add(1, Ordering::SeqCst);
        },
    ));
    Supervised {
        handle,
        deaths,
        starts,
        shutdown,
    }
}

async fn next(link: &mut link::Link) -> Result<link::Message, Fault> {
    tokio::time::timeout(SOON, link.next())
        .await
        .expect("a message or an end in time")
}

#[tokio::test]
async fn a_router_that_dies_is_replaced_and_its_links_end() {
    let router = supervised();
    for deaths in 1..=3 {
        let mut link = router.handle.link().await.unwrap();
        link.subscribe("a".to_owned()).await.unwrap();
        link.publish("a".to_owned(), Bytes::from("alive"), false)
            .await
            .unwrap();
        assert_eq!(next(&mut link).await.unwrap().1, "alive");
        // Past the access rules, which never let this through: rumqttd slices the topic in the middle of a character.
        link.publish("é/x".to_owned(), Bytes::from("dead"), false)
            .await
            .unwrap();
        assert_eq!(next(&mut link).await, Err(Fault::Router));
        let mut link = router.handle.link().await.unwrap();
        link.subscribe("b".to_owned()).await.unwrap();
        link.publish("b".to_owned(), Bytes::from("again"), false)
            .await
            .unwrap();
        assert_eq!(next(&mut link).await.unwrap().1, "again");
        assert_eq!(router.deaths.load(Ordering::SeqCst), deaths);
        assert_eq!(router.starts.load(Ordering::SeqCst), deaths + 1);
    }
}

#[tokio::test]
async fn a_new_router_knows_the_states_of_all_devices() {
    let router = supervised();
    let link = router.handle.link().await.unwrap();
    link.subscribe("a".to_owned()).await.unwrap();
    link.publish("é".to_owned(), Bytes::from("dead"), false)
        .await
        .unwrap();
    while router.deaths.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // A filter of the 1,200th, which no bounded queue of commands could have held behind the others.
    let mut link = router.handle.link().await.unwrap();
    link.subscribe("bh/1/acme.gw-1200/state/+".to_owned())
        .await
        .unwrap();
    assert_eq!(next(&mut link).await.unwrap().1, "state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_end_with_messages_and_wakes_under_way_leave_the_router_alive() {
    let router = supervised();
    let flood = |n: usize| {
        let router = router.handle.clone();
        async move {
            let talker = router.link().await.unwrap();
            for _ in 0..n {
                talker
                    .publish("flood/x".to_owned(), Bytes::from_static(&[7; 100]), false)
                    .await
                    .unwrap();
            }
        }
    };
    for round in 0..60 {
        let mut leaver = router.handle.link().await.unwrap();
        leaver.subscribe("flood/#".to_owned()).await.unwrap();
        let talkers = [tokio::spawn(flood(800)), tokio::spawn(flood(800))];
        // Its own messages are events of its own link, which a wake and a disconnect may get between.
        for _ in 0..round * 10 {
            leaver
                .publish("flood/own".to_owned(), Bytes::from_static(&[7; 100]), false)
                .await
                .unwrap();
            next(&mut leaver).await.unwrap();
        }
        drop(leaver);
        for talker in talkers {
            talker.await.unwrap();
        }
    }
    let mut last = router.handle.link().await.unwrap();
    last.subscribe("b".to_owned()).await.unwrap();
    last.publish("b".to_owned(), Bytes::from("alive"), false)
        .await
        .unwrap();
    assert_eq!(next(&mut last).await.unwrap().1, "alive");
    assert_eq!(router.deaths.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn names_of_links_are_used_again() {
    let router = supervised();
    for _ in 0..600 {
        let mut link = router.handle.link().await.unwrap();
        link.subscribe("a".to_owned()).await.unwrap();
        link.publish("a".to_owned(), Bytes::from("x"), false)
            .await
            .unwrap();
        assert_eq!(next(&mut link).await.unwrap().1, "x");
    }
    assert_eq!(router.deaths.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn too_many_filters_start_an_empty_router() {
    let router = supervised();
    let mut link = router.handle.link().await.unwrap();
    for n in 0..=512 {
        link.subscribe(format!("f/{n}")).await.unwrap();
    }
    assert_eq!(next(&mut link).await, Err(Fault::Router));
    router.handle.link().await.unwrap();
    assert_eq!(router.deaths.load(Ordering::SeqCst), 1);
}
