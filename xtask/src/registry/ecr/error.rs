//! What can go wrong with AWS, told without what its answers and our credentials hold.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};

use crate::oci::EcrRegistry;
use crate::registry::innermost;

/// What can go wrong when AWS is asked.
#[derive(Debug, thiserror::Error)]
pub enum EcrError {
    /// Nothing in the chain has a credential.
    #[error("no AWS credential was found for {registry}: neither in the environment nor in a profile, nor from a role")]
    NoCredential {
        /// Whose registry.
        registry: String,
    },
    /// Something in the chain should have one, and fails. (Its words are not passed on: they may be those of any program.)
    #[error("an AWS credential for {registry} cannot be had: {why}")]
    Credential {
        /// Whose registry.
        registry: String,
        /// What kind of failure.
        why: &'static str,
        /// Whether it is a sign-on that has ended.
        sign_on: bool,
    },
    /// AWS refuses, or cannot.
    #[error("Amazon ECR ({registry}) does not {what}: {code}{message}")]
    Service {
        /// Whose registry.
        registry: String,
        /// What was asked: `hand out a token`.
        what: &'static str,
        /// `AccessDeniedException`
        code: String,
        /// `: ` and its words.
        message: String,
    },
    /// No answer.
    #[error("Amazon ECR ({registry}) cannot be asked to {what}: {why}")]
    Unreachable {
        /// Whose registry.
        registry: String,
        /// What was asked.
        what: &'static str,
        /// The innermost cause.
        why: String,
    },
}

impl EcrError {
    /// From what the SDK says.
    pub(super) fn of<E, R>(registry: &EcrRegistry, what: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let registry = registry.to_string();
        if let Some(inner) = error.as_service_error() {
            let code = inner.code().unwrap_or("the answer is not one of AWS").to_owned();
            let words = inner.message().unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c });
            let words: String = words.take(300).collect();
            let message = if words.is_empty() { words } else { format!(": {words}") };
            return Self::Service { registry, what, code, message };
        }
        match credential(error) {
            Some(CredentialsError::CredentialsNotLoaded(_)) => Self::NoCredential { registry },
            Some(found) => {
                let why = match found {
                    CredentialsError::ProviderTimedOut(_) => "its source does not answer in time",
                    CredentialsError::InvalidConfiguration(_) => "the configuration of AWS is not valid",
                    _ => "no source has one, or the one that should fails",
                };
                let text = whole(found);
                let sign_on = ["sso", "SSO", "token has expired", "login"].iter().any(|word| text.contains(word));
                Self::Credential { registry, why, sign_on }
            }
            None => Self::Unreachable { registry, what, why: innermost(error) },
        }
    }

    /// The repository is not there.
    pub(super) fn is_no_repository(&self) -> bool {
        self.code() == Some("RepositoryNotFoundException")
    }

    /// AWS's name of what went wrong, where it answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// This identity may not do this.
    pub fn is_denied(&self) -> bool {
        self.code() == Some("AccessDeniedException")
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoCredential { .. } => {
                "set AWS_PROFILE (`aws configure list-profiles`) or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; in GitHub \
                 Actions: `aws-actions/configure-aws-credentials`"
                    .to_owned()
            }
            Self::Credential { sign_on: true, .. } => "`aws sso login` again, with the same profile".to_owned(),
            Self::Credential { .. } => "`aws sts get-caller-identity` says more".to_owned(),
            Self::Service { what, .. } if self.is_denied() => {
                format!("the identity's policy has to allow it to {what}: `aws sts get-caller-identity` says who it is")
            }
            Self::Service { code, .. } if code.contains("Token") || code.contains("Client") => {
                "`aws sts get-caller-identity` says whether AWS knows this identity".to_owned()
            }
            Self::Service { .. } | Self::Unreachable { .. } => return None,
        })
    }
}

fn credential<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e CredentialsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The words of an error and all its causes: to look into, never to be shown.
fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &error.to_string();
        cause = error.source();
    }
    text
}
