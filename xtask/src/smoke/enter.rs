//! How somebody outside gets in: ssh with a key made for this run, a browser's requests. Where the engine's loopback is not
//! ours, from inside the container, on its own address.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::judge::Answer;
use crate::engine::{Command, CommandOutput, Engine, EngineError};

/// How long a login or a page may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// What of a page is read.
const PAGE: u64 = 512 << 10;
/// What of a program's output is kept, in bytes of each stream: whatever a container says, it is said through ours.
const KEPT: u64 = 256 << 10;
/// Where a page sends one on, so often.
const HOPS: usize = 4;

/// A person with a key and a password, for one run.
#[derive(Debug)]
pub(super) struct Person {
    folder: tempfile::TempDir,
    /// As it belongs into AUTHORIZED_KEYS.
    pub(super) public: String,
    /// For VS Code; and what stands in for a token of GitHub's.
    pub(super) password: String,
}

/// Where a port of a container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// On our loopback.
    Outside(u16),
    /// Inside the container, at its own address.
    Inside(u16),
}

impl Way {
    /// For a verdict's message: nothing where it is as usual.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Outside(_) => "",
            Self::Inside(_) => " (tried inside the container: the engine's loopback is not this machine's)",
        }
    }
}

impl Person {
    /// Makes a key.
    ///
    /// # Errors
    /// `ssh-keygen` does not run.
    pub(super) async fn new(password: String) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut make = tokio::process::Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", "gantry-smoke", "-f"]).arg(folder.path().join("key"));
        let made = make.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
        }
        let public = std::fs::read_to_string(folder.path().join("key.pub"))?.trim().to_owned();
        Ok(Self { folder, public, password })
    }

    fn key(&self) -> std::path::PathBuf {
        self.folder.path().join("key")
    }

    /// Logs in with the key, or (`password`) without it, and says who it is.
    pub(super) async fn login(&self, engine: &Engine, container: &str, way: Way, password: bool) -> CommandOutput {
        let words = |key: &Path, port: u16, host: &str| {
            let mut words = vec!["ssh".to_owned(), "-F/dev/null".to_owned()];
            let mut option = |text: &str| words.extend(["-o".to_owned(), text.to_owned()]);
            // Every container has host keys of its own, and each is new.
            for text in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"] {
                option(text);
            }
            option(&format!("ConnectTimeout={}", PATIENCE.as_secs()));
            option("BatchMode=yes");
            match password {
                true => ["PubkeyAuthentication=no", "PreferredAuthentications=password,keyboard-interactive"].map(option),
                false => [&*format!("IdentityFile={}", key.display()), "PreferredAuthentications=publickey"].map(option),
            };
            words.extend([
                "-p".to_owned(),
                port.to_string(),
                format!("ansible@{host}"),
                r#"echo "$(id -un)" "$HOME""#.to_owned(),
            ]);
            words
        };
        match way {
            Way::Outside(port) => run(words(&self.key(), port, "127.0.0.1")).await,
            Way::Inside(port) => {
                let key = std::fs::read(self.key()).unwrap_or_default();
                let quoted: Vec<String> = words(Path::new("KEY"), port, "HOST")
                    .iter()
                    .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
                    .collect();
                let ssh = quoted.join(" ").replace("KEY'", "'\"$key\"").replace("HOST'", "'\"$host\"");
                let script = format!(
                    "umask 077; key=$(mktemp -p \"${{HOME:-/tmp}}\" 2>/dev/null || mktemp); trap 'rm -f \"$key\"' EXIT; \
                     head -c {} > \"$key\"; host=$(hostname -i | cut -d' ' -f1); {ssh}",
                    key.len()
                );
                // Not as a word of the command: whoever looks at processes, or at the engine's events, sees those.
                told(engine, container, script, key).await
            }
        }
    }

    /// The page at last, for somebody without the password.
    pub(super) async fn page_without(&self, engine: &Engine, container: &str, way: Way) -> Result<Answer, String> {
        Browser { engine, container, way, cookie: None }.open("/").await
    }

    /// The page at last, for somebody with the password: typed into code-server's form, or VS Code's own token in the address.
    pub(super) async fn page_with(&self, engine: &Engine, container: &str, way: Way) -> Result<Answer, String> {
        let mut browser = Browser { engine, container, way, cookie: None };
        let asked = browser.open("/").await?;
        let answer = match asked.body.contains("type=\"password\"") {
            true => browser.request("POST", "/login", &format!("password={}&base=.&href=", self.password)).await?,
            false => browser.request("GET", &format!("/?tkn={}", self.password), "").await?,
        };
        browser.cookie = answer.cookie;
        browser.open("/").await
    }
}

/// Runs a program of this machine to its end; one that does not end is killed and told.
async fn run(words: Vec<String>) -> CommandOutput {
    let mut words = words.into_iter();
    let mut command = tokio::process::Command::new(words.next().unwrap_or_default());
    // An agent's keys are not ours to try.
    command.args(words).env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |why: String| CommandOutput { exit_code: 255, stdout: String::new(), stderr: why };
    let running = async {
        let mut child = command.spawn()?;
        let (stdout, stderr) = tokio::join!(begin(child.stdout.take()), begin(child.stderr.take()));
        Ok::<_, io::Error>((child.wait().await?, stdout, stderr))
    };
    match tokio::time::timeout(PATIENCE, running).await {
        Ok(Ok((status, stdout, stderr))) => CommandOutput { exit_code: status.code().unwrap_or(255).into(), stdout, stderr },
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => failed(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// The begin of what comes; the rest is read and dropped, so that nobody waits to write it.
async fn begin(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    // What was read before it broke is what there is.
    let _ = (&mut stream).take(KEPT).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

/// Runs a script in a container to its end, without what the container was given.
pub(super) async fn inside(engine: &Engine, container: &str, script: String) -> CommandOutput {
    told(engine, container, script, Vec::new()).await
}

/// The same with something on its standard input, of which it has to know the length.
async fn told(engine: &Engine, container: &str, script: String, input: Vec<u8>) -> CommandOutput {
    let words = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "bash", "-c", &script];
    let command = Command { words: words.map(str::to_owned).to_vec(), user: None, input };
    within(PATIENCE, engine.exec(container, command)).await
}

/// What a command came to, within so long.
pub(super) async fn within(
    patience: Duration,
    command: impl Future<Output = Result<CommandOutput, EngineError>>,
) -> CommandOutput {
    let failed = |exit_code, why: String| CommandOutput { exit_code, stdout: String::new(), stderr: why };
    match tokio::time::timeout(patience, command).await {
        Ok(Ok(output)) => output,
        // The engine's own code where it cannot run something.
        Ok(Err(error)) => failed(125, error.to_string()),
        Err(_) => failed(124, format!("it did not end within {} s", patience.as_secs())),
    }
}

/// Where `port` of a container, published at `published`, is reached. What nobody listens to on our loopback, and is listened to
/// inside, is on somebody else's.
pub(super) async fn way(engine: &Engine, container: &str, port: u16, published: Option<u16>) -> Way {
    let Some(published) = published else { return Way::Inside(port) };
    match TcpStream::connect(("127.0.0.1", published)).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let script = format!("exec 3<>/dev/tcp/$(hostname -i | cut -d' ' -f1)/{port}");
            let listens = inside(engine, container, script).await.success();
            if listens { Way::Inside(port) } else { Way::Outside(published) }
        }
        _ => Way::Outside(published),
    }
}

/// A browser, as far as it takes one to see which page there is.
struct Browser<'a> {
    engine: &'a Engine,
    container: &'a str,
    way: Way,
    cookie: Option<String>,
}

impl Browser<'_> {
    /// The page that one ends at.
    async fn open(&self, path: &str) -> Result<Answer, String> {
        let mut path = path.to_owned();
        for _ in 0..HOPS {
            let answer = self.request("GET", &path, "").await?;
            match &answer.location {
                Some(location) if (300..400).contains(&answer.status) => {
                    let location = location
                        .split_once("://")
                        .map_or(location.as_str(), |(_, rest)| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"));
                    path = format!("/{}", location.trim_start_matches("./").trim_start_matches('/'));
                }
                _ => return Ok(answer),
            }
        }
        Err("it sends one on without an end".to_owned())
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        // HTTP/1.0: the answer ends with the connection, and comes in one piece.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{cookie}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let text = match self.way {
            Way::Outside(port) => match tokio::time::timeout(PATIENCE, exchange(port, &request)).await {
                Ok(Ok(text)) => text,
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
            },
            Way::Inside(port) => {
                // The password is in it, which is no word of a command.
                let script = format!(
                    "exec 3<>/dev/tcp/$(hostname -i | cut -d' ' -f1)/{port} && head -c {} >&3 && head -c {PAGE} <&3",
                    request.len()
                );
                let output = told(self.engine, self.container, script, request.into_bytes()).await;
                if !output.success() {
                    return Err(output.text().trim().to_owned());
                }
                output.stdout
            }
        };
        Answer::read(&text).ok_or_else(|| "what answers does not speak HTTP".to_owned())
    }
}

async fn exchange(port: u16, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    match stream.take(PAGE).read_to_end(&mut bytes).await {
        Ok(_) => {}
        // The page was there before the connection broke.
        Err(_) if !bytes.is_empty() => {}
        Err(error) => return Err(error),
    }
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection is closed without an answer"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_program_prints_is_kept_to_a_bound() {
        let script = "head -c 3000000 /dev/zero | tr '\\0' y; head -c 3000000 /dev/zero | tr '\\0' n >&2; exit 3";
        let output = run(["sh", "-c", script].map(str::to_owned).to_vec()).await;
        assert_eq!((output.exit_code, output.stdout.len(), output.stderr.len()), (3, 256 << 10, 256 << 10));
    }
}
