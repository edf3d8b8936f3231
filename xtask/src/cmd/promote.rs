//! `cargo xtask promote`: moves tags to an image that is published already. Needs no engine.

use std::sync::Arc;

use super::describe::Describing;
use super::destinations::{self, Target};
use super::prepare::read_family;
use super::summary::{self, Pushed};
use super::{Session, ecr, lineage};
use crate::cli::Promote;
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::family::{Family, Selection};
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::oci::{Digest, Repository, is_tag};
use crate::plan;
use crate::publish::{
    self, Circumstances, Identified, Ledger, Located, Means, PublishError, Refusal, Release, ReleasePlan, Tag, TagKind, Tree,
    VariantRelease, View, connect_to,
};
use crate::registry::Access;
use crate::store::Blobs;

pub(super) async fn run(session: &Session, args: &Promote) -> Result<(), Failure> {
    let started = std::time::Instant::now();
    let family = read_family(session)?;
    // A form's empty field is handed on as it is: no tag.
    let tags: Vec<&String> = args.tags.iter().filter(|tag| !tag.is_empty()).collect();
    if let Some(tag) = tags.iter().find(|tag| !is_tag(tag)) {
        return Err(Failure::new(Exit::Usage, format!("`--tag {tag}`: not a tag")));
    }
    let targets = destinations::targets(&family, &args.destinations)?;
    let from = args.from.as_ref().map(|from| destinations::targets(&family, std::slice::from_ref(from))).transpose()?;
    let sources = destinations::sources(&family)?;
    let (reference, repository) = reference(&args.reference)?;
    let among = among(&args.reference, from.as_ref().unwrap_or(&targets), repository.as_ref())?;

    let places = session.places()?;
    let events = session.console.events();
    let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting for another publisher: {holder}") });
    let _lock = match args.dry_run {
        true => None,
        false => Some(FamilyLock::acquire(&places, LockKind::Publish, &family.name, WhenHeld::Wait, waiting).await?),
    };
    let releases = places.state_folder("releases")?;
    let newest = Ledger::newest(&releases).map_err(PublishError::Ledger)?;
    let mut ledger = Ledger::open(&releases, &format!("{}-promoted", family.name)).map_err(PublishError::Ledger)?;
    let blobs = Arc::new(Blobs::open(&places.cache_folder("layers")?).map_err(PublishError::Store)?);
    let work = async {
        let to = targets.iter().map(|target| (target.name.as_str(), &target.repository, target.insecure));
        let mut registries = connect_to(to, Access::Push, &sources).await?;
        let more = from.iter().flatten().filter(|target| !registries.contains_key(&target.repository));
        let more = more.map(|target| (target.name.as_str(), &target.repository, target.insecure));
        let more = connect_to(more.collect::<Vec<_>>(), Access::Pull, &sources).await?;
        registries.extend(more);
        let located = Located::find(&reference, &among, &registries).await?;
        let identified = located.identify(&family.name)?;
        let wanted = wanted(args, &tags, &family, &identified, &targets, &newest)?;
        ecr::preflight(&wanted, &family, &events).await?;
        let describing = Describing::new(session, &family, &blobs)?;
        let release = Release::given(wanted, located, &registries, &newest, Some(&describing)).await?;
        if args.dry_run {
            let preview = release.preview();
            session.console.result(&preview, &preview.to_string());
            return Ok(());
        }
        let means = Means {
            registries: &registries,
            blobs: &blobs,
            compression: family.compression,
            events: &events,
            attaching: publish::Attaching::Copies,
            verdict: None,
        };
        // Every byte is published: nothing is asked of an engine.
        let export = async |_: &[String]| Err::<tokio::io::Empty, _>(std::io::Error::from(std::io::ErrorKind::Unsupported));
        let published = publish::execute(&release, &means, &mut ledger, export).await?;
        let pushed = Pushed { schema: 1, seconds: started.elapsed().as_secs_f64(), published, indexes: Vec::new() };
        session.console.result(&pushed, &summary::text(&pushed));
        Ok::<_, Failure>(())
    };
    session.interruptible(work).await
}

fn refused(refusal: Refusal) -> PublishError {
    PublishError::Refused { refusals: vec![refusal] }
}

/// A tag or digest, and the repository if it is named, too.
fn reference(text: &str) -> Result<(String, Option<Repository>), Failure> {
    if text.parse::<Digest>().is_ok() || is_tag(text) {
        return Ok((text.to_owned(), None));
    }
    let wrong = |why: String| Failure::new(Exit::Usage, format!("`{text}`: {why}")).hint("name a tag, or a digest `sha256:…`");
    let full = text.parse::<crate::oci::Reference>().map_err(|error| wrong(error.to_string()))?;
    let reference = full.digest.map(|digest| digest.to_string()).or(full.tag);
    Ok((reference.ok_or_else(|| wrong("it has neither tag nor digest".to_owned()))?, Some(full.repository)))
}

/// Where the image is looked up.
fn among(text: &str, targets: &[Target], repository: Option<&Repository>) -> Result<Vec<(String, Repository)>, Failure> {
    let known = targets.iter().filter(|target| repository.is_none_or(|named| *named == target.repository));
    let known: Vec<_> = known.map(|target| (target.name.clone(), target.repository.clone())).collect();
    match known.is_empty() {
        true => Err(Failure::new(Exit::Usage, format!("`{text}` is in no destination"))
            .hint("name its repository: `--from NAME=REPOSITORY`")),
        false => Ok(known),
    }
}

/// Which tags are to point to the image, and where.
fn wanted(
    args: &Promote,
    tags: &[&String],
    family: &Family,
    identified: &Identified,
    targets: &[Target],
    ledger: &View,
) -> Result<ReleasePlan, Failure> {
    let foreign = |why: String| refused(Refusal::Foreign { image: args.reference.clone(), why });
    let name = &identified.variant;
    if let Some(pattern) = &args.variant {
        let named = Selection::new(false, [pattern]).resolve(family);
        let named = named.map_err(|error| Failure::new(Exit::Usage, error.to_string()).hint(error.hint()))?;
        if !named.contains(name) {
            return Err(foreign(format!("it is the variant `{name}`, and `{pattern}` was meant")).into());
        }
    }
    let image = family.images.get(name);
    let Some((image, published)) = image.and_then(|image| Some((image, image.published.as_ref()?))) else {
        return Err(foreign(format!("variants.toml has no variant `{name}`")).into());
    };
    let others = tags.iter().filter_map(|tag| {
        let owner = lineage::owner(family, image, tag)?.clone();
        Some(Refusal::OtherVariant { tag: (*tag).clone(), owner, variant: name.clone() })
    });
    let refusals: Vec<Refusal> = others.collect();
    if !refusals.is_empty() {
        return Err(PublishError::Refused { refusals }.into());
    }
    let tags: Vec<Tag> = match tags.is_empty() {
        true => {
            let moving = plan::published_tags(family, image, &family.build_date, "").moving;
            moving.into_iter().map(|name| Tag { name, kind: TagKind::Moving, uses_revision: false }).collect()
        }
        false => tags.iter().map(|tag| lineage::tag(family, image, ledger, tag)).collect(),
    };
    let destinations: Vec<_> = targets.iter().filter(|to| to.takes(published)).map(|to| to.delivery(tags.clone())).collect();
    if destinations.is_empty() {
        return Err(destinations::nowhere(&[(name, published)], targets));
    }
    let release = VariantRelease {
        variant: name.clone(),
        platform: identified.platform,
        input: identified.input,
        built: None,
        config_digest: None,
        ancestors: Vec::new(),
        destinations,
    };
    // What the image was built from was judged when it was pushed.
    let circumstances = Circumstances { tree: Tree::Clean, allow_dirty: false };
    Ok(ReleasePlan::new(vec![release], circumstances).map_err(|refusals| PublishError::Refused { refusals })?)
}
