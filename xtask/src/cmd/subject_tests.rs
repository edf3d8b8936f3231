//! What a text may mean, and which image of an index.

use super::*;

#[test]
fn what_a_text_may_mean() {
    let digest = Digest::of("");
    let destination = |name: &str, rest: &str| Asked::Destination(name.to_owned(), rest.to_owned());
    let reference = |text: &str| Asked::Reference(text.parse().unwrap());
    for (text, expected) in [
        ("aws".to_owned(), Asked::Bare),
        ("ansible-epic:aws".to_owned(), Asked::Bare),
        ("team/image:aws".to_owned(), Asked::Bare),
        ("3f2c1ab40c".to_owned(), Asked::Bare),
        (digest.to_string(), Asked::Bare),
        ("ghcr:aws".to_owned(), destination("ghcr", "aws")),
        (format!("ghcr@{digest}"), destination("ghcr", &digest.to_string())),
        ("near:aws".to_owned(), Asked::Bare),
        ("ghcr.io/team/image:aws".to_owned(), reference("ghcr.io/team/image:aws")),
        ("127.0.0.1:5000/image:aws".to_owned(), reference("127.0.0.1:5000/image:aws")),
        (format!("127.0.0.1:5000/image@{digest}"), reference(&format!("127.0.0.1:5000/image@{digest}"))),
    ] {
        assert_eq!(asked(&text, &BTreeSet::from(["ghcr", "ecr"])), expected, "{text}");
    }
}

#[test]
fn the_member_of_an_index_is_the_one_for_this_machine() {
    let [amd, arm, attestation] = ["amd", "arm", "attestation"].map(Digest::of);
    let head =
        |manifests: serde_json::Value| Head::read(&serde_json::to_vec(&serde_json::json!({ "manifests": manifests })).unwrap());
    let member = |digest: Digest, os: &str, architecture: &str| serde_json::json!({ "digest": digest, "platform": { "os": os, "architecture": architecture } });
    let both = serde_json::json!([
        member(attestation, "unknown", "unknown"),
        member(arm, "linux", "arm64"),
        member(amd, "linux", "amd64")
    ]);
    let both = head(both).ok().unwrap();
    assert_eq!(both.member("x86_64").ok(), Some(amd));
    assert_eq!(both.member("aarch64").ok(), Some(arm));
    let Err(LookError::Odd(why)) = both.member("riscv64") else { panic!("found") };
    assert_eq!(why, "it is an index without linux/riscv64 (it has linux/arm64, linux/amd64)");
}
