//! A profile that asks no vendor: what cannot be had is left out, visibly.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::family::TinyFamily;
use crate::support::registry::LocalRegistry;
use crate::support::vendors::Vendors;
use crate::support::xtask::ran;

const OFFLINE: [&str; 4] = ["--variant", "azure", "--profile", "offline"];

/// A proxy that counts who comes and answers nobody.
fn counting_proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        listener.incoming().for_each(|_| {
            counter.fetch_add(1, Ordering::SeqCst);
        })
    });
    (address, count)
}

#[test]
fn a_component_that_cannot_be_had_is_left_out_and_everything_says_so() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    let built = family.build(&OFFLINE).ends(0);
    assert!(vendors.requests().is_empty(), "no vendor was asked");
    let warning = built.events_of("warning")[0]["text"].as_str().expect("a text").to_owned();
    assert!(warning.contains("`runner` is left out of azure"), "{warning}");
    let labels = family.inspect("azure-offline")["Config"]["Labels"].clone();
    assert_eq!(labels["gantry.omitted"], "runner");
    assert!(labels.get("gantry.pin.runner").is_none());
    assert_eq!(family.tags().iter().filter(|tag| tag.starts_with(&family.name)).count(), 1, "{:?}", family.tags());

    // Not published, and refused before anybody is asked.
    family.commit();
    family.build(&OFFLINE).ends(0);
    let (proxy, connections) = counting_proxy();
    let push = [&["push"], &OFFLINE[..], &["--destination", "far=registry.invalid/x"]].concat();
    let mut push = family.planning(&push);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        push.env(name, &proxy);
    }
    ran(push).ends(8).says(&["`azure` lacks `runner`", "`far`", "loopback"]);
    assert_eq!(connections.load(Ordering::SeqCst), 0);

    let near = LocalRegistry::start(None);
    let to = format!("near={}", near.repository());
    family.run(&[&["push"], &OFFLINE[..], &["--destination", &to]].concat()).ends(0);
    assert!(near.tags().contains(&"azure".to_owned()), "{:?}", near.tags());
}

#[test]
fn what_a_mirror_or_the_cache_has_is_not_left_out() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    family.build(&["--variant", "azure"]).ends(0);
    std::fs::remove_dir_all(family.places().join("cache")).expect("the cache is emptied");
    for tag in family.stage_tags() {
        crate::support::registry::run("docker", &["rmi", &format!("gantry.invalid/stage/{tag}")]);
    }
    let asked = vendors.requests_of("/releases/download/").len();
    let mirrored = family.build(&OFFLINE).ends(0);
    assert!(mirrored.steps_that_are("done").contains(&"artifact runner".to_owned()), "{:?}", mirrored.steps());
    assert_eq!(vendors.requests_of("/releases/download/").len(), asked + 1);
    assert_eq!(family.inspect("azure-offline")["Config"]["Labels"]["gantry.omitted"], "");

    // Without the mirror: from the cache.
    family.replace("variants.toml", "\"https://github.com/\"", "\"https://elsewhere.invalid/\"");
    let cached = family.build(&[&OFFLINE[..], &["--no-cache"]].concat()).ends(0);
    assert!(cached.events_of("warning").is_empty());
    assert_eq!(family.inspect("azure-offline")["Config"]["Labels"]["gantry.omitted"], "");
    assert_eq!(vendors.requests_of("/releases/download/").len(), asked + 1);
}
