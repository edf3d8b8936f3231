//! Repositories in ECR: what one is like, and making it what it should be.

use std::collections::BTreeSet;

use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType, ImageScanningConfiguration, ImageTagMutability, ImageTagMutabilityExclusionFilter,
    ImageTagMutabilityExclusionFilterType, Repository,
};

use super::settings::{Change, Found, Mutability};
use super::{EcrApi, EcrError};

impl EcrApi {
    /// What the repository called `name` is like; none where there is none.
    ///
    /// # Errors
    /// AWS cannot be asked, or does not say.
    pub async fn find(&self, name: &str) -> Result<Option<Found>, EcrError> {
        let Some(repository) = self.described(name).await? else { return Ok(None) };
        let lifecycle = self.lifecycle(name).await?;
        let encryption = repository.encryption_configuration();
        Ok(Some(Found {
            mutability: mutability(&repository),
            scan_on_push: repository.image_scanning_configuration().is_some_and(ImageScanningConfiguration::scan_on_push),
            // What is not said is ECR's default.
            encryption: encryption.map_or("AES256", |found| found.encryption_type().as_str()).to_owned(),
            kms_key: encryption.and_then(|found| found.kms_key()).map(str::to_owned),
            lifecycle,
        }))
    }

    /// Which tags of the repository may move; none where there is no such repository.
    ///
    /// # Errors
    /// AWS cannot be asked, or does not say.
    pub async fn mutability(&self, name: &str) -> Result<Option<Mutability>, EcrError> {
        Ok(self.described(name).await?.as_ref().map(mutability))
    }

    async fn described(&self, name: &str) -> Result<Option<Repository>, EcrError> {
        const WHAT: &str = "describe the repository (`ecr:DescribeRepositories`)";
        let asked = self.client.describe_repositories().registry_id(&self.registry.account).repository_names(name).send().await;
        match asked.map_err(|error| EcrError::of(&self.registry, WHAT, &error)) {
            // moto answers with an empty list for a registry in which nothing was ever made.
            Ok(answer) => Ok(answer.repositories.unwrap_or_default().into_iter().next()),
            Err(error) if error.is_no_repository() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn lifecycle(&self, name: &str) -> Result<Option<serde_json::Value>, EcrError> {
        const WHAT: &str = "read the lifecycle policy (`ecr:GetLifecyclePolicy`)";
        let asked = self.client.get_lifecycle_policy().registry_id(&self.registry.account).repository_name(name).send().await;
        match asked.map_err(|error| EcrError::of(&self.registry, WHAT, &error)) {
            // A policy that is no JSON is another one than is wanted, and shown as it is.
            Ok(answer) => Ok(answer.lifecycle_policy_text.map(|text| serde_json::from_str(&text).unwrap_or(text.into()))),
            Err(error) if error.code() == Some("LifecyclePolicyNotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Carries one change out.
    ///
    /// # Errors
    /// AWS cannot be asked, or refuses.
    pub async fn apply(&self, name: &str, change: &Change) -> Result<(), EcrError> {
        let (client, account) = (&self.client, &self.registry.account);
        match change {
            Change::Create { encryption, kms_key } => {
                const WHAT: &str = "create the repository (`ecr:CreateRepository`)";
                let kind = EncryptionType::from(encryption.as_str());
                let encryption = EncryptionConfiguration::builder().encryption_type(kind).set_kms_key(kms_key.clone()).build();
                let creating = client.create_repository().registry_id(account).repository_name(name);
                match creating.set_encryption_configuration(encryption.ok()).send().await {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        let error = EcrError::of(&self.registry, WHAT, &error);
                        // Somebody else was quicker; what it is like is set next.
                        if error.code() == Some("RepositoryAlreadyExistsException") { Ok(()) } else { Err(error) }
                    }
                }
            }
            Change::ScanOnPush => {
                const WHAT: &str = "scan what is pushed (`ecr:PutImageScanningConfiguration`)";
                let scanning = ImageScanningConfiguration::builder().scan_on_push(true).build();
                let put = client.put_image_scanning_configuration().registry_id(account).repository_name(name);
                let put = put.image_scanning_configuration(scanning).send().await;
                put.map(drop).map_err(|error| EcrError::of(&self.registry, WHAT, &error))
            }
            Change::Mutability { to, .. } => {
                const WHAT: &str = "set which tags may move (`ecr:PutImageTagMutability`)";
                let (kind, patterns) = match to {
                    Mutability::Mutable => (ImageTagMutability::Mutable, None),
                    Mutability::Immutable => (ImageTagMutability::Immutable, None),
                    Mutability::MutableExcept(patterns) => (ImageTagMutability::MutableWithExclusion, Some(patterns)),
                    Mutability::ImmutableExcept(patterns) => (ImageTagMutability::ImmutableWithExclusion, Some(patterns)),
                };
                let put = client.put_image_tag_mutability().registry_id(account).repository_name(name);
                let put = put.image_tag_mutability(kind).set_image_tag_mutability_exclusion_filters(patterns.map(filters));
                put.send().await.map(drop).map_err(|error| EcrError::of(&self.registry, WHAT, &error))
            }
            Change::Lifecycle { to, .. } => {
                const WHAT: &str = "set what expires (`ecr:PutLifecyclePolicy`)";
                let put = client.put_lifecycle_policy().registry_id(account).repository_name(name);
                let put = put.lifecycle_policy_text(to.to_string()).send().await;
                put.map(drop).map_err(|error| EcrError::of(&self.registry, WHAT, &error))
            }
        }
    }
}

fn mutability(repository: &Repository) -> Mutability {
    let filters = repository.image_tag_mutability_exclusion_filters();
    let patterns: BTreeSet<String> = filters.iter().map(|filter| filter.filter().to_owned()).collect();
    match repository.image_tag_mutability() {
        Some(ImageTagMutability::Immutable) => Mutability::Immutable,
        Some(ImageTagMutability::ImmutableWithExclusion) => Mutability::ImmutableExcept(patterns),
        Some(ImageTagMutability::MutableWithExclusion) => Mutability::MutableExcept(patterns),
        _ => Mutability::Mutable,
    }
}

fn filters(patterns: &BTreeSet<String>) -> Vec<ImageTagMutabilityExclusionFilter> {
    let filter = |pattern: &String| {
        let kind = ImageTagMutabilityExclusionFilterType::Wildcard;
        ImageTagMutabilityExclusionFilter::builder().filter_type(kind).filter(pattern).build().ok()
    };
    patterns.iter().filter_map(filter).collect()
}
