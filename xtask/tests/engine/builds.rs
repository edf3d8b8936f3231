//! Builds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use xtask::engine::{BuildEvent, EngineError, SecretBytes, VertexState};

use crate::bench::{Bench, File, lines, request, with_engine};

fn secret(text: &str) -> SecretBytes {
    SecretBytes(Arc::from(text.as_bytes()))
}

/// How the step whose name ends with `end` ended.
fn outcome<'a>(events: &'a [BuildEvent], end: &str) -> Option<&'a VertexState> {
    let state = |event: &'a BuildEvent| match event {
        BuildEvent::Vertex { name, state, .. } if name.ends_with(end) => Some(state),
        _ => None,
    };
    events.iter().filter_map(state).next_back()
}

#[test]
fn a_build_has_arguments_labels_secrets_a_target_and_tags() {
    with_engine(async |bench: &Bench| {
        let base = bench.busybox("").await;
        let dockerfile = "ARG PARENT\nFROM ${PARENT} AS wanted\nARG WHO\nENV GREETING=\"hello ${WHO}\"\n\
             RUN --mount=type=secret,id=token test \"$(cat /run/secrets/token)\" = sesame && echo told: yes\n\
             FROM wanted AS unwanted\nRUN false\n";
        let (first, second) = (bench.tag("first"), bench.tag("second"));
        let (events, result) = bench
            .build(dockerfile, |request| {
                request.args = [("PARENT", base.as_str()), ("WHO", "you, =me")].map(|(k, v)| (k.into(), v.into())).into();
                request.labels = [("org.example.a", "1"), ("org.example.b", "x=y, z")].map(|(k, v)| (k.into(), v.into())).into();
                request.secrets = [("token".to_owned(), secret("sesame"))].into();
                request.target = Some("wanted".to_owned());
                request.no_cache = true;
                request.tags = vec![first.clone(), second.clone()];
            })
            .await;
        result.expect("the image is built");
        assert!(lines(&events).contains(&"told: yes"), "{events:?}");

        let image = bench.engine.inspect(&first).await.unwrap().expect("the image has its first tag");
        assert_eq!(bench.engine.inspect(&second).await.unwrap().map(|image| image.image.id), Some(image.image.id));
        assert!(image.env.contains(&"GREETING=hello you, =me".to_owned()), "{:?}", image.env);
        let labels = &image.image.labels;
        let found = ["test.of", "org.example.a", "org.example.b"].map(|label| labels.get(label).map(String::as_str));
        assert_eq!(found, [Some("gantry"), Some("1"), Some("x=y, z")]);
        let parent = bench.engine.inspect(&base).await.unwrap().expect("the parent is there");
        assert!(image.diff_ids.starts_with(&parent.diff_ids));
    });
}

#[test]
fn the_same_build_comes_from_the_cache_unless_it_may_not() {
    with_engine(async |bench: &Bench| {
        let dockerfile = format!("FROM {}\nRUN echo {}\n", bench.busybox("").await, bench.unique("x"));
        let mut seen = Vec::new();
        for no_cache in [false, false, true] {
            let (events, result) = bench.build(&dockerfile, |request| request.no_cache = no_cache).await;
            result.expect("the image is built");
            seen.push(outcome(&events, &bench.unique("x")).cloned());
        }
        assert_eq!(seen, [Some(VertexState::Done), Some(VertexState::Cached), Some(VertexState::Done)]);
    });
}

#[test]
fn a_run_that_fails_tells_its_step_its_exit_code_and_its_last_lines() {
    with_engine(async |bench: &Bench| {
        let dockerfile = format!(
            "FROM {}\nRUN seq 1 20 && echo about to fail >&2 && printf 'no newline' ; exit 37\n",
            bench.busybox("").await
        );
        let (events, result) = bench.build(&dockerfile, |request| request.no_cache = true).await;
        let Err(EngineError::BuildFailed { step, exit_code, log_tail }) = result else { panic!("{result:?}") };
        assert!(step.starts_with("[2/2] RUN seq 1 20"), "{step}");
        assert_eq!(exit_code, Some(37));
        // Standard output and standard error race each other through the engine; each is in order.
        let (errors, output): (Vec<&str>, Vec<&str>) =
            log_tail.iter().map(String::as_str).partition(|line| *line == "about to fail");
        assert_eq!(errors.len(), 1, "{log_tail:?}");
        assert_eq!((output.len(), output[19], output[20]), (21, "20", "no newline"), "{log_tail:?}");
        assert!(matches!(outcome(&events, "exit 37"), Some(VertexState::Failed(_))), "{events:?}");
        assert_eq!(lines(&events).len(), 22);
    });
}

#[test]
fn what_cannot_be_built_says_why() {
    with_engine(async |bench: &Bench| {
        let base = bench.busybox("").await;
        let (_, result) = bench.build(&format!("FROM {base}\nRUM true\n"), |_| ()).await;
        let Err(EngineError::BuildFailed { exit_code: None, log_tail, .. }) = result else { panic!("{result:?}") };
        assert!(log_tail.iter().any(|line| line.contains("unknown instruction: RUM")), "{log_tail:?}");

        let (_, result) = bench.build(&format!("FROM {base}\nCOPY not-there /x\n"), |_| ()).await;
        let Err(EngineError::BuildFailed { step, exit_code: None, log_tail }) = result else { panic!("{result:?}") };
        assert!(step.ends_with("COPY not-there /x"), "{step}");
        assert!(log_tail.iter().any(|line| line.contains("not found")), "{log_tail:?}");

        let needs_secret = format!("FROM {base}\nRUN --mount=type=secret,id=token,required=true cat /run/secrets/token\n");
        let (_, result) = bench.build(&needs_secret, |_| ()).await;
        let Err(EngineError::BuildFailed { log_tail, .. }) = result else { panic!("{result:?}") };
        assert!(log_tail.iter().any(|line| line.contains("token") && line.contains("not found")), "{log_tail:?}");
    });
}

#[test]
fn a_parent_that_is_nowhere_is_named() {
    with_engine(async |bench: &Bench| {
        let gone = bench.tag("gone");
        for dockerfile in [format!("FROM {gone}\n"), format!("FROM scratch\nCOPY --from={gone} / /\n")] {
            let (_, result) = bench.build(&dockerfile, |_| ()).await;
            let Err(EngineError::MissingImage { reference, .. }) = result else { panic!("{result:?}") };
            assert_eq!(reference, gone);
        }
    });
}

/// A cache mount that only one step may have at a time tells whether that step still runs.
#[test]
fn dropping_a_build_ends_its_steps() {
    with_engine(async |bench: &Bench| {
        let mount = format!("--mount=type=cache,sharing=locked,target=/c,id={}", bench.unique("lock"));
        let base = bench.busybox("").await;
        let started = Notify::new();
        let held = request(&format!("FROM {base}\nRUN {mount} echo it runs && sleep 86400\n"), &[]);
        let mut on_event = |event: BuildEvent| {
            if lines(&[event]) == ["it runs"] {
                started.notify_one();
            }
        };
        tokio::select! {
            ended = bench.engine.build(held, &mut on_event) => panic!("{ended:?}"),
            () = started.notified() => {}
        }
        // The future is gone; this step gets the mount when the first one's is.
        let next = format!("FROM {base}\nRUN {mount} echo mine\n");
        let (events, result) = bench.build(&next, |request| request.no_cache = true).await;
        result.expect("the mount is free again");
        assert_eq!(lines(&events), ["mine"]);
    });
}

#[test]
fn builds_at_the_same_time_see_their_own_contexts_and_secrets() {
    with_engine(async |bench: &Bench| {
        let base = bench.busybox("").await;
        let builds = ["one", "two", "three"].map(|who| {
            let dockerfile = format!(
                "FROM {base}\nCOPY who /who\nRUN --mount=type=secret,id=who echo {} $(cat /who) $(cat /run/secrets/who)\n",
                bench.unique("run")
            );
            let mut request = request(&dockerfile, &[File { path: "who", bytes: who.as_bytes(), mode: 0o644, owner: 0 }]);
            request.secrets = [("who".to_owned(), secret(who))].into();
            async move {
                let mut events = Vec::new();
                bench.engine.build(request, &mut |event| events.push(event)).await.expect("the image is built");
                assert_eq!(lines(&events), [format!("{} {who} {who}", bench.unique("run"))]);
            }
        });
        let [one, two, three] = builds;
        tokio::join!(one, two, three);
    });
}

/// What lets variants share one blob: the layer's bytes depend on the files alone.
#[test]
fn a_layer_copied_whole_has_one_diff_id_on_every_parent() {
    with_engine(async |bench: &Bench| {
        let parents = [bench.busybox("one").await, bench.tag("two"), bench.tag("three")];
        let (_, built) = bench
            .build(&format!("FROM {}\nRUN mkdir /opt && echo x >/opt/x\n", parents[0]), |request| {
                request.tags = vec![parents[1].clone()];
            })
            .await;
        built.expect("the second parent is built");
        // Here the folders exist already, with another time and another mode.
        let (_, built) = bench
            .build(&format!("FROM {}\nRUN mkdir -p /opt/tool -m 700 && echo x >/opt/tool/y\n", parents[0]), |request| {
                request.tags = vec![parents[2].clone()];
            })
            .await;
        built.expect("the third parent is built");

        // A tag that moves would leave an image without a name behind.
        static COPIES: AtomicUsize = AtomicUsize::new(0);
        let owned = |path, bytes, mode| File { path, bytes, mode, owner: 1001 };
        let rootfs = [
            File { path: "rootfs/", bytes: b"" as &[u8], mode: 0o755, owner: 0 },
            File { path: "rootfs/opt/", bytes: b"", mode: 0o755, owner: 0 },
            owned("rootfs/opt/tool/", b"", 0o755),
            owned("rootfs/opt/tool/run", b"#!/bin/sh\n", 0o755),
        ];
        let artifact = bench.tag("artifact");
        let mut make = request("FROM scratch\nCOPY rootfs/ /\n", &rootfs);
        make.tags = vec![artifact.clone()];
        bench.engine.build(make, &mut |_| ()).await.expect("the artifact is built");

        let look = "RUN stat -c '%u:%g %a %Y' /opt/tool/run";
        for copy in ["COPY rootfs/ /".to_owned(), format!("COPY --from={artifact} / /")] {
            let mut diff_ids = Vec::new();
            for parent in &parents {
                let tag = bench.tag(&format!("copied-{}", COPIES.fetch_add(1, Ordering::Relaxed)));
                let mut build = request(&format!("FROM {parent}\n{copy}\n"), &rootfs);
                build.tags = vec![tag.clone()];
                build.no_cache = true;
                bench.engine.build(build, &mut |_| ()).await.expect("the image is built");
                let image = bench.engine.inspect(&tag).await.unwrap().expect("the image is there");
                diff_ids.extend(image.diff_ids.last().copied());
                let (events, result) = bench.build(&format!("FROM {tag}\n{look}\n"), |request| request.no_cache = true).await;
                result.expect("the file is there");
                assert_eq!(lines(&events), ["1001:1001 755 1700000000"], "{copy}");
            }
            assert!(diff_ids.len() == 3 && diff_ids.iter().all(|id| *id == diff_ids[0]), "{copy}: {diff_ids:?}");
        }
    });
}
