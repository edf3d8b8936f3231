//! What the engine has, from one listing. Pure after that.

use std::collections::{HashMap, HashSet};

use crate::engine::LocalImage;
use crate::plan::{self, Plan, Step, Work};

/// The engine's images, found by tag and by input digest.
#[derive(Debug, Default)]
pub struct Inventory {
    images: Vec<LocalImage>,
    by_tag: HashMap<String, usize>,
}

impl Inventory {
    /// From a listing.
    pub fn new(images: Vec<LocalImage>) -> Self {
        let tags = images.iter().enumerate().flat_map(|(at, image)| image.tags.iter().map(move |tag| (tag.clone(), at)));
        Self { by_tag: tags.collect(), images }
    }

    /// The image that a step makes, if it is there.
    ///
    /// It must bear the step's stage tag and its input digest. The label alone does not do: a person's own image built
    /// on a variant inherits it.
    pub fn find(&self, step: &Step) -> Option<&LocalImage> {
        let image = self.by_tag.get(step.stage.as_ref()?).and_then(|at| self.images.get(*at))?;
        // What is pulled bears its maker's labels; its stage tag is made of the digest that was asked for.
        let ours = matches!(step.work, Work::Pull { .. })
            || image.labels.get(plan::INPUT).is_some_and(|input| *input == step.input.to_string());
        (ours && !Self::says_dirty_wrongly(step, image)).then_some(image)
    }

    /// Whether the image says that it is of a tree with changes, while this plan is of a commit. Its content is the same
    /// (the input digest says so), but it would be published under a commit that it denies; finishing it anew is cheap.
    fn says_dirty_wrongly(step: &Step, image: &LocalImage) -> bool {
        let Work::Build(build) = &step.work else { return false };
        let says_dirty = |revision: &String| revision.ends_with("-dirty");
        build.labels.get(plan::REVISION).is_some_and(|planned| !says_dirty(planned))
            && image.labels.get(plan::REVISION).is_some_and(says_dirty)
    }

    /// The id of the image that `tag` names.
    pub fn id(&self, tag: &str) -> Option<&str> {
        self.by_tag.get(tag).and_then(|at| self.images.get(*at)).map(|image| image.id.as_str())
    }

    /// Every image that has a tag.
    pub fn images(&self) -> &[LocalImage] {
        &self.images
    }

    /// Every tag and its image.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &LocalImage)> {
        self.by_tag.iter().filter_map(|(tag, at)| Some((tag.as_str(), self.images.get(*at)?)))
    }

    /// Stage tags of earlier inputs of the plan's images, sorted: same name, same family, profile and platform, other digest.
    pub fn superseded(&self, plan: &Plan) -> Vec<String> {
        let stages: HashSet<&str> = plan.steps.iter().filter_map(|step| step.stage.as_deref()).collect();
        let names: HashSet<&str> = stages.iter().filter_map(|stage| plan::stage_name(stage)).collect();
        let platform = plan.platform.to_string();
        let of_this_plan = |image: &LocalImage| {
            let label = |key: &str| image.labels.get(key).map(String::as_str);
            // Another family on this engine may have an image of the same name, and be building on it right now.
            label(plan::FAMILY) == Some(plan.family.as_str())
                && label(plan::PROFILE) == Some(plan.profile.as_str())
                && label(plan::PLATFORM) == Some(platform.as_str())
        };
        let mut tags: Vec<String> = self
            .tags()
            .filter(|(tag, image)| {
                plan::stage_name(tag).is_some_and(|name| names.contains(name)) && !stages.contains(tag) && of_this_plan(image)
            })
            .map(|(tag, _)| tag.to_owned())
            .collect();
        tags.sort();
        tags
    }
}
