//! What can go wrong with ECS, told without what credentials hold.

use crate::failure::{Exit, Failure};

/// What can go wrong when ECS is asked.
#[derive(Debug, thiserror::Error)]
pub enum EcsError {
    /// No region is known.
    #[error("which region of AWS the cluster is in is not said")]
    NoRegion,
    /// Nothing in the chain has a credential.
    #[error("no AWS credential was found: neither in the environment nor in a profile, nor from a role")]
    NoCredential,
    /// Something in the chain should have one, and fails. (Its words are not passed on: they may be those of any program.)
    #[error("an AWS credential cannot be had: {why}")]
    Credential {
        /// What kind of failure.
        why: &'static str,
    },
    /// The endpoint cannot be used.
    #[error("the endpoint `{url}` of Amazon ECS cannot be used: {why}")]
    Endpoint {
        /// As it was found.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// ECS refuses, or cannot.
    #[error("Amazon ECS in {region} refuses `ecs:{action}`: {code}{message}")]
    Service {
        /// Where.
        region: String,
        /// `UpdateService`
        action: &'static str,
        /// `AccessDeniedException`
        code: String,
        /// `: ` and its words.
        message: String,
    },
    /// No answer.
    #[error("Amazon ECS in {region} cannot be asked (`ecs:{action}`): {why}")]
    Unreachable {
        /// Where.
        region: String,
        /// What was asked.
        action: &'static str,
        /// The innermost cause.
        why: String,
    },
}

impl EcsError {
    /// AWS's name of what went wrong, where it answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoRegion => "--region us-west-2, or AWS_REGION, or `region` of the profile".to_owned(),
            Self::NoCredential => {
                "set AWS_PROFILE or --profile (`aws configure list-profiles`), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; in \
                 GitHub Actions: `aws-actions/configure-aws-credentials`"
                    .to_owned()
            }
            Self::Credential { .. } => "set AWS_PROFILE or --profile (`aws configure list-profiles`), or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY; `aws sso login` again where it is a single sign-on; `aws sts get-caller-identity` says more"
                .to_owned(),
            Self::Service { code, action, .. } if code.starts_with("AccessDenied") => {
                format!("the identity's policy has to allow `ecs:{action}`: `aws sts get-caller-identity` says who it is")
            }
            Self::Service { code, .. } if ["Token", "Signature", "UnrecognizedClient"].iter().any(|word| code.contains(word)) => {
                "`aws sts get-caller-identity` says whether AWS knows this identity; is this machine's clock right?".to_owned()
            }
            Self::Unreachable { .. } => "check the network, the region, and HTTPS_PROXY and NO_PROXY".to_owned(),
            Self::Service { .. } | Self::Endpoint { .. } => return None,
        })
    }
}

impl From<EcsError> for Failure {
    fn from(error: EcsError) -> Self {
        let exit = match &error {
            EcsError::Endpoint { .. } => Exit::Usage,
            _ => Exit::Missing,
        };
        let failure = Self::new(exit, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
