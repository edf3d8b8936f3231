//! What an image has to show, from the family and the plan. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::family::{Family, Growth, Name, Smoke, Template, Trial};
use crate::oci::Digest;
use crate::plan::{self, Plan, VariantPlan, Work};

/// The version of the checks that every image is tried by: a record of other ones says nothing. To be counted up with every
/// change of what is tried.
const CHECKS: u32 = 5;

/// What the pins are called that the entrypoint knows as services. (`src/places.rs`)
const RUNNER: &str = "github-runner";
const CLI: &str = "vscode-cli";
const IDES: [&str; 2] = ["code-server", "vscode-server"];

/// Something that an image has or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// In this version.
    Here(String),
    /// Left out of this build, visibly.
    Omitted,
    /// It belongs to other variants.
    None,
}

/// What an image has to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Promise {
    /// The variant.
    pub variant: Name,
    /// The labels of the plan.
    pub labels: BTreeMap<String, String>,
    /// What each tool prints; none: it is left out of this build with its pin.
    pub tools: BTreeMap<String, Option<String>>,
    /// What each variable contains.
    pub env: BTreeMap<String, String>,
    /// Commands; what they expect has its pins filled in.
    pub checks: Vec<Trial>,
    /// The most that is pulled of it, in bytes.
    pub max_size: Option<u64>,
    /// The most that it grows.
    pub max_growth: Option<Growth>,
    /// VS Code in the browser.
    pub web: Component,
    /// VS Code's command line program, which is the tunnel.
    pub tunnel: Component,
    /// The GitHub runner.
    pub runner: Component,
}

impl Promise {
    /// What the variant promises. `labels` are those of the image that stands in for it, where one does: they tell which
    /// components it has. None where the plan does not build it.
    pub fn of(family: &Family, plan: &Plan, variant: &VariantPlan, labels: Option<&BTreeMap<String, String>>) -> Option<Self> {
        let step = plan.step(&variant.finished)?;
        let Work::Build(built) = &step.work else { return None };
        let smoke = &family.images.get(&variant.name)?.smoke;
        let mut planned = built.labels.clone();
        // What stands in for it was built of something else.
        if labels.is_none() {
            planned.insert(plan::INPUT.to_owned(), step.input.to_string());
        }
        let components = labels.unwrap_or(&planned);
        let component = |pin: &str| component(components, pin);
        Some(Self {
            variant: variant.name.clone(),
            tools: tools(family, components, smoke),
            env: smoke.env.clone(),
            checks: smoke.checks.iter().map(|trial| filled(family, trial)).collect(),
            max_size: smoke.max_size,
            max_growth: smoke.max_growth,
            web: IDES.into_iter().map(component).find(|ide| matches!(ide, Component::Here(_))).unwrap_or(Component::None),
            tunnel: component(CLI),
            runner: component(RUNNER),
            labels: planned,
        })
    }

    /// Names these checks: a record of the same image with the same digest need not be repeated.
    pub fn digest(&self) -> Digest {
        // The labels are part of what is checked, but the commit alone moves with every commit.
        let mut labels = self.labels.clone();
        labels.remove(plan::REVISION);
        let promise = Self { labels, ..self.clone() };
        Digest::of(serde_json::to_vec(&(CHECKS, promise)).unwrap_or_default())
    }
}

fn component(labels: &BTreeMap<String, String>, pin: &str) -> Component {
    match labels.get(&format!("{}{pin}", plan::PIN)) {
        Some(version) => Component::Here(version.clone()),
        None if labels.get(plan::OMITTED).is_some_and(|omitted| omitted.split(',').any(|name| name == pin)) => Component::Omitted,
        None => Component::None,
    }
}

/// What the tools of an image print that has these labels.
fn tools(family: &Family, labels: &BTreeMap<String, String>, smoke: &Smoke) -> BTreeMap<String, Option<String>> {
    let text = |template: &Template| {
        // An image that stands in for another may have another version of it.
        let own = |pin: &str| labels.get(&format!("{}{pin}", plan::PIN)).map(String::as_str);
        let version = |pin: &str| own(pin).or_else(|| Some(family.pins.get(&pin.parse::<Name>().ok()?)?.version.as_str()));
        let is_omitted =
            family.pins.keys().any(|pin| template.uses(pin.as_str()) && component(labels, pin.as_str()) == Component::Omitted);
        (!is_omitted).then(|| template.fill(version))
    };
    smoke.tools.iter().map(|(name, template)| (name.clone(), text(template))).collect()
}

fn filled(family: &Family, trial: &Trial) -> Trial {
    let fill = |text: &String| {
        family
            .pins
            .iter()
            .fold(text.clone(), |text, (name, pin)| text.replace(&format!("{{{name}}}"), &regex_lite::escape(&pin.version)))
    };
    Trial { expect: trial.expect.as_ref().map(fill), ..trial.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_tell_which_components_there_are() {
        let labels = BTreeMap::from([
            ("gantry.pin.code-server".to_owned(), "4.1".to_owned()),
            ("gantry.omitted".to_owned(), "github-runner,vscode-cli".to_owned()),
        ]);
        for (pin, expected) in [
            ("code-server", Component::Here("4.1".to_owned())),
            ("vscode-cli", Component::Omitted),
            ("vscode", Component::None),
            ("vscode-server", Component::None),
        ] {
            assert_eq!(component(&labels, pin), expected, "{pin}");
        }
    }
}
