//! What differs among the SBOMs of one image. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ledger::View;
use super::{Evidence, SeenImage};
use crate::oci::{Digest, Repository, media_type};

/// An image at a destination: repository, digest, the destination's name.
type At<'a> = (&'a Repository, Digest, &'a str);

/// What is wrong, in words, and at which destination; none where it is about more than one.
pub(super) fn differences<'a>(images: &[At<'a>], evidence: &Evidence, ledger: &View) -> Vec<(Option<&'a str>, String)> {
    let mut found = Vec::new();
    let mut everywhere: BTreeMap<Digest, Vec<(&str, BTreeSet<Digest>)>> = BTreeMap::new();
    for (repository, digest, destination) in images {
        let seen = evidence.images.get(&((*repository).clone(), *digest));
        let Some(SeenImage { sboms: Some(sboms), .. }) = seen else { continue };
        let name = format!("`{repository}@{}`", digest.short(12));
        let reference = repository.digest(*digest).to_string();
        let of_image = ledger.attachments.values().filter(|line| line.reference == reference);
        let of_ledger: Vec<Digest> =
            of_image.filter(|line| line.artifact_type == media_type::CYCLONEDX).map(|line| line.digest).collect();
        let lost = of_ledger.first().filter(|_| !of_ledger.iter().any(|known| sboms.contains_key(known)));
        let says = lost.map(|digest| format!("; the ledger says that {digest} was attached")).unwrap_or_default();
        match sboms.keys().next() {
            None => found.push((Some(*destination), format!("{name} has no SBOM{says}"))),
            Some(other) if lost.is_some() => found.push((Some(*destination), format!("{name} has the SBOM {other}{says}"))),
            Some(_) => {}
        }
        for (sbom, fault) in sboms.iter().flat_map(|(sbom, faults)| faults.iter().map(move |fault| (sbom, fault))) {
            found.push((Some(*destination), format!("the SBOM {} of {name}: {fault}", sbom.short(12))));
        }
        if !sboms.is_empty() {
            everywhere.entry(*digest).or_default().push((destination, sboms.keys().copied().collect()));
        }
    }
    for (digest, places) in everywhere {
        let common = places.iter().map(|(_, sboms)| sboms.clone()).reduce(|a, b| &a & &b).unwrap_or_default();
        if common.is_empty() {
            let all = places.iter().flat_map(|(at, sboms)| sboms.iter().map(move |sbom| format!("{} in `{at}`", sbom.short(12))));
            found.push((None, format!("the SBOM of {} is {}", digest.short(12), all.collect::<Vec<_>>().join(", "))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::super::ledger::{AttachmentLine, State};
    use super::super::Fault;
    use super::*;
    use crate::oci::Platform;

    fn repository(name: &str) -> Repository {
        format!("{name}.example/team/image").parse().expect("a repository")
    }

    #[test]
    fn an_image_has_the_same_sbom_everywhere() {
        let (a, b, image) = (repository("a"), repository("b"), Digest::of("image"));
        let (one, two) = (Digest::of("one"), Digest::of("two"));
        let fault = || vec![Fault::NoBlob { digest: one }];
        let whole = |sboms: &[Digest]| Some(sboms.iter().map(|sbom| (*sbom, Vec::new())).collect::<BTreeMap<_, _>>());
        for (case, at_a, at_b, remembered, expected) in [
            ("the same", whole(&[one]), whole(&[one]), Some(one), &[][..]),
            ("one more", whole(&[one, two]), whole(&[one]), None, &[]),
            ("not looked at", None, None, Some(one), &[]),
            ("none", whole(&[]), whole(&[]), None, &[(Some("a"), "has no SBOM"), (Some("b"), "has no SBOM")]),
            ("missing in one", whole(&[one]), whole(&[]), None, &[(Some("b"), "has no SBOM")]),
            ("another", whole(&[one]), whole(&[two]), None, &[(None, "is 7692c3ad3540 in `a`, 3fc4ccfe7458 in `b`")]),
            ("lost", whole(&[]), whole(&[one]), Some(one), &[(Some("a"), "has no SBOM; the ledger says that sha256:7692")]),
            ("replaced", whole(&[two]), whole(&[two]), Some(one), &[(Some("a"), "has the SBOM sha256:3fc4")]),
            ("damaged", Some(BTreeMap::from([(one, fault())])), whole(&[one]), None, &[(Some("a"), "is missing")]),
        ] {
            let mut evidence = Evidence::default();
            for (at, sboms) in [(&a, at_a), (&b, at_b)] {
                evidence.images.insert((at.clone(), image), SeenImage { sboms, ..SeenImage::default() });
            }
            let mut ledger = View::default();
            if let Some(digest) = remembered {
                let line = AttachmentLine {
                    variant: "aws".parse().expect("a name"),
                    platform: Platform::LinuxAmd64,
                    destination: "a".to_owned(),
                    reference: a.digest(image).to_string(),
                    artifact_type: media_type::CYCLONEDX.to_owned(),
                    digest,
                    state: State::Pushed,
                };
                ledger.attachments.insert((line.reference.clone(), digest), line);
            }
            let found = differences(&[(&a, image, "a"), (&b, image, "b")], &evidence, &ledger);
            let same = found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, wanted)| found.0 == wanted.0 && found.1.contains(wanted.1));
            assert!(same, "{case}: {found:#?}");
        }
    }
}
