//! Containers that may do less, networks of their own, commands in them, and how they end.

use std::time::Duration;

use xtask::engine::{Command, Confinement, ContainerRequest};

use crate::bench::{Bench, with_engine};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn a_container_is_confined_asked_and_stopped() {
    with_engine(async |bench: &Bench| {
        let (name, image) = (bench.container("confined"), bench.busybox("confined").await);
        let (network, label) = (bench.unique("network"), bench.unique("label"));
        bench.engine.create_network(&network, &[(label.clone(), "yes".to_owned())].into()).await.expect("a network");
        assert_eq!(bench.engine.networks_with_label(&label).await.expect("listed"), std::slice::from_ref(&network));
        let request = ContainerRequest {
            name: name.clone(),
            image,
            entrypoint: Some(words(&["sh", "-c"])),
            command: words(&["trap 'exit 7' TERM; while :; do sleep 0.1; done"]),
            user: Some("1234".to_owned()),
            network: Some(network.clone()),
            confinement: Confinement {
                read_only: true,
                powerless: true,
                tmpfs: [("/tmp".to_owned(), "noexec".to_owned())].into(),
            },
            ..ContainerRequest::default()
        };
        bench.engine.run(request).await.expect("it starts");
        let ask = async |script: &str, user: Option<&str>| {
            let command = Command { words: words(&["sh", "-c", script]), user: user.map(str::to_owned), ..Command::default() };
            bench.engine.exec(&name, command).await.expect("it is asked")
        };
        let seen = ask("id -u; echo problem >&2; touch /tmp/there && touch /here; exit 3", None).await;
        assert_eq!((seen.exit_code, seen.stdout.as_str()), (3, "1234\n"));
        assert!(seen.stderr.contains("problem\n") && seen.stderr.contains("Read-only"), "{seen:?}");
        assert_eq!(seen.text(), format!("1234\n{}", seen.stderr));
        assert_eq!(ask("id -u; grep CapEff /proc/self/status", Some("0")).await.stdout, "0\nCapEff:\t0000000000000000\n");
        let heard = Command {
            words: words(&["sh", "-c", "read it; echo \"$it\""]),
            input: b"heard\nand more".to_vec(),
            ..Command::default()
        };
        assert!(!format!("{heard:?}").contains("heard"), "{heard:?}");
        assert_eq!(bench.engine.exec(&name, heard).await.expect("it is told").stdout, "heard\n");
        let absent =
            bench.engine.exec(&name, Command { words: words(&["/not/there"]), ..Command::default() }).await.expect("asked");
        assert!(matches!(absent.exit_code, 126 | 127), "{absent:?}");

        // It is in the way of its network's end, and runs until it is stopped.
        assert!(bench.engine.remove_network(&network).await.is_err());
        assert_eq!(bench.engine.ended(&name, Duration::ZERO).await.expect("looked at"), None);
        bench.engine.stop(&name, Duration::from_secs(20)).await.expect("stopped");
        assert_eq!(bench.engine.ended(&name, Duration::from_secs(20)).await.expect("looked at"), Some(7));
        for _ in 0..2 {
            bench.engine.remove(&name).await.expect("what is not there is fine");
            bench.engine.remove_network(&network).await.expect("what is not there is fine");
        }
        assert!(bench.engine.ended(&name, Duration::ZERO).await.is_err());
        assert!(bench.engine.networks_with_label(&label).await.expect("listed").is_empty());
    });
}

#[test]
fn a_configuration_is_told_without_an_export() {
    with_engine(async |bench: &Bench| {
        let base = bench.busybox("configuration").await;
        let image = bench.tag("configured");
        let dockerfile = format!(
            "FROM {base}\nENV A=b\nUSER 7\nEXPOSE 81\nLABEL l=m\nHEALTHCHECK CMD [\"true\"]\nENTRYPOINT [\"sh\"]\nCMD [\"-c\", \"x\"]\n"
        );
        bench.build(&dockerfile, |request| request.tags = vec![image.clone()]).await.1.expect("the image is built");
        let config = bench.engine.configuration(&image).await.expect("told").expect("there");
        let run = &config.run;
        assert_eq!((run.user.as_str(), &run.entrypoint[..], &run.cmd[..]), ("7", &words(&["sh"])[..], &words(&["-c", "x"])[..]));
        assert!(run.env.contains(&"A=b".to_owned()) && run.exposed_ports.contains_key("81/tcp"), "{run:?}");
        assert_eq!(run.healthcheck.as_ref().map(|check| check["Test"].to_string()).as_deref(), Some("[\"CMD\",\"true\"]"));
        assert_eq!(config.labels.get("l").map(String::as_str), Some("m"));
        assert!(config.history.last().is_some_and(|line| line.created_by.contains("CMD")), "{:?}", config.history);
        assert!(!config.diff_ids.is_empty());
        assert!(bench.engine.configuration(&bench.tag("none")).await.expect("told").is_none());
    });
}
