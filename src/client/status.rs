//! `entrypoint status`: what runs, since when, and what it is doing.

use super::{ask, failure};
use crate::failure::Failure;
use crate::log::{Log, quote};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The version of what `--json` prints.
const SCHEMA: u32 = 1;

/// Fields of a line.
type Fields<'a> = BTreeMap<&'a str, &'a str>;

/// What the running entrypoint told.
#[derive(Debug, Default)]
pub(super) struct Told<'a> {
    pub(super) whole: Fields<'a>,
    pub(super) services: Vec<Fields<'a>>,
    disabled: Vec<Fields<'a>>,
    notes: Vec<Fields<'a>>,
}

impl<'a> Told<'a> {
    pub(super) fn parse(answer: &'a str) -> Result<Self, Failure> {
        let mut told = Self::default();
        for line in answer.lines() {
            let mut parts = line.split('\t');
            let kind = parts.next();
            let fields = parts.filter_map(|part| part.split_once('=')).collect();
            match kind {
                Some("entrypoint") => told.whole = fields,
                Some("service") => told.services.push(fields),
                Some("disabled") => told.disabled.push(fields),
                Some("note") => told.notes.push(fields),
                _ => {}
            }
        }
        if told.whole.is_empty() { Err(failure(format!("the entrypoint answers `{}`", answer.trim_end()))) } else { Ok(told) }
    }
}

/// A field, or what stands for none.
pub(super) fn field<'a>(fields: &Fields<'a>, name: &str) -> &'a str {
    fields.get(name).copied().unwrap_or("-")
}

/// Prints how the container is.
///
/// # Errors
/// No entrypoint runs here, or not one that this user may ask.
pub(crate) fn status(as_json: bool, log: &Log) -> Result<u8, Failure> {
    let answer = ask("status")?;
    let told = Told::parse(&answer)?;
    log.answer(&if as_json { json(&told) } else { table(&told) });
    Ok(0)
}

fn table(told: &Told<'_>) -> String {
    let mut text = format!(
        "entrypoint {}: {} for {}\n\n",
        field(&told.whole, "version"),
        field(&told.whole, "state"),
        duration(field(&told.whole, "uptime"))
    );
    let mut rows = vec![["SERVICE", "PHASE", "FOR", "RESTARTS", "PORT", "DOING"].map(str::to_owned)];
    rows.extend(told.services.iter().map(|service| {
        let plain = |name| field(service, name).to_owned();
        let since = duration(field(service, "uptime"));
        [plain("name"), plain("phase"), since, plain("restarts"), plain("port"), plain("doing")]
    }));
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..6).map(|column| width(column).unwrap_or_default()).collect();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    let mut notes = String::new();
    for service in &told.services {
        let name = field(service, "name");
        // Writing to a `String` cannot fail.
        if let Some(prominent) = service.get("prominent") {
            let _ = writeln!(notes, "{name}: {prominent}");
        }
        if let Some(error) = service.get("error") {
            let _ = writeln!(notes, "{name}: last error, {} ago: {error}", duration(field(service, "error_age")));
        }
    }
    for disabled in &told.disabled {
        let _ = writeln!(notes, "{}: disabled: {}", field(disabled, "name"), field(disabled, "problem"));
    }
    for note in &told.notes {
        let _ = writeln!(notes, "note: {}", field(note, "text"));
    }
    if !notes.is_empty() {
        text.push('\n');
        text.push_str(&notes);
    }
    text
}

/// Seconds, in the unit that says enough.
fn duration(seconds: &str) -> String {
    let Ok(seconds) = seconds.parse::<u64>() else { return seconds.to_owned() };
    match (seconds, seconds / 60, seconds / 3600) {
        (_, 0, _) => format!("{seconds} s"),
        (_, minutes, 0) => format!("{minutes} min"),
        (_, minutes, hours @ 1..48) => format!("{hours} h {} min", minutes % 60),
        (_, _, hours) => format!("{} d", hours / 24),
    }
}

fn json(told: &Told<'_>) -> String {
    let mut text = format!("{{\"schema\":{SCHEMA},");
    object(&told.whole, &mut text);
    for (name, list) in [("services", &told.services), ("disabled", &told.disabled), ("notes", &told.notes)] {
        // Writing to a `String` cannot fail.
        let _ = write!(text, ",\"{name}\":[");
        for (index, fields) in list.iter().enumerate() {
            text.push_str(if index == 0 { "{" } else { ",{" });
            object(fields, &mut text);
            text.push('}');
        }
        text.push(']');
    }
    text.push_str("}\n");
    text
}

/// The fields as members of an object; numbers as numbers.
fn object(fields: &Fields<'_>, text: &mut String) {
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let name = match *name {
            "uptime" => "uptime_seconds",
            "error" => "last_error",
            "error_age" => "last_error_seconds_ago",
            name => name,
        };
        quote(name, text);
        text.push(':');
        match value.parse::<u64>() {
            Ok(number) if ["uptime_seconds", "last_error_seconds_ago", "restarts", "port", "uid"].contains(&name) => {
                text.push_str(&number.to_string());
            }
            _ => quote(value, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Told, duration, json, table};
    use proptest::prelude::*;

    const ANSWER: &str = "entrypoint\tstate=running\tversion=1\tuptime=75\n\
        service\tname=web\trole=main\tphase=ready\trestarts=0\tuptime=74\tport=8080\tpath=/healthz\n\
        service\tname=runner\trole=side\tphase=pausing\trestarts=3\tdoing=asks \"GitHub\"\terror=a=b\terror_age=3\n\
        disabled\tname=repository\tproblem=ANSIBLE_REPO_URL is no address\n\
        note\ttext=jobs reach the port\n";

    #[test]
    fn people_get_a_table() {
        let told = Told::parse(ANSWER).expect("an answer");
        assert_eq!(
            table(&told),
            "entrypoint 1: running for 1 min\n\n\
             SERVICE  PHASE    FOR    RESTARTS  PORT  DOING\n\
             web      ready    1 min  0         8080  -\n\
             runner   pausing  -      3         -     asks \"GitHub\"\n\n\
             runner: last error, 3 s ago: a=b\n\
             repository: disabled: ANSIBLE_REPO_URL is no address\n\
             note: jobs reach the port\n"
        );
    }

    #[test]
    fn programs_get_json() {
        let told = Told::parse(ANSWER).expect("an answer");
        let expected = r#"{"schema":1,"state":"running","uptime_seconds":75,"version":"1","services":[
{"name":"web","path":"/healthz","phase":"ready","port":8080,"restarts":0,"role":"main","uptime_seconds":74},
{"doing":"asks \"GitHub\"","last_error":"a=b","last_error_seconds_ago":3,"name":"runner","phase":"pausing","restarts":3,"role":"side"}],
"disabled":[{"name":"repository","problem":"ANSIBLE_REPO_URL is no address"}],
"notes":[{"text":"jobs reach the port"}]}"#;
        assert_eq!(json(&told).trim_end(), expected.replace('\n', ""));
    }

    #[test]
    fn durations() {
        let table = [("0", "0 s"), ("59", "59 s"), ("60", "1 min"), ("3725", "1 h 2 min"), ("172800", "2 d"), ("-", "-")];
        for (seconds, expected) in table {
            assert_eq!(duration(seconds), expected);
        }
        assert!(Told::parse("nonsense\n").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_a_table_and_json(
            answer in "entrypoint\t=?(((service|disabled|note)?\t|\n|(name|uptime|port|error|doing|text)=|[0-9]{1,25}|\\PC){0,40})",
        ) {
            let Ok(told) = Told::parse(&answer) else { return Ok(()) };
            let _ = table(&told);
            let text = json(&told);
            let read: Result<serde_json::Value, _> = serde_json::from_str(&text);
            prop_assert!(read.is_ok() && text.lines().count() == 1, "{}", text);
        }
    }
}
