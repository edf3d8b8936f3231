//! The order of the sources, as a table.

use std::fs;

use super::*;

const A: &str = r#"{"auths":{"reg.example:5000":{"auth":"ZW52OmVudi1wYXNz"}}}"#; // env:env-pass
const FILE: &str = r#""auths":{"reg.example:5000":{"auth":"ZmlsZTpmaWxlLXBhc3M="},"https://ghcr.io/v1/":{"auth":"ZmlsZTpmaWxlLXBhc3M="},"empty.example":{}}"#;

fn choose(variables: &[(&str, &str)], config: Option<&str>, host: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(config) = config {
        fs::write(folder.path().join("config.json"), config).expect("the file is written");
    }
    let folder_text = folder.path().display().to_string();
    let sources = Sources::gather(|name| match name {
        "DOCKER_CONFIG" => Some(folder_text.clone()),
        name => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
    });
    let told = sources.and_then(|sources| sources.choose(host));
    match told {
        Ok(Choice::Found(Credential::Basic { username, password }, _)) => format!("{username}:{}", password.expose()),
        Ok(Choice::Found(Credential::Bearer(token), _)) => format!("bearer {}", token.expose()),
        Ok(Choice::Found(Credential::Refresh(token), _)) => format!("refresh {}", token.expose()),
        Ok(Choice::Helper { name, key }) => format!("helper {name} {key}"),
        Ok(Choice::Nothing) => "anonymous".to_owned(),
        Err(error) => format!("error: {error}").replace(&folder_text, "FOLDER"),
    }
}

#[test]
fn the_order_of_the_sources() {
    let file = format!("{{{FILE}}}");
    let store = format!(r#"{{"credsStore":"pass",{FILE}}}"#);
    let helpers = format!(r#"{{"credsStore":"pass","credHelpers":{{"reg.example:5000":"ecr-login"}},{FILE}}}"#);
    let hub = r#"{"auths":{"https://index.docker.io/v1/":{"username":"hub","password":"p"}}}"#;
    let token = [("GITHUB_TOKEN", "gt"), ("GH_TOKEN", "gh")];
    for (variables, config, host, told) in [
        (&[][..], None, "reg.example:5000", "anonymous"),
        (&[], Some(file.as_str()), "reg.example:5000", "file:file-pass"),
        (&[], Some(&store), "reg.example:5000", "helper pass reg.example:5000"),
        (&[], Some(&helpers), "reg.example:5000", "helper ecr-login reg.example:5000"),
        (&[], Some(&helpers), "other.example", "helper pass other.example"),
        (&[("DOCKER_AUTH_CONFIG", A)], Some(&helpers), "reg.example:5000", "env:env-pass"),
        (&[("DOCKER_AUTH_CONFIG", A)], Some(&helpers), "other.example", "helper pass other.example"),
        (&[("DOCKER_AUTH_CONFIG", " ")], Some(&file), "reg.example:5000", "file:file-pass"),
        (&[], Some(&file), "reg.example", "anonymous"),
        (&[], Some(&file), "empty.example", "anonymous"),
        (&[], Some(hub), "docker.io", "hub:p"),
        (&token, Some(&file), "ghcr.io", "file:file-pass"),
        (&token, None, "ghcr.io", "x-access-token:gt"),
        (&token[1..], None, "ghcr.io", "x-access-token:gh"),
        (&token, None, "ghcr.io.example", "anonymous"),
        (&token, None, "reg.example:5000", "anonymous"),
        (&[], Some(r#"{"auths":{"r.example":{"registrytoken":"t"}}}"#), "r.example", "bearer t"),
    ] {
        assert_eq!(choose(variables, config, host), told, "{variables:?} {config:?} {host}");
    }
}

#[test]
fn what_is_wrong_is_told_without_what_it_holds() {
    for (config, told) in [
        ("{\"auths\":{\n\"a.b\":{\"auth\":\"canary\"}", "error: `FOLDER/config.json` is not valid (line 2, column 23)"),
        (
            r#"{"auths":{"a.b":{"auth":"canary"}}}"#,
            "error: `FOLDER/config.json` has an entry for `a.b` that is not `base64(name:password)`",
        ),
        (
            r#"{"auths":{"a.b":{"auth":"YTpi","identitytoken":"canary"}}}"#,
            "error: `FOLDER/config.json` holds an identity token for `a.b`, which Gantry cannot use: log in with a name and a password or token",
        ),
        (r#"{"auths":"canary"}"#, "error: `FOLDER/config.json` is not valid (line 1, column 17)"),
    ] {
        assert_eq!(choose(&[], Some(config), "a.b"), told);
    }
}
