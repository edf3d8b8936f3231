//! Pulls, from a registry that the tests start: Debian's `docker-registry`, with a password. An engine that does not run
//! on this machine's network finds it under `GANTRY_TEST_HOST`, which it must trust with plain http.

use std::env;
use std::fs;
use std::process::{Child, Command, Stdio};

use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde_json::json;
use xtask::engine::EngineError;
use xtask::oci::{Digest, Reference, Repository};

use crate::bench::{Bench, config, tar, with_engine};

const USER: &str = "gantry";
const PASSWORD: &str = "sesame";
/// `htpasswd -nbB gantry sesame`
const HTPASSWD: &str = "gantry:$2y$05$CBboBcLd2F0mmRAVgueHJeGUsaDaTX8sND7sFJlhysiz9oJuY5xFW";

/// A registry that ends with the test.
struct Registry {
    address: String,
    child: Child,
    /// Keeps the port from everybody else. (Not listening; the registry reuses it.)
    _port: tokio::net::TcpSocket,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    async fn start() -> Self {
        let host = env::var("GANTRY_TEST_HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
        let port = tokio::net::TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        let any = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0)).unwrap().find(|address| address.is_ipv4());
        port.bind(any.unwrap()).unwrap();
        let address = format!("{host}:{}", port.local_addr().unwrap().port());
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("htpasswd"), HTPASSWD).unwrap();
        let config = json!({
            "version": "0.1",
            "http": { "addr": address, "secret": "x" },
            "storage": { "filesystem": { "rootdirectory": path("data") } },
            "auth": { "htpasswd": { "realm": "tests", "path": path("htpasswd") } },
        });
        fs::write(path("config.yml"), config.to_string()).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs Debian's package `docker-registry`");
        let mut registry = Self { address, child, _port: port, _folder: folder };
        while tokio::net::TcpStream::connect(&registry.address).await.is_err() {
            assert_eq!(registry.child.try_wait().unwrap(), None, "the registry ended");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        registry
    }

    /// Puts an image of one layer there.
    async fn put(&self, reference: &Reference, layer: Vec<u8>) {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://{}/v2/{}", self.address, reference.repository.path());
        let blob = async |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let begun = client.post(format!("{base}/blobs/uploads/")).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
            let location = begun.headers()[LOCATION].to_str().unwrap().to_owned();
            let put = client.put(format!("{location}&digest={digest}")).basic_auth(USER, Some(PASSWORD));
            put.body(bytes).send().await.unwrap().error_for_status().unwrap();
            digest
        };
        let config = config(&layer);
        let (config_size, layer_size) = (config.len(), layer.len());
        let config = blob(config.into_bytes()).await;
        let layer = blob(layer).await;
        const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_size }],
        });
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let put = client.put(format!("{base}/manifests/{tag}")).basic_auth(USER, Some(PASSWORD));
        put.header(CONTENT_TYPE, MANIFEST).body(manifest.to_string()).send().await.unwrap().error_for_status().unwrap();
    }
}

#[test]
fn an_image_is_pulled_with_a_password() {
    with_engine(async |bench: &Bench| {
        let registry = Registry::start().await;
        let repository: Repository = format!("{}/team/image", registry.address).parse().unwrap();
        let reference = repository.tag("one");
        bench.remove_at_the_end(&reference.to_string());
        // Incompressible and not seen before, so that there is something to download.
        let seed = bench.unique(&registry.address);
        let noise: Vec<u8> = (0..100_000).flat_map(|n: u32| Digest::of(format!("{seed}{n}")).hex().into_bytes()).collect();
        let layer = tar(&[crate::bench::File { path: "noise", bytes: &noise, mode: 0o644, owner: 0 }], &[], 0);
        let diff_id = Digest::of(&layer);
        registry.put(&reference, layer).await;

        let mut progress = Vec::new();
        let credentials = Some((USER, PASSWORD));
        let pulled = bench.engine.pull(&reference, credentials, &mut |bytes, total| progress.push((bytes, total))).await;
        pulled.expect("the image is pulled");
        let image = bench.engine.inspect(&reference.to_string()).await.unwrap().expect("it is there");
        assert_eq!(image.diff_ids, [diff_id]);
        assert!(progress.is_sorted(), "{progress:?}");
        assert!(progress.iter().all(|(bytes, total)| total.is_none_or(|total| *bytes <= total)), "{progress:?}");

        let gone = repository.tag("gone");
        let error = bench.engine.pull(&gone, credentials, &mut |_, _| ()).await.unwrap_err();
        assert!(matches!(&error, EngineError::MissingImage { reference, .. } if *reference == gone.to_string()), "{error:?}");
        for credentials in [None, Some((USER, "wrong"))] {
            let error = bench.engine.pull(&gone, credentials, &mut |_, _| ()).await.unwrap_err();
            assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
        }
    });
}

#[test]
fn a_registry_that_does_not_answer_is_no_missing_image() {
    with_engine(async |bench: &Bench| {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let reference: Reference = format!("127.0.0.1:{port}/team/image:one").parse().unwrap();
        let error = bench.engine.pull(&reference, None, &mut |_, _| ()).await.unwrap_err();
        assert!(matches!(&error, EngineError::Refused { message, .. } if message.contains("refused")), "{error:?}");
    });
}
