//! What is in each image, asked of the programs themselves.

use crate::docker::{docker, shell, try_docker};
use crate::family::{VARIANTS, WEB, image};

const GENERAL: [&str; 6] =
    ["ansible.posix", "ansible.utils", "ansible.windows", "community.general", "community.windows", "microsoft.ad"];

#[test]
fn ansible_is_core_2_18_or_later_in_every_variant() {
    for variant in VARIANTS {
        let version = shell(&image(variant), "ansible --version");
        let core = version.split("[core ").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
        let mut parts = core.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        let found = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        assert!(found >= (2, 18), "{variant}: {version}");
    }
}

#[test]
fn collections_are_where_they_belong() {
    for (variant, own) in [
        ("aws", &["amazon.aws", "community.aws"][..]),
        ("azure", &["azure.azcollection"][..]),
        ("aws-web", &["amazon.aws", "community.aws"][..]),
        ("azure-web", &["azure.azcollection"][..]),
    ] {
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
fn windows_is_reached_by_kerberos_and_psrp() {
    for variant in VARIANTS {
        shell(&image(variant), "/opt/ansible/bin/python -c 'import winrm.vendor.requests_kerberos, pypsrp, socks, krb5'");
    }
}

#[test]
fn the_cloud_clis_answer() {
    for variant in ["aws", "aws-web"] {
        assert!(shell(&image(variant), "aws --version").starts_with("aws-cli/2"), "{variant}");
    }
    for variant in ["azure", "azure-web"] {
        assert!(shell(&image(variant), "az version").contains("\"azure-cli\""), "{variant}");
    }
}

#[test]
fn the_tools_of_a_shell_answer() {
    for variant in VARIANTS {
        let tools = "git --version && gh --version && curl --version && jq --version && ansible-lint --version && sudo -n id -u";
        let text = shell(&image(variant), tools);
        assert!(text.contains("git version 2") && text.contains("gh version"), "{variant}: {text}");
        assert!(text.trim_end().ends_with('0'), "sudo works without a password: {text}");
    }
}

#[test]
fn the_users_are_the_person_and_the_robot() {
    for variant in VARIANTS {
        let text = docker(&[
            "run",
            "--rm",
            "--entrypoint",
            "bash",
            &image(variant),
            "-c",
            "id ansible; id runner; getent passwd ansible runner; getent shadow ansible runner; \
             setpriv --reuid=1001 --regid=1001 --clear-groups sudo -n true || echo no sudo",
        ]);
        assert!(text.contains("uid=1000(ansible) gid=1000(ansible)"), "{text}");
        assert!(text.contains("uid=1001(runner) gid=1001(runner)"), "{text}");
        assert!(text.contains("ansible:x:1000:1000::/home/ansible:/bin/bash"), "{text}");
        assert!(text.contains("ansible:*:") && text.contains("runner:*:"), "{text}");
        assert!(text.contains("no sudo"), "{text}");
    }
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
