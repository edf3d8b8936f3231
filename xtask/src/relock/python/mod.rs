//! Python's packages: the locks of all images, made anew by the commands that their `.in` files name.

mod command;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::try_join_all;

use super::client::{Client, complaint, folder, read, write};
use super::moved::{Packages, moved};
use super::{Site, folder_of};
use crate::bump::{Candidate, Change, Moved, Trouble, Version};
use crate::failure::Exit;
use crate::oci::Digest;
use command::{Arg, Recipe};

pub(super) const UV: Client = Client {
    program: "uv",
    needed_for: "locks of Python packages",
    mend: "pipx install uv    or: python3 -m venv ~/.local/uv && ~/.local/uv/bin/pip install uv, with ~/.local/uv/bin on the PATH",
};

/// The Python locks of the family, from nothing: the newest of everything that the `.in` files allow.
///
/// # Errors
/// `uv` is missing, or cannot solve what an `.in` file asks for, or its command is not one that can be carried out.
pub async fn python(site: Site<'_>, to: Option<&str>) -> Result<Candidate, Trouble> {
    if to.is_some() {
        return Err(Trouble::new(Exit::Usage, "the locks of Python packages have no version of their own")
            .hint("write the version into an `.in` file: `NAME==VERSION`, or a bound"));
    }
    let recipes = recipes(site)?;
    let outputs: BTreeSet<String> = recipes.iter().map(|recipe| recipe.output.clone()).collect();
    let old = texts(site.root, &outputs)?;
    let folder = folder()?;
    let inputs = recipes.iter().flat_map(|recipe| recipe.reads.iter().chain([&recipe.input]));
    for path in inputs.filter(|path| !outputs.contains(*path)).collect::<BTreeSet<_>>() {
        write(folder.path(), path, &read(site.root, path)?)?;
    }
    let rounds = command::rounds(recipes).map_err(|files| {
        let files = files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ");
        Trouble::new(Exit::Usage, format!("these Python locks need each other: {files}"))
    })?;
    for round in rounds {
        try_join_all(round.iter().map(|recipe| compile(site, folder.path(), recipe))).await?;
    }
    Ok(compared(&old, &texts(folder.path(), &outputs)?))
}

/// Every lock of the family, with its command.
fn recipes(site: Site<'_>) -> Result<Vec<Recipe>, Trouble> {
    let mut recipes = Vec::new();
    for context in site.contexts(|_| true) {
        for path in site.files(context, &|name| name.ends_with(".in")) {
            let text = read(site.root, &path)?;
            match command::recipe(&path, &text) {
                Some(Ok(recipe)) => recipes.push(recipe),
                Some(Err(why)) => {
                    let message = format!("the command in `{path}` cannot be carried out: {why}");
                    return Err(Trouble::new(Exit::Usage, message)
                        .hint("expected `uv pip compile … FILE.in -o FILE.txt` with nothing that a shell would have to do"));
                }
                None => {}
            }
        }
    }
    Ok(recipes)
}

fn texts(root: &Path, paths: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Trouble> {
    paths.iter().map(|path| Ok((path.clone(), read(root, path)?))).collect()
}

/// Makes one lock in the temporary folder.
async fn compile(site: Site<'_>, folder: &Path, recipe: &Recipe) -> Result<(), Trouble> {
    let mut args = Vec::new();
    for arg in &recipe.args {
        match arg {
            Arg::Word(word) => args.push(word.clone()),
            Arg::Without(lock) => {
                let names = packages(&read(folder, lock)?).into_keys();
                args.extend(names.flat_map(|name| ["--no-emit-package".to_owned(), name]));
            }
        }
    }
    // It prints the lock, too; no Python is downloaded for this.
    args.push("--quiet".to_owned());
    let mut env = site.env.clone();
    env.insert("UV_PYTHON_DOWNLOADS".to_owned(), "never".to_owned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = UV.run(&args, &folder.join(folder_of(&recipe.input)), &env).await?;
    if ended.success {
        return Ok(());
    }
    Err(refusal(&recipe.input, &ended.stderr))
}

/// What uv could not do.
fn refusal(input: &str, stderr: &str) -> Trouble {
    let why = complaint(stderr);
    if why.contains("No solution found") {
        let message = format!("`{input}` asks for what does not go together: {why}");
        return Trouble::new(Exit::Usage, message).hint("change the bounds in the `.in` files; nothing was written");
    }
    Trouble::new(Exit::Missing, format!("`uv` cannot lock `{input}`: {why}"))
        .hint("`UV_DEFAULT_INDEX` or uv.toml say whom it asks; `HTTPS_PROXY` and `SSL_CERT_FILE` say how")
}

/// The packages of a lock, by name, each with its version.
fn packages(lock: &str) -> Packages {
    let mut packages = Packages::new();
    for line in lock.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric())) {
        let line = line.split([';', '\\', ' ']).next().unwrap_or_default();
        if let Some((name, version)) = line.split_once("==") {
            let name = name.split('[').next().unwrap_or(name);
            packages.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    packages
}

/// The first of `names` that is locked in one of `contexts`: the lock and the version.
pub(super) fn locked(site: Site<'_>, contexts: &BTreeSet<&str>, names: &[&str]) -> Result<Option<(String, String)>, Trouble> {
    for context in contexts {
        for path in site.files(context, &|name| name.ends_with(".txt")) {
            let packages = packages(&read(site.root, &path)?);
            let version = names.iter().find_map(|name| packages.get(*name)?.iter().next().cloned());
            if let Some(version) = version {
                return Ok(Some((path, version)));
            }
        }
    }
    Ok(None)
}

/// What moves from the locks that are there to the new ones. A lock in which no version moves stays as it is: that somebody
/// uploaded another wheel of a version is no news.
fn compared(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Candidate {
    let (mut details, mut change, mut count) = (Vec::<Moved>::new(), Change::default(), 0);
    for (path, text) in new {
        let before = packages(old.get(path).map_or("", String::as_str));
        count += before.len();
        let moved = moved(&before, &packages(text), Some(path));
        if !moved.is_empty() {
            change.files.insert(path.clone(), text.clone());
            details.extend(moved);
        }
    }
    let id = |of: &dyn Fn(&String) -> Option<String>| {
        let texts: Vec<String> = new.keys().filter_map(of).collect();
        Digest::of(texts.concat()).hex().chars().take(12).collect::<String>()
    };
    let from = Version { id: id(&|path| old.get(path).cloned()), shown: Some(format!("{count} packages")) };
    if details.is_empty() {
        return Candidate::unmoved(from);
    }
    let moved = if details.len() == 1 { "1 package moves".to_owned() } else { format!("{} packages move", details.len()) };
    let to = id(&|path| change.files.get(path).or_else(|| old.get(path)).cloned());
    let to = Version { id: to, shown: Some(moved) };
    Candidate { from, to, held: None, released: None, notes: None, details, change }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "a==1.0 \\\n    --hash=sha256:00\nb[c]==2.0 ; python_version < \"4\" \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\n# d==3\n";

    fn texts(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("images/x.txt".to_owned(), text.to_owned()), ("images/y.txt".to_owned(), "z==1\n".to_owned())])
    }

    #[test]
    fn what_a_lock_has_in_it() {
        let told: Vec<String> = packages(LOCK).iter().map(|(name, versions)| format!("{name} {versions:?}")).collect();
        assert_eq!(told, [r#"a {"1.0"}"#, r#"b {"2.0"}"#]);
    }

    #[test]
    fn what_moves() {
        let moved = compared(&texts(LOCK), &texts(&LOCK.replace("1.0", "1.1")));
        let told: Vec<_> =
            moved.details.iter().map(|moved| (moved.file.as_deref(), moved.name.as_str(), moved.to.as_deref())).collect();
        assert_eq!(told, [(Some("images/x.txt"), "a", Some("1.1"))]);
        assert_eq!(moved.change.files.keys().collect::<Vec<_>>(), ["images/x.txt"]);
        assert_eq!(moved.from.shown.as_deref(), Some("3 packages"));
        assert_eq!(moved.to.shown.as_deref(), Some("1 package moves"));
        assert_ne!(moved.from.id, moved.to.id);
        // Another wheel of the same version.
        let same = compared(&texts(LOCK), &texts(&LOCK.replace("sha256:00", "sha256:03")));
        assert_eq!(same, Candidate::unmoved(same.from.clone()));
    }

    #[test]
    fn refusals() {
        let unsolvable = "  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of six==99 …\n";
        let trouble = refusal("images/x.in", unsolvable);
        assert_eq!((trouble.exit, trouble.message.contains("Because there is no version of six==99")), (Exit::Usage, true));
        let trouble = refusal("images/x.in", "error: Failed to fetch: `http://127.0.0.1:9/six/`\n  Caused by: refused\n");
        assert_eq!(
            (trouble.exit, trouble.message.as_str()),
            (
                Exit::Missing,
                "`uv` cannot lock `images/x.in`: error: Failed to fetch: `http://127.0.0.1:9/six/` Caused by: refused"
            )
        );
    }
}
