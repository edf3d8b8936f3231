//! Where the values that `bump` moves stand in variants.toml.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::name::Name;
use super::problem::SourceText;

/// Bytes of values in variants.toml, quotes included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spans {
    /// `pins.NAME.version`
    pub versions: BTreeMap<Name, Range<usize>>,
    /// `family.build-date`
    pub build_date: Option<Range<usize>>,
    /// `profiles.NAME.base.image`
    pub bases: BTreeMap<Name, Range<usize>>,
}

impl Spans {
    /// Those of a file that is valid; of another one, what can be found.
    pub fn of(source: &SourceText) -> Self {
        let (document, _) = DeTable::parse_recoverable(&source.text);
        let root = document.get_ref();
        let named = |table: &str, path: &[&str]| {
            let entries = root.get(table).and_then(|value| value.get_ref().as_table());
            let found = entries
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| Some((name.get_ref().parse().ok()?, text_at(value.get_ref().as_table()?, path)?)));
            found.collect()
        };
        Self {
            versions: named("pins", &["version"]),
            build_date: text_at(root, &["family", "build-date"]),
            bases: named("profiles", &["base", "image"]),
        }
    }
}

/// The place of a string below a table.
fn text_at(table: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (key, rest) = path.split_first()?;
    let value = table.get(*key)?;
    match (value.get_ref(), rest) {
        (DeValue::String(_), []) => Some(value.span()),
        (DeValue::Table(below), rest) => text_at(below, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_the_tables_are_written() {
        let texts = [
            "family.build-date = '2026-11-20'\r\n[pins.a]\r\nversion = \"1\" # one\r\n[profiles.p.base]\r\nimage=\"x:1\"\r\n",
            "[pins]\na = { version = \"1\" }\n[family]\nbuild-date=\"2026-11-20\"\n[profiles]\np.base = { image = \"x:1\" }\n",
            "pins.a.version = '''1'''\nfamily = { build-date = \"2026-11-20\" }\nprofiles = { p = { base.image = 'x:1' } }\n",
        ];
        for text in texts {
            let spans = Spans::of(&SourceText { name: String::new(), text: text.to_owned() });
            let at = |span: Option<&Range<usize>>| text[span.expect("it is there").clone()].trim_matches(['"', '\'']);
            let [a, p] = ["a", "p"].map(|name| name.parse::<Name>().unwrap());
            assert_eq!(at(spans.versions.get(&a)), "1");
            assert_eq!(at(spans.build_date.as_ref()), "2026-11-20");
            assert_eq!(at(spans.bases.get(&p)), "x:1");
        }
        assert_eq!(
            Spans::of(&SourceText { name: String::new(), text: "[pins.a]\nversion = 1\n= \n".to_owned() }),
            Spans::default()
        );
    }
}
