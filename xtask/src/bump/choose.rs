//! What is asked for, and which of what there is may be taken. A pin never goes back.

use super::{BASE, BUILD_DATE, Held, PYTHON, Trouble, Version, Wish};
use crate::failure::Exit;
use crate::family::{Base, Family, Number, Upstream, VersionRange, closest, one_of};

/// What can be moved, in the order in which it is told: pins, then what lies below them.
pub fn names(family: &Family) -> Vec<String> {
    let pins = family.pins.keys().map(ToString::to_string);
    let base = family.profiles.values().any(|profile| matches!(profile.base, Base::Image(_)));
    pins.chain(base.then(|| BASE.to_owned())).chain([BUILD_DATE.to_owned(), PYTHON.to_owned()]).collect()
}

/// What the command line asks for: `named`, or everything. A build of VS Code brings the others with it: they are of one
/// commit.
///
/// # Errors
/// Names that are none, all of them; a version for more than one thing.
pub fn wishes(family: &Family, named: &[String], to: Option<&str>) -> Result<Vec<Wish>, Trouble> {
    let known = names(family);
    let unknown: Vec<&String> = named.iter().filter(|name| !known.contains(name)).collect();
    if let Some(first) = unknown.first() {
        let all = unknown.iter().map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ");
        let verb = if unknown.len() == 1 { "is nothing" } else { "are nothing" };
        let there = one_of(known.iter().map(String::as_str));
        let trouble = Trouble::new(Exit::Usage, format!("{all} {verb} that can be moved: there is {there}"));
        return Err(match closest(first, known.iter().map(String::as_str)) {
            Some(meant) => trouble.hint(format!("did you mean `{meant}`?")),
            None => trouble.hint("name a pin of variants.toml, or nothing for all of them"),
        });
    }
    let is_vscode = |name: &str| {
        let pin = family.pins.iter().find(|(pin, _)| pin.as_str() == name).map(|(_, pin)| &pin.upstream);
        matches!(pin, Some(Upstream::Vscode { .. }))
    };
    let with_vscode = named.iter().any(|name| is_vscode(name));
    let wanted = |name: &str| named.is_empty() || named.iter().any(|named| named == name) || with_vscode && is_vscode(name);
    let wished: Vec<&String> = known.iter().filter(|name| wanted(name)).collect();
    if let Some(to) = to {
        let one = !named.is_empty() && (wished.len() == 1 || wished.iter().all(|name| is_vscode(name)));
        if !one {
            return Err(Trouble::new(Exit::Usage, format!("`--to {to}` is a version of one thing"))
                .hint(format!("name one pin: cargo xtask bump NAME --to {to}")));
        }
    }
    Ok(wished.into_iter().map(|name| Wish { name: name.clone(), to: to.map(str::to_owned) }).collect())
}

/// What an upstream has to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<T> {
    /// Its version.
    pub number: Number,
    /// What the source knows of it.
    pub what: T,
}

/// What may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<T> {
    /// The newest that may be taken and is newer than what there is; none: nothing is.
    pub taken: Option<Offer<T>>,
    /// What is newer still, and held back.
    pub held: Option<Held>,
}

/// What pins hold back: each range with the pin it stands at.
pub type Holds<'a> = [(&'a str, &'a VersionRange)];

/// The newest of `offers` that may be taken, from `present` on. `shown` is what people call a version of it.
///
/// # Errors
/// What there is is newer than all that may be taken.
pub fn newest<T>(
    offers: Vec<Offer<T>>,
    present: &Number,
    holds: &Holds<'_>,
    shown: impl Fn(&Offer<T>) -> Version,
) -> Result<Choice<T>, Trouble> {
    if let Some((pin, range)) = holds.iter().find(|(_, range)| !range.contains(present)) {
        let message = format!("{present} is not what {} allows: `bump` does not go back", reason(pin, range));
        return Err(Trouble::new(Exit::Refused, message).hint(BY_HAND));
    }
    let (allowed, refused): (Vec<_>, Vec<_>) =
        offers.into_iter().partition(|offer| holds.iter().all(|(_, range)| range.contains(&offer.number)));
    let best = allowed.into_iter().max_by(|one, other| one.number.cmp(&other.number));
    let over = refused.into_iter().max_by(|one, other| one.number.cmp(&other.number));
    if let Some(best) = best.as_ref().filter(|best| best.number < *present) {
        let message = format!("{present} is newer than the newest release, {}: `bump` does not go back", shown(best).name());
        return Err(Trouble::new(Exit::Refused, message).hint(format!("was the release withdrawn? {BY_HAND}")));
    }
    let above = best.as_ref().map_or(present, |best| &best.number);
    let held = over.filter(|over| over.number > *above).map(|over| Held { version: shown(&over), why: reasons(holds) });
    Ok(Choice { taken: best.filter(|best| best.number > *present), held })
}

const BY_HAND: &str = "to go back, edit `version` in variants.toml by hand: the next build resolves it";

/// Whether a version that was named may be taken.
///
/// # Errors
/// It is older than what there is, or held back.
pub fn named(wanted: &Number, shown: &Version, present: &Number, holds: &Holds<'_>) -> Result<(), Trouble> {
    if wanted < present {
        let message = format!("{} is older than {present}: `bump` does not go back", shown.name());
        return Err(Trouble::new(Exit::Refused, message).hint(BY_HAND));
    }
    match holds.iter().find(|(_, range)| !range.contains(wanted)) {
        Some((pin, range)) => {
            Err(Trouble::new(Exit::Refused, format!("{} is held back by {}", shown.name(), reason(pin, range)))
                .hint("change or remove `hold` in variants.toml first"))
        }
        None => Ok(()),
    }
}

/// What holds something back, for a sentence.
pub fn reasons(holds: &Holds<'_>) -> String {
    holds.iter().map(|(pin, range)| reason(pin, range)).collect::<Vec<_>>().join(" and ")
}

fn reason(pin: &str, range: &VersionRange) -> String {
    format!("`hold = \"{range}\"` of `{pin}`")
}

impl Version {
    /// What people call it.
    pub fn name(&self) -> String {
        self.shown.clone().unwrap_or_else(|| self.id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    /// The table: what is pinned, what holds it back, what is offered → what is taken, what is held.
    #[test]
    fn the_newest_that_may_be_taken() {
        for (present, hold, offers, expected) in [
            ("2.337.0", "*", &["2.336.0", "2.338.1", "2.338.0", "2.337.0"][..], Ok((Some("2.338.1"), None))),
            ("2.9.0", "*", &["2.9.0", "2.10.0"], Ok((Some("2.10.0"), None))),
            ("2.337.0", "*", &["2.337.0", "2.336.0"], Ok((None, None))),
            ("2.337.0", "*", &[], Ok((None, None))),
            ("2.328.0", "<2.330", &["2.331.0", "2.329.5", "2.330.0"], Ok((Some("2.329.5"), Some("2.331.0")))),
            ("2.329.5", "<2.330", &["2.331.0", "2.329.5"], Ok((None, Some("2.331.0")))),
            ("2.329.5", "<2.330", &["2.331.0"], Ok((None, Some("2.331.0")))),
            ("2.329.5", "<2.330", &["2.329.6", "2.329.5"], Ok((Some("2.329.6"), None))),
            ("2.337.0", "<2.330", &["2.338.0", "2.329.0"], Err("2.337.0 is not what `hold = \"<2.330\"` of `a` allows")),
            ("2.337.0", "*", &["2.336.0"], Err("2.337.0 is newer than the newest release, 2.336.0: `bump` does not go back")),
        ] {
            let offers = offers.iter().map(|text| Offer { number: number(text), what: () }).collect();
            let hold = hold.parse().unwrap();
            let choice = newest(offers, &number(present), &[("a", &hold)], |offer| Version::plain(offer.number.to_string()));
            match (choice, expected) {
                (Ok(choice), Ok((taken, held))) => {
                    assert_eq!(choice.taken.map(|offer| offer.number.to_string()).as_deref(), taken, "{present}");
                    assert_eq!(choice.held.map(|held| held.version.id).as_deref(), held, "{present}");
                }
                (Err(trouble), Err(message)) => {
                    assert!(trouble.message.starts_with(message), "{}", trouble.message);
                    assert_eq!(trouble.exit, Exit::Refused);
                }
                (choice, expected) => panic!("{present}: {choice:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn a_version_that_is_named() {
        let hold = "<2.340".parse().unwrap();
        for (wanted, expected) in [
            ("2.338.0", None),
            ("2.337.0", None),
            ("2.336.0", Some("2.336.0 is older than 2.337.0: `bump` does not go back")),
            ("2.340.0", Some("2.340.0 is held back by `hold = \"<2.340\"` of `a`")),
        ] {
            let found = named(&number(wanted), &Version::plain(wanted), &number("2.337.0"), &[("a", &hold)]);
            assert_eq!(found.err().map(|trouble| trouble.message).as_deref(), expected);
        }
    }

    #[test]
    fn what_the_command_line_asks_for() {
        let text = include_str!("../../../variants.toml").to_owned();
        let family = crate::family::read(&crate::family::SourceText { name: String::new(), text }, &|_| true).unwrap();
        let names = |named: &[&str], to: Option<&str>| {
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            let wishes = wishes(&family, &named, to).map_err(|trouble| trouble.message)?;
            Ok::<_, String>(wishes.into_iter().map(|wish| wish.name).collect::<Vec<_>>().join(" "))
        };
        let all = "ansible-extension code-server github-runner python-extension vscode-cli vscode-server yaml-extension base build-date python";
        assert_eq!(names(&[], None).as_deref(), Ok(all));
        assert_eq!(names(&["base", "github-runner"], None).as_deref(), Ok("github-runner base"));
        assert_eq!(names(&["vscode-cli"], Some("1.135.0")).as_deref(), Ok("vscode-cli vscode-server"));
        for (named, to, message) in [
            (
                &["github-runer", "gcp"][..],
                None,
                "`github-runer`, `gcp` are nothing that can be moved: there is `ansible-extension`",
            ),
            (&[], Some("1"), "`--to 1` is a version of one thing"),
            (&["base", "python"], Some("1"), "`--to 1` is a version of one thing"),
            (&["vscode-cli", "python"], Some("1"), "`--to 1` is a version of one thing"),
        ] {
            let error = names(named, to).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        let hint = wishes(&family, &["github-runer".to_owned()], None).unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("did you mean `github-runner`?"));
    }
}
