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
use crate::oci::{Digest, Platform, Repository, is_tag};
use crate::plan;
use crate::publish::{
    self, Circumstances, Delivery, GivenIndex, Identified, IndexRelease, Ledger, Located, Means, PublishError, Refusal, Release,
    ReleasePlan, Tag, TagKind, Tree, VariantRelease, View, connect_to,
};
use crate::registry::Access;
use crate::store::{Blobs, Manifest};

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
        let Wanted { all, plan, index } = wanted(args, &tags, &family, &located, &identified, &targets, &newest)?;
        ecr::preflight(&all, &family, &events).await?;
        let describing = Describing::new(session, &family, &blobs)?;
        let index = match index {
            Some((index, manifest)) => Some(GivenIndex::decide(index, manifest, &registries, &ledger).await?),
            None => None,
        };
        let release = Release::given(plan, located, &registries, &newest, Some(&describing)).await?;
        if args.dry_run {
            let mut preview = release.preview();
            preview.indexes.extend(index.as_ref().map(GivenIndex::preview));
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
        let indexes = match &index {
            Some(index) => index.carry_out(&registries, &mut ledger, &events).await?,
            None => Vec::new(),
        };
        let pushed = Pushed { schema: 1, seconds: started.elapsed().as_secs_f64(), published, indexes };
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

/// What is to be done.
struct Wanted {
    /// Every tag.
    all: ReleasePlan,
    /// The same without those of the index: its images have to be everywhere first.
    plan: ReleasePlan,
    index: Option<(IndexRelease, Manifest)>,
}

/// Which tags are to point to the image or index, and where.
fn wanted(
    args: &Promote,
    tags: &[&String],
    family: &Family,
    located: &Located,
    identified: &Identified,
    targets: &[Target],
    ledger: &View,
) -> Result<Wanted, Failure> {
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
    let moving = plan::published_tags(family, image, &family.build_date, "").moving;
    let tags: Vec<Tag> = match tags.is_empty() {
        true => moving.iter().map(|name| Tag { name: name.clone(), kind: TagKind::Moving, uses_revision: false }).collect(),
        false => tags.iter().map(|tag| lineage::tag(family, image, ledger, tag)).collect(),
    };
    let platform = identified.images.first().filter(|_| located.index.is_none()).map(|(platform, _)| *platform);
    let misplaced = tags.iter().filter_map(|tag| misplaced(tag, moving.contains(&tag.name), platform, &family.platforms));
    let misplaced: Vec<String> = misplaced.collect();
    if !misplaced.is_empty() {
        let what = platform.map_or_else(|| "an index".to_owned(), |platform| format!("the image for {platform} alone"));
        let message = format!("`{}` is {what}: {}", args.reference, misplaced.join("; "));
        let hint = "the tags of all platforms point to an index, whose own tag has no architecture at its end \
                    (`aws-2026.11.20-3f2c1ab`); tags of one platform end in its architecture, and point to its image";
        return Err(Failure::new(Exit::Refused, message).hint(hint));
    }
    let destinations: Vec<_> = targets.iter().filter(|to| to.takes(published)).map(|to| to.delivery(tags.clone())).collect();
    if destinations.is_empty() {
        return Err(destinations::nowhere(&[(name, published)], targets));
    }
    let planned = |images: &[(Platform, Digest)], destinations: &[Delivery]| {
        let release = |(platform, input): &(Platform, Digest)| VariantRelease {
            variant: name.clone(),
            platform: *platform,
            input: *input,
            built: None,
            config_digest: None,
            ancestors: Vec::new(),
            destinations: destinations.to_vec(),
        };
        // What the image was built from was judged when it was pushed.
        let circumstances = Circumstances { tree: Tree::Clean, allow_dirty: false };
        let plan = ReleasePlan::new(images.iter().map(release).collect(), circumstances);
        plan.map_err(|refusals| PublishError::Refused { refusals })
    };
    let all = planned(identified.images.get(..1).unwrap_or_default(), &destinations)?;
    let Some(manifest) = located.index.clone() else { return Ok(Wanted { plan: all.clone(), all, index: None }) };
    let untagged: Vec<_> = destinations.iter().map(|to| Delivery { tags: Vec::new(), ..to.clone() }).collect();
    let plan = planned(&identified.images, &untagged)?;
    let platforms = identified.images.iter().map(|(platform, _)| *platform).collect();
    let index = IndexRelease { variant: name.clone(), platforms, destinations };
    Ok(Wanted { all, plan, index: Some((index, manifest)) })
}

/// Where a family is published for several platforms: in words why a tag is not to point to an image for `platform`, or, if that is
/// none, to an index. Whatever else somebody names may point to either.
fn misplaced(tag: &Tag, moves_with_a_release: bool, platform: Option<Platform>, platforms: &[Platform]) -> Option<String> {
    if platforms.len() < 2 {
        return None;
    }
    let name = &tag.name;
    let is_of = |one: &&Platform| tag.kind == TagKind::Immutable && name.ends_with(&format!("-{}", one.arch()));
    match (platforms.iter().find(is_of), platform) {
        (Some(its), Some(platform)) if *its == platform => None,
        (Some(its), _) => Some(format!("`{name}` is a tag of {its}")),
        (None, Some(_)) if tag.kind == TagKind::Immutable || moves_with_a_release => {
            let all = platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Some(format!("`{name}` is a tag of all platforms ({all})"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_all_platforms_and_of_one() {
        const BOTH: [Platform; 2] = [Platform::LinuxAmd64, Platform::LinuxArm64];
        let (index, arm64) = (None, Some(Platform::LinuxArm64));
        let (moving, immutable) = (TagKind::Moving, TagKind::Immutable);
        for (name, kind, of_release, what, said) in [
            ("aws", moving, true, index, None),
            ("aws", moving, true, arm64, Some("`aws` is a tag of all platforms (linux/amd64, linux/arm64)")),
            ("aws-1", immutable, false, index, None),
            ("aws-1", immutable, false, arm64, Some("`aws-1` is a tag of all platforms (linux/amd64, linux/arm64)")),
            ("aws-1-arm64", immutable, false, index, Some("`aws-1-arm64` is a tag of linux/arm64")),
            ("aws-1-arm64", immutable, false, arm64, None),
            ("aws-1-amd64", immutable, false, arm64, Some("`aws-1-amd64` is a tag of linux/amd64")),
            ("try-arm64", moving, false, index, None),
            ("try", moving, false, arm64, None),
        ] {
            let tag = Tag { name: name.to_owned(), kind, uses_revision: false };
            assert_eq!(misplaced(&tag, of_release, what, &BOTH).as_deref(), said, "{name} {what:?}");
            assert_eq!(misplaced(&tag, of_release, what, &BOTH[..1]), None);
        }
    }
}
