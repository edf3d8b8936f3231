//! Amazon ECR's names: which account and region a registry's host belongs to.

use std::fmt;

use serde::Serialize;

/// A private registry of Amazon ECR: one account in one region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EcrRegistry {
    /// Twelve digits.
    pub account: String,
    /// `us-west-2`
    pub region: String,
    /// Whether its endpoints with FIPS 140 cryptography are used.
    pub fips: bool,
}

/// What follows the region. (As amazon-ecr-credential-helper has them: the partitions of AWS, and its names for IPv6.)
const SUFFIXES: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "on.aws",
    "on.amazonwebservices.com.cn",
    "sc2s.sgov.gov",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

impl EcrRegistry {
    /// The registry that answers at `host`: `123456789012.dkr.ecr.us-west-2.amazonaws.com`, with `ecr-fips` or with
    /// `dkr-ecr` and `on.aws` (IPv4 and IPv6) as well. None for every other host, a port or another case included: what is
    /// recognised here is sent a token of AWS. (Nor for `public.ecr.aws`, which is another service with other tokens.)
    pub fn at(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        let rest = rest.strip_prefix("dkr.ecr").or_else(|| rest.strip_prefix("dkr-ecr"))?;
        let (fips, rest) = match rest.strip_prefix("-fips") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (region, suffix) = rest.strip_prefix('.')?.split_once('.')?;
        Self::new(account, region).filter(|_| SUFFIXES.contains(&suffix)).map(|registry| Self { fips, ..registry })
    }

    /// The registry of an account in a region, if that is what these two texts are.
    pub fn new(account: &str, region: &str) -> Option<Self> {
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let is_region = region.contains('-') && region.len() <= 32 && region.split('-').all(word);
        (is_account && is_region).then(|| Self { account: account.to_owned(), region: region.to_owned(), fips: false })
    }
}

impl fmt::Display for EcrRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {} in {}", self.account, self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_registry_a_host_is() {
        for (host, found) in [
            ("271851283454.dkr.ecr.us-west-2.amazonaws.com", Some(("271851283454", "us-west-2", false))),
            ("271851283454.dkr.ecr.cn-north-1.amazonaws.com.cn", Some(("271851283454", "cn-north-1", false))),
            ("271851283454.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some(("271851283454", "us-gov-west-1", true))),
            ("271851283454.dkr-ecr.eu-central-1.on.aws", Some(("271851283454", "eu-central-1", false))),
            ("271851283454.dkr-ecr-fips.us-east-1.on.aws", Some(("271851283454", "us-east-1", true))),
            ("271851283454.dkr.ecr.eusc-de-east-1.amazonaws.eu", Some(("271851283454", "eusc-de-east-1", false))),
            ("public.ecr.aws", None),
            ("271851283454.dkr.ecr.us-west-2.amazonaws.com.evil.example", None),
            ("271851283454.dkr.ecr.us-west-2.evil.example", None),
            ("271851283454.dkr.ecr.us-west-2.amazonaws.com:8443", None),
            ("evil.dkr.ecr.us-west-2.amazonaws.com", None),
            ("27185128345.dkr.ecr.us-west-2.amazonaws.com", None),
            ("271851283454.dkr.ecr.us-west-2/a.amazonaws.com", None),
            ("271851283454.dkr.ecr-x.us-west-2.amazonaws.com", None),
            ("271851283454.dkr.ecr..amazonaws.com", None),
            ("ghcr.io", None),
            ("127.0.0.1:5000", None),
        ] {
            let registry = EcrRegistry::at(host);
            let told = registry.as_ref().map(|registry| (registry.account.as_str(), registry.region.as_str(), registry.fips));
            assert_eq!(told, found, "{host}");
        }
    }
}
