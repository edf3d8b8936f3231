//! The order of the sources, as a table.

use std::fs;

use super::*;

const A: &str = r#"{"auths":{"reg.example:5000":{"auth":"ZW52OmVudi1wYXNz"}}}"#; // env:env-pass
const FILE: &str = r#""auths":{"reg.example:5000":{"auth":"ZmlsZTpmaWxlLXBhc3M="},"https://ghcr.io/v1/":{"auth":"ZmlsZTpmaWxlLXBhc3M="},"empty.example":{}}"#;

/// What is chosen for `host` where these variables are set and docker's configuration is `config`.
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
    let stand_in = EcrRegistry::new("123456789012", "eu-central-1").expect("a registry");
    let told = sources.and_then(|sources| sources.standing_in("127.0.0.1:5000", stand_in).choose(host));
    match told {
        Ok(Choice::Found(Credential::Basic { username, password }, _)) => format!("{username}:{}", password.expose()),
        Ok(Choice::Found(Credential::Bearer(token), _)) => format!("bearer {}", token.expose()),
        Ok(Choice::Found(Credential::Refresh(token), _)) => format!("refresh {}", token.expose()),
        Ok(Choice::Helper { name, key }) => format!("helper {name} {key}"),
        Ok(Choice::Gh) => "gh".to_owned(),
        Ok(Choice::Ecr(registry)) => format!("AWS, {registry}"),
        Ok(Choice::Nothing) => "anonymous".to_owned(),
        Err(error) => format!("error: {error}").replace(&folder_text, "FOLDER"),
    }
}

/// As docker/cli has it: `memorystore` over the store that `GetCredentialsStore` picks (`cli/config/configfile/file.go`),
/// exact keys in the variable, also host names in the file, no file behind a helper.
#[test]
fn the_order_of_the_sources() {
    const REG: &str = "reg.example:5000";
    const ECR: &str = "271851283454.dkr.ecr.us-west-2.amazonaws.com";
    let file = format!("{{{FILE}}}");
    let store = format!(r#"{{"credsStore":"pass",{FILE}}}"#);
    let helpers = format!(r#"{{"credsStore":"pass","credHelpers":{{"reg.example:5000":"own"}},{FILE}}}"#);
    let no_helper = format!(r#"{{"credsStore":"pass","credHelpers":{{"reg.example:5000":""}},{FILE}}}"#);
    let hub = r#"{"auths":{"https://index.docker.io/v1/":{"username":"hub","password":"p"}}}"#;
    let hub_helpers = r#"{"credHelpers":{"docker.io":"unused","https://index.docker.io/v1/":"hub"}}"#;
    let ecr = format!(r#"{{"auths":{{"{ECR}":{{"auth":"QVdTOmZpbGUtcGFzcw=="}}}}}}"#);
    let token = [("GITHUB_TOKEN", "gt"), ("GH_TOKEN", "gh")];
    let env = [("DOCKER_AUTH_CONFIG", A)];
    let env_url = [("DOCKER_AUTH_CONFIG", r#"{"auths":{"https://reg.example:5000/v1/":{"auth":"ZW52OmVudi1wYXNz"}}}"#)];
    for (what, variables, config, host, told) in [
        ("nothing", &[][..], None, REG, "anonymous"),
        ("the file", &[], Some(file.as_str()), REG, "file:file-pass"),
        ("the file, by the host of a URL", &[], Some(&file), "ghcr.io", "file:file-pass"),
        ("the file, another port", &[], Some(&file), "reg.example", "anonymous"),
        ("the file, an empty entry", &[], Some(&file), "empty.example", "anonymous"),
        ("the general helper before the file", &[], Some(&store), REG, "helper pass reg.example:5000"),
        ("the host's helper before the general one", &[], Some(&helpers), REG, "helper own reg.example:5000"),
        ("another host's helper", &[], Some(&helpers), "other.example", "helper pass other.example"),
        ("no helper for this host", &[], Some(&no_helper), REG, "file:file-pass"),
        ("the variable before all", &env, Some(&helpers), REG, "env:env-pass"),
        ("the variable lacks the host: the helper", &env, Some(&helpers), "other.example", "helper pass other.example"),
        ("the variable lacks the host: the file", &env, Some(&file), "ghcr.io", "file:file-pass"),
        ("the variable has exact keys only", &env_url, Some(&file), REG, "file:file-pass"),
        ("the variable is blank", &[("DOCKER_AUTH_CONFIG", " ")], Some(&file), REG, "file:file-pass"),
        ("Docker Hub's key", &[], Some(hub), "docker.io", "hub:p"),
        ("Docker Hub's helper", &[], Some(hub_helpers), "docker.io", "helper hub https://index.docker.io/v1/"),
        ("a token of the registry", &[], Some(r#"{"auths":{"r.example":{"registrytoken":"t"}}}"#), "r.example", "bearer t"),
        (
            "an identity token",
            &[],
            Some(r#"{"auths":{"r.example":{"auth":"YTpi","identitytoken":"t"}}}"#),
            "r.example",
            "refresh t",
        ),
        ("ghcr.io: docker's before GitHub's", &token, Some(&file), "ghcr.io", "file:file-pass"),
        ("ghcr.io: GITHUB_TOKEN", &token, None, "ghcr.io", "x-access-token:gt"),
        ("ghcr.io: GH_TOKEN", &token[1..], None, "ghcr.io", "x-access-token:gh"),
        ("ghcr.io: gh", &[], None, "ghcr.io", "gh"),
        ("GitHub's tokens are for no other host", &token, None, "ghcr.io.example", "anonymous"),
        ("nor for another port", &token, None, "ghcr.io:443", "anonymous"),
        ("nor for another registry", &token, None, REG, "anonymous"),
        ("ECR: docker's before AWS's", &[], Some(&ecr), ECR, "AWS:file-pass"),
        ("ECR: AWS", &token, None, ECR, "AWS, account 271851283454 in us-west-2"),
        ("ECR: the general helper", &[], Some(&store), ECR, "helper pass 271851283454.dkr.ecr.us-west-2.amazonaws.com"),
        ("ECR: a stand-in", &[], None, "127.0.0.1:5000", "AWS, account 123456789012 in eu-central-1"),
        ("AWS's tokens are for no other port", &[], None, "127.0.0.1:5001", "anonymous"),
        ("nor for ECR Public", &[], None, "public.ecr.aws", "anonymous"),
    ] {
        assert_eq!(choose(variables, config, host), told, "{what}");
    }
}

#[test]
fn what_is_wrong_with_the_variable() {
    for (text, told) in [
        (r#"{"auths":{"a.b":{"username":"u","password":"canary"}}}"#, "without `auth`, and docker reads nothing else there"),
        (r#"{"auths":{"a.b":{"auth":"canary"}}}"#, "for `a.b` that is not `base64(name:password)`"),
        (r#"{"auths":{"a.b":"canary""#, "`DOCKER_AUTH_CONFIG` is not valid (line 1, column"),
    ] {
        let error = choose(&[("DOCKER_AUTH_CONFIG", text)], None, "a.b");
        assert!(error.contains(told) && !error.contains("canary"), "{error}");
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
        (r#"{"auths":"canary"}"#, "error: `FOLDER/config.json` is not valid (line 1, column 17)"),
    ] {
        assert_eq!(choose(&[], Some(config), "a.b"), told);
    }
}
