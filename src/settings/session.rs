//! Which of the container's variables a session or an editor sees: an allow-list.

use super::table::SECRETS;
use std::ffi::{OsStr, OsString};

/// Names that are handed on as they are.
const NAMES: &[&str] = &[
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EXECUTION_ENV",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_TENANT_ID",
    "CURL_CA_BUNDLE",
    "EDITOR",
    "GIT_SSL_CAINFO",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IDENTITY_ENDPOINT",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "LANG",
    "LANGUAGE",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "PAGER",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Beginnings of families of names that are handed on.
const FAMILIES: &[&str] = &["ANSIBLE_", "ECS_", "LC_"];

/// Parts of a name behind which a secret is to be expected, whatever the family.
const SUSPICIOUS: &[&str] = &["KEY", "PASS", "SECRET", "TOKEN"];

/// The variables of `environment` that sessions see.
pub(super) fn select(environment: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    environment.iter().filter(|(name, value)| allowed(name) && !value.is_empty()).cloned().collect()
}

fn allowed(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    if SECRETS.contains(&name) || name.starts_with("ANSIBLE_REPO_") {
        return false;
    }
    // A path to a secret is none: who may read the file is decided there.
    let suspicious = SUSPICIOUS.iter().any(|part| name.contains(part)) && !name.ends_with("_FILE");
    NAMES.contains(&name) || (FAMILIES.iter().any(|family| name.starts_with(family)) && !suspicious)
}

#[cfg(test)]
mod tests {
    use super::allowed;
    use std::ffi::OsStr;

    #[test]
    fn sessions_see_their_surroundings_and_no_secret() {
        let table = [
            ("PATH", true),
            ("LC_ALL", true),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", true),
            ("ECS_CONTAINER_METADATA_URI_V4", true),
            ("ANSIBLE_CONFIG", true),
            ("ANSIBLE_VAULT_PASSWORD_FILE", true),
            ("ANSIBLE_BECOME_PASS", false),
            ("ANSIBLE_GALAXY_SERVER_HUB_TOKEN", false),
            ("ANSIBLE_REPO_URL", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("AWS_SESSION_TOKEN", false),
            ("GITHUB_TOKEN", false),
            ("VSCODE_WEB_TOKEN", false),
            ("IDENTITY_HEADER", false),
            ("LD_PRELOAD", false),
            ("HOME", false),
        ];
        for (name, expected) in table {
            assert_eq!(allowed(OsStr::new(name)), expected, "{name}");
        }
    }
}
