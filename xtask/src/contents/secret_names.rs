//! What may hold a secret, by its name.

/// Whether a variable, label or argument of this name may hold a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // The path of a file with a secret, and what everybody may know.
    if words.contains(&"public") || words.last().is_some_and(|word| ["file", "path", "dir", "url"].contains(word)) {
        return false;
    }
    ["token", "secret", "passw", "passphrase", "credential", "apikey", "privatekey"].iter().any(|part| name.contains(part))
        || words.iter().any(|word| ["key", "pat", "pwd", "pass", "auth"].contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "GITHUB_TOKEN",
            "CODER_AGENT_TOKEN",
            "aws_secret_access_key",
            "PGPASSWORD",
            "MYSQL_PWD",
            "SSH_KEY",
            "github-pat",
            "NPM_AUTH",
            "GITHUB_APP_PRIVATE_KEY",
            "--password",
            "X_APIKEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "PATH",
            "KEYBOARD",
            "GITHUB_RUNNER_PAT_FILE",
            "PUBLIC_KEY",
            "MONKEY",
            "org.opencontainers.image.authors",
            "COMPASS",
            "TOKEN_URL",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
