//! Lists of tags, from a registry in the test's process.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use lapstrake_oci::media_type;
use lapstrake_registry_client::{Class, Client, Options};
use lapstrake_testkit::registry::{Access, Registry};

fn registry(tags: &[&str]) -> Registry {
    let registry = Registry::start(Access::Open);
    for tag in tags {
        registry.add_manifest("app", Some(tag), media_type::OCI_MANIFEST, *b"{}");
    }
    registry
}

async fn tags(registry: &Registry) -> Result<Vec<String>, lapstrake_registry_client::Error> {
    let client = Client::new(Options::of("test")).unwrap();
    let tags = client.tags(&registry.repo("app")).await?;
    Ok(tags.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn all_tags_in_one_page_or_several() {
    let names = ["1", "1.2", "b", "latest", "z"];
    for page in [100, 5, 4, 2, 1] {
        let registry = registry(&names);
        registry.page_tags(page);
        assert_eq!(tags(&registry).await.unwrap(), names, "{page}");
        assert_eq!(registry.requests().len(), names.len().div_ceil(page));
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told_by_name() {
    let error = tags(&registry(&[])).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.to_string().contains("the tags of app"), "{error}");
}

#[tokio::test]
async fn what_is_no_tag_is_refused() {
    let error = tags(&registry(&["a b"])).await.unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
    assert!(error.to_string().contains("a b"), "{error}");
}
