//! What is in each image, asked of the programs themselves, as far as `smoke` does not ask them (tools and their versions, users,
//! Windows). What stands on the layers of another image has what is in that (`family`).

use crate::docker::{docker, shell, try_docker};
use crate::family::{WEB, image};

const GENERAL: [&str; 6] =
    ["ansible.posix", "ansible.utils", "ansible.windows", "community.general", "community.windows", "microsoft.ad"];

#[test]
fn ansible_is_core_2_18_or_later() {
    for variant in ["aws", "azure"] {
        let version = shell(&image(variant), "ansible --version");
        let core = version.split("[core ").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
        let mut parts = core.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        let found = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        assert!(found >= (2, 18), "{variant}: {version}");
    }
}

#[test]
fn collections_are_where_they_belong() {
    for (variant, own) in [("aws", &["amazon.aws", "community.aws"][..]), ("azure", &["azure.azcollection"][..])] {
        let listed = shell(&image(variant), "ansible-galaxy collection list");
        let has = |name: &str| listed.lines().any(|line| line.split_whitespace().next() == Some(name));
        for collection in GENERAL.iter().chain(own) {
            assert!(has(collection), "{variant} lacks {collection}:\n{listed}");
        }
        for foreign in ["amazon.aws", "azure.azcollection"].iter().filter(|name| !own.contains(name)) {
            assert!(!has(foreign), "{variant} has {foreign}:\n{listed}");
        }
    }
}

/// Runs a module without credentials: it must get as far as missing them, so all of its libraries are there.
fn module(variant: &str, module: &str, arguments: &str) -> String {
    let (_, text) = try_docker(&[
        "run",
        "--rm",
        "--user",
        "ansible",
        "--env",
        "AWS_EC2_METADATA_DISABLED=true",
        "--entrypoint",
        "bash",
        &image(variant),
        "-lc",
        &format!("ansible localhost -m {module} -a '{arguments}'"),
    ]);
    text
}

#[test]
fn an_aws_module_runs_up_to_the_credentials() {
    let text = module("aws", "amazon.aws.aws_caller_info", "region=eu-west-1");
    assert!(text.to_lowercase().contains("credentials"), "{text}");
    let text = module("aws", "community.aws.ecs_cluster", "name=x state=absent region=eu-west-1");
    assert!(text.to_lowercase().contains("credentials"), "{text}");
}

#[test]
fn an_azure_module_runs_up_to_the_credentials() {
    let text = module("azure", "azure.azcollection.azure_rm_resourcegroup_info", "name=x");
    assert!(text.to_lowercase().contains("credential"), "{text}");
    assert!(!text.contains("ModuleNotFoundError") && !text.contains("Failed to import"), "{text}");
}

#[test]
fn interactive_shells_flush_their_history() {
    let text =
        docker(&["run", "--rm", "--user", "ansible", "--entrypoint", "bash", &image("aws"), "-ic", "echo $PROMPT_COMMAND"]);
    assert!(text.contains("history -a"), "{text}");
}

#[test]
fn what_a_runner_needs_is_there_and_no_runner_where_it_is_left_out() {
    let text =
        shell(&image("aws"), "/sbin/ldconfig -p | grep -cE 'libicuuc|libkrb5.so|liblttng-ust.so|libssl.so.3|libz.so.1'; ls /opt");
    assert!(text.lines().next().and_then(|count| count.parse::<u32>().ok()).unwrap_or_default() >= 5, "{text}");
    assert!(!text.contains("actions-runner"), "{text}");
}

#[test]
fn the_ide_of_web_variants_is_baked_under_opt_and_nothing_in_a_home() {
    for variant in WEB {
        assert!(shell(&image(variant), "/opt/code-server/bin/code-server --version").contains("4.139.1"), "{variant}");
        let homes = docker(&["run", "--rm", "--entrypoint", "find", &image(variant), "/home", "/root", "-type", "f"]);
        for file in homes.lines() {
            let name = file.rsplit('/').next().unwrap_or_default();
            assert!([".bashrc", ".profile", ".bash_logout"].contains(&name), "{variant}: {file}");
        }
    }
}
