//! What Python's installers leave. ("Recording installed projects", core metadata 2.4, PEP 503, PEP 639; `.egg-info` of
//! setuptools.)

use super::{Package, PackageKind};

/// Whether a file names a package.
pub(super) fn is_evidence(path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    match file {
        "METADATA" => folder.ends_with(".dist-info"),
        "PKG-INFO" => folder.ends_with(".egg-info"),
        _ => file.ends_with(".egg-info"),
    }
}

/// Whether a file lists what belongs to one.
pub(super) fn is_record(path: &str) -> bool {
    path.ends_with(".dist-info/RECORD") || path.ends_with(".egg-info/installed-files.txt")
}

/// The package that a file names.
pub(super) fn read(path: &str, bytes: &[u8]) -> Option<Package> {
    let text = String::from_utf8_lossy(bytes);
    // Headers end at the first empty line; what follows is the description.
    let headers = text.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with([' ', '\t']));
    let headers: Vec<(&str, &str)> =
        headers.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect();
    let said = |name: &str| {
        let mut values = headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        values.find(|value| !value.is_empty() && *value != "UNKNOWN")
    };
    let classifiers = headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case("Classifier"));
    let classifiers: Vec<&str> = classifiers.filter_map(|(_, value)| license_of_classifier(value)).collect();
    // Some put the whole text there.
    let words = said("License").filter(|words| words.len() <= 100 && !text_of_license(words));
    let license = said("License-Expression").or(words).map(str::to_owned);
    Some(Package {
        kind: PackageKind::Python,
        name: normalised(said("Name")?),
        version: said("Version")?.to_owned(),
        architecture: None,
        place: folder(path),
        bytes: 0,
        license: license.or_else(|| (!classifiers.is_empty()).then(|| classifiers.join(", "))),
        source: None,
        origin: None,
    })
}

fn license_of_classifier(classifier: &str) -> Option<&str> {
    let license = classifier.strip_prefix("License ::")?.rsplit("::").next()?.trim();
    (license != "OSI Approved").then_some(license)
}

fn text_of_license(words: &str) -> bool {
    words.contains("Copyright") || words.contains("(c)")
}

/// PEP 503: lower case, runs of `-`, `_` and `.` are one `-`.
pub(super) fn normalised(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            _ => normal.extend(letter.to_lowercase()),
        }
    }
    normal
}

/// The folder that a package lies in: the one with its `.dist-info`.
pub(super) fn folder(evidence: &str) -> Option<String> {
    let (above, file) = evidence.rsplit_once('/')?;
    let folder = if file.ends_with(".egg-info") { above } else { above.rsplit_once('/').map_or("", |(above, _)| above) };
    Some(folder.to_owned())
}

/// The files that a record lists, as paths from the root.
pub(super) fn recorded(path: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let is_egg = path.ends_with("installed-files.txt");
    let base = match is_egg {
        true => path.rsplit_once('/').map(|(above, _)| above.to_owned()),
        false => folder(path),
    };
    let base = base.unwrap_or_default();
    let named = text.lines().filter(|line| !line.is_empty()).map(|line| if is_egg { line } else { first_field(line) });
    named.map(|name| resolved(&base, name)).collect()
}

/// Of a line of comma-separated values. A quote in a quoted name is written twice: no file of a wheel has one.
fn first_field(line: &str) -> &str {
    match line.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        None => line.split(',').next().unwrap_or_default(),
    }
}

/// `name` as seen from the folder `base`, from the root.
fn resolved(base: &str, name: &str) -> String {
    let mut parts: Vec<&str> = if name.starts_with('/') { Vec::new() } else { base.split('/').collect() };
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}
