//! What a person should know of a plan before it is carried out.

use std::collections::BTreeMap;

use super::model::VariantPlan;
use super::resolve::Request;
use crate::family::Name;

/// Pins that are left out, and a CA bundle that forbids publishing.
pub(super) fn of(request: &Request<'_>, variants: &[VariantPlan]) -> Vec<String> {
    let mut omitted: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
    for variant in variants {
        for pin in &variant.omitted {
            omitted.entry(pin).or_default().push(variant.name.as_str());
        }
    }
    let mut warnings: Vec<String> = omitted
        .into_iter()
        .map(|(pin, variants)| {
            let why = request.facts.unavailable.get(pin).map_or("the profile is without it", String::as_str);
            format!("`{pin}` is left out of {}: {why}", variants.join(", "))
        })
        .collect();
    if let Some(bundle) = request.facts.ca_bundle.as_ref().filter(|bundle| !bundle.named) {
        warnings.push(format!(
            "builds are given the CA bundle {}, which variants.toml does not name: these images are not for publishing",
            bundle.file
        ));
    }
    warnings
}
