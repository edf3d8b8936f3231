//! moto: the API of AWS on loopback, with nothing behind it. It has no registry, so that a `docker-registry` with the
//! password of its tokens stands beside it.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use xtask::host::places::Places;
use xtask::host::setup::python;

use super::family::TinyFamily;
use super::registry::LocalRegistry;

/// The password in every token that moto hands out; the name is `AWS`. They ended in 2015, moto says.
pub const PASSWORD: &str = "123456789012-auth-token";
/// What the family's repository is said to belong to.
pub const ACCOUNT: &str = "271851283454";
/// Must be in no output.
pub const CANARY: &str = "canary-of-aws/7Pq";

/// The server.
pub struct Moto {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    child: Child,
}

impl Moto {
    /// One of its own, without any repository.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with these settings in its environment.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut command = Command::new(python::moto_server(&places));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.envs(settings.iter().copied()).spawn().expect("moto (`cargo xtask setup --tests`) starts");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert_eq!(child.try_wait().expect("moto's state"), None, "moto ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { endpoint: format!("http://127.0.0.1:{port}"), child }
    }

    /// What a program of this identity has in its environment.
    pub fn environment(&self) -> [(&'static str, &str); 3] {
        [("AWS_ENDPOINT_URL", &self.endpoint), ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", CANARY)]
    }

    /// What boto3, Amazon's own client, says to an operation of ECR (`describe_repositories`).
    pub fn boto(&self, operation: &str, arguments: &Value) -> Value {
        self.boto_all("ecr", &[(operation, arguments.clone())]).pop().expect("an answer")
    }

    /// What boto3 says to operations of a service, one after the other.
    pub fn boto_all(&self, service: &str, operations: &[(&str, Value)]) -> Vec<Value> {
        let script = "import boto3, json, sys\n\
                      client = boto3.client(sys.argv[1], region_name='us-west-2')\n\
                      answers = [getattr(client, name)(**arguments) for name, arguments in json.loads(sys.argv[2])]\n\
                      print(json.dumps(answers, default=str))";
        python(&self.environment(), &["-c", script, service, &serde_json::json!(operations).to_string()])
    }
}

/// What a Python program prints as JSON, with boto3 and botocore at hand.
pub fn python<T: serde::de::DeserializeOwned>(environment: &[(&str, &str)], arguments: &[&str]) -> T {
    let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
    let mut command = Command::new(python::folder(&places).join("bin/python"));
    let output = command.args(arguments).envs(environment.iter().copied()).output().expect("python starts");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complained}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A registry that stands in for ECR's, and the family's second destination, `ecr`, for all variants.
pub fn stand_in(family: &TinyFamily) -> Arc<LocalRegistry> {
    let registry = LocalRegistry::start(Some(("AWS", PASSWORD)));
    family.replace("variants.toml", "destinations = [\"near\"]", "destinations = [\"near\", \"ecr\"]");
    let table = format!(
        "[destinations.ecr]\nrepository = \"{}\"\necr = {{ account = \"{ACCOUNT}\", region = \"us-west-2\" }}\n[images.base]",
        registry.repository()
    );
    family.replace("variants.toml", "[images.base]", &table);
    family.commit();
    registry
}
