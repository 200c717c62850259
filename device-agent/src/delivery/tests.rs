//! The delivery against a simulated bridge: whatever is lost, cut, restarted or wiped, the equation holds.

mod bridge;
mod world;

use wire::topic::Up;

use world::{Weather, World};

#[test]
fn rows_are_stored_and_acked_over_a_good_link() {
    let mut world = World::new(1, Weather::GOOD);
    for _ in 0..200 {
        world.log(1);
        world.settle_down();
    }
    world.finish();
    world.check();
    // Rows of other targets that a new key repeats.
    assert!(world.bridge.redelivered < 10);
    assert_eq!(world.bridge.stored_records(), 200);
}

#[test]
fn a_slow_bridge_s_credit_is_never_exceeded_and_nothing_is_lost() {
    let mut world = World::new(2, Weather::with_credit(3000));
    for _ in 0..100 {
        world.log(3);
        world.turn();
    }
    world.finish();
    world.check();
    assert_eq!(world.bridge.stored_records(), 300);
}

#[test]
fn a_bridge_that_lost_its_disk_gets_again_what_the_log_has() {
    let mut world = World::new(3, Weather::GOOD);
    for _ in 0..50 {
        world.log(1);
        world.settle_down();
    }
    world.wipe_bridge();
    world.finish();
    world.check();
    assert_eq!(world.bridge.stored_records(), 50);
}

#[test]
fn without_an_answer_for_long_rows_stay_in_the_log() {
    let mut world = World::new(4, Weather::GOOD);
    world.log(1);
    world.settle_down();
    world.silence_bridge();
    let mut scrape_for = |seconds: u64| {
        for _ in 0..seconds {
            world.log(1);
            world.wait(1000);
            world.turn();
        }
        world.published()
    };
    let before = scrape_for(10);
    let given_up = scrape_for(60);
    assert!(given_up > before);
    assert_eq!(scrape_for(600), given_up);
    world.finish();
    world.check();
    assert_eq!(world.bridge.stored_records(), 671);
}

#[test]
fn alerts_of_an_outage_go_first_and_wait_for_no_answer() {
    let mut world = World::new(5, Weather::GOOD);
    world.unplug();
    // Two of 15 records are alerts.
    world.log(15);
    let first = world.plug();
    assert_eq!(first, [Up::State, Up::Alert, Up::Alert]);
    world.finish();
    world.check();
    assert_eq!(
        (world.bridge.stored_records(), world.bridge.stored_alerts()),
        (15, 2)
    );
}

#[test]
fn the_equation_holds_through_any_weather() {
    for seed in 0..60 {
        let mut world = World::new(seed, Weather::storm(seed));
        for _ in 0..250 {
            world.step();
        }
        world.finish();
        world.check();
    }
}
