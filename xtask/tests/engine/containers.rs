//! Containers.

use xtask::engine::{ContainerRequest, EngineError, Health};

use crate::bench::{Bench, with_engine};

#[test]
fn a_container_is_started_looked_at_and_removed() {
    with_engine(async |bench: &Bench| {
        let base = bench.busybox("containers").await;
        let image = bench.tag("server");
        let dockerfile = format!(
            "FROM {base}\nHEALTHCHECK --interval=1s CMD test -e /tmp/ready\n\
             CMD echo \"hello $WHO\"; echo problem >&2; mkdir -p /tmp/www; echo > /tmp/ready; exec busybox httpd -f -p 8080 -h /tmp/www\n"
        );
        bench.build(&dockerfile, |request| request.tags = vec![image.clone()]).await.1.expect("the image is built");

        let name = bench.container("server");
        let label = bench.unique("label");
        let request = ContainerRequest {
            name: name.clone(),
            image: image.clone(),
            env: [("WHO".to_owned(), "you".to_owned())].into(),
            labels: [(label.clone(), "yes".to_owned())].into(),
            ports: [(8080, 0)].into(),
            ..ContainerRequest::default()
        };
        assert!(!format!("{request:?}").contains("you"), "values of the environment are not printed");
        let id = bench.engine.run(request.clone()).await.expect("it starts");

        let state = loop {
            let state = bench.engine.container(&name).await.unwrap().expect("it is there");
            assert!(state.running, "{}", bench.engine.logs(&name, 10).await.unwrap_or_default());
            if state.health == Health::Healthy {
                break state;
            }
            assert_eq!(state.health, Health::Starting);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        };
        assert_eq!((&state.id, &state.name, &state.image, state.exit_code), (&id, &name, &image, None));
        assert!(state.ports.get(&8080).is_some_and(|port| *port > 0), "{state:?}");
        let log = bench.engine.logs(&name, 10).await.unwrap();
        assert!(log.contains("hello you\n") && log.contains("problem\n"), "{log:?}");
        assert_eq!(bench.engine.containers_with_label(&label).await.unwrap(), [state]);
        assert_eq!(bench.engine.containers_with_label(&format!("{label}=no")).await.unwrap(), []);

        let taken = bench.engine.run(request).await.unwrap_err();
        assert!(matches!(taken, EngineError::Refused { status: 409, .. }), "{taken:?}");

        bench.engine.stop_and_remove(&name, 0).await.expect("it is removed");
        assert_eq!(bench.engine.container(&name).await.unwrap(), None);
        bench.engine.stop_and_remove(&name, 0).await.expect("what is not there is fine");
    });
}

#[test]
fn a_container_that_ends_has_an_exit_code() {
    with_engine(async |bench: &Bench| {
        let name = bench.container("ends");
        let image = bench.busybox("containers").await;
        let command = ["sh", "-c", "exit 5"].map(str::to_owned).to_vec();
        let request = ContainerRequest { name: name.clone(), image, command, ..ContainerRequest::default() };
        bench.engine.run(request).await.expect("it starts");
        let state = loop {
            let state = bench.engine.container(&name).await.unwrap().expect("it is there");
            if !state.running {
                break state;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_eq!((state.exit_code, state.health), (Some(5), Health::None));
    });
}

#[test]
fn a_container_that_cannot_start_leaves_nothing() {
    with_engine(async |bench: &Bench| {
        let (name, image) = (bench.container("never"), bench.busybox("containers").await);
        let request =
            ContainerRequest { name: name.clone(), image, command: vec!["/not/there".into()], ..ContainerRequest::default() };
        let error = bench.engine.run(request).await.unwrap_err();
        assert!(matches!(&error, EngineError::Refused { message, .. } if message.contains("/not/there")), "{error:?}");
        assert_eq!(bench.engine.container(&name).await.unwrap(), None);

        let gone = bench.tag("gone");
        let request = ContainerRequest { name, image: gone.clone(), ..ContainerRequest::default() };
        let error = bench.engine.run(request).await.unwrap_err();
        assert!(matches!(&error, EngineError::MissingImage { reference, .. } if *reference == gone), "{error:?}");
    });
}
