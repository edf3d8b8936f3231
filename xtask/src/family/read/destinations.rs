//! `[destinations.NAME]`, and what one of Amazon ECR is to be like.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::model::{Destination, Ecr, Encryption};
use super::super::name::Name;
use super::super::problem::Problem;
use super::super::reader::{Kind, Problems, Table, Text};
use super::{NAME, repository};
use crate::oci::{EcrRegistry, Repository};

const ACCOUNT: Kind = ("an AWS account", "twelve digits");
const REGION: Kind = ("an AWS region", "as in `us-west-2`");
const ENCRYPTION: Kind = ("an encryption of ECR", "`aes256`, `kms` or `kms-dsse`");
const KMS_KEY: Kind = ("a KMS key", "its ARN, its id or `alias/…`");

pub(super) fn read<'t>(root: &mut Table<'t>, problems: &mut Problems<'t>) -> BTreeMap<Name, Destination> {
    let mut destinations = BTreeMap::new();
    let mut taken = BTreeMap::<Repository, Range<usize>>::new();
    for (name, mut table) in root.tables("destinations", problems) {
        let name = problems.parse::<Name>(&name, NAME);
        table.require("repository", r#"repository = "ghcr.io/team/image""#);
        let text = table.text("repository", problems);
        let repository = text.as_ref().and_then(|text| repository(text, problems));
        let insecure = table.boolean("insecure", problems).unwrap_or_default();
        let ecr = ecr(&mut table, repository.as_ref(), problems);
        table.finish(problems);
        let (Some(text), Some(repository)) = (text, repository) else { continue };
        if let Some(first) = taken.insert(repository.clone(), text.span.clone()) {
            let message = format!("`{repository}` is the repository of two destinations");
            problems.report(
                Problem::new(text.span, message, "expected a repository of its own")
                    .related(first, "taken here")
                    .hint("one destination is enough: name it in the `destinations` of every variant that goes there"),
            );
        }
        destinations.extend(name.map(|name| (name, Destination { repository, insecure, ecr })));
    }
    destinations
}

/// What is known of a repository of ECR: its host says whose it is; `ecr = { … }` says what it is to be like. Only a
/// repository on this machine, which stands in for ECR in tests, says itself whose it is: a token of AWS goes nowhere else.
fn ecr<'t>(table: &mut Table<'t>, repository: Option<&Repository>, problems: &mut Problems<'t>) -> Option<Ecr> {
    let of_host = repository.and_then(|repository| EcrRegistry::at(repository.registry()));
    let span = table.key_span("ecr");
    let Some(mut table) = table.table("ecr", problems) else {
        return of_host.map(Ecr::new);
    };
    let registry = match (of_host, repository) {
        (Some(registry), _) => Some(registry),
        (None, Some(repository)) if !repository.is_loopback() => {
            let message = format!("`{}` is no registry of Amazon ECR", repository.registry());
            let accepted = "expected no `ecr`, or a repository at `ACCOUNT.dkr.ecr.REGION.amazonaws.com`";
            problems.report(Problem::new(span, message, accepted));
            return None;
        }
        _ => {
            table.require("account", r#"account = "123456789012""#);
            table.require("region", r#"region = "us-west-2""#);
            let account = table.text("account", problems);
            let region = table.text("region", problems);
            // Each is checked beside a part that is valid.
            let account = account.filter(|text| problems.check(text, EcrRegistry::new(text.text, "a-1").is_some(), ACCOUNT));
            let region =
                region.filter(|text| problems.check(text, EcrRegistry::new("000000000000", text.text).is_some(), REGION));
            account.zip(region).and_then(|(account, region)| EcrRegistry::new(account.text, region.text))
        }
    };
    let (encryption, kms_key) = encryption(&mut table, problems);
    let days = table.number("untagged-days", problems);
    let days = days.filter(|(days, span)| {
        if *days == 0 {
            let message = "`untagged-days` is 0, and what is being published has no tag yet";
            problems.report(Problem::new(span.clone(), message, "expected a number of days, from 1 on"));
        }
        *days > 0
    });
    table.finish(problems);
    let mut ecr = Ecr::new(registry?);
    (ecr.encryption, ecr.kms_key) = (encryption, kms_key);
    ecr.untagged_days = days.map_or(ecr.untagged_days, |(days, _)| days);
    Some(ecr)
}

fn encryption<'t>(table: &mut Table<'t>, problems: &mut Problems<'t>) -> (Option<Encryption>, Option<String>) {
    let is_key = |text: &str| {
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'/' | b'-' | b'_');
        !text.is_empty() && text.bytes().all(valid)
    };
    let name = table.text("encryption", problems);
    let key: Option<Text<'t>> = table.text("kms-key", problems);
    let key = key.filter(|text| problems.check(text, is_key(text.text), KMS_KEY));
    let encryption = match name.as_ref().map(|name| name.text) {
        None => key.is_some().then_some(Encryption::Kms),
        Some("aes256") => Some(Encryption::Aes256),
        Some("kms") => Some(Encryption::Kms),
        Some("kms-dsse") => Some(Encryption::KmsDsse),
        Some(_) => None,
    };
    if let Some(name) = &name {
        problems.check(name, encryption.is_some(), ENCRYPTION);
    }
    if let (Some(Encryption::Aes256), Some(key)) = (encryption, &key) {
        let accepted = "expected no `kms-key`, or `encryption = \"kms\"`";
        problems.report(Problem::new(key.span.clone(), "`kms-key` is given, and `encryption` is `aes256`", accepted));
    }
    (encryption, key.map(|key| key.text.to_owned()))
}
