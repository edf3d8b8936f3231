//! The command that a lock is made by, as the comment of its `.in` file says it: pure. It is read, not given to a shell.

use std::collections::BTreeSet;

/// A lock, and how it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The `.in` file, by path relative to the family's root.
    pub(super) input: String,
    /// The lock, likewise.
    pub(super) output: String,
    /// What `uv` is given, in the folder of the `.in` file.
    pub(super) args: Vec<Arg>,
    /// Other files that it reads, likewise by path.
    pub(super) reads: BTreeSet<String>,
}

/// A part of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arg {
    /// As it stands there.
    Word(String),
    /// `--no-emit-package NAME` for every package of a lock, by path relative to the family's root: what the parent of an
    /// image has already.
    Without(String),
}

const PROGRAM: &str = "uv pip compile ";
/// What the command says with sed, up to the file.
const WITHOUT: &str = r"$(sed -En 's/^([a-z0-9-]+)==.*/--no-emit-package \1/p' ";
/// Options whose value is a file.
const FILES: [&str; 6] = ["-c", "--constraint", "-r", "--override", "--build-constraints", "--excludes"];

/// The command of the text of a `.in` file at `path`; none where its comments have none.
///
/// # Errors
/// Why it is not one that can be carried out.
pub(super) fn recipe(path: &str, text: &str) -> Option<Result<Recipe, String>> {
    let comments = text.lines().filter_map(|line| line.strip_prefix('#')).map(str::trim);
    let mut lines = comments.skip_while(|line| !line.starts_with(PROGRAM)).peekable();
    lines.peek()?;
    let mut command = String::new();
    for line in lines {
        match line.strip_suffix('\\') {
            Some(line) => command += line,
            None => {
                command += line;
                break;
            }
        }
    }
    Some(parsed(path, &command))
}

fn parsed(path: &str, command: &str) -> Result<Recipe, String> {
    let folder = super::super::folder_of(path);
    let below = |file: &str| joined(folder, file).ok_or_else(|| format!("`{file}` is not a file of this family"));
    let (mut args, mut reads, mut output) = (Vec::new(), BTreeSet::new(), None);
    let mut rest = command.strip_prefix("uv ").unwrap_or(command).trim_start();
    let mut option = String::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(WITHOUT) {
            let (file, after) = after.split_once(')').ok_or("`$(` has no end")?;
            let file = below(file.trim())?;
            reads.insert(file.clone());
            args.push(Arg::Without(file));
            rest = after.trim_start();
            continue;
        }
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        if !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/=<>,:+@".contains(&byte)) {
            return Err(format!("`{word}` would need a shell"));
        }
        match option.as_str() {
            "-o" | "--output-file" => output = Some(below(word)?),
            option if FILES.contains(&option) => {
                reads.insert(below(word)?);
            }
            _ => {}
        }
        option = word.to_owned();
        args.push(Arg::Word(word.to_owned()));
        rest = after.trim_start();
    }
    let output = output.ok_or("it has no `-o FILE`")?;
    let own = path.rsplit('/').next().unwrap_or(path);
    if !args.contains(&Arg::Word(own.to_owned())) {
        return Err(format!("it does not read `{own}`"));
    }
    Ok(Recipe { input: path.to_owned(), output, args, reads })
}

/// `file`, which is written relative to `folder`, without `..`; none where it leads out of the family.
fn joined(folder: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if file.starts_with('/') {
        return None;
    }
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The recipes in rounds: each needs only what those before it make.
///
/// # Errors
/// Those that wait for each other.
pub(super) fn rounds(recipes: Vec<Recipe>) -> Result<Vec<Vec<Recipe>>, Vec<String>> {
    let mut rounds = Vec::new();
    let mut left = recipes;
    while !left.is_empty() {
        let pending: BTreeSet<String> = left.iter().map(|recipe| recipe.output.clone()).collect();
        let (ready, waiting): (Vec<_>, Vec<_>) = left.into_iter().partition(|recipe| recipe.reads.is_disjoint(&pending));
        if ready.is_empty() {
            return Err(waiting.into_iter().map(|recipe| recipe.output).collect());
        }
        rounds.push(ready);
        left = waiting;
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(recipe: &Recipe) -> Vec<String> {
        let word = |arg: &Arg| match arg {
            Arg::Word(word) => word.clone(),
            Arg::Without(file) => format!("<without {file}>"),
        };
        recipe.args.iter().map(word).collect()
    }

    #[test]
    fn the_command_of_a_comment() {
        let text = "# Words. The lock file beside this one is made by\n#   uv pip compile --generate-hashes --no-header \\\n\
                    #       -c ../../base/python/requirements.txt $(sed -En 's/^([a-z0-9-]+)==.*/--no-emit-package \\1/p' ../../base/python/requirements.txt) \\\n\
                    #       --override overrides.in requirements.in -o requirements.txt\n# More words.\nboto3\n";
        let recipe = recipe("images/aws/python/requirements.in", text).unwrap().unwrap();
        assert_eq!(
            words(&recipe).join(" "),
            "pip compile --generate-hashes --no-header -c ../../base/python/requirements.txt <without \
             images/base/python/requirements.txt> --override overrides.in requirements.in -o requirements.txt"
        );
        assert_eq!(recipe.output, "images/aws/python/requirements.txt");
        assert_eq!(
            recipe.reads.iter().map(String::as_str).collect::<Vec<_>>(),
            ["images/aws/python/overrides.in", "images/base/python/requirements.txt"]
        );
    }

    #[test]
    fn commands_that_are_not_carried_out() {
        assert_eq!(recipe("a/x.in", "# What else there is.\nuv\n"), None);
        for (command, why) in [
            ("uv pip compile x.in", "it has no `-o FILE`"),
            ("uv pip compile y.in -o x.txt", "it does not read `x.in`"),
            ("uv pip compile x.in -o x.txt; rm -rf /", "`x.txt;` would need a shell"),
            ("uv pip compile $(cat args) x.in -o x.txt", "`$(cat` would need a shell"),
            ("uv pip compile x.in -o ../../x.txt", "`../../x.txt` is not a file of this family"),
            ("uv pip compile -c /etc/passwd x.in -o x.txt", "`/etc/passwd` is not a file of this family"),
        ] {
            let found = recipe("a/x.in", &format!("#   {command}\n")).unwrap();
            assert_eq!(found.unwrap_err(), why, "{command}");
        }
    }

    #[test]
    fn children_come_after_their_parents() {
        let recipe = |name: &str, reads: &[&str]| Recipe {
            input: format!("{name}.in"),
            output: format!("{name}.txt"),
            args: Vec::new(),
            reads: reads.iter().map(|name| format!("{name}.txt")).collect(),
        };
        let names = |rounds: Vec<Vec<Recipe>>| -> Vec<String> {
            rounds.iter().map(|round| round.iter().map(|one| one.output.clone()).collect::<Vec<_>>().join(" ")).collect()
        };
        let found = rounds(vec![recipe("c", &["b"]), recipe("a", &["other"]), recipe("b", &["a"]), recipe("d", &[])]);
        assert_eq!(found.map(names), Ok(vec!["a.txt d.txt".to_owned(), "b.txt".to_owned(), "c.txt".to_owned()]));
        assert_eq!(rounds(vec![recipe("a", &["b"]), recipe("b", &["a"])]), Err(vec!["a.txt".to_owned(), "b.txt".to_owned()]));
    }
}
