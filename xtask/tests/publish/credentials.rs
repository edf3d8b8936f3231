//! Who is asked for a credential, and what is told of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use xtask::failure::{Exit, Failure};
use xtask::registry::{Access, Registry, RegistryError, Sources};
use xtask::retry::{Policy, SystemClock};

use crate::support::{LocalImage, LocalRegistry, Trigger, docker_config};
use crate::{CANARY, Machine, delivery, hasty, plan, runtime};

#[test]
fn a_refused_credential_is_told_by_its_source_and_not_by_itself() {
    let registry = LocalRegistry::start(Some(("gantry", "right")));
    let image = LocalImage::build("one");
    let machine = Machine::new();
    let plan = plan(vec![("aws", &image, vec![delivery("b", registry.repository(), &["moves aws"])])]);
    let events = Trigger::never();
    let push =
        |sources: &Sources| runtime(async { machine.publish(&plan, &hasty(&plan, sources).await, &events.events()).await });
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("gantry:{CANARY}"));
    let env = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.address);
    let wrong = Sources::gather(|name| (name == "DOCKER_AUTH_CONFIG").then(|| env.clone())).expect("sources");
    let none = Sources::default();
    for (sources, told) in
        [(&wrong, "the credential of `DOCKER_AUTH_CONFIG` was used"), (&none, "no credential was found for it")]
    {
        let error = push(sources).expect_err("the credential is wrong");
        assert_eq!(error.exit(), Exit::PublishUntagged);
        assert!(error.to_string().contains(told), "{error}");
        let debugged = format!("{error:?}");
        let everything = format!("{debugged} {:?} {:?}", Failure::from(error), events.seen());
        assert!(!everything.contains(CANARY) && !everything.contains(&auth), "{everything}");
    }

    // A helper has the right one.
    let (folder, config) = docker_config(r#"{"credsStore":"gantry-test"}"#);
    let helper = folder.path().join("docker-credential-gantry-test");
    let asked = folder.path().join("asked");
    let script = format!(
        "#!/bin/sh\necho \"$*\" > {0}\ncat >> {0}\necho '{{\"ServerURL\":\"x\",\"Username\":\"gantry\",\"Secret\":\"right\"}}'\n",
        asked.display()
    );
    fs::write(&helper, script).expect("the helper");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("the helper");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let gathered = || {
        Sources::gather(|name| match name {
            "DOCKER_CONFIG" => Some(config.display().to_string()),
            "PATH" => Some(path.clone()),
            _ => None,
        })
        .expect("sources")
    };
    push(&gathered()).expect("it is published");
    assert_eq!(fs::read_to_string(&asked).expect("the question"), format!("get\n{}\n", registry.address));

    // A helper that fails is an error, and what it says is not passed on.
    fs::write(&helper, format!("#!/bin/sh\necho {CANARY}\nexit 3\n")).expect("the helper");
    let error = runtime(gathered().credential(&registry.address)).expect_err("the helper fails");
    let text = format!("{error} {error:?}");
    assert!(text.contains("docker-credential-gantry-test` failed for") && !text.contains(CANARY), "{text}");
    // One that knows nothing leads to no credential.
    fs::write(&helper, "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n").expect("the helper");
    assert_eq!(runtime(gathered().credential(&registry.address)).expect("an answer"), None);
}

#[test]
fn a_registry_that_is_not_there_is_one_clear_error() {
    let registry = LocalRegistry::start(None);
    registry.kill();
    let reference = registry.repository().tag("aws");
    let error = runtime(async {
        let policy = Policy { attempts: 2, base: Duration::ZERO, cap: Duration::ZERO, total: Duration::from_secs(9) };
        let clock = Arc::new(SystemClock::default());
        let client = Registry::with(&reference.repository, false, Access::Pull, None, policy, clock).expect("a client");
        client.digest("aws").await.expect_err("nobody is there")
    });
    assert!(matches!(error, RegistryError::Unreachable { attempts: 2, .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
