//! The same agent and bridge through another broker: mosquitto as docs/identity.md configures it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::{AgentPlan, Part, Site, check, programs};

/// Where Debian has it; /usr/sbin is not on everyone's PATH.
const PLACES: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

fn installed() -> Option<&'static str> {
    let runs = |program: &&str| {
        Command::new(program)
            .arg("-h")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    };
    PLACES.into_iter().find(runs)
}

fn start(program: &str, site: &Site) -> Part {
    let certs = site.certs().path().display().to_string();
    let acl = site.path().join("acl");
    std::fs::write(
        &acl,
        "pattern write bh/1/%u/#\n\
         pattern read bh/1/%u/ack\n\
         pattern read bh/1/%u/config\n\
         pattern read bh/1/%u/cmd\n\
         \n\
         user _backhaul.bridge\n\
         topic read bh/1/#\n\
         topic write bh/1/#\n",
    )
    .unwrap();
    let config = site.path().join("mosquitto.conf");
    // The tests' own user runs it: keys are readable by no other.
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .map_or("root".to_owned(), |u| u.name);
    let text = format!(
        "listener {port} 127.0.0.1\n\
         require_certificate true\n\
         use_identity_as_username true\n\
         cafile {certs}/ca.crt\n\
         crlfile {certs}/crl.pem\n\
         certfile {certs}/server.crt\n\
         keyfile {certs}/server.key\n\
         acl_file {acl}\n\
         user {user}\n",
        port = site.mqtt_port(),
        acl = acl.display(),
    );
    std::fs::write(&config, text).unwrap();
    let args = ["-c".to_owned(), config.display().to_string()];
    Part::start("mosquitto", Path::new(program), &args, &site.log("mosquitto"))
}

#[test]
fn agent_and_bridge_deliver_through_mosquitto_too() {
    let Some(program) = installed() else {
        println!("skipped: mosquitto is not installed; Debian has it in the package mosquitto");
        return;
    };
    let site = Site::new(programs!());
    let plan = AgentPlan::new("mosquitto-1");
    site.issue(&plan);
    let mut broker = start(program, &site);
    let mut bridge = site.start_bridge();
    let _agent = site.start_agent(&plan);
    let status = || site.status(&plan.name());
    let delivers = |what: &str| {
        let acked = status().acked;
        site.wait_until(what, Duration::from_secs(60), || status().acked > acked + 100);
    };
    delivers("the device delivers");

    bridge.kill();
    let _bridge = site.start_bridge();
    delivers("the device delivers to the next bridge");

    broker.kill();
    let _broker = start(program, &site);
    delivers("the device delivers through the next broker");

    check::drained(&site, &[&plan], Duration::from_secs(60));
    let samples = check::delivered(&site, &plan);
    assert_eq!(
        (samples.generated, samples.lost()),
        (status().generated, 0),
        "{samples:?}"
    );
}
