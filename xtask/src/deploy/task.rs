//! Task definitions: which of their images are this family's. Pure.

use serde_json::Value;

use crate::oci::{Reference, Repository};

/// A container of a task definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image, as it stands there.
    pub image: String,
    /// The same, where it is one of this family's.
    pub ours: Option<Reference>,
}

impl Container {
    /// Whether a new task pulls just the bytes of the one before: the image is named by its digest.
    pub fn is_pinned(&self) -> bool {
        self.ours.as_ref().is_some_and(|reference| reference.digest.is_some())
    }
}

/// The containers of a task definition, as DescribeTaskDefinition answers it.
pub fn containers(definition: &Value, repositories: &[Repository]) -> Vec<Container> {
    let all = definition["containerDefinitions"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |container: &Value| {
        let image = text(&container["image"]);
        let ours = image.parse::<Reference>().ok().filter(|reference| repositories.contains(&reference.repository));
        Container { name: text(&container["name"]), image, ours }
    };
    all.map(one).collect()
}

/// What DescribeTaskDefinition answers and RegisterTaskDefinition does not take. (Amazon ECS API reference)
const READ_ONLY: [&str; 8] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
];

/// What registers the next revision: the same with `image` in the containers that have one of this family's. `answer` is
/// DescribeTaskDefinition's, with tags. None where no container has one.
pub fn replaced(answer: &Value, repositories: &[Repository], image: &str) -> Option<Value> {
    let mut definition = answer.get("taskDefinition")?.clone();
    let is_ours: Vec<bool> = containers(&definition, repositories).iter().map(|container| container.ours.is_some()).collect();
    if !is_ours.contains(&true) {
        return None;
    }
    let object = definition.as_object_mut()?;
    for name in READ_ONLY {
        object.shift_remove(name);
    }
    let containers = object.get_mut("containerDefinitions")?.as_array_mut()?;
    for (container, _) in containers.iter_mut().zip(&is_ours).filter(|(_, ours)| **ours) {
        container.as_object_mut()?.insert("image".to_owned(), image.into());
    }
    // An empty list of tags is refused.
    if let Some(tags) = answer.get("tags").filter(|tags| tags.as_array().is_some_and(|tags| !tags.is_empty())) {
        object.insert("tags".to_owned(), tags.clone());
    }
    Some(definition)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_next_revision_is_the_same_but_for_our_images() {
        let ours: Vec<Repository> = vec!["ghcr.io/team/image".parse().expect("one")];
        let answer = json!({
            "taskDefinition": {
                "taskDefinitionArn": "arn:aws:ecs:us-west-2:123456789012:task-definition/ansible:7", "revision": 7, "status": "ACTIVE",
                "family": "ansible", "cpu": "1024", "requiresAttributes": [], "registeredAt": 1.5, "compatibilities": ["FARGATE"],
                "containerDefinitions": [
                    { "name": "workspace", "image": "ghcr.io/team/image:aws", "secrets": [{ "name": "A", "valueFrom": "b" }] },
                    { "name": "side", "image": "ghcr.io/team/image-side:aws" },
                ],
            },
            "tags": [{ "key": "team", "value": "x" }],
        });
        let new = replaced(&answer, &ours, "ghcr.io/team/image:aws-2").expect("a revision");
        let wanted = json!({
            "family": "ansible", "cpu": "1024",
            "containerDefinitions": [
                { "name": "workspace", "image": "ghcr.io/team/image:aws-2", "secrets": [{ "name": "A", "valueFrom": "b" }] },
                { "name": "side", "image": "ghcr.io/team/image-side:aws" },
            ],
            "tags": [{ "key": "team", "value": "x" }],
        });
        assert_eq!(new, wanted);
        assert_eq!(replaced(&answer, &[], "x"), None);
    }

    #[test]
    fn a_digest_pulls_the_same_again() {
        let ours: Vec<Repository> = vec!["ghcr.io/team/image".parse().expect("one")];
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (image, is_ours, pinned) in [
            ("ghcr.io/team/image:aws".to_owned(), true, false),
            (format!("ghcr.io/team/image:aws@{digest}"), true, true),
            (format!("ghcr.io/team/image@{digest}"), true, true),
            (format!("ghcr.io/team/other@{digest}"), false, false),
            ("nginx".to_owned(), false, false),
        ] {
            let definition = json!({ "containerDefinitions": [{ "name": "a", "image": image }] });
            let found = containers(&definition, &ours);
            let told = found.first().map(|found| (found.ours.is_some(), found.is_pinned()));
            assert_eq!(told, Some((is_ours, pinned)), "{image}");
        }
    }
}
